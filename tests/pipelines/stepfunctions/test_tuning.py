"""A tuning job as a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.aws.places import site_of
from pipelines.aws.shapes import jsonata_hole, problems
from pipelines.cloudformation.template import waiting
from pipelines.graph import training_graph
from pipelines.manifest import UseCase
from pipelines.stepfunctions.jobs import short_name
from pipelines.stepfunctions.printer import definitions, render
from tests.aws.data import toy_use_case
from tests.aws.states import evaluated
from tests.pipelines.sagemaker.test_tuning import TUNED


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return toy_use_case(tmp_path, TUNED, ("data:\n", "defaults: {retries: 3}\ndata:\n"))


@pytest.fixture
def states(use_case: UseCase) -> Any:
    return definitions(render(use_case, specs(), {}))["training"]["States"]


def test_the_state_waits_for_a_tuning_job_that_fits_the_service(states: Any) -> None:
    state = states["algorithm"]

    assert state["Resource"] == "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync"
    assert list(problems("CreateHyperParameterTuningJob", state["Arguments"], jsonata_hole)) == []


def test_a_tuning_is_not_begun_again_and_its_trainings_are(states: Any) -> None:
    assert "algorithm again?" not in states
    assert "processing again?" in states
    assert states["algorithm"]["Arguments"]["TrainingJobDefinition"]["RetryStrategy"] == {"MaximumRetryAttempts": 3}


def test_the_name_is_short_enough_and_new_at_every_try() -> None:
    context = {
        "Execution": {"Id": "arn:aws:states:x:1:execution:m:run", "RedriveCount": 0},
        "State": {"Name": "algorithm", "RetryCount": 0},
    }
    body = short_name("quartet-a-long-name-of-a-use-case-algorithm").body
    names = [
        evaluated(f"($states := {{'context': {context}, 'input': {{'tries': {tries}}}}}; {body})") for tries in (0, 1)
    ]

    assert len(set(names)) == 2
    assert all(len(name) == 32 and name.startswith("quartet-a-long-name-of-") for name in names)


def test_on_batch_the_algorithm_trains_once(use_case: UseCase) -> None:
    states = definitions(render(use_case, specs(), {}, platform="batch"))["training"]["States"]

    assert states["algorithm"]["Resource"].endswith("batch:submitJob.sync")
    assert not any("hyper" in str(state).lower() for state in states.values())


def test_the_machines_role_may_tune_and_hear_of_the_end(use_case: UseCase) -> None:
    graph = training_graph(use_case.manifest, specs(), tunes=True)
    found = waiting(site_of(use_case.manifest), graph.jobs)
    actions = {action: statement["Resource"] for statement in found for action in statement["Action"]}
    jobs = ["arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/quartet-toy-*"]

    for verb in ("Create", "Describe", "Stop"):
        assert actions[f"sagemaker:{verb}HyperParameterTuningJob"] == jobs
    assert actions["sagemaker:ListTrainingJobsForHyperParameterTuningJob"] == jobs
    assert "sagemaker:CreateTrainingJob" not in actions  # the tuning's own service starts its trainings
    rule = "arn:aws:events:eu-west-1:123456789012:rule/StepFunctionsGetEventsForSageMakerTuningJobsRule"
    assert rule in actions["events:PutRule"]
