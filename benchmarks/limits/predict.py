"""Request bodies parsed and scored in one process and one thread: `MODEL BODIES SCORES`.

Prints the CPU-seconds of that alone, without imports.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np
import polars as pl

from shared.imports import XGBOOST_EXTRAS, without

with without(*XGBOOST_EXTRAS):
    import xgboost


def main(model: str, bodies: str, scores: str) -> None:
    """Score every body, the first one twice to get warm, and keep the scores as text."""
    booster = xgboost.Booster({"nthread": 1}, model_file=model)
    sent = [path.read_bytes() for path in sorted(Path(bodies).iterdir())]
    columns = [f"f{index}" for index in range(booster.num_features())]

    def scored(body: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        table = pl.read_csv(body, has_header=False, new_columns=columns, schema_overrides=[pl.Float32] * len(columns))
        return np.asarray(booster.inplace_predict(table.to_numpy(), validate_features=False))

    scored(sent[0])
    begun = time.process_time()
    answers = [scored(body) for body in sent]
    spent = time.process_time() - begun
    np.savetxt(scores, np.concatenate(answers), fmt="%.9g")
    print(json.dumps({"cpu_s": spent}))


if __name__ == "__main__":
    main(*sys.argv[1:])
