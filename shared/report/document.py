"""The report document: what a job found, as frozen records that survive JSON unchanged.

Every record turns itself into plain Python values when it is made: lists and arrays become tuples, numpy scalars become
Python numbers, NaN and infinity become None, characters that no XML or UTF-8 file may hold become U+FFFD. So two
documents that draw alike compare equal, and writing one can not fail on a number type.

A document is a drawing, not the data: a long series or swarm is thinned as it is made, which keeps `report.json` small.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from shared.errors import DataError

FORMAT = 1
"""Version of the JSON form; a reader refuses any other."""

SWARM_POINTS = 300
"""Most points kept of one feature in a beeswarm: more only thicken the cloud."""

SERIES_POINTS = 500
"""Most points kept of one line: a chart is drawn a few hundred pixels wide."""

STATES = ("", "good", "attention", "bad")
"""What a verdict or a badge may say besides its words; each is drawn with its own sign."""

Cell = str | int | float | bool | None
Number = int | float | None

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with every character that XML 1.0 or UTF-8 forbids replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def plain(value: Any) -> Any:
    """The value as str, int, float, bool, None, a record, or a tuple of these; NaN and infinity as None."""
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, bool | Record):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if hasattr(value, "tolist"):  # numpy and torch arrays and scalars, without importing either
        return plain(value.tolist())
    if hasattr(value, "to_list"):  # a Polars series
        return plain(value.to_list())
    raise TypeError(f"a report holds text, numbers and sequences of them, not {type(value).__name__} ({value!r:.80}).")


@dataclass(frozen=True)
class Record:
    """What every part of a document shares: plain values, and a JSON form that names its `kind`."""

    KIND: ClassVar[str] = ""
    KINDS: ClassVar[dict[str, type[Record]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the kind after the class, so that a document can be read back without a list to keep in step."""
        super().__init_subclass__(**options)
        cls.KIND = cls.__name__.lower()
        Record.KINDS[cls.KIND] = cls

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        self.check()

    def check(self) -> None:
        """Refuse fields that do not fit each other with ValueError; nothing to check unless a record says so."""

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values: its kind, then its fields in order of declaration."""
        return {"kind": self.KIND} | {field.name: _json(getattr(self, field.name)) for field in fields(self)}


def _json(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    return [_json(item) for item in value] if isinstance(value, tuple) else value


def _record(value: Any) -> Any:
    """The reverse of `_json`.

    Raises:
        DataError: a record's kind or one of its fields is not known, a field is missing, or the fields do not fit.
    """
    if isinstance(value, list):
        return tuple(_record(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    made = Record.KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise DataError(f"a report block has kind {kind!r}, wanted one of {sorted(Record.KINDS)}; run the job again.")
    try:
        return made(**{name: _record(item) for name, item in value.items() if name != "kind"})
    except (TypeError, ValueError) as error:
        raise DataError(f"a report block of kind {kind!r} can not be read: {error}; run the job again.") from None


def _same_length(owner: Record, first: str, *others: str) -> None:
    wanted = len(getattr(owner, first))
    for name in others:
        if len(getattr(owner, name)) != wanted:
            found = len(getattr(owner, name))
            raise ValueError(f"{owner.KIND}: {name} has {found} items, wanted {wanted}, as many as {first}.")


def _known_state(owner: Record, state: str) -> None:
    if state not in STATES:
        raise ValueError(f"{owner.KIND}: state is {state!r}, wanted one of {list(STATES)}.")


_Item = TypeVar("_Item")


def evenly(items: Sequence[_Item], limit: int) -> tuple[_Item, ...]:
    """At most `limit` of the items, evenly spaced by position, the first and the last among them."""
    if len(items) <= limit:
        return tuple(items)
    return tuple(items[round(index * (len(items) - 1) / (limit - 1))] for index in range(limit))


@dataclass(frozen=True)
class Fact(Record):
    """One figure on a card: the number large, what it counts under it."""

    label: str
    value: str | int | float | None
    note: str = ""


@dataclass(frozen=True)
class Facts(Record):
    """A row of figures."""

    items: tuple[Fact, ...]


@dataclass(frozen=True)
class Table(Record):
    """A table; the first column heads its rows when it holds text.

    `align` is one letter a column, `l`, `r` or `c`; left out, columns of numbers go right and all others left.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    align: str = ""
    title: str = ""

    def check(self) -> None:
        """Every row is as long as the header."""
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table: row {index} has {len(row)} cells, wanted {len(self.columns)}, one a column.")
        if self.align and (len(self.align) != len(self.columns) or set(self.align) - set("lrc")):
            raise ValueError(f"table: align is {self.align!r}, wanted one of 'l', 'r', 'c' for each column.")


@dataclass(frozen=True)
class Bars(Record):
    """Horizontal bars from zero; values may have either sign, a missing value leaves its row empty."""

    title: str
    labels: tuple[str, ...]
    values: tuple[Number, ...]
    unit: str = ""
    note: str = ""

    def check(self) -> None:
        """One value a label."""
        _same_length(self, "labels", "values")


@dataclass(frozen=True)
class Series(Record):
    """One line. A missing x or y interrupts it. More than `SERIES_POINTS` points are thinned evenly by position."""

    name: str
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    dashed: bool = False

    def check(self) -> None:
        """One y an x, and no more of them than a chart can show."""
        _same_length(self, "x", "y")
        object.__setattr__(self, "x", evenly(self.x, SERIES_POINTS))
        object.__setattr__(self, "y", evenly(self.y, SERIES_POINTS))


@dataclass(frozen=True)
class Lines(Record):
    """Lines over common axes. `diagonal` adds y = x for reference and gives both axes the same range.

    `names`, where there are any, stand on the x axis in the places of 1, 2, and so on.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    diagonal: bool = False
    note: str = ""
    names: tuple[str, ...] = ()

    def check(self) -> None:
        """A name for each place at which there is a point."""
        places = {x for series in self.series for x in series.x if x is not None}
        if self.names and not places <= set(range(1, len(self.names) + 1)):
            raise ValueError(f"lines: {self.title!r} has {len(self.names)} names, wanted one for each of its points.")


@dataclass(frozen=True)
class Histograms(Record):
    """Two binned distributions over the same edges, ascending; counts or shares, each is drawn as shares of its sum.

    Bins may differ in width. The first and last edge may be infinite or missing: that bin is open and is drawn as wide
    as the widest of the closed ones, at most.
    """

    title: str
    edges: tuple[Number, ...]
    expected: tuple[Number, ...]
    actual: tuple[Number, ...]
    names: tuple[str, str] = ("training", "production")
    note: str = ""
    badge: str = ""
    state: str = ""

    def check(self) -> None:
        """One edge more than bins, and edges in order."""
        _same_length(self, "expected", "actual")
        _known_state(self, self.state)
        if len(self.names) != 2:
            raise ValueError(f"histograms: names has {len(self.names)} items, wanted 2, expected and actual.")
        if len(self.edges) != len(self.expected) + 1 and (self.edges or self.expected):
            found = len(self.edges)
            raise ValueError(f"histograms: {found} edges, wanted {len(self.expected) + 1}, one more than bins.")
        inner = self.edges[1:-1]
        known = [edge for edge in self.edges if edge is not None]
        if None in inner or known != sorted(known):
            raise ValueError(f"histograms: the edges of {self.title!r} are not ascending, or one inside is missing.")


@dataclass(frozen=True)
class Categories(Record):
    """Two distributions over the same levels; counts or shares, each is drawn as shares of its sum."""

    title: str
    labels: tuple[str, ...]
    expected: tuple[Number, ...]
    actual: tuple[Number, ...]
    names: tuple[str, str] = ("training", "production")
    note: str = ""
    badge: str = ""
    state: str = ""

    def check(self) -> None:
        """One share a level and distribution."""
        _same_length(self, "labels", "expected", "actual")
        _known_state(self, self.state)
        if len(self.names) != 2:
            raise ValueError(f"categories: names has {len(self.names)} items, wanted 2, expected and actual.")


@dataclass(frozen=True)
class Matrix(Record):
    """A grid of counts, such as a confusion matrix; each row is also shown as shares of its sum."""

    title: str
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    values: tuple[tuple[Number, ...], ...]
    row_title: str = "actual"
    column_title: str = "predicted"
    note: str = ""

    def check(self) -> None:
        """One row a row label, one value a column label."""
        _same_length(self, "row_labels", "values")
        for row in self.values:
            if len(row) != len(self.column_labels):
                raise ValueError(f"matrix: a row has {len(row)} values, wanted {len(self.column_labels)}.")


@dataclass(frozen=True)
class Swarm(Record):
    """One feature of a beeswarm: its attributions, and the feature's own value scaled to 0..1 (None: not known).

    Missing attributions are left out. More than `SWARM_POINTS` are thinned evenly by rank, which keeps the extremes and
    the shape, and always keeps the same points. Sample the rows first when there are many: sorting them all is slow.
    """

    name: str
    values: tuple[Number, ...]
    colours: tuple[Number, ...] = ()

    def check(self) -> None:
        """No colours, or one a value; afterwards the points are in order of their value."""
        colours = self.colours or (None,) * len(self.values)
        if len(colours) != len(self.values):
            raise ValueError(f"swarm: {len(colours)} colours, wanted {len(self.values)}, as many as values, or none.")
        pairs = [(value, colour) for value, colour in zip(self.values, colours, strict=True) if value is not None]
        pairs.sort(key=lambda pair: (pair[0], -1.0 if pair[1] is None else pair[1]))
        kept = evenly(pairs, SWARM_POINTS)
        object.__setattr__(self, "values", tuple(value for value, _ in kept))
        object.__setattr__(self, "colours", tuple(colour for _, colour in kept))


@dataclass(frozen=True)
class Beeswarm(Record):
    """One row of points a feature, in the order given: attribution across, feature value as colour and size."""

    title: str
    features: tuple[Swarm, ...]
    x_label: str
    note: str = ""


@dataclass(frozen=True)
class Node(Record):
    """One job of a graph. `state` is free text; done, failed, running, waiting, skipped and reused have signs."""

    id: str
    label: str
    state: str = ""
    seconds: float | None = None
    rows: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Graph(Record):
    """Jobs and what each waits for, layers by what they wait for; an edge is (before, after)."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    title: str = ""
    note: str = ""

    def check(self) -> None:
        """Distinct node ids, and edges between nodes that exist."""
        known = {node.id for node in self.nodes}
        if len(known) != len(self.nodes):
            raise ValueError("graph: two nodes have the same id, wanted a different one for each.")
        unknown = sorted({end for edge in self.edges for end in edge} - known)
        if unknown:
            raise ValueError(f"graph: an edge names {unknown[0]!r}, wanted one of the nodes {sorted(known)}.")


@dataclass(frozen=True)
class Text(Record):
    """One paragraph."""

    paragraph: str


Block = Facts | Table | Bars | Lines | Histograms | Categories | Matrix | Beeswarm | Graph | Text


@dataclass(frozen=True)
class Section(Record):
    """A heading, a sentence or two, and blocks."""

    title: str
    blocks: tuple[Block, ...]
    text: str = ""


@dataclass(frozen=True)
class Report(Record):
    """What one job found.

    `rows` is how many rows the job worked on; `verdict` one short sentence, such as "No drift in 17 columns";
    `state` one of `STATES`, the sign beside the verdict.
    """

    title: str
    component: str
    mode: str
    rows: int
    sections: tuple[Section, ...]
    verdict: str = ""
    state: str = ""

    def check(self) -> None:
        """The state is a known one."""
        _known_state(self, self.state)

    def to_json(self) -> dict[str, Any]:
        """The document as JSON values, without NaN: what `report.json` holds."""
        return {"format": FORMAT} | super().to_json()

    @classmethod
    def from_json(cls, value: Any) -> Report:
        """The document that `to_json` wrote.

        Raises:
            DataError: not a report, of another format version, or with unknown blocks or fields.
        """
        if not isinstance(value, dict) or value.get("kind") != cls.KIND:
            raise DataError("this JSON is not a report: wanted an object of kind 'report', as a job writes it.")
        if value.get("format") != FORMAT:
            raise DataError(f"the report has format {value.get('format')!r}, wanted {FORMAT}: run the job again.")
        report: Report = _record({name: item for name, item in value.items() if name != "format"})
        return report
