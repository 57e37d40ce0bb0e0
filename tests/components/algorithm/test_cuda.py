"""Training on an NVIDIA device against training on the CPU: how far apart two models may be, and that they are not.

The device sums in another order, so a gain may tie the other way and a whole branch differ: models are compared by what
they say, not by their bytes. Scores and measures come from `serve`, which is always on the CPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost

from components.algorithm import booster
from components.algorithm.serve import load

FEATURES = ("age", "income", "visits", "noise")
FRAMEWORKS = [
    pytest.param("xgboost", id="xgboost"),
    pytest.param("torch", id="torch", marks=pytest.mark.torch),
]
SETTINGS = {
    "xgboost": {"num_round": "40", "max_depth": "4", "early_stopping_rounds": "0"},
    # Without dropout: the device draws other units to leave out, which is chance and not error.
    "torch": {"num_round": "15", "eta": "0.01", "hidden": "[32, 16]", "dropout": "0", "early_stopping_rounds": "0"},
}

MEAN_SCORE = 0.01
"""Mean absolute difference of the scores, which are probabilities."""
AUC = 0.005
CORRELATION = 0.995
"""Least correlation of the scores."""


@dataclass(frozen=True)
class Distance:
    """How far apart two models are on rows that neither has seen."""

    mean_score: float
    auc: float
    correlation: float

    @property
    def small(self) -> bool:
        return self.mean_score <= MEAN_SCORE and self.auc <= AUC and self.correlation >= CORRELATION


def distance(one: Any, other: Any, target: Any) -> Distance:
    """Of two models by their scores, shape (rows,), and the rows' labels."""
    areas = [area(target, scores) for scores in (one, other)]
    return Distance(
        mean_score=float(np.abs(one - other).mean()),
        auc=abs(areas[0] - areas[1]),
        correlation=float(np.corrcoef(one, other)[0, 1]),
    )


def area(target: Any, scores: Any) -> float:
    """The area under the ROC curve: the share of pairs in the right order, by ranks (Mann and Whitney)."""
    ranks = pl.Series(scores).rank().to_numpy()
    ones = target == 1
    count = int(ones.sum())
    return float((ranks[ones].sum() - count * (count + 1) / 2) / (count * (len(target) - count)))


@pytest.fixture
def rows(known_table: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """Rows of few values a feature, so that both devices find the same bins, which are no part of the comparison."""
    return lambda count, seed: known_table(count, seed).with_columns(pl.col(FEATURES).round(1))


@pytest.fixture
def scores(
    job: Any, tmp_path: Path, rows: Callable[..., pl.DataFrame], capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Trains a framework on a device and gives its scores of unseen rows, and what the training said."""

    def found(framework: str, device: str, seed: int = 1) -> tuple[Any, str]:
        training = type(job)(tmp_path / f"{framework}-{device}-{seed}")
        training.channel("train", rows(4000, seed))
        training.channel("validation", rows(1000, 2))
        training.hyperparameters = {"target": "late", "ids": '["flight"]', "nthread": "1"}
        outcome = training.run(framework=framework, device=device, **SETTINGS[framework])

        assert outcome.code == 0, outcome.failure
        answer = load(outcome.model, {}).answer(unseen(rows).select("flight", *FEATURES))
        assert isinstance(answer, pl.DataFrame)
        return answer["score"].to_numpy(), capsys.readouterr().out

    return found


def unseen(rows: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return rows(2000, 9)


def usable(framework: str) -> None:
    """Skip where the framework that is installed was built without CUDA."""
    if framework == "xgboost":
        built = bool(xgboost.build_info()["USE_CUDA"])
    else:
        import torch

        built = bool(torch.version.cuda)
    if not built:
        pytest.skip(f"this {framework} was built without CUDA: install requirements/{framework}-cuda.txt")


# --- The half that every machine runs: the comparison itself


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_cpu_is_no_distance_from_itself(framework: str, scores: Any, rows: Any) -> None:
    one, _ = scores(framework, "cpu")
    other, _ = scores(framework, "cpu")
    found = distance(one, other, unseen(rows)["late"].to_numpy())

    assert (found.mean_score, found.auc) == (0, 0)
    assert found.correlation == pytest.approx(1)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_model_of_other_rows_is_further_away_than_is_allowed(framework: str, scores: Any, rows: Any) -> None:
    """The tolerances tell a device's rounding from another sample of the same problem."""
    one, _ = scores(framework, "cpu")
    other, _ = scores(framework, "cpu", seed=5)

    assert not distance(one, other, unseen(rows)["late"].to_numpy()).small


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_where_there_is_no_device_the_model_is_the_cpus(framework: str, scores: Any, rows: Any) -> None:
    if booster.reached() or (framework == "torch" and torch_reaches()):
        pytest.skip("there is a device: see the tests marked cuda")
    one, _ = scores(framework, "cpu")
    other, said = scores(framework, "cuda")

    assert said.count("device cuda is not there") == 1
    assert np.array_equal(one, other)


def torch_reaches() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


# --- The half that a device runs


@pytest.mark.cuda
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_device_gives_what_the_cpu_gives(framework: str, scores: Any, rows: Any) -> None:
    usable(framework)
    there, said = scores(framework, "cuda")
    here, _ = scores(framework, "cpu")
    found = distance(there, here, unseen(rows)["late"].to_numpy())

    assert "device cuda is not there" not in said
    assert found.small, found


@pytest.mark.cuda
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_device_gives_the_same_twice(framework: str, scores: Any) -> None:
    usable(framework)
    one, _ = scores(framework, "cuda")
    other, _ = scores(framework, "cuda")

    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.cuda
def test_xgboost_reaches_the_device_that_answers() -> None:
    usable("xgboost")

    assert booster.reached()
