"""The release step, on artefacts as the components write them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.artefact import write_artefact
from shared.contract import Contract
from shared.errors import QuartetError
from shared.release import cause_of, periods, release
from shared.schema import Column, Schema

SCHEMA = Schema((Column("x", "number"),))
SETTINGS = {
    "name": "toy",
    "gates": [{"metric": "validation:auc", "step": "algorithm", "min": 0.6, "max": None}],
    "approve": "automatic",
    "manifest": {"sha256": "a" * 64},
    "revision": "b" * 40,
    "images": {"algorithm": f"registry/algorithm@sha256:{'c' * 64}"},
    "variant": "xgboost-cpu",
    "data": {"uri": "s3://bucket/history/{period}.csv"},
}
ENVIRONMENT = {
    "QUARTET_RUN": "run-7",
    "QUARTET_STARTED_BY": "drift run-6",
    "QUARTET_PARENT": "s3://bucket/releases/run-5/release.json",
    "QUARTET_DATA": "s3://bucket/config/0/train.manifest",
}
RAW = {"2013-01.csv": "1" * 64, "2013-02.csv": "2" * 64}


@dataclass
class Step:
    """A processing job's tree for the release step."""

    root: Path

    def folder(self, name: str) -> Path:
        return self.root / "processing/input" / name

    def sealed(self, name: str, component: str, parents: Mapping[str, str], **extra: Any) -> str:
        """Write a part; its digest."""
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "part.json").write_text("{}")
        told = {"settings": {"of": component}, "libraries": ("polars",), "extra": extra}
        return write_artefact(folder, component=component, schema=SCHEMA, parents=parents, **told)  # type: ignore[arg-type]

    def describe(self, *inputs: str, outputs: tuple[str, ...] = ("release",)) -> None:
        uris = {"model": "s3://bucket/model.tar.gz"}
        given = [
            {
                "InputName": name,
                "S3Input": {
                    "LocalPath": f"/opt/ml/processing/input/{name}",
                    "S3Uri": uris.get(name, f"s3://bucket/{name}"),
                },
            }
            for name in inputs
        ]
        made = [
            {
                "OutputName": name,
                "S3Output": {
                    "LocalPath": f"/opt/ml/processing/output/{name}",
                    "S3Uri": "s3://bucket/releases/run-7/",
                },
            }
            for name in outputs
        ]
        config = {"ProcessingInputs": given, "ProcessingOutputConfig": {"Outputs": made}}
        (self.root / "config").mkdir(exist_ok=True)
        (self.root / "config/processingjobconfig.json").write_text(json.dumps(config))

    def settle(self, **changes: Any) -> None:
        self.folder("settings").mkdir(parents=True, exist_ok=True)
        (self.folder("settings") / "settings.json").write_text(json.dumps(SETTINGS | changes))

    def run(self, **changes: str) -> int:
        """Do the step; its exit code."""
        contract = Contract(self.root)
        try:
            release(contract, ENVIRONMENT | changes, logging.getLogger("test"))
        except QuartetError as error:
            contract.write_failure(str(error))
            return error.exit_code
        return 0

    def written(self, name: str) -> Any:
        return json.loads((self.root / "processing/output/release" / name).read_text())

    @property
    def message(self) -> str:
        return (self.root / "output/message").read_text()


def furnished(root: Path, **model_extra: Any) -> Step:
    """The four parts as a training pipeline leaves them; the model is packed as SageMaker packs it."""
    step = Step(root)
    state = step.sealed("state", "processing", {}, data=RAW)
    step.folder("model").mkdir(parents=True)
    (step.folder("model") / "evaluation.json").write_text(json.dumps({"validation": {"auc": 0.7}}))
    model = step.sealed("model", "algorithm", {"state": state}, **model_extra)
    step.sealed("baseline", "monitoring", {"model": model})
    step.sealed("explainer", "explainability", {"model": model})
    packed = root / "packed"
    shutil.move(step.folder("model"), packed)
    step.folder("model").mkdir()
    with tarfile.open(step.folder("model") / "model.tar.gz", "w:gz") as archive:
        for path in sorted(packed.iterdir()):
            archive.add(path, path.name)
    step.describe("model", "state", "baseline", "explainer", "settings")
    step.settle()
    return step


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return furnished(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """A step that has run well."""
    step = furnished(tmp_path_factory.mktemp("release"))

    assert step.run() == 0
    return step


def test_the_word_release_starts_the_step_in_the_processing_image(step: Step) -> None:
    command = [sys.executable, "-m", "components.processing", "release"]
    environment = {**ENVIRONMENT, "SAGEMAKER_BASE_DIR": str(step.root), "PATH": ""}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 0, ended.stderr
    assert step.written("verdict.json")["promote"] is True


def test_each_part_has_its_uri_in_s3_and_the_digest_of_its_manifest(done: Step) -> None:
    parts = done.written("release.json")["parts"]

    manifests = {name: done.folder(name) / "manifest.json" for name in ("state", "baseline", "explainer")}
    manifests["model"] = done.root / "packed/manifest.json"
    assert parts == {
        name: {
            "uri": "s3://bucket/model.tar.gz" if name == "model" else f"s3://bucket/{name}",
            "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for name, path in manifests.items()
    }


def test_a_release_traces_to_data_code_images_settings_and_parent(done: Step) -> None:
    content = done.written("release.json")

    assert content["data"] == {
        "uri": "s3://bucket/config/0/train.manifest",
        "periods": ["2013-01", "2013-02"],
        "sha256": RAW,
    }
    assert content["revision"] == "b" * 40
    assert content["images"] == SETTINGS["images"]
    assert content["manifest"] == {"sha256": "a" * 64}
    assert content["parent"] == "s3://bucket/releases/run-5/release.json"
    assert content["started_by"] == {"cause": "drift", "run": "run-6"}
    assert set(content["settings"]) == {"processing", "algorithm", "monitoring", "explainability"}
    text = '{\n  "of": "algorithm"\n}\n'
    assert content["settings"]["algorithm"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_verdict_is_all_that_an_engine_branches_on(done: Step) -> None:
    assert done.written("verdict.json") == {
        "gates_met": True,
        "approve": "automatic",
        "promote": True,
        "release": "s3://bucket/releases/run-7/release.json",
        "id": "run-7",
        "parts": {
            "model": "s3://bucket/model.tar.gz",
            "state": "s3://bucket/state",
            "baseline": "s3://bucket/baseline",
            "explainer": "s3://bucket/explainer",
        },
    }


def test_the_models_evaluation_lies_beside_the_release(done: Step) -> None:
    assert done.written("evaluation.json") == {"validation": {"auc": 0.7}}


def test_a_gate_that_is_not_met_is_no_failure_and_no_promotion(step: Step) -> None:
    step.settle(gates=[{"metric": "validation:auc", "min": 0.8}])

    assert step.run() == 0
    assert (step.written("verdict.json")["gates_met"], step.written("verdict.json")["promote"]) == (False, False)
    assert step.message == "Release run-7: validation:auc is 0.7000, wanted at least 0.8."


def test_a_release_that_somebody_must_approve_is_not_promoted(step: Step) -> None:
    step.settle(approve="manual")
    step.run(QUARTET_PARENT="none", QUARTET_STARTED_BY="schedule")

    assert (step.written("verdict.json")["gates_met"], step.written("verdict.json")["promote"]) == (True, False)
    assert step.written("release.json")["parent"] is None
    assert step.written("release.json")["started_by"] == {"cause": "schedule"}


def test_a_gate_on_a_metric_that_nobody_measured_is_a_settings_error(step: Step) -> None:
    step.settle(gates=[{"metric": "validation:acu", "min": 0.8}])

    assert step.run() == 2
    assert "Did you mean 'validation:auc'?" in step.message


def test_a_model_whose_training_was_stopped_makes_no_release(tmp_path: Path) -> None:
    step = furnished(tmp_path, stopped=True)

    assert step.run() == 3
    assert step.message == "model is of a job that was stopped before its end. Run the training pipeline again."


def test_parts_of_different_runs_make_no_release(step: Step) -> None:
    step.sealed("state", "processing", {}, data={"other.csv": "0" * 64})

    assert step.run() == 3
    assert step.message.startswith("model was made from the state ")
    assert not (step.root / "processing/output/release/release.json").exists()


def test_a_part_whose_file_has_changed_makes_no_release(step: Step) -> None:
    (step.folder("baseline") / "part.json").write_text("[]")

    assert step.run() == 3
    assert "baseline file 'part.json' is not the one that was written" in step.message


def test_a_part_of_another_component_makes_no_release(step: Step) -> None:
    step.sealed("explainer", "monitoring", {})

    assert step.run() == 3
    assert step.message == "explainer was made by 'monitoring', wanted one of 'explainability'."


def test_a_release_has_the_parts_that_there_are(step: Step) -> None:
    step.describe("state", "settings")
    step.settle(gates=[])

    assert step.run() == 0
    assert set(step.written("release.json")["parts"]) == {"state"}
    assert step.written("evaluation.json") == {}


@pytest.mark.parametrize(
    ("inputs", "environment", "said"),
    [
        (("settings",), {}, "has no input 'model', 'state', 'baseline' or 'explainer'"),
        (("state",), {}, "has no input 'settings'"),
        (("state", "settings"), {"QUARTET_RUN": "../7"}, "QUARTET_RUN is '../7', wanted the run's id"),
        (("state", "settings"), {"QUARTET_STARTED_BY": "me"}, "QUARTET_STARTED_BY is 'me', wanted 'command'"),
    ],
)
def test_what_the_step_lacks_is_named(
    step: Step, inputs: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    step.describe(*inputs)

    assert step.run(**environment) == 2
    assert said in step.message


def test_without_a_job_description_nobody_could_find_the_parts_again(step: Step) -> None:
    (step.root / "config/processingjobconfig.json").unlink()

    assert step.run() == 2
    assert "wanted" in step.message or "only there stands where the parts lie" in step.message


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("command", {"cause": "command"}),
        ("schedule", {"cause": "schedule"}),
        ("drift run-6", {"cause": "drift", "run": "run-6"}),
    ],
)
def test_what_started_a_run_is_one_of_three(text: str, cause: dict[str, str]) -> None:
    assert cause_of(text) == cause


@pytest.mark.parametrize(
    ("uri", "files", "found"),
    [
        ("s3://b/{period}.csv", ("2013-01.csv", "2013-02.csv"), ("2013-01", "2013-02")),
        ("s3://b/sales-{period}.csv.gz", ("sales-p1.csv.gz", "other.csv.gz"), ("p1",)),
        ("s3://b/{period}/", ("p1/a.csv", "p1/b.csv", "p2/a.csv"), ("p1", "p2")),
        ("s3://b/{period}/{period}.csv", ("p1/p1.csv",), ("p1",)),
        ("s3://b/all.csv", ("all.csv",), ()),
        ("s3://b/{period}.csv", (), ()),
    ],
)
def test_the_periods_are_those_of_the_files_that_were_read(
    uri: str, files: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert periods(uri, dict.fromkeys(files, "")) == found


def test_an_output_that_cannot_be_written_is_one_sentence(step: Step) -> None:
    (step.root / "processing/output").write_text("a file where a folder was wanted")

    assert step.run() == 2
    assert step.message.startswith("output 'release' cannot be written to ")
