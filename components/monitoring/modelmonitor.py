"""`statistics.json` and `constraints.json` in the schema of SageMaker Model Monitor.

Sources: "Schema for Statistics" and "Schema for Constraints" in the SageMaker Developer Guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from components.monitoring.baseline import ColumnBaseline
from components.monitoring.cells import Cells
from components.monitoring.distributions import Counts, equal_width_counts
from components.monitoring.quality import constraints
from components.monitoring.settings import MonitoringSettings
from components.monitoring.tally import Moments, Tally
from shared.schema import Type

BUCKETS: Final = 10
"""As many as Model Monitor draws."""
INFERRED: Final[Mapping[Type, str]] = {
    "integer": "Integral",
    "number": "Fractional",
    "boolean": "String",
    "text": "String",
    "date": "String",
    "datetime": "String",
}


def inferred_type(type_: Type, present: int) -> str:
    """Model Monitor's name of a type; `Unknown` for a column without a value."""
    return INFERRED[type_] if present else "Unknown"


def column_statistics(
    name: str,
    type_: Type,
    cells: Cells,
    counts: Counts,
    missing: int,
    moments: Moments,
    distinct: int | None,
) -> dict[str, Any]:
    """One feature of `statistics.json`. Values of a wrong type count as missing there, which knows no third."""
    present = int(counts.sum())
    common = {"num_present": present, "num_missing": missing}
    head = {"name": name, "inferred_type": inferred_type(type_, present)}
    if cells.kind == "numbers" and present:
        return head | {"numerical_statistics": _numerical(common, cells, counts, moments)}
    if type_ == "integer" and cells.kind == "levels" and present:
        return head | {"numerical_statistics": _numerical_levels(common, cells, counts)}
    statistics: dict[str, Any] = {"common": common}
    if cells.kind == "levels":
        buckets = [
            {"value": level, "count": int(count)} for level, count in zip(cells.levels, counts, strict=False) if count
        ]
        statistics["distinct_count"] = float(len(buckets) if distinct is None else distinct)
        statistics["distribution"] = {"categorical": {"buckets": buckets}}
    return head | {"string_statistics": statistics}


def _numerical(common: Mapping[str, int], cells: Cells, counts: Counts, moments: Moments) -> dict[str, Any]:
    bounds, held = equal_width_counts(cells.edges, counts, moments.low, moments.high, BUCKETS)
    return {
        "common": dict(common),
        "mean": moments.mean,
        "sum": moments.total,
        "std_dev": moments.deviation,
        "min": moments.low,
        "max": moments.high,
        "distribution": {"kll": {"buckets": _buckets(bounds.tolist(), held.tolist())}},
    }


def _numerical_levels(common: Mapping[str, int], cells: Cells, counts: Counts) -> dict[str, Any]:
    """Statistics of whole numbers that are counted one by one; those without a cell of their own are left out."""
    named = np.array([float(level) for level in cells.levels])
    weights = counts[: len(named)].astype(np.float64)
    held = weights > 0
    if not held.any():
        return {"common": dict(common)}
    total, rows = float(named @ weights), float(weights.sum())
    mean = total / rows
    bounds = np.linspace(named[held].min(), named[held].max(), BUCKETS + 1)
    bucketed = np.histogram(named, bins=bounds, weights=weights)[0] if bounds[0] < bounds[-1] else np.array([rows])
    bounds = bounds if bounds[0] < bounds[-1] else bounds[:2]
    return {
        "common": dict(common),
        "mean": mean,
        "sum": total,
        "std_dev": float(np.sqrt(weights @ (named - mean) ** 2 / rows)),
        "min": float(named[held].min()),
        "max": float(named[held].max()),
        "distribution": {"kll": {"buckets": _buckets(bounds.tolist(), bucketed.tolist())}},
    }


def _buckets(bounds: Sequence[float], counts: Sequence[float]) -> list[dict[str, float]]:
    return [
        {"lower_bound": low, "upper_bound": high, "count": float(count)}
        for low, high, count in zip(bounds[:-1], bounds[1:], counts, strict=True)
    ]


def baseline_statistics(rows: int, columns: Sequence[ColumnBaseline]) -> dict[str, Any]:
    """`statistics.json` of the training data."""
    features = [
        column_statistics(
            column.name,
            column.type,
            column.cells,
            column.counts,
            column.missing + column.wrong,
            column.moments,
            column.distinct,
        )
        for column in columns
    ]
    return {"version": 0.0, "dataset": {"item_count": rows}, "features": features}


def production_statistics(columns: Sequence[ColumnBaseline], tally: Tally, present: Sequence[str]) -> dict[str, Any]:
    """`statistics.json` of production data, in the baseline's cells."""
    features = []
    for column in columns:
        if column.name not in present:
            continue
        found = tally.columns[column.name]
        known = int(np.count_nonzero(found.counts[:-1]))
        features.append(
            column_statistics(
                column.name,
                column.type,
                column.cells,
                found.counts,
                found.missing + found.wrong,
                found.moments,
                known + len(found.unknown) if column.cells.kind == "levels" else None,
            )
        )
    return {"version": 0.0, "dataset": {"item_count": tally.rows}, "features": features}


def constraints_json(columns: Sequence[ColumnBaseline], settings: MonitoringSettings) -> dict[str, Any]:
    """`constraints.json`: what production is held to."""
    features = []
    for column in columns:
        promised = constraints(column, settings)
        present = int(column.counts.sum())
        feature: dict[str, Any] = {
            "name": column.name,
            "inferred_type": inferred_type(column.type, present),
            "completeness": promised.completeness,
        }
        if column.moments.count:
            feature["num_constraints"] = {"is_non_negative": promised.non_negative}
        if promised.domain is not None:
            feature["string_constraints"] = {"domains": list(promised.domain)}
        features.append(feature)
    return {
        "version": 0.0,
        "features": features,
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Disabled",
            "datatype_check_threshold": 1.0 - settings.type_tolerance,
            "domain_content_threshold": 1.0 - settings.level_tolerance,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": settings.minimum_effect,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": settings.minimum_effect,
                "categorical_drift_method": "ChiSquared",
            },
        },
    }
