"""The knobs of the explainability component."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.settings import Settings

Method = Literal["auto", "contributions", "woodelf"]


class ExplainabilitySettings(Settings):
    """How scores are explained. Ids, features and the target are the model's own and need no setting."""

    method: Method = Field(
        "auto",
        description="how attributions are computed: contributions (XGBoost's own, best for few rows), "
        "woodelf (vectorised, best for many rows), auto (chosen by model and rows); all give the same numbers",
    )
    rows: int = Field(20_000, ge=1, description="train: how many rows to explain, a uniform sample of the data")
    reasons: int = Field(3, ge=1, le=100, description="serve: how many reasons to give for each score")
    ndcg_threshold: float = Field(
        0.9, ge=0, le=1, description="serve: attribution drift is a violation when nDCG falls below this"
    )
    answer: Literal["attributions", "reasons"] = Field(
        "attributions",
        description="over HTTP: attributions (one column a feature) or reasons (the score and its strongest reasons)",
    )
    header: bool | None = Field(
        None, description="whether CSV data has a header line; left out, yes in train and no in serve"
    )
    batch_rows: int = Field(65_536, ge=1, le=1_000_000, description="rows held in memory at a time")
    seed: int = Field(0, ge=0, description="seed of the samples")
