"""A first manifest for a data file: what its columns are taken for, and why.

Looking at the file is one thing, deciding another: `looked_at` reads, `drafted` decides from what was seen, `text_of`
writes it down with the reasons as comments, for a person to correct.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pipelines.values import use_case_name
from shared.errors import DataError, SettingsError, did_you_mean, names
from shared.schema import Type

if TYPE_CHECKING:
    import polars as pl

Task = Literal["binary", "multiclass", "regression"]

REASONS: Final = 46
"""The column in which reasons begin, where the line before them is short enough."""
ROWS: Final = 200_000
"""Rows that are looked at, from the beginning of the file."""
LEVELS: Final = 20
"""Whole numbers with at most so many different values are classes."""
MOST_CLASSES: Final = 1000
TARGETS: Final = (
    "target", "label", "class", "outcome", "y", "churn", "churned", "default", "fraud", "converted", "survived",
    "clicked", "bought", "late", "price", "sales", "demand",
)  # fmt: skip
"""Names of columns that are likely to be what is to be predicted, the likeliest first."""
ID: Final = re.compile(r"(^|[_\s.-])(id|ids|key|uuid|guid|number|nr|no|code)$|Id$|^index$", re.IGNORECASE)
OBJECTIVES: Final[dict[Task, str]] = {
    "binary": "binary:logistic",
    "multiclass": "multi:softprob",
    "regression": "reg:squarederror",
}
PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ -]*[A-Za-z0-9_/]|[A-Za-z_]")
WORDS: Final = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null", "none"})
"""What YAML takes for something else than text."""
EXPANSION: Final = {".parquet": 4.0, ".gz": 5.0}
"""How much larger the same rows are as plain CSV, about."""
NUMBERS: Final = 0.95
"""Share of a column's cells that are numbers once their commas are points, from which it is one of numbers."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a column: its type, and counts over the rows that were looked at."""

    name: str
    type: Type
    missing: int
    distinct: int


@dataclass(frozen=True)
class Look:
    """What was seen of a file."""

    uri: str
    columns: tuple[Seen, ...]
    rows: int
    gigabytes: float
    separator: str = ","

    def column(self, name: str) -> Seen:
        """The column of this name.

        Raises:
            SettingsError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = [column.name for column in self.columns]
        hint = did_you_mean(name, known) or f" It has {names(known, 20)}."
        raise SettingsError(f"the data have no column {name!r}.{hint}")


@dataclass(frozen=True)
class Draft:
    """What the manifest will say; each decision with its reason."""

    name: str
    look: Look
    target: Seen
    target_reason: str
    task: Task
    task_reason: str
    ids: tuple[str, ...]
    ids_reason: str
    time: str | None
    time_reason: str


def looked_at(path: Path, uri: str, rows: int = ROWS) -> Look:
    """What a CSV, Parquet or JSON lines file holds.

    Raises:
        DataError: it cannot be read, or holds no rows.
    """
    import polars as pl

    from shared.tables import Csv, batches, inferred_schema

    if not path.is_file():
        raise DataError(f"{path} does not exist, wanted a .csv, .parquet or .jsonl file.")
    csv = Csv(separator=_separator(_header(path)))
    schema = inferred_schema([path], rows=rows, csv=csv)
    taken: list[pl.DataFrame] = []
    count = 0
    for batch in batches([path], schema, csv):
        taken.append(batch.head(rows - count))
        count += taken[-1].height
        if count >= rows:
            break
    table = pl.concat(taken)
    if csv.separator != ",":
        _check_points(path, table, schema.names)
    seen = tuple(_seen(table, column.name, column.type) for column in schema.columns)
    factor = EXPANSION.get(path.suffix, 1.0)
    return Look(uri, seen, table.height, path.stat().st_size * factor / 1e9, csv.separator)


def _header(path: Path) -> str:
    """The first line of a CSV file, whose beginning is UTF-8; of other files none.

    Raises:
        DataError: it is not; the remedy is named.
    """
    if ".csv" not in path.suffixes:
        return ""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            header = file.readline()
            for _ in itertools.islice(file, ROWS):
                pass
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8 text ({error.reason}). Convert it, such as by "
            f"`iconv --from-code ISO-8859-1 --to-code UTF-8 {path.name}`."
        ) from None
    except (OSError, EOFError):
        return ""  # the reader tells what is wrong
    return header


def _separator(header: str) -> str:
    """What separates the cells of a header: a comma where there is one."""
    from shared.tables import SEPARATORS

    return "," if "," in header else next((mark for mark in SEPARATORS if mark in header), ",")


def _check_points(path: Path, table: pl.DataFrame, columns: Iterable[str]) -> None:
    """Refuse numbers with decimal commas, which would be taken for text, where cells are not separated by commas.

    Raises:
        DataError: a column has some, and hardly anything but numbers.
    """
    import polars as pl

    for name in columns:
        cells = table[name].drop_nulls()
        if cells.dtype != pl.String or not cells.str.contains(",", literal=True).any():
            continue
        pointed = cells.str.strip_chars().str.replace_all(r"[. ]", "").str.replace(",", ".", literal=True)
        if pointed.cast(pl.Float64, strict=False).is_not_null().sum() >= NUMBERS * len(cells):
            first = cells.filter(cells.str.contains(",", literal=True))[0]
            raise DataError(
                f"{path} has numbers with decimal commas in column {name!r}, such as {first!r}, wanted points. "
                "Write them with points, or the table as Parquet."
            )


def _seen(table: pl.DataFrame, name: str, kind: Type) -> Seen:
    present = table[name].drop_nulls()
    return Seen(name, kind, table.height - present.len(), present.n_unique())


def drafted(
    name: str, look: Look, target: str | None = None, ids: Sequence[str] = (), time: str | None = None
) -> Draft:
    """The decisions; what the caller says wins.

    Raises:
        SettingsError: a column that the caller names is not there, or cannot be what he says.
    """
    chosen, target_reason = _target(look, target)
    task, task_reason = _task(chosen, look.rows)
    chosen_ids, ids_reason = _ids(look, chosen, ids)
    chosen_time, time_reason = _time(look, chosen, time)
    if not [column for column in look.columns if column.name not in (chosen.name, *chosen_ids)]:
        raise SettingsError(f"no column is left to predict {chosen.name!r} from. Take data with more columns.")
    return Draft(name, look, chosen, target_reason, task, task_reason, chosen_ids, ids_reason, chosen_time, time_reason)


def _target(look: Look, said: str | None) -> tuple[Seen, str]:
    if said is not None:
        return look.column(said), "as you said"
    by_name = {column.name.lower(): column for column in look.columns if column.type not in ("date", "datetime")}
    for likely in TARGETS:
        if likely in by_name and by_name[likely].distinct > 1:
            return by_name[likely], "by its name; --target names another"
    fitting = [
        column
        for column in look.columns
        if column.type not in ("date", "datetime") and column.distinct > 1 and not _is_id(column, look.rows)
    ]
    if not fitting:
        raise SettingsError(
            f"no column could be predicted: in the first {look.rows:,} rows all are dates, ids or constant. "
            "Name one with --target, and mix the rows if they are sorted by it."
        )
    return fitting[-1], f"{_why_last(look, fitting[-1])}; --target names another"


def _why_last(look: Look, chosen: Seen) -> str:
    """Why this column, where no name says more: what comes behind it does not fit, or nothing does."""
    behind = look.columns[look.columns.index(chosen) + 1 :]
    if not behind:
        return "the last column, for no name says more"
    constant = [column.name for column in behind if column.distinct < 2]
    still = f"; {names(constant)} {'is' if len(constant) == 1 else 'are'} constant there" if constant else ""
    return f"the last column that varies in the first {look.rows:,} rows and is no date and no id{still}"


def _task(target: Seen, rows: int) -> tuple[Task, str]:
    if target.distinct < 2:
        raise SettingsError(
            f"target {target.name!r} has {target.distinct} value, wanted two at least in the first {rows:,} rows. "
            "Name another, or mix the rows if they are sorted by it."
        )
    if target.type in ("date", "datetime"):
        raise SettingsError(f"target {target.name!r} holds dates, wanted numbers, booleans or text. Name another.")
    if target.distinct == 2:
        return "binary", "it has two values"
    if target.type == "text" and target.distinct > MOST_CLASSES:
        raise SettingsError(
            f"target {target.name!r} has {target.distinct:,} texts, too many for classes. Name another."
        )
    if target.type == "text" or (target.type == "integer" and target.distinct <= LEVELS):
        return "multiclass", f"it has {target.distinct} classes"
    return "regression", f"it has {target.distinct:,} different numbers"


def _is_id(column: Seen, rows: int) -> bool:
    unique = column.missing == 0 and column.distinct == rows and rows > 1
    return unique and (column.type == "text" or (column.type == "integer" and ID.search(column.name) is not None))


def _ids(look: Look, target: Seen, said: Sequence[str]) -> tuple[tuple[str, ...], str]:
    if said:
        return tuple(look.column(name).name for name in said), "as you said"
    found = tuple(column.name for column in look.columns if _is_id(column, look.rows) and column != target)
    return found, "a value of its own in each row" if found else "no column has a value of its own in each row"


def _time(look: Look, target: Seen, said: str | None) -> tuple[str | None, str]:
    if said is not None:
        return look.column(said).name, "as you said"
    found = [column for column in look.columns if column.type in ("date", "datetime") and column != target]
    if not found:
        return None, "no column holds dates"
    full = [column for column in found if column.missing == 0] or found
    others = [column.name for column in found if column != full[0]]
    more = f"; {names(others)} {'does' if len(others) == 1 else 'do'} too" if others else ""
    return full[0].name, f"it holds dates{more}"


def text_of(draft: Draft) -> str:
    """The manifest, in YAML."""
    metric, least, why = _gate(draft)
    head = f"# Drafted from the first {draft.look.rows:,} rows of {draft.look.uri}: correct what is wrong, then"
    lines = [
        head,
        "#   python -m pipelines validate <this file>",
        "#   python -m pipelines run <this file>",
        "apiVersion: quartet/v1",
        f"name: {draft.name}",
        "",
        "data:",
        *_data(draft),
        "",
        "components:",
        "  processing:",
        "    settings:",
        *_processing(draft),
        *_written(draft),
        "  algorithm:",
        _because(f"    settings: {{objective: {OBJECTIVES[draft.task]}}}", f"{draft.target.name}: {draft.task_reason}"),
        *_monitoring(draft),
        "  explainability: {}",
        "",
        "pipelines:",
        "  training:",
        _because(f'    gates: [{{metric: "{metric}", min: {least:g}}}]', why),
        _because("    release: {approve: automatic}", "manual: somebody promotes each release"),
    ]
    return "\n".join(lines) + "\n"


def _because(line: str, why: str) -> str:
    return f"{line.ljust(REASONS)} # {why}"


def _data(draft: Draft) -> list[str]:
    uri = scalar(draft.look.uri)
    lines = [
        f"  train: {{uri: {uri}}}",
        _because(f"  score: {{uri: {uri}}}", "name new rows here; they need no outcome"),
        _because("  # labels: {uri: …}", "their outcomes, once they are known"),
    ]
    if draft.ids:
        lines.append(_because(f"  ids: [{', '.join(map(scalar, draft.ids))}]", draft.ids_reason))
    if draft.time:
        lines.append(_because(f"  time: {scalar(draft.time)}", draft.time_reason))
    size = float(f"{max(draft.look.gigabytes, 0.001):.2g}")
    return [
        *lines,
        _because(f"  target: {scalar(draft.target.name)}", draft.target_reason),
        _because(f"  gigabytes: {size:g}", "as CSV; machines and disks are chosen by it"),
    ]


def _processing(draft: Draft) -> list[str]:
    target, lines = draft.target, []
    if target.missing:
        condition = json.dumps(f'"{target.name}" IS NOT NULL', ensure_ascii=False)
        lines.append(_because(f"      where: {condition}", f"{target.missing:,} rows have no {target.name}"))
    if draft.time:
        return [
            *lines,
            _because("      split: {by: time, validation: 0.2}", "the latest rows: no look into the future"),
        ]
    return [*lines, _because("      split: {by: random, validation: 0.2}", draft.time_reason)]


def _monitoring(draft: Draft) -> list[str]:
    written = _written(draft)
    return ["  monitoring:", "    settings:", *written] if written else ["  monitoring: {}"]


def _written(draft: Draft) -> list[str]:
    """What those who read the raw data have to know of how they are written."""
    separator = draft.look.separator
    return [] if separator == "," else [_because(f"      separator: {scalar(separator)}", "between cells of CSV")]


def _gate(draft: Draft) -> tuple[str, float, str]:
    """The metric, its least value, and why: better than an answer that knows nothing."""
    if draft.task == "binary":
        return "validation:auc", 0.5, "better than chance; raise it once you know what to expect"
    if draft.task == "multiclass":
        share = float(f"{1 / draft.target.distinct:.2g}")
        return "validation:accuracy", share, "better than guessing; raise it once you know what to expect"
    return "validation:r2", 0, "better than the mean; raise it once you know what to expect"


def scalar(text: str) -> str:
    """Text as YAML, with quotes where they are needed."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def name_of(stem: str) -> str:
    """A file's name as a use case's: small letters, digits and hyphens, at most 24.

    Raises:
        SettingsError: it is one that Parameter Store reserves.
    """
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    name = (name if name[:1].isalpha() else f"use-case-{name}")[:24].rstrip("-")
    try:
        return use_case_name(name)
    except ValueError as wanted:
        raise SettingsError(f"the use case would be called {name!r}, wanted {wanted}. Give another --name.") from None


def relative(path: Path, folder: Path) -> str:
    """A file as a uri of a manifest in `folder`: relative where it lies below it.

    Raises:
        SettingsError: its path has braces, which a uri of the manifest would take for placeholders.
    """
    path, folder = path.absolute(), folder.absolute()
    found = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    if re.search(r"[{}]", found):
        raise SettingsError(f"data {found!r} has braces in its path, which mark placeholders in a uri. Rename it.")
    return found


def described(draft: Draft) -> Iterable[str]:
    """The decisions in a few lines."""
    yield f"target     {draft.target.name}: {draft.target_reason}"
    yield f"objective  {OBJECTIVES[draft.task]}: {draft.task_reason}"
    yield f"ids        {', '.join(draft.ids) or 'none'}: {draft.ids_reason}"
    yield f"time       {draft.time or 'none'}: {draft.time_reason}"
