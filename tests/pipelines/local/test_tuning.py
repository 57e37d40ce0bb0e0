"""A manifest with tuning on this machine: one training, and a sentence that says so."""

from __future__ import annotations

import asyncio

from pipelines.local.plan import plan
from pipelines.local.runs import utc_now
from tests.pipelines.conftest import SPECS, Toy

TUNED = (
    "algorithm: {settings: {auc: 0.7}, train: {}",
    "algorithm: {settings: {auc: 0.7}, train: {tuning: {metric: 'validation:auc', direction: maximize, "
    "ranges: {auc: {min: 0.8, max: 0.9}}}}",
)
SENTENCE = (
    "engine local tunes nothing: it trains once, with the settings as they stand; "
    "'sagemaker-pipelines', 'step-functions', 'airflow' tune on SageMaker."
)


def test_the_run_trains_once_with_the_settings_as_they_stand_and_says_so(toy: Toy) -> None:
    outcome = asyncio.run(toy.runner(TUNED).training())

    assert outcome.trained is not None
    assert [gate.value for gate in outcome.trained.gates] == [0.7]
    assert toy.told.sentences.count(SENTENCE) == 1


def test_the_plan_says_so(toy: Toy) -> None:
    assert f"  tuning    {SENTENCE}" in list(plan(toy.declare(TUNED), SPECS, toy.storage, utc_now()))
    assert not any("tunes" in line for line in plan(toy.declare(), SPECS, toy.storage, utc_now()))
