"""Gates, and the metrics that they read."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import SettingsError
from shared.gates import Gate, GateResult, gate_results, metrics_of


@pytest.mark.parametrize(
    ("evaluation", "metrics"),
    [
        ({"validation": {"auc": 0.7}}, {"validation:auc": 0.7}),
        ({"metrics": {"validation:auc": 0.7}, "rounds": 5}, {"validation:auc": 0.7}),
        ({"binary": {"auc": {"value": 0.7, "standard_deviation": "NaN"}}}, {"binary:auc": 0.7}),
        ({"auc": None, "ok": True, "curve": [1, 2]}, {}),
        ([], {}),
    ],
)
def test_metrics_are_named_by_their_path(evaluation: Any, metrics: dict[str, float]) -> None:
    assert metrics_of(evaluation) == metrics


@pytest.mark.parametrize(
    ("low", "high", "value", "met"),
    [
        (0.6, None, 0.6, True),
        (0.6, None, 0.59, False),
        (None, 2.0, 2.1, False),
        (1.0, 2.0, 1.5, True),
        (0.0, None, None, False),
    ],
)
def test_a_gate_is_met_within_its_bounds(low: float | None, high: float | None, value: float | None, met: bool) -> None:
    assert GateResult(Gate(metric="m", min=low, max=high), value).met is met


def test_a_gates_record_reads_back_as_it_was() -> None:
    result = GateResult(Gate("auc", 0.6, None), 0.7)

    assert GateResult.from_json(result.to_json()) == result


def test_a_metric_that_nobody_measured_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"gate 'profit': .* has no such metric\. It has: validation:auc\."):
        gate_results((Gate("profit", 0.6),), {"validation:auc": 0.7})
