"""What a model said and what came true: Batch Transform's answers, and the outcomes joined to them by ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from components.monitoring.distributions import FloatArray
from components.monitoring.reading import GREATEST
from shared.errors import DataError, SettingsError, did_you_mean, names
from shared.tables import HEADERLESS, Csv, column_names, files_in, raw_batches

SCORE_COLUMN: Final = "(score)"
"""Where the score is kept: no name that an id could have by accident."""
PREFERRED: Final = ("score", "probability")
"""Outputs that are the score, where a model has several."""
NUMBERS: Final = f"a finite number, true or false (numbers up to {GREATEST:g}, which can be squared)"
"""What an outcome of a regression may be."""


@dataclass(frozen=True)
class Scores:
    """Scores of a model, in the order of its answers.

    Attributes:
        table: the ids as text, if the answers hold them, and `(score)`, a finite number.
        has_ids: whether the answers hold the ids.
    """

    table: pl.DataFrame
    has_ids: bool

    @property
    def values(self) -> FloatArray:
        """The scores, shape (rows,)."""
        return self.table[SCORE_COLUMN].to_numpy()


def score_place(outputs: Sequence[str]) -> int:
    """Position of the output whose distribution the model recorded: the score by name, else the last."""
    return next((outputs.index(name) for name in PREFERRED if name in outputs), len(outputs) - 1)


def read_scores(folder: Path, ids: Sequence[str], outputs: Sequence[str]) -> Scores:
    """The answers of Batch Transform: no header, the ids, then the model's outputs, the one of which is the score.

    Args:
        folder: holds `*.csv.out`.
        ids: names of the ids of the training data.
        outputs: names of the model's outputs; empty when they are not known: then the last column is the score.

    Raises:
        DataError: a file has another number of columns, or a score is no finite number.
    """
    files = files_in(folder, "input 'scores'")
    width = len(column_names(files[0], HEADERLESS))
    known = list(outputs) or ["score"]
    if width not in (len(known), len(ids) + len(known)) and (outputs or ids):
        raise DataError(
            f"scores {files[0].name} has {width} columns, wanted {len(ids) + len(known)}: {names([*ids, *known])}. "
            "Give the output of Batch Transform for the model that the baseline was made with."
        )
    has_ids = bool(ids) and width == len(ids) + len(known)
    place = width - len(known) + score_place(known)
    wanted = [f"column_{number}" for number in range(1, width + 1)]
    renamed = {wanted[number]: name for number, name in enumerate(ids)} if has_ids else {}
    score = pl.col(wanted[place])
    tables = []
    start = 0
    for batch in raw_batches(files, wanted, HEADERLESS):
        numbers = batch.select(score.cast(pl.Float64, strict=False)).to_series()
        bad = (~numbers.is_finite()).fill_null(value=True)
        if bad.any():
            row = int(bad.arg_max() or 0)
            raise DataError(f"scores row {start + row + 1} is {batch[wanted[place]][row]!r}, wanted a finite number.")
        start += batch.height
        kept = [pl.col(old).alias(new) for old, new in renamed.items()]
        tables.append(batch.select(*kept, numbers.alias(SCORE_COLUMN)))
    if not tables:
        raise DataError(f"scores {files[0].name} holds no rows.")
    return Scores(pl.concat(tables), has_ids)


def check_rows(scores: Scores, ids: Sequence[str], known: pl.DataFrame, rows: int) -> int:
    """Make sure that the scores are those of the data; how many rows have none (processing may have rejected some).

    Args:
        scores: as read.
        ids: names of the ids.
        known: ids of the data as text, one row a row.
        rows: how many rows the data have.

    Raises:
        DataError: a score belongs to no row of the data, or there are more scores than rows.
    """
    if scores.has_ids and known.width:
        strange = scores.table.join(known, on=list(ids), how="anti", nulls_equal=True)
        if strange.height:
            example = " ".join(str(value) for value in strange.select(ids).row(0))
            raise DataError(
                f"{strange.height} of {scores.table.height} scores have ids that the data do not have, the first is "
                f"{example!r}. Give the scores of these data."
            )
    if scores.table.height > rows:
        raise DataError(f"there are {scores.table.height} scores for {rows} rows. Give the scores of these data.")
    return rows - scores.table.height


@dataclass(frozen=True)
class Outcomes:
    """Scores whose outcome is known.

    Attributes:
        labels: outcomes as numbers, shape (labelled,).
        scores: shape (labelled,).
        unlabelled: scores without an outcome.
        unmatched: outcomes without a score.
    """

    labels: FloatArray
    scores: FloatArray
    unlabelled: int
    unmatched: int

    @property
    def looks_binary(self) -> bool:
        """Whether all outcomes are 0 or 1."""
        return bool(np.isin(self.labels, (0.0, 1.0)).all())


def joined(
    folder: Path, scores: Scores, ids: Sequence[str], target: str | None, csv: Csv, *, binary: bool = False
) -> Outcomes | None:
    """Outcomes joined to their scores by the ids. A missing or NaN outcome is one that is not known yet.

    `binary` says that outcomes are of two kinds. None for a header without rows: nobody knows any outcome yet. A
    pipeline whose jobs cannot be given an input or not, as the run may be, gives that.

    Raises:
        SettingsError: there are no ids or no target to join by.
        DataError: a column is missing, ids repeat, an outcome is none that `read_labels` takes, or none fits a score.
    """
    if target is None or not ids:
        raise SettingsError(
            "labels need `target` and `ids` among the baseline's settings, to know what to compare by what. "
            "Train the baseline with them, or leave the labels out."
        )
    if not scores.has_ids:
        raise DataError(f"the scores hold no ids for the labels to be joined by, wanted {names(ids)} before the score.")
    labels = read_labels(folder, ids, target, csv, binary=binary)
    if not labels.height:
        return None
    both = scores.table.join(labels, on=list(ids), how="left", maintain_order="left")
    known = both.filter(pl.col(target).is_not_null())
    if not known.height:
        raise DataError(
            f"none of the {labels.height} labels has the ids of a score. Give the labels of the rows that were scored."
        )
    return Outcomes(
        labels=known[target].to_numpy(),
        scores=known[SCORE_COLUMN].to_numpy(),
        unlabelled=both.height - known.height,
        unmatched=int(labels[target].is_not_null().sum()) - known.height,
    )


def read_labels(folder: Path, ids: Sequence[str], target: str, csv: Csv, *, binary: bool = False) -> pl.DataFrame:
    """Ids as text and outcomes as numbers, one row an id; a missing or NaN outcome is null.

    Raises:
        DataError: a column is missing, an outcome is neither a finite number nor true or false (if `binary`: none of 0,
            1, true and false), or ids repeat.
    """
    files = files_in(folder, "input 'labels'")
    wanted = [*ids, target]
    found = column_names(files[0], csv)
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise DataError(
            f"labels {files[0].name} lack column {names(lacking)}; they have {names(found)}, wanted {names(wanted)}."
            f"{did_you_mean(lacking[0], found)}"
        )
    empty = pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
    table = pl.concat([empty, *(batch.cast(pl.String) for batch in raw_batches(files, wanted, csv))])
    text = pl.col(target).str.strip_chars().str.to_lowercase()
    number = text.replace({"true": "1", "false": "0"}).cast(pl.Float64, strict=False)
    read = table.with_columns(number.alias("(number)"))
    outcome = pl.col("(number)").fill_nan(None)
    strange = ~outcome.is_in([0.0, 1.0]) if binary else outcome.abs() > GREATEST
    bad = read.filter(pl.col(target).is_not_null() & (pl.col("(number)").is_null() | strange))
    if bad.height:
        kinds = "0, 1, true or false, because the problem is binary" if binary else NUMBERS
        raise DataError(f"labels hold {target!r} = {bad[target][0]!r}, wanted {kinds}. Correct the labels.")
    labels = read.select(*ids, outcome.alias(target))
    doubled = labels.filter(pl.struct(ids).is_duplicated())
    if doubled.height:
        example = " ".join(str(value) for value in doubled.select(ids).row(0))
        raise DataError(f"labels name {example!r} more than once, wanted one outcome a row. Remove the others.")
    return labels
