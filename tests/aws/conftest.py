"""An AWS account on this machine for the tests of the cloud engines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import build
from components.spec import NAMES, specs
from tests.aws.cloud import Cloud, serving_cloud
from tests.aws.data import IMAGES, Flights, flights_in
from tests.aws.runners import Containers, Processes
from tests.aws.sagemaker import SageMaker, serving_sagemaker

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is here and asks for the images needs an engine."""
    for item in items:
        if "aws" in item.path.parts and "containers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """An account that all tests of a session share: names of their own keep them apart."""
    with serving_cloud() as cloud:
        cloud.bucket()
        yield cloud


@pytest.fixture(scope="session")
def flights(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Flights:
    """The flights of 2013, 1,500 a month, in S3."""
    return flights_in(cloud, tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="session")
def sagemaker(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SageMaker]:
    """SageMaker, with processes for containers."""
    with serving_sagemaker(cloud, Processes(), tmp_path_factory.mktemp("ml"), IMAGES) as sagemaker:
        yield sagemaker


@pytest.fixture(scope="session")
def toy_sagemaker(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SageMaker]:
    """SageMaker with a toy component behind all four images: it starts in a few hundredths of a second."""
    root = tmp_path_factory.mktemp("programs")
    (root / "shared").symlink_to(ROOT / "shared")  # of which the release step, alone, is the real one
    for name in NAMES:
        (root / "components" / name).mkdir(parents=True)
        shutil.copy(ROOT / "tests/pipelines/fake_component.py", root / "components" / name / "__main__.py")
    with serving_sagemaker(cloud, Processes(root), tmp_path_factory.mktemp("ml"), IMAGES) as sagemaker:
        yield sagemaker


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    """The images of this checkout: built now, which takes a second where nothing changed."""
    command = (sys.executable, "build.py", "build")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    engine = build.engine()
    images = {image.component: image.local for image in build.defaults(build.images(specs()))}
    yield Containers(engine, images)
    engine.close()


@pytest.fixture(scope="session")
def sagemaker_in_containers(
    cloud: Cloud, containers: Containers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SageMaker]:
    """SageMaker, with the real images."""
    with serving_sagemaker(cloud, containers, tmp_path_factory.mktemp("ml"), IMAGES) as sagemaker:
        yield sagemaker
