"""The flights use case with everything that a stack can have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.spec import specs
from pipelines.aws.places import Rendered
from pipelines.cloudformation import render
from pipelines.manifest import UseCase
from tests.aws.data import flights_use_case

TOPIC = "arn:aws:sns:eu-west-1:123456789012:oncall"
EVERYTHING = f"""
schedule: {{inference: cron(0 4 1 * ? *), training: rate(30 days), timezone: Europe/Zurich}}
alarms: {{training_failed: '{TOPIC}', inference_failed: '{TOPIC}', loop_failed: '{TOPIC}'}}
environments: {{prod: {{defaults: {{tags: {{stage: prod}}}}}}}}

drift:
  notify: {TOPIC}
"""
NETWORK = "batch: {subnets: [subnet-0a1b2c3d], security_groups: [sg-0a1b2c3d]"
HEADS = {
    "sagemaker-pipelines": "engine: sagemaker-pipelines",
    "step-functions": "engine: step-functions",
    "step-functions on Batch": f"engine: step-functions\nplatform: batch\n{NETWORK}}}",
    "step-functions on Fargate": f"engine: step-functions\nplatform: batch\n{NETWORK}, capacity: FARGATE}}",
}
ENGINES = tuple(HEADS)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Rendering = Callable[..., Rendered]


@pytest.fixture
def use_case(tmp_path: Path) -> Callable[..., UseCase]:
    """The use case for an engine, with pieces of the manifest's text replaced."""

    def made(engine: str, *changes: tuple[str, str]) -> UseCase:
        return flights_use_case(
            tmp_path, ("\ndrift:\n", f"\n{HEADS.get(engine, f'engine: {engine}')}\n{EVERYTHING}"), *changes
        )

    return made


@pytest.fixture
def rendered(use_case: Callable[..., UseCase]) -> Rendering:
    """The stack of the use case, rendered."""

    def rendering(engine: str, *changes: tuple[str, str], environment: str | None = None) -> Rendered:
        return render(use_case(engine, *changes), specs(), {}, environment)

    return rendering
