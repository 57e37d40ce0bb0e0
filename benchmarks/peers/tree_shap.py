"""Attributions with shap.TreeExplainer as it comes: `MODEL FILE ROWS ATTRIBUTIONS`.

`FILE` is CSV without a header. Prints the CPU-seconds without imports.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pandas as pd
import shap
import xgboost


def spent() -> float:
    """CPU-seconds of this process so far."""
    times = os.times()
    return times.user + times.system


def main(model: str, file: str, rows: str, attributions: str) -> None:
    """Explain the first rows."""
    begun = spent()
    booster = xgboost.Booster(model_file=model)
    table = pd.read_csv(file, header=None, nrows=int(rows))
    table.columns = pd.Index(booster.feature_names)
    found = shap.TreeExplainer(booster).shap_values(table)
    cost = spent() - begun
    np.savetxt(attributions, found, fmt="%.9g", delimiter=",")
    print(json.dumps({"cpu_s": cost, "rows": len(table)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
