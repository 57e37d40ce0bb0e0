"""Whether two ways gave the same numbers: `python -m benchmarks.answers WHAT FILES…` prints how far they are apart.

A process of its own, so that the one that measures needs neither tables nor boosters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shared.imports import XGBOOST_EXTRAS, without

ROWS: Final = 10_000


def transformed(made: str, expected: str) -> dict[str, Any]:
    """The standardised numbers that processing made, beside those that the peer saved: they come first there."""
    theirs = np.load(expected, allow_pickle=False)
    ours = pl.scan_parquet(f"{made}/*.parquet").select(pl.col("^n\\d\\d$")).head(len(theirs)).collect().to_numpy()
    return {"rows": len(ours), "difference": greatest(ours, theirs[:, : ours.shape[1]])}


def trained(model: str, other: str, file: str) -> dict[str, Any]:
    """The scores of two boosters for the first rows of a table."""
    with without(*XGBOOST_EXTRAS):
        import xgboost
    scan = pl.scan_csv(file) if file.endswith(".csv") else pl.scan_parquet(file)
    rows = scan.head(ROWS).drop("target").collect().cast(pl.Float32).to_numpy()
    boosters = [xgboost.Booster(model_file=path) for path in (model, other)]
    scores = [booster.inplace_predict(rows, validate_features=False) for booster in boosters]
    return {"rows": len(rows), "difference": greatest(*scores)}


def attributed(output: str, explainer: str, rows: str, expected: str | None = None) -> dict[str, Any]:
    """Whether attributions sum to the margin, and how far they are from the peer's.

    Additivity is relative to the terms, as the component checks it: |Σφ + base − margin| ÷ max(Σ|φ| + |base|, 0.001).
    """
    with without(*XGBOOST_EXTRAS):
        import xgboost
    ours = pl.read_csv(output).to_numpy()
    booster = xgboost.Booster(model_file=f"{explainer}/model.ubj")
    sent = pl.concat([pl.read_csv(path, has_header=False) for path in sorted(Path(rows).iterdir())])
    features = sent.cast(pl.Float32).to_numpy()
    margins = booster.inplace_predict(features, predict_type="margin", validate_features=False)
    # The bias is the last column of XGBoost's own contributions.
    named = xgboost.DMatrix(features[:1], feature_names=booster.feature_names)
    base = float(booster.predict(named, pred_contribs=True)[0, -1])
    terms = np.maximum(np.abs(ours).sum(axis=1) + abs(base), 1e-3)
    said = {"rows": len(ours), "additivity": float(np.max(np.abs(ours.sum(axis=1) + base - margins) / terms))}
    if expected is None:
        return said
    theirs = np.loadtxt(expected, delimiter=",", ndmin=2)
    return {**said, "difference": greatest(ours[: len(theirs)], theirs)}


def greatest(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """The greatest absolute difference. Raises ValueError where shapes differ."""
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.shape} numbers cannot be held against {theirs.shape}")
    return float(np.max(np.abs(ours - theirs)))


KINDS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "transformed": transformed,
    "trained": trained,
    "attributed": attributed,
}

if __name__ == "__main__":
    print(json.dumps(KINDS[sys.argv[1]](*sys.argv[2:])))
