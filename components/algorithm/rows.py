"""The rows of a channel as arrays, after everything that would teach a model nonsense has been refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from components.algorithm.settings import AlgorithmSettings, Task
from shared.artefact import open_artefact
from shared.errors import ArtefactError, DataError, SettingsError, did_you_mean, names
from shared.schema import Column, Schema
from shared.single import check_rows, single

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float32]
NUMERIC: Final = ("integer", "number", "boolean")
CURVE_ROWS: Final = 10_000
FEW_CELLS: Final = 1000
"""Cells that Python takes out of a table in less time than Polars' threads take to begin."""
LEAST_TARGET: Final = {"count:poisson": 0.0, "reg:tweedie": 0.0, "reg:gamma": np.nextafter(0.0, 1.0)}
"""Smallest target that an objective's likelihood allows."""
GREATEST_TARGET: Final = 1e18
"""Targets up to it have squared errors that float32, whose greatest is 3.4e38, can hold."""


@dataclass(frozen=True)
class Rows:
    """Rows to learn from or to measure on.

    Attributes:
        features: shape (rows, features), NaN where a value is missing, never infinite.
        target: shape (rows,), finite; class numbers from 0 when there are classes.
    """

    features: Floats
    target: Floats

    def __len__(self) -> int:
        """How many rows."""
        return len(self.target)


@dataclass(frozen=True)
class Tables:
    """What training works on.

    Attributes:
        schema: ids, features and target of the rows.
        classes: how many classes there are; 0 when the target is a number.
        state: digest of the processing state that made the rows; None when there was none.
        constant: features that have one value in all training rows.
    """

    schema: Schema
    train: Rows
    validation: Rows | None
    classes: int
    state: str | None
    constant: tuple[str, ...]


def tables(train: Path, validation: Path | None, state: Path | None, settings: AlgorithmSettings) -> Tables:
    """The channels as arrays.

    Args:
        train: folder of the channel `train`.
        validation: folder of the channel `validation`, if there is one.
        state: folder of the processing state that made both, if there is one.
        settings: name target and ids where no state does, and tell the task.

    Raises:
        SettingsError: nothing names the target, or the settings contradict the state.
        DataError: rows that cannot be learned from; what is wrong is named.
    """
    from shared.tables import files_in

    files = files_in(train, "channel 'train'")
    schema, digest = (inferred(files, settings), None) if state is None else declared(files, state, settings)
    check_numeric(schema)
    learned = read_rows(train, "train", schema)
    checked = None if validation is None else read_rows(validation, "validation", schema)
    classes = class_count(learned.target, settings)
    for name, rows in (("train", learned), ("validation", checked)):
        if rows is not None:
            check_target(rows.target, f"channel {name!r}", str(schema.target), settings, classes)
    return Tables(schema, learned, checked, classes, digest, constant_features(learned.features, schema.features))


def inferred(files: Sequence[Path], settings: AlgorithmSettings) -> Schema:
    """The schema of rows that no state describes: every column that is no id, no target and not dropped is a feature.

    Raises:
        SettingsError: no target is named.
        DataError: a column that the settings name is absent.
    """
    from shared.tables import column_names, inferred_schema

    if settings.target is None:
        raise SettingsError(
            f"nothing names the column to predict; channel 'train' has {names(column_names(files[0]))}. "
            "Set `target`, or add a channel called 'state'."
        )
    found = inferred_schema(files, ids=settings.ids, target=settings.target)
    for name in settings.drop:
        if name not in found.names:
            raise DataError(
                f"channel 'train' has no column {name!r} to drop; it has {names(found.names)}."
                f"{did_you_mean(name, found.names)}"
            )
    kept = (name for name in found.names if name not in (*settings.ids, *settings.drop, settings.target))
    return found.select((*settings.ids, *kept, settings.target))


def declared(files: Sequence[Path], state: Path, settings: AlgorithmSettings) -> tuple[Schema, str]:
    """The schema that a processing state declares for what it makes, and the state's digest.

    Raises:
        ArtefactError: the state cannot be trusted or does not describe its output.
        SettingsError: the settings name another target or other ids.
        DataError: the rows have columns that the state does not make.
    """
    from shared.tables import column_names

    artefact = open_artefact(state, "processing", "state")
    if "output_schema" not in artefact.extra:
        raise ArtefactError("state does not tell what it makes (extra.output_schema). Run processing again.")
    schema = Schema.from_json(artefact.extra["output_schema"])
    if schema.target is None:
        raise ArtefactError("state makes no target, so nothing can be learned. Run processing with `target` set.")
    if settings.target not in (None, schema.target):
        raise SettingsError(f"target is {settings.target!r}, but the state makes {schema.target!r}. Leave it out.")
    if settings.ids and settings.ids != schema.ids:
        raise SettingsError(f"ids are {names(settings.ids)}, but the state keeps {names(schema.ids)}. Leave them out.")
    if settings.drop:
        raise SettingsError(f"drop names {names(settings.drop)}, but the state fixes the features. Drop them there.")
    made = set(schema.names)
    foreign = [name for name in column_names(files[0]) if name not in made]
    if foreign:
        raise DataError(
            f"channel 'train' has {names(foreign)}, which the state does not make; it makes {names(schema.names)}. "
            "Use the state and the data of one processing run."
        )
    return schema, artefact.digest


def check_numeric(schema: Schema) -> None:
    """Make sure that there are features and that all of them are numbers.

    Raises:
        DataError: there is no feature, or one is text or a date.
    """
    if not schema.features:
        raise DataError(f"channel 'train' has no feature beside {names((*schema.ids, str(schema.target)))}.")
    for name in schema.features:
        kind = schema.column(name).type
        if kind not in NUMERIC:
            raise DataError(
                f"feature {name!r} holds {kind} (or nothing at all), wanted numbers. Run the processing component on "
                "the data first, or leave the column out with `drop`."
            )
    kind = schema.column(str(schema.target)).type
    if kind not in NUMERIC:
        raise DataError(
            f"target {schema.target!r} holds {kind}, wanted numbers (classes as 0, 1, 2, …). "
            "Derive such a column with the processing component."
        )


def read_rows(folder: Path, channel: str, schema: Schema) -> Rows:
    """The rows of a channel.

    Raises:
        DataError: the channel is empty, lacks a column, or holds a missing target, a number that is too large for
            float32 or a feature without any value.
    """
    from shared.tables import batches, files_in

    what = f"channel {channel!r}"
    wanted = schema.select((*schema.features, str(schema.target)))
    features: list[Floats] = []
    targets: list[Floats] = []
    start = 0
    for batch in batches(files_in(folder, what), wanted):
        missing = batch[str(schema.target)].is_null()
        if missing.any():
            raise DataError(
                f"{what}: target {schema.target!r} is missing in row {start + (missing.arg_max() or 0) + 1} "
                f"({missing.sum()} of the first {start + batch.height} rows). Leave such rows out of training."
            )
        for columns, found in ((schema.features, features), ((str(schema.target),), targets)):
            values = matrix(batch, columns)
            check_rows(values, batch, columns, what, start)
            found.append(values)
        start += batch.height
    if start == 0:
        raise DataError(f"{what} holds column names and no rows. Check the job that wrote it.")
    rows = Rows(np.concatenate(features), np.concatenate(targets)[:, 0])
    if channel == "train":
        check_present(rows.features, schema.features, what)
    return rows


def matrix(table: pl.DataFrame, columns: Sequence[str]) -> Floats:
    """Columns of numbers as float32, shape (rows, columns), row after row, NaN where a value is missing.

    A number that is too large for float32 is infinite, which `shared.single` finds.
    """
    import polars as pl

    # Expressions have a cost of their own, which a request of one row would notice.
    chosen = table if tuple(table.columns) == tuple(columns) else table.select(columns)
    if not all(dtype.is_float() for dtype in chosen.dtypes):
        chosen = chosen.select(pl.all().cast(pl.Float32))
    if 0 < chosen.height * chosen.width <= FEW_CELLS:
        return single(np.array(chosen.rows(), dtype=np.float64))
    return single(chosen.to_numpy())


def check_present(features: Floats, feature_names: Sequence[str], what: str) -> None:
    """Make sure that each feature has a value somewhere.

    Raises:
        DataError: a feature is missing in every row.
    """
    absent = [name for name, column in zip(feature_names, features.T, strict=True) if np.isnan(column).all()]
    if absent:
        raise DataError(
            f"{what}: {names(absent)} {'are' if len(absent) > 1 else 'is'} missing in all {len(features)} rows, "
            "so nothing can be learned from it. Leave it out, or mend the data."
        )


def sample(rows: Rows) -> Rows:
    """The rows, or 10,000 of them evenly spaced: enough for the curve of the training, measured after each round."""
    if len(rows) <= CURVE_ROWS:
        return rows
    chosen = np.linspace(0, len(rows) - 1, CURVE_ROWS).round().astype(np.int64)
    return Rows(rows.features[chosen], rows.target[chosen])


def constant_features(features: Floats, feature_names: Sequence[str]) -> tuple[str, ...]:
    """Features with one value, and never a missing one, in all rows."""
    return tuple(
        name for name, column in zip(feature_names, features.T, strict=True) if bool((column == column[0]).all())
    )


def class_count(target: Floats, settings: AlgorithmSettings) -> int:
    """How many classes there are: 0 when the target is a number, else as set, else as counted from the labels."""
    if settings.task == "regression":
        return 0
    if settings.task == "binary":
        return 2
    return settings.num_class or int(max(target.max(), 1)) + 1


def check_target(target: Floats, what: str, name: str, settings: AlgorithmSettings, classes: int) -> None:
    """Make sure that the target is one that the objective can learn.

    Raises:
        DataError: labels are no class numbers, there is one class or value only, or a value is below the least allowed.
    """
    if settings.task == "regression":
        check_numbers(target, what, name, settings.objective)
    else:
        check_labels(target, what, name, settings.task, classes)
    if (target == target[0]).all():
        raise DataError(
            f"{what}: target {name!r} is {plain(target[0])} in all {len(target)} rows, wanted at least two values. "
            "Check the time span and the split."
        )


def check_labels(target: Floats, what: str, name: str, task: Task, classes: int) -> None:
    """Make sure that labels are whole numbers from 0 to `classes` - 1. Raises DataError."""
    wrong = (target != np.round(target)) | (target < 0) | (target >= classes)
    if wrong.any():
        row = int(wrong.argmax())
        wanted = "0 or 1" if task == "binary" else f"whole numbers from 0 to {classes - 1}"
        raise DataError(
            f"{what}: target {name!r} is {plain(target[row])} in row {row + 1}, wanted {wanted} for this objective. "
            "Derive such a column, or choose another objective."
        )
    absent = sorted(set(range(classes)) - set(np.unique(target).astype(int).tolist()))
    if task == "multiclass" and what == "channel 'train'" and absent:
        raise DataError(f"{what}: no row has the class{'es' if len(absent) > 1 else ''} {absent} of target {name!r}.")


def check_numbers(target: Floats, what: str, name: str, objective: str) -> None:
    """Make sure that errors can be squared, and the objective's likelihood is defined. Raises DataError."""
    beyond = np.abs(target) > GREATEST_TARGET
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"{what}: target {name!r} is {plain(target[row])} in row {row + 1}, wanted a number from "
            f"-{GREATEST_TARGET:g} to {GREATEST_TARGET:g}, whose squares float32 can hold. Choose a larger unit."
        )
    least = LEAST_TARGET.get(objective)
    if least is not None and (target < least).any():
        row = int((target < least).argmax())
        wanted = "above 0" if least > 0 else "of at least 0"
        raise DataError(
            f"{what}: target {name!r} is {plain(target[row])} in row {row + 1}, wanted a number {wanted} for "
            f"objective {objective!r}."
        )


def plain(value: np.floating) -> str:
    """A number without a needless `.0`."""
    return f"{float(value):g}"


def class_weights(target: Floats, settings: AlgorithmSettings, classes: int) -> Floats | None:
    """The weight of each row that `class_weights` asks for, shape (rows,); None when all rows weigh the same.

    Balanced: rows / (classes × rows of the row's class), so that each class weighs the same in sum.

    Raises:
        SettingsError: a label is none of the classes, or has no weight.
    """
    wanted = settings.class_weights
    if wanted is None:
        return None
    labels = target.astype(np.int64)
    if wanted == "balanced":
        counts = np.bincount(labels, minlength=classes)
        return (len(labels) / (classes * counts[labels])).astype(np.float32)
    labelled = {str(label) for label in range(classes)}
    if set(wanted) != labelled:
        raise SettingsError(
            f"class_weights are for {names(sorted(wanted))}, wanted one for each of {names(sorted(labelled))}."
        )
    return np.array([wanted[str(label)] for label in range(classes)], dtype=np.float32)[labels]


def typed_cells(values: Floats, column: Column) -> list[float | int | bool | None]:
    """A column of float32 as JSON values of its schema type."""
    kinds = {"integer": int, "boolean": bool}
    kind = kinds.get(column.type, float)
    return [None if np.isnan(value) else kind(value) for value in values.tolist()]
