"""The settings of monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from components.monitoring.blocks import Blocking
from shared.errors import SettingsError, names
from shared.settings import Settings, parsed
from shared.tables import Csv


class MonitoringSettings(Settings):
    """What is monitored, and what counts as a change. Serve takes from the baseline what it is not told itself."""

    target: str | None = Field(
        None, min_length=1, description="The outcome: not monitored, need not be in the data; its column in `labels`."
    )
    ids: tuple[str, ...] = Field((), description="Columns that identify a row: not monitored; join scores and labels.")
    time: str | None = Field(None, min_length=1, description="Column by which rows are ordered; not monitored itself.")
    drop: tuple[str, ...] = Field((), description="Columns that are not monitored; the data may lack them.")
    header: bool = Field(True, description="Whether the first line of a CSV file names its columns.")
    separator: str = Field(",", min_length=1, max_length=1, description="What separates the cells of a CSV line.")
    missing: tuple[str, ...] = Field(Csv().missing, description="Cells of CSV that mean a missing value.")
    bins: int = Field(64, ge=8, le=64, description="Most bins of a column of numbers.")
    integer_levels: int = Field(
        10, ge=0, le=1000, description="Whole numbers with at most so many different values count as levels, like text."
    )
    max_levels: int = Field(
        200, ge=2, le=1000, description="Most levels of a column that are told apart; the rarer ones are one level."
    )
    block: str | int = Field(
        "auto",
        description="Stretches of training data whose differences are no drift: `3d` or `12h` by the time column, a "
        "number of rows, `file`, `none`. auto: by time, as long as the period that is checked; without time by file or "
        "in 20 stretches.",
    )
    margin: float = Field(
        1.5, ge=1, le=10, description="How much further than any block production may lie from the training data."
    )
    minimum_effect: float = Field(
        0.1,
        ge=0,
        le=2,
        description="Least effect that matters, as a shift in standard deviations.",
    )
    false_discovery_rate: float = Field(
        0.01, gt=0, le=0.5, description="Share of false alarms among all alarms that chance may cause."
    )
    min_rows: int = Field(100, ge=10, description="Fewer production rows are not tested for drift, only for quality.")
    type_tolerance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of values of a wrong type that is no violation, above training's.",
    )
    completeness_tolerance: float = Field(
        0.05, ge=0, le=1, description="How far a column's share of present values may fall below training's."
    )
    level_tolerance: float = Field(
        0.01, ge=0, le=1, description="Share of values with a level that training did not have that is no violation."
    )
    problem: Literal["auto", "binary", "regression"] = Field(
        "auto",
        description="What the labels are. auto: what the model predicts; without a model binary if all are "
        "0 or 1 (false or true), else regression.",
    )
    decision_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Score from which a row is decided positive. Default: the model's, else 0.5.",
    )

    @field_validator("block")
    @classmethod
    def _is_a_way_to_cut(cls, value: str | int) -> str | int:
        Blocking.parsed(value)
        return value

    @model_validator(mode="after")
    def _gives_each_column_one_role(self) -> Self:
        for role, columns in {"ids": self.ids, "drop": self.drop}.items():
            doubled = sorted({name for name in columns if columns.count(name) > 1})
            if doubled:
                raise ValueError(f"{role} names {names(doubled)} twice")
        if self.target in self.ids:
            raise ValueError(f"target {self.target!r} is among `ids`")
        return self

    def csv(self) -> Csv:
        """How the CSV files are written."""
        return Csv(self.header, self.separator, self.missing)


LEARNT: Final = ("target", "ids", "time", "drop", "bins", "integer_levels", "max_levels", "block")
"""Settings that act in train and are part of the baseline; serve cannot change them."""


def serving_settings(learnt: Mapping[str, Any], given: MonitoringSettings) -> MonitoringSettings:
    """The settings of a serve: the baseline's, and over them those that the serve itself was given.

    Raises:
        SettingsError: one that was learnt is given with another value.
    """
    baseline = parsed(MonitoringSettings, learnt)
    told = {name: getattr(given, name) for name in given.model_fields_set}
    changed = [name for name in LEARNT if name in told and told[name] != getattr(baseline, name)]
    if changed:
        name = changed[0]
        raise SettingsError(
            f"{name} is {told[name]!r}, but the baseline was made with {getattr(baseline, name)!r}. "
            "Leave it out, or train the baseline again."
        )
    return baseline.model_copy(update=told)
