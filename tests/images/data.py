"""A small known problem, raw, and how each component is told about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

Settings = Mapping[str, Any]

FEATURES: Final = ("age", "income", "carrier")
SETTINGS: Final[Settings] = {"target": "late", "ids": ["flight"], "time": "when"}
BASELINE: Final[Settings] = {"target": "late", "ids": ["flight"], "time": "when"}
ROWS: Final = 400


def training(rows: int = 2000) -> pl.DataFrame:
    """Rows whose odds of `late` rise with age and with one of the three carriers."""
    generator = np.random.default_rng(1)
    age, income = generator.normal(size=(2, rows))
    carrier = generator.choice(["AA", "B6", "UA"], rows)
    odds = 2 * age + (carrier == "UA") - 1
    late = generator.random(rows) < 1 / (1 + np.exp(-odds))
    return pl.DataFrame(
        {
            "flight": [f"F{row:05d}" for row in range(rows)],
            "when": [date(2013, 1, 1) + timedelta(days=row * 90 // rows) for row in range(rows)],
            "age": age,
            "income": income,
            "carrier": carrier,
            "late": late.astype(np.int64),
        }
    )


def production(rows: int = ROWS) -> pl.DataFrame:
    """Later rows, without the outcome."""
    table = training(rows).drop("late")
    return table.with_columns(pl.col("flight").str.replace("F", "P"), pl.col("when").dt.offset_by("90d"))
