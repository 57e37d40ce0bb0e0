"""A manifest's `tuning` as CreateHyperParameterTuningJob wants it: objective, limits, ranges, metric definitions.

Source: "Perform automatic model tuning with SageMaker AI" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pipelines.manifest import Range, Tuning
from pipelines.settings import Schema, is_whole, own_name

Request = dict[str, Any]

TUNING_NAME: Final = 32
"""Characters of a tuning job's name, fewer than any other job's."""
SCALES: Final[Mapping[str, str]] = {
    "auto": "Auto",
    "linear": "Linear",
    "log": "Logarithmic",
    "reverse-log": "ReverseLogarithmic",
}


def as_hyperparameter(value: Any) -> str:
    """A setting as a hyperparameter: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False, sort_keys=True)


def configuration(tuning: Tuning, schema: Schema, seed: int) -> Request:
    """HyperParameterTuningJobConfig.

    Args:
        tuning: what the manifest says.
        schema: of the algorithm's settings; it decides which ranges are of whole numbers.
        seed: of the search.
    """
    limits = {"MaxParallelTrainingJobs": tuning.parallel}
    if tuning.strategy != "Grid":  # whose jobs are counted by the service: every combination is trained
        limits["MaxNumberOfTrainingJobs"] = tuning.max_jobs
    return {
        "Strategy": tuning.strategy,
        "HyperParameterTuningJobObjective": {"Type": tuning.direction.capitalize(), "MetricName": tuning.metric},
        "ResourceLimits": limits,
        "ParameterRanges": parameter_ranges(tuning.ranges, schema),
        "TrainingJobEarlyStoppingType": tuning.early_stopping.capitalize(),
        "RandomSeed": seed,
    }


def parameter_ranges(ranges: Mapping[str, Range], schema: Schema) -> Request:
    """ParameterRanges: every number as text, each list only where it has something."""
    found: dict[str, list[Request]] = {}
    for name, one in sorted(ranges.items()):
        if one.values:
            listed = {"Name": name, "Values": [as_hyperparameter(value) for value in one.values]}
            found.setdefault("CategoricalParameterRanges", []).append(listed)
            continue
        whole = is_whole(name, schema)
        if whole is None:
            whole = isinstance(one.min, int) and isinstance(one.max, int)
        kind = "IntegerParameterRanges" if whole else "ContinuousParameterRanges"
        ends = {"MinValue": _number(one.min, whole), "MaxValue": _number(one.max, whole)}
        found.setdefault(kind, []).append({"Name": name, **ends, "ScalingType": SCALES[one.scale]})
    return found


def _number(value: float | None, whole: bool) -> str:
    assert value is not None
    return str(int(value)) if whole else repr(float(value))


def metric_definitions(metric: str) -> list[Request]:
    """Where the metric stands in the log: on a line for each round, and last on that of the model that is kept.

    SageMaker compares trainings by the last value; the earlier ones are what `early_stopping` looks at.
    """
    rows, _, name = metric.partition(":")
    return [{"Name": metric, "Regex": rf"{rows}[-:]{re.escape(name)}=([0-9\.eE+-]+);"}]


def fixed(settings: Mapping[str, Any], tuning: Tuning, schema: Schema) -> dict[str, Any]:
    """The settings that are no matter of tuning, which the service wants in one place alone."""
    searched = {own_name(name, schema) for name in tuning.ranges}
    return {name: value for name, value in settings.items() if own_name(name, schema) not in searched}
