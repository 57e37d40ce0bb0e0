"""A table read and handed to XGBoost, and the booster saved, with nothing around it: `FILE MODEL ROUNDS`.

Polars to float32 to a quantile matrix: the cheapest of ten ways to get a CSV file there.
"""

from __future__ import annotations

import os
import sys

import polars as pl

from shared.imports import XGBOOST_EXTRAS, without

with without(*XGBOOST_EXTRAS):
    import xgboost


def main(file: str, model: str, rounds: str) -> None:
    """Read, train, save."""
    table = pl.read_csv(file) if file.endswith(".csv") else pl.read_parquet(file)
    target = table.get_column("target").to_numpy()
    names = [name for name in table.columns if name != "target"]
    features = table.select(pl.col(names).cast(pl.Float32)).to_numpy()
    del table
    threads = len(os.sched_getaffinity(0))
    matrix = xgboost.QuantileDMatrix(features, target, feature_names=names, nthread=threads)
    parameters = {"objective": "binary:logistic", "eta": 0.1, "tree_method": "hist", "nthread": threads}
    xgboost.train(parameters, matrix, int(rounds)).save_model(model)


if __name__ == "__main__":
    main(*sys.argv[1:])
