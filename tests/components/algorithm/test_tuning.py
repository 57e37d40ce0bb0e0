"""What SageMaker's tuning reads in the log of a training: the worth of the model that is kept."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines.tuning import metric_definitions


def last(metric: str, log: str) -> float:
    """The value that the service takes: the last one that the expression finds."""
    ((regex,),) = [[item["Regex"] for item in metric_definitions(metric)]]
    return float(re.findall(regex, log)[-1])


@pytest.mark.parametrize("metric", ["auc", "logloss", "error", "f1"])
def test_the_last_value_in_the_log_is_that_of_the_model_that_is_kept(
    ready: Any, metric: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where training went on past the round that is kept, and for metrics that the evaluation alone knows."""
    outcome = ready.run(
        num_round="60", eta="0.9", early_stopping_rounds="5", eval_metric='["auc", "logloss", "error"]',
        _tuning_objective_metric=f"validation:{metric}",
    )  # fmt: skip
    log = "".join(capfd.readouterr())
    evaluation = outcome.read("model/evaluation.json")
    training = evaluation["training"]

    assert outcome.code == 0, outcome.failure
    assert training["rounds"] > training["best_round"] + 1
    if metric in training["curves"]["validation"]:
        expected = training["curves"]["validation"][metric][training["best_round"]]
        assert expected != training["curves"]["validation"][metric][-1]
    else:
        expected = evaluation["metrics"][f"validation:{metric}"]
    assert last(f"validation:{metric}", log) == pytest.approx(expected, rel=1e-4)
