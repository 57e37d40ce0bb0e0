"""What train learns and serve compares with: counts in fixed cells, and how much blocks differ. No rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from components.monitoring.blocks import By, chosen_length
from components.monitoring.cells import Cells
from components.monitoring.distributions import Counts, FloatArray
from components.monitoring.tally import Moments
from shared.artefact import Artefact
from shared.errors import ArtefactError
from shared.files import read_json, write_text
from shared.schema import Type

FILE: Final = "baseline.json"
Task: TypeAlias = Literal["binary", "multiclass", "regression"]
"""What a model predicts."""


@dataclass(frozen=True)
class ColumnBaseline:
    """One column of the training data.

    Attributes:
        counts: values per cell, shape (cells.size,).
        missing: how many values were missing.
        wrong: how many were of another type than the column's.
        distinct: how many different levels there were; None where they were not counted.
        single: how many levels occurred once: the best guess at how many rows of as many others bring a new level
            (Good and Turing).
        moments: of a column of numbers.
        spread: greatest effect of a block against the others, one for each length of blocks.
        missing_spread: the same of the share of missing values.
    """

    name: str
    type: Type
    cells: Cells
    counts: Counts
    missing: int
    wrong: int
    distinct: int | None
    single: int
    moments: Moments
    spread: tuple[float, ...]
    missing_spread: tuple[float, ...]

    @property
    def rows(self) -> int:
        """Rows of the training data."""
        return int(self.counts.sum()) + self.missing + self.wrong

    @property
    def completeness(self) -> float:
        """Share of the rows that have a value, from 0 to 1."""
        return 1 - self.missing / self.rows

    @property
    def knows_all_levels(self) -> bool:
        """Whether a level that is not named is one that training did not have."""
        return self.cells.kind == "levels" and self.distinct == len(self.cells.levels)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        moments = self.moments
        return {
            "name": self.name,
            "type": self.type,
            **self.cells.to_json(),
            "counts": self.counts.tolist(),
            "missing": self.missing,
            "wrong": self.wrong,
            "distinct": self.distinct,
            "single": self.single,
            "moments": [moments.total, moments.mean, moments.squares, moments.low, moments.high]
            if moments.count
            else None,
            "spread": list(self.spread),
            "missing_spread": list(self.missing_spread),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ColumnBaseline:
        """The column that `to_json` wrote."""
        counts = np.array(value["counts"], dtype=np.int64)
        return cls(
            name=value["name"],
            type=value["type"],
            cells=Cells.from_json(value),
            counts=counts,
            missing=value["missing"],
            wrong=value["wrong"],
            distinct=value["distinct"],
            single=value["single"],
            moments=Moments(int(counts.sum()), *value["moments"]) if value["moments"] else Moments(),
            spread=tuple(value["spread"]),
            missing_spread=tuple(value["missing_spread"]),
        )


@dataclass(frozen=True)
class PredictionBaseline:
    """The distribution of a model's scores on its validation data.

    Attributes:
        outputs: names of the model's output columns.
        edges: of the bins, ascending, shape (n_bins + 1,); scores outside count in the outermost bins.
        counts: shape (n_bins,).
        spread: greatest effect of a stretch of validation rows against the others; None if the model does not tell.
        threshold: score from which the model decides for positive; None if it decides nothing.
        task: what the model predicts; None if that is not known.
    """

    outputs: tuple[str, ...]
    edges: FloatArray
    counts: Counts
    spread: float | None = None
    threshold: float | None = None
    task: Task | None = None

    def counted(self, scores: FloatArray) -> Counts:
        """Counts of scores in the baseline's bins [e[i], e[i+1]), shape (n_bins,)."""
        places = np.searchsorted(self.edges[1:-1], scores, side="right")
        return np.bincount(places, minlength=len(self.counts)).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return {
            "outputs": list(self.outputs),
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
            "spread": self.spread,
            "threshold": self.threshold,
            "task": self.task,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PredictionBaseline:
        """The prediction that `to_json` wrote."""
        return cls(
            tuple(value["outputs"]),
            np.array(value["edges"], dtype=np.float64),
            np.array(value["counts"], dtype=np.int64),
            value["spread"],
            value["threshold"],
            value.get("task"),
        )


@dataclass(frozen=True)
class Baseline:
    """The training data in counts.

    Attributes:
        blocks: what the blocks were cut by.
        lengths: of the blocks, in days if by time and in rows if by rows; empty where nothing was cut.
        block_counts: how many blocks there were of each length.
    """

    rows: int
    columns: tuple[ColumnBaseline, ...]
    blocks: By
    lengths: tuple[float, ...]
    block_counts: tuple[int, ...]
    prediction: PredictionBaseline | None = None

    def column(self, name: str) -> ColumnBaseline:
        """The column called `name`."""
        return next(column for column in self.columns if column.name == name)

    def length_for(self, days: int | None) -> int | None:
        """Position of the block length that a period of so many days is judged by; None: by the worst of all."""
        return chosen_length(self.lengths, days) if self.blocks == "time" else None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return {
            "rows": self.rows,
            "blocks": {"by": self.blocks, "lengths": list(self.lengths), "counts": list(self.block_counts)},
            "prediction": self.prediction.to_json() if self.prediction else None,
            "columns": [column.to_json() for column in self.columns],
        }

    def write(self, folder: Path) -> None:
        """Write `baseline.json`: one column a line, for its lists of numbers are long and nobody reads them."""
        value = self.to_json()
        columns = ",\n".join(_line(column) for column in value.pop("columns"))
        head = json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        write_text(folder / FILE, f'{head[:-1]},\n"columns":[\n{columns}\n]}}\n')

    @classmethod
    def from_artefact(cls, artefact: Artefact) -> Baseline:
        """The baseline of an opened artefact.

        Raises:
            ArtefactError: its file has another form.
        """
        try:
            value = read_json(artefact.file(FILE), "baseline")
            blocks = value["blocks"]
            return cls(
                rows=value["rows"],
                columns=tuple(ColumnBaseline.from_json(column) for column in value["columns"]),
                blocks=blocks["by"],
                lengths=tuple(blocks["lengths"]),
                block_counts=tuple(blocks["counts"]),
                prediction=PredictionBaseline.from_json(value["prediction"]) if value["prediction"] else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"baseline {FILE} cannot be read: {error!r}. Train again.") from None


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
