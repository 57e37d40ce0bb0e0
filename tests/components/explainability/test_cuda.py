"""Attributions of trees that a device made, and those that a device computes, against ours, which the CPU computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.testing import assert_allclose

from components.explainability.attributions import Explainer, predicted
from components.explainability.settings import Method
from tests.components.explainability.models import features, labels, trained

ROUTES: tuple[Method, ...] = ("contributions", "woodelf")
ADDITIVE = 1e-4
"""Largest distance of the attributions' sum from the margin: that of the product."""
KERNEL = 1e-4
"""Largest distance of the device's own attributions from ours, in margins; they run over about 4 here."""


def of_device(booster: xgboost.Booster, device: str, rows: Any) -> Any:
    """XGBoost's own attributions on a device, shape (rows, features + 1); the last column is the expected value."""
    other = booster.copy()
    other.set_param({"device": device, "nthread": 1})
    return other.predict(xgboost.DMatrix(rows), pred_contribs=True)


def compared(device: str, method: Method) -> None:
    """Trees made on a device, explained by us and by the device."""
    matrix = features(3000)
    parameters = {"objective": "binary:logistic", "max_depth": 4, "device": device, "tree_method": "hist"}
    made = trained(parameters, matrix, labels(matrix))
    rows = features(500, seed=2)
    wanted = of_device(made, device, rows)
    made.set_param({"device": "cpu"})
    ours = Explainer(made, method).attributions(rows)
    total = ours.values[:, 0].sum(axis=1) + ours.expected[0]

    assert np.ptp(wanted) > 1
    assert_allclose(total, predicted(made, rows, output_margin=True).reshape(-1), rtol=0, atol=ADDITIVE)
    assert_allclose(ours.values[:, 0], wanted[:, :-1], rtol=0, atol=KERNEL)
    assert_allclose(ours.expected[0], wanted[0, -1], rtol=0, atol=KERNEL)


@pytest.mark.parametrize("method", ROUTES)
def test_the_comparison_holds_on_the_cpu(method: Method) -> None:
    compared("cpu", method)


@pytest.mark.cuda
@pytest.mark.parametrize("method", ROUTES)
def test_a_device_attributes_as_we_do(method: Method) -> None:
    if not xgboost.build_info()["USE_CUDA"]:
        pytest.skip("this xgboost was built without CUDA: install the algorithm's requirements/xgboost-cuda.txt")
    compared("cuda", method)
