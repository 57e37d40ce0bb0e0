"""Drift with Evidently's DataDriftPreset as it comes: `REFERENCE CURRENT ROWS`.

Prints the CPU-seconds without imports.
"""

from __future__ import annotations

import json
import os
import sys

import pandas as pd
import pyarrow.parquet as pq
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def spent() -> float:
    """CPU-seconds of this process so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def first_rows(file: str, rows: int) -> pd.DataFrame:
    """The first rows of a Parquet file."""
    return next(pq.ParquetFile(file).iter_batches(rows)).to_pandas()


def main(reference: str, current: str, rows: str) -> None:
    """Compare the two and say which columns drifted."""
    begun = spent()
    before, after = first_rows(reference, int(rows)), first_rows(current, int(rows))
    numbers = [name for name in before.columns if name.startswith("n")]
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in before.columns if name not in numbers]
    )
    snapshot = Report([DataDriftPreset()]).run(
        Dataset.from_pandas(after, data_definition=definition), Dataset.from_pandas(before, data_definition=definition)
    )
    found = snapshot.dict()
    cost = spent() - begun
    share = next(metric["value"] for metric in found["metrics"] if "DriftedColumnsCount" in metric["metric_name"])
    print(json.dumps({"cpu_s": cost, "rows": len(before), "drifted": share["count"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
