"""Passes over the prepared rows of a training run: to part them, to know their columns, to find medians."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from components.processing.selection import Keys, Quantile, Selection, key_array, number_keys
from components.processing.settings import Split
from components.processing.split import PARTS, Cuts, cut_ranks, parts, random_keys
from components.processing.spool import Spool
from components.processing.state import Number
from components.processing.summary import Levels, Numbers, Summary, numbers_of, summary_of
from shared.errors import DataError
from shared.schema import Column

LEVELS: Final = 100_000
"""Different texts of one column beyond which it is taken for an identifier: they are counted in memory."""

TOGETHER: Final = 256
"""Columns whose medians are sought in one pass: 128 MB of counts. A wide table takes more passes, each over its own."""


@dataclass(frozen=True)
class Parted:
    """The prepared rows, and which part each belongs to.

    Attributes:
        data: the rows of the input `data`.
        validation: the rows of the input `validation`, which then are the validation part.
        time: the column whose order parts the rows; None parts them at random.
        seed: of the random order.
        cuts: where the parts begin.
    """

    data: Spool
    validation: Spool | None = None
    time: str | None = None
    seed: int = 0
    cuts: Cuts = field(default_factory=Cuts)

    def batches(self, part: str, columns: Iterable[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows of one part, in the order in which they came; with `columns`, those alone and the time."""
        code = PARTS.index(part)
        wanted = None if columns is None else list(dict.fromkeys([*columns, *([self.time] if self.time else ())]))
        for batch, keys in self._keyed(wanted):
            chosen = batch.filter(pl.Series(parts(keys, self.cuts) == code))
            if chosen.height:
                yield chosen
        if part == "validation" and self.validation is not None:
            yield from self.validation.batches(wanted)

    def all_keys(self) -> Iterator[Keys]:
        """The keys by whose order the rows are parted."""
        if self.time is None:
            yield random_keys(0, self.data.rows, self.seed)
        else:
            yield from (keys for _, keys in self._keyed([self.time]))

    def _keyed(self, columns: list[str] | None = None) -> Iterator[tuple[pl.DataFrame, Keys]]:
        start = 0
        for batch in self.data.batches(columns):
            if self.time is None:
                yield batch, random_keys(start, batch.height, self.seed)
            else:
                yield batch, key_array(batch[self.time].to_physical().to_numpy())
            start += batch.height


def parted(data: Spool, validation: Spool | None, time: str | None, split: Split) -> Parted:
    """The rows with the cuts that the split asks for; an input `validation` takes the place of its validation share.

    Raises:
        DataError: no row is left for training.
    """
    by_time = time if split.by == "time" or (split.by is None and time) else None
    whole = Parted(data, validation, by_time, split.seed)
    ranks = cut_ranks(data.rows, 0.0 if validation is not None else split.validation, split.test)
    wanted = [rank for rank in ranks if rank is not None]
    if any(rank <= 0 for rank in wanted):
        raise DataError(
            f"{data.rows:,} row{'s are' if data.rows > 1 else ' is'} too few to hold out validation {split.validation} "
            f"and test {split.test}. Give more rows, or set both shares of split to 0."
        )
    selection = Selection(wanted)
    while not selection.done:
        for keys in whole.all_keys():
            selection.update(keys)
        selection.narrow()
    found = selection.result()
    return replace(whole, cuts=Cuts(*(found[rank] if rank is not None else None for rank in ranks)))


@dataclass(frozen=True)
class Known:
    """What a pass has found.

    Attributes:
        columns: by part, then by column.
        numbers: by feature, of the training rows alone: the numbers that features are made of, parts of dates too.
        rows: by part.
    """

    columns: Mapping[str, Mapping[str, Summary]]
    numbers: Mapping[str, Numbers]
    rows: Mapping[str, int]


def known(rows: Parted, columns: Iterable[Column], sources: Iterable[Number]) -> Known:
    """What there is to know of the columns, and of the numbers that will be features.

    Raises:
        DataError: no row is left for training, or a column of text is an identifier.
    """
    wanted = tuple(columns)
    # A plain number is summarised as a column already: only parts of dates need a summary of their own.
    dated = [source for source in sources if source.part is not None]
    numbers = {source.name: Numbers() for source in dated}
    found: dict[str, dict[str, Summary]] = {}
    counts = dict.fromkeys(PARTS, 0)
    for part in PARTS:
        found[part] = {column.name: summary_of(column.type) for column in wanted}
        for batch in rows.batches(part):
            counts[part] += batch.height
            for name, summary in found[part].items():
                summary.update(batch[name])
                _check_levels(name, summary)
            if part == "train":
                for values in batch.select(source.source() for source in dated).get_columns():
                    numbers[values.name].update(values)
    if not counts["train"]:
        raise DataError(
            f"the split by time {rows.time!r} leaves no row for training: rows of one time stay together, and there "
            "are too few different times. Set split.by to 'random', or its shares lower."
        )
    plain = {name: summary for name, summary in found["train"].items() if isinstance(summary, Numbers)}
    return Known(found, plain | numbers, counts)


def _check_levels(name: str, summary: Summary) -> None:
    if isinstance(summary, Levels) and len(summary.counts) > LEVELS:
        raise DataError(
            f"column {name!r} holds more than {LEVELS:,} different texts, which is an identifier and no category. "
            "Name it under `ids` or `drop`."
        )


def quantiles(rows: Parted, wanted: Mapping[Number, Mapping[str, Quantile]]) -> dict[str, dict[str, float]]:
    """Quantiles of the training rows' numbers, exactly: by feature, then by the name that `wanted` gives them."""
    sought = [source for source, items in wanted.items() if items]
    groups = [sought[start : start + TOGETHER] for start in range(0, len(sought), TOGETHER)]
    keys = {
        source: found for group in groups for source, found in _keys(rows, {it: wanted[it] for it in group}).items()
    }
    return {
        source.name: {name: item.value(keys[source]) for name, item in items.items()}
        for source, items in wanted.items()
    }


def _keys(rows: Parted, wanted: Mapping[Number, Mapping[str, Quantile]]) -> dict[Number, Mapping[int, int]]:
    """The keys at the ranks that the quantiles of some features need."""
    seeking = {source: Selection(sorted(_ranks(items))) for source, items in wanted.items()}
    keys: dict[Number, Mapping[int, int]] = {}
    while seeking:
        columns = [source.source() for source in seeking]
        for batch in rows.batches("train", {source.column: None for source in seeking}):
            for selection, values in zip(seeking.values(), batch.select(columns).get_columns(), strict=True):
                selection.update(number_keys(numbers_of(values)))
        for source, selection in list(seeking.items()):
            selection.narrow()
            if selection.done:
                keys[source] = seeking.pop(source).result()
    return keys


def _ranks(items: Mapping[str, Quantile]) -> set[int]:
    return {rank for item in items.values() for rank in (item.below, item.above)}
