"""What SageMaker Clarify's readers read: analysis.json, and the violations of an attribution-drift check.

Source: "Analysis Results" and "Feature attribution drift for models in production", SageMaker Developer Guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.explainability.importance import Importance

Array = NDArray[np.floating[Any]]

VERSION: Final = "1.0"
CHECK: Final = "feature_attribution_drift_check"


def label(output: int) -> str:
    """Clarify's name of an output."""
    return f"label{output}"


def column(feature: str, output: int) -> str:
    """Clarify's name of the attributions of a feature to an output."""
    return f"{feature}_{label(output)}"


def analysis(importance: Importance, expected: Array, features: Sequence[str]) -> dict[str, Any]:
    """The document analysis.json: global attributions per output, in margin space.

    The method is called `kernel_shap` whatever computed the values: the SDK's model cards skip any other name.
    """
    explained = {
        label(output): {
            "global_shap_values": dict(zip(features, map(float, means), strict=True)),
            "expected_value": float(expected[output]),
        }
        for output, means in enumerate(importance.mean_absolute)
    }
    return {"version": VERSION, "explanations": {"kernel_shap": explained}}


def violations(agreement: Mapping[str, float], threshold: float) -> dict[str, Any]:
    """The document constraint_violations.json: one violation for each output whose nDCG is below the threshold."""
    found = [
        {
            "label": name,
            "metric_name": "shap",
            "constraint_check_type": CHECK,
            "description": f"Feature attribution drift {value:.4f} exceeds threshold {threshold:g}",
        }
        for name, value in agreement.items()
        if value < threshold
    ]
    return {"version": VERSION, "violations": found}
