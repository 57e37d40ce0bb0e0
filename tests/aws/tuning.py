"""What SageMaker's tuning jobs draw, search and refuse: arithmetic on their requests."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Request = Mapping[str, Any]

KINDS: Final = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")


def ranges(request: Request) -> list[tuple[str, Any]]:
    """Every range, with its kind."""
    found = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    return [(kind, one) for kind in KINDS for one in found.get(kind, ())]


def drawn(request: Request) -> Iterator[dict[str, str]]:
    """The values of each training: all combinations of a grid, else at random, the same at every run."""
    configuration = request["HyperParameterTuningJobConfig"]
    if configuration["Strategy"] == "Grid":
        named = [[(one["Name"], value) for value in one["Values"]] for _, one in ranges(request)]
        yield from (dict(combination) for combination in itertools.product(*named))
        return
    chance = random.Random(configuration.get("RandomSeed", 0))
    for _ in range(configuration["ResourceLimits"]["MaxNumberOfTrainingJobs"]):
        yield {one["Name"]: _value(kind, one, chance) for kind, one in ranges(request)}


def _value(kind: str, one: Any, chance: random.Random) -> str:
    if kind == "CategoricalParameterRanges":
        return str(chance.choice(one["Values"]))
    low, high = float(one["MinValue"]), float(one["MaxValue"])
    if kind == "IntegerParameterRanges":
        return str(chance.randint(int(one["MinValue"]), int(one["MaxValue"])))
    if one.get("ScalingType") == "Logarithmic":
        return repr(math.exp(chance.uniform(math.log(low), math.log(high))))
    return repr(chance.uniform(low, high))


def training(request: Request, name: str, values: dict[str, str]) -> Request:
    """The training job that tries some values."""
    definition = dict(request["TrainingJobDefinition"])
    fixed = definition.pop("StaticHyperParameters", {})
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    more = {"_tuning_objective_metric": objective}
    return {**definition, "TrainingJobName": name, "HyperParameters": {**fixed, **values, **more}}


def found(request: Request, log: str) -> list[dict[str, Any]]:
    """The last value of the objective in a training's log."""
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    metrics = request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    (regex,) = (metric["Regex"] for metric in metrics if metric["Name"] == objective)
    values = re.findall(regex, log)
    return [{"MetricName": objective, "Value": float(values[-1])}] if values else []


def inconsistent(request: Request) -> Iterator[str]:
    """What the service refuses although it fits the shapes."""
    configuration, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    limits = configuration["ResourceLimits"]
    if configuration["Strategy"] == "Grid":
        if {kind for kind, _ in ranges(request)} != {"CategoricalParameterRanges"}:
            yield "Grid takes categorical ranges alone."
    elif limits.get("MaxNumberOfTrainingJobs", 0) < limits["MaxParallelTrainingJobs"]:
        yield "MaxNumberOfTrainingJobs is less than MaxParallelTrainingJobs."
    if limits["MaxParallelTrainingJobs"] > 10:
        yield "MaxParallelTrainingJobs is more than 10."
    searched = {one["Name"] for _, one in ranges(request)}
    if both := searched & set(definition.get("StaticHyperParameters", {})):
        yield f"hyperparameters {sorted(both)} are both static and tuned."
    objective = configuration["HyperParameterTuningJobObjective"]["MetricName"]
    if objective not in {metric["Name"] for metric in definition["AlgorithmSpecification"]["MetricDefinitions"]}:
        yield f"objective {objective} is none of the metric definitions."
    for _, one in ranges(request):
        if "MinValue" in one and float(one["MinValue"]) >= float(one["MaxValue"]):
            yield f"range {one['Name']} is empty."
