"""Gates: bounds on the metrics of a model, which decide whether its release may become the current one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import SettingsError, did_you_mean


@dataclass(frozen=True)
class Gate:
    """A metric, and the least and the greatest value that it may have."""

    metric: str
    min: float | None = None
    max: float | None = None
    step: str = "algorithm"


@dataclass(frozen=True)
class GateResult:
    """A gate, and what the metric was."""

    gate: Gate
    value: float | None

    @property
    def met(self) -> bool:
        """Whether the metric is there and within the gate's bounds."""
        low = -math.inf if self.gate.min is None else self.gate.min
        high = math.inf if self.gate.max is None else self.gate.max
        return self.value is not None and low <= self.value <= high

    def __str__(self) -> str:
        limits = (("at least", self.gate.min), ("at most", self.gate.max))
        bounds = [f"{word} {bound:g}" for word, bound in limits if bound is not None]
        value = "absent" if self.value is None else f"{self.value:.4f}"
        return f"{self.gate.metric} is {value}, wanted {' and '.join(bounds)}"

    def to_json(self) -> dict[str, Any]:
        """The gate's record in a release; `from_json` reads it back."""
        bounds = {"min": self.gate.min, "max": self.gate.max}
        return {"metric": self.gate.metric, "step": self.gate.step, **bounds, "value": self.value, "met": self.met}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> GateResult:
        """The result that a release holds."""
        gate = Gate(record["metric"], record.get("min"), record.get("max"), record.get("step", "algorithm"))
        return cls(gate, record["value"])


def metrics_of(evaluation: Any) -> dict[str, float]:
    """Every number of an evaluation.json under its path: `{"validation": {"auc": 0.7}}` gives `validation:auc`."""
    found: dict[str, float] = {}

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                # SageMaker's evaluation files hold {"auc": {"value": 0.7}}; the metric is called auc all the same.
                walk(value, path if key == "value" else (*path, str(key)))
        elif isinstance(node, int | float) and not isinstance(node, bool) and path and math.isfinite(node):
            found[":".join(path)] = float(node)

    walk(evaluation.get("metrics", evaluation) if isinstance(evaluation, Mapping) else {}, ())
    return found


def gate_results(gates: Sequence[Gate], metrics: Mapping[str, float]) -> tuple[GateResult, ...]:
    """Each gate with its metric's value.

    Raises:
        SettingsError: the evaluation has no such metric, so that the gate could never be met.
    """
    for gate in gates:
        if gate.metric not in metrics:
            hint = did_you_mean(gate.metric, metrics) or f" It has: {', '.join(sorted(metrics)[:12])}."
            raise SettingsError(f"gate {gate.metric!r}: the model's evaluation.json has no such metric.{hint}")
    return tuple(GateResult(gate, metrics[gate.metric]) for gate in gates)
