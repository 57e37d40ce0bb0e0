"""SageMaker's contract where it is seldom looked at: slow starts, many hosts, empty shards, long messages."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.images.containers import SERVED, USERS, Jobs, Start, outputs_of
from tests.images.data import BASELINE, SETTINGS

ROOT = "0:0"
TWELVE = tuple(f"algo-{number}" for number in range(1, 13))
LEADERS = {"report.html", "report.json"}
"""Files that a job writes once, whatever the number of its hosts."""


JOBS = (
    "processing train", "algorithm train", "monitoring train", "explainability train",
    "processing serve", "monitoring serve", "explainability serve",
)  # fmt: skip
"""Whatever runs over files."""
SETTINGS_OF = {"processing": SETTINGS, "monitoring": BASELINE}


def inputs_of(runs: Mapping[str, Any], raw: Path, component: str, mode: str) -> dict[str, Path]:
    """What a job reads: raw rows, or those that processing made, and the artefacts that it needs."""
    made = runs["processing train"].outputs
    if component == "algorithm":
        return {name: made[name] for name in ("train", "state")}
    prepared = component == "explainability"
    inputs = {"data": made["train"] if prepared and mode == "train" else raw / "training"}
    if prepared and mode == "serve":
        inputs["data"] = runs["processing serve"].outputs["data"]
    if prepared:
        inputs["model"] = runs["algorithm train"].outputs["model"]
    if mode == "serve":
        artefact = {"processing": "state", "monitoring": "baseline", "explainability": "explainer"}[component]
        inputs[artefact] = runs[f"{component} train"].outputs[artefact]
    return inputs


# --- While the artefact loads


@pytest.fixture
def slow(tmp_path: Path) -> Callable[[Path], Slow]:
    """An artefact that loads no further than its manifest until it is released."""

    def made(artefact: Path) -> Slow:
        return Slow(artefact, tmp_path / "slow")

    return made


class Slow:
    """A copy of an artefact whose manifest is a pipe: whoever opens it waits until somebody writes."""

    def __init__(self, artefact: Path, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for path in artefact.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "manifest.json").rename(folder.parent / "manifest.json")
        os.mkfifo(folder / "manifest.json", 0o644)

    def release(self) -> None:
        """Let the one reader have the manifest, and whoever opens it later the file."""
        with (self.folder / "manifest.json").open("wb") as pipe:
            # The reader has opened the pipe, or this would still wait.
            content = (self.folder.parent / "manifest.json").read_bytes()
            (self.folder.parent / "manifest.json").replace(self.folder / "manifest.json")
            pipe.write(content)


@pytest.mark.parametrize("component", SERVED)
def test_ping_is_503_at_once_while_the_artefact_loads_and_then_200(
    listen: Callable[..., Any], served_of: Callable[[str, str], Path], slow: Callable[[Path], Slow], component: str
) -> None:
    """The artefact cannot be read before `release`: each answer until then was given while it was being loaded."""
    artefact = slow(served_of(component, USERS["root"]))
    one = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with listen(component, artefact.folder, environment=one) as container:
        first = container.answered("/ping")
        second = container.request("GET", "/ping")
        parameters, _ = container.request("GET", "/execution-parameters")
        artefact.release()
        last = container.ready().request("GET", "/ping")

    assert (first, second, parameters, last) == ((503, b""), (503, b""), 200, (200, b""))


def test_a_request_waits_for_an_artefact_that_is_being_loaded(
    listen: Callable[..., Any],
    artefacts: Mapping[str, Path],
    slow: Callable[[Path], Slow],
    requests_of: Mapping[str, bytes],
) -> None:
    artefact = slow(artefacts["algorithm"])
    answers: list[tuple[int, bytes]] = []
    with listen("algorithm", artefact.folder, environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}) as container:
        container.answered("/ping")
        rows = requests_of["algorithm"]
        asked = threading.Thread(
            target=lambda: answers.append(container.request("POST", "/invocations", rows, Content_Type="text/csv"))
        )
        asked.start()
        artefact.release()
        asked.join(60)

    assert [(status, len(body.splitlines())) for status, body in answers] == [(200, len(rows.splitlines()))]


def test_a_server_that_is_still_loading_ends_when_it_is_told(
    listen: Callable[..., Any], artefacts: Mapping[str, Path], slow: Callable[[Path], Slow]
) -> None:
    artefact = slow(artefacts["algorithm"])
    with listen("algorithm", artefact.folder, environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}) as container:
        container.answered("/ping")
        container.signal("SIGTERM")
        done = container.ended(60)

    assert done.code == 0, done.said


# --- Many hosts


def sharded(start: Start, runs: Mapping[str, Any], root: Path, host: str, data: Path) -> Any:
    """One host's part of a serve of processing on twelve hosts."""
    root.mkdir()
    inputs = {"data": data, "state": runs["processing train"].outputs["state"]}
    jobs = Jobs(start, root, ROOT, hosts=(host, TWELVE))
    return jobs.processing("processing", inputs, outputs_of("processing", "serve"))


def names_of(done: Any) -> set[str]:
    return {f"{output}/{path.name}" for output, folder in done.outputs.items() for path in folder.rglob("*")}


def test_a_hosts_rank_is_its_place_among_the_names_as_text(
    start: Start, runs: Mapping[str, Any], raw: Path, tmp_path: Path
) -> None:
    """Text sorts algo-1, algo-10, algo-11, algo-12, algo-2, …: the service sorts so, and a number would differ."""
    written = {
        host: names_of(sharded(start, runs, tmp_path / host, host, raw / "production"))
        for host in ("algo-1", "algo-10", "algo-2")
    }

    assert written["algo-10"] == {"data/part-0001-of-0012.csv"}
    assert written["algo-2"] == {"data/part-0004-of-0012.csv"}
    assert written["algo-1"] == {"data/part-0000-of-0012.csv", *(f"report/{name}" for name in LEADERS)}


@pytest.mark.parametrize("host", ["algo-1", "algo-2"])
def test_a_host_whose_shard_is_empty_writes_no_rows_and_ends_well(
    start: Start, runs: Mapping[str, Any], tmp_path: Path, host: str
) -> None:
    """ShardedByS3Key with fewer objects than hosts: one failing host would fail the whole job."""
    (tmp_path / "empty").mkdir()
    done = sharded(start, runs, tmp_path / "job", host, tmp_path / "empty")

    assert done.code == 0, done.said
    assert names_of(done) == ({f"report/{name}" for name in LEADERS} if host == "algo-1" else set())


@pytest.mark.parametrize(
    "job",
    ["processing train", "algorithm train", "monitoring train", "explainability train",
     "monitoring serve", "explainability serve"],
)  # fmt: skip
def test_what_one_host_must_do_refuses_two_at_once(
    start: Start, raw: Path, runs: Mapping[str, Any], tmp_path: Path, job: str
) -> None:
    """Before any data is read, and without waiting for a peer whose name nothing resolves: there is no network here."""
    component, mode = job.split()
    jobs = Jobs(start, tmp_path, ROOT, hosts=("algo-1", ("algo-1", "algo-2")))
    inputs = inputs_of(runs, raw, component, mode)
    if component == "algorithm":
        done = jobs.training(component, inputs, {})
    else:
        done = jobs.processing(component, inputs, outputs_of(component, mode), SETTINGS_OF.get(component))

    assert done.code == 2, done.said
    assert "one host" in done.failure or "one machine" in done.failure
    assert ": 1" in done.failure or "to 1." in done.failure or "one instance" in done.failure
    assert "\n" not in done.failure
    assert done.failure == done.message
    assert "Traceback" not in done.said


# --- Nothing to read, and no room to write


@pytest.mark.parametrize("job", JOBS)
def test_an_empty_input_of_the_only_host_is_an_error_of_the_data(
    start: Start, runs: Mapping[str, Any], raw: Path, tmp_path: Path, job: str
) -> None:
    """A prefix without objects is a mistake, where no other host can have had them."""
    component, mode = job.split()
    empty = tmp_path / "empty"
    empty.mkdir()
    jobs = Jobs(start, tmp_path, ROOT)
    if component == "algorithm":
        done = jobs.training(component, {"train": empty}, {"target": "late"})
    else:
        inputs = inputs_of(runs, raw, component, mode) | {"data": empty}
        done = jobs.processing(component, inputs, outputs_of(component, mode), SETTINGS_OF.get(component))

    assert done.code == 3, done.said
    assert "is empty: /opt/ml/" in done.failure
    assert done.failure == done.message
    assert [path for folder in done.outputs.values() for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("job", JOBS)
def test_a_volume_that_is_too_small_is_one_sentence_and_keeps_nothing(
    start: Start, runs: Mapping[str, Any], raw: Path, tmp_path: Path, job: str
) -> None:
    """Outputs on 16 KiB, which is full before the job has ended; what is left there is listed before it vanishes."""
    component, mode = job.split()
    script = "quartet-component; code=$?; find /opt/ml/processing/output -type f; exit $code"
    volumes = {"/tmp": "", "/opt/ml/processing/output": "size=16k"}
    jobs = Jobs(start, tmp_path, ROOT)
    done = jobs.processing(
        component, inputs_of(runs, raw, component, mode), (), SETTINGS_OF.get(component),
        entrypoint=["bash", "-c", script], tmpfs=volumes,
    )  # fmt: skip

    assert done.code == 2, done.said
    assert re.fullmatch(
        r"output '\w+' cannot be written to /opt/ml/processing/output/\w+: no space left, the volume holds 16,384 "
        r"bytes in all\. Give the job a larger one \(VolumeSizeInGB\), or fewer rows\.",
        done.failure,
    )
    assert done.failure == done.message
    assert "Traceback" not in done.said
    assert "\n/opt/ml/processing/output" not in done.said


# --- What is told


def test_a_long_message_is_cut_between_characters(start: Start, raw: Path, tmp_path: Path) -> None:
    """A message that is no UTF-8 fails a Processing job; cut after 1,024 bytes a two-byte letter could be torn."""
    for number, target in enumerate(("x" + "é" * 600, "é" * 600)):
        root = tmp_path / str(number)
        root.mkdir()
        jobs = Jobs(start, root, ROOT)
        wrong = {**SETTINGS, "target": target}
        done = jobs.processing("processing", {"data": raw / "training"}, outputs_of("processing", "train"), wrong)
        told = next(root.glob("*/output/message")).read_bytes()

        assert done.code in (2, 3)
        assert 1022 <= len(told) <= 1024
        assert told.decode() == done.failure
        assert "é" * 400 in done.failure
