"""The real images carry a job: whoever runs them, with a root that cannot be written, and when they are stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

import build
from components.spec import specs
from tests.images.containers import USERS, Container, Ended
from tests.images.data import SETTINGS, training
from tests.shared.carrier.conftest import ROOT, Batch, processing, until

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def docker() -> Iterator[Any]:
    """The engine, with the image of this checkout: built now, which takes a second where nothing changed."""
    command = (sys.executable, "build.py", "build", "processing")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    client = build.engine()
    yield client
    client.close()


@contextmanager
def started(docker: Any, batch: Batch, uri: str, environment: Mapping[str, str], **options: Any) -> Iterator[Container]:
    """A container on the host's network, on whose loopback the account's S3 is."""
    image = build.defaults(build.images(specs(), "processing"))[0].local
    container = docker.containers.create(
        image,
        ["--job", uri, "--Run", "r-1"],
        environment={**batch.cloud.environment, "AWS_BATCH_JOB_ID": "1234", **environment},
        **{**build.HARDENED, "network_mode": "host", **options},
    )
    try:
        container.start()
        yield Container(container)
    finally:
        container.remove(force=True)


def description(batch: Batch, **settings: Any) -> str:
    """A training job of processing; its uri."""
    table = training()
    batch.cloud.put(f"{batch.prefix}/data/rows.csv", table.write_csv())
    batch.cloud.put(f"{batch.prefix}/settings/settings.json", json.dumps({**SETTINGS, **settings}))
    inputs = {"data": f"{batch.prefix}/data", "settings": f"{batch.prefix}/settings"}
    request = processing(batch, ["train"], inputs, ["train", "validation", "state", "report"])
    request["AppSpecification"]["ContainerEntrypoint"][2] = "components.processing"
    for output in request["ProcessingOutputConfig"]["Outputs"]:
        output["S3Output"]["S3Uri"] = f"{batch.prefix}/{{Run}}/{output['OutputName']}"
    failure = f"{batch.prefix}/{{Run}}/failure"
    return batch.described({"CreateProcessingJob": request, "Parameters": ["Run"], "Failure": failure})


@pytest.mark.parametrize("user", USERS)
def test_a_job_leaves_its_outputs_in_s3_whoever_runs_it(docker: Any, batch: Batch, user: str) -> None:
    """With a root that cannot be written, /tmp is where the tree is made."""
    with started(docker, batch, description(batch), {}, user=USERS[user]) as container:
        ended: Ended = container.ended()

    assert ended.code == 0, ended.said
    assert "processing job" in ended.said
    assert "in /tmp/ml" in ended.said
    assert "Warning" not in ended.said
    found = batch.objects("r-1/")
    assert {name.split("/")[0] for name in found} == {"train", "validation", "state", "report"}
    assert json.loads(found["state/manifest.json"])["component"] == "processing"


def test_where_the_root_can_be_written_the_tree_is_at_opt_ml(docker: Any, batch: Batch) -> None:
    """And a setting that cannot be used is exit code 2, with its reason in S3."""
    uri = description(batch, targt="late")
    with started(docker, batch, uri, {}, read_only=False, tmpfs={}) as container:
        ended = container.ended()

    assert ended.code == 2, ended.said
    assert "in /opt/ml" in ended.said
    assert b"'targt' is no setting. Did you mean 'target'?" in batch.objects("r-1/")["failure"]


def test_as_process_1_it_hands_sigterm_on_and_tells_of_it(docker: Any, batch: Batch) -> None:
    """Rows enough to be stopped at: the program is at work when its inputs are there."""
    uri = description(batch)
    row = training(20_000).write_csv()
    for number in range(30):
        batch.cloud.put(f"{batch.prefix}/data/more-{number:02d}.csv", row)
    with started(docker, batch, uri, {}) as container:
        until(lambda: "input 'settings'" in container.said())
        container.signal("SIGTERM")
        ended = container.ended(60)

    assert ended.code == 143, ended.said
    assert batch.objects("r-1/") == {"failure": b"stopped by SIGTERM."}


def test_without_a_network_it_ends_with_a_sentence(docker: Any, batch: Batch) -> None:
    with started(docker, batch, "s3://bucket/job.json", {}, network_mode="none") as container:
        ended = container.ended(120)

    assert ended.code == 1
    assert "cannot read s3://bucket/job.json: Could not connect to the endpoint URL" in ended.said
    assert "Traceback" not in ended.said
