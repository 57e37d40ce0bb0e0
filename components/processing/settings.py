"""The settings of processing."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from shared.errors import names
from shared.settings import Settings
from shared.tables import Csv

Impute = Literal["median", "mean", "zero", "none"]
Scale = Literal["none", "standard", "minmax", "robust"]
Encode = Literal["ordinal", "onehot", "frequency"]
Part = Literal["year", "month", "day", "weekday", "hour"]


class Split(Settings):
    """Which rows are held out of fitting."""

    by: Literal["time", "random"] | None = Field(
        None, description="time: the latest rows are held out; random. Default: time where `time` is set, else random."
    )
    validation: float = Field(0.2, ge=0, lt=1, description="Share of the rows for validation.")
    test: float = Field(0.0, ge=0, lt=1, description="Share of the rows for a test set; by time, the very latest.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the random split.")

    @model_validator(mode="after")
    def _leaves_rows_for_training(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} and test {self.test} leave no rows for training")
        return self


class ProcessingSettings(Settings):
    """How raw rows become features. Serve reads only the file format and `max_rejected`; the rest is in the state."""

    target: str | None = Field(None, min_length=1, description="Column to predict, or a derived one. Train needs it.")
    ids: tuple[str, ...] = Field((), description="Columns that identify a row: handed through as text, no features.")
    time: str | None = Field(None, min_length=1, description="Column by which rows are ordered; no feature by itself.")
    drop: tuple[str, ...] = Field((), description="Columns, raw or derived, that are not used as features.")
    where: str | None = Field(
        None, min_length=1, description="SQL condition: the rows that train keeps. Serve keeps all rows."
    )
    derive: dict[str, str] = Field(
        {}, description="New columns as SQL expressions of one row, by name; they may use one another."
    )
    features: tuple[str, ...] | None = Field(
        None, min_length=1, description="Columns to make features of. Default: all that have no other role."
    )
    impute: Impute = Field("median", description="What replaces missing numbers; none keeps them missing.")
    scale: Scale = Field("none", description="How numbers are scaled; encoded text is not.")
    encode: Encode = Field("ordinal", description="How text becomes numbers.")
    min_frequency: float = Field(
        0.001, ge=0, lt=1, description="Levels of text rarer than this share of the training rows become one level."
    )
    dates: tuple[Part, ...] = Field(
        ("year", "month", "day", "weekday", "hour"),
        min_length=1,
        description="Parts that a date or timestamp becomes; hour of timestamps only. Monday is weekday 1.",
    )
    split: Split = Field(Split(), description="Which rows are held out of fitting.")
    header: bool = Field(True, description="Whether the first line of a CSV file names its columns.")
    separator: str = Field(",", min_length=1, max_length=1, description="What separates the cells of a CSV line.")
    missing: tuple[str, ...] = Field(Csv().missing, description="Cells of CSV that mean a missing value.")
    max_rejected: float = Field(0.1, ge=0, le=1, description="Share of rows that serve may reject before it fails.")

    @model_validator(mode="after")
    def _gives_each_column_one_role(self) -> Self:
        if self.split.by == "time" and self.time is None:
            raise ValueError("split.by is 'time', wanted the column's name in `time` too")
        roles = {"ids": self.ids, "drop": self.drop, "features": self.features or ()}
        for role, columns in roles.items():
            doubled = sorted({name for name in columns if columns.count(name) > 1})
            if doubled:
                raise ValueError(f"{role} names {names(doubled)} twice")
            if self.target in columns:
                raise ValueError(f"target {self.target!r} is among `{role}`")
        both = sorted(set(self.features or ()) & {*self.ids, *self.drop})
        if both:
            raise ValueError(f"features names {names(both)}, which `ids` or `drop` names too")
        return self

    def csv(self) -> Csv:
        """How the CSV files are written."""
        return Csv(self.header, self.separator, self.missing)


SERVING: Final = frozenset({"header", "separator", "missing", "max_rejected"})
"""Settings that serve reads; all others act in train and are part of the state."""
