"""How the program finds out what to do, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.component import Component
from shared.entrypoint import run


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def processing_job(root: Path, inputs: list[str], outputs: list[str]) -> None:
    """A processing job's configuration as SageMaker writes it."""
    config = {
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"LocalPath": f"/opt/ml/processing/input/{name}"}} for name in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {"OutputName": name, "S3Output": {"LocalPath": f"/opt/ml/processing/out-{name}"}} for name in outputs
            ]
        },
    }
    write(root / "config/processingjobconfig.json", config)


def env(root: Path, **more: str) -> dict[str, str]:
    return {"SAGEMAKER_BASE_DIR": str(root), **more}


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_on_a_laptop_mounted_folders_and_a_word_are_enough(mean: Component, data: Path) -> None:
    assert run(mean, ["train", "--shift", "1"], env(data)) == 0

    assert files(data / "processing/output") == ["report/deep/report.json", "state/manifest.json", "state/state.json"]
    assert (data / "output/message").read_text() == "Learnt from 2 rows."


def test_a_processing_job_needs_no_argument_and_trains(mean: Component, data: Path) -> None:
    processing_job(data, ["data"], ["state", "report"])

    assert run(mean, [], env(data)) == 0

    assert files(data / "processing/out-state") == ["manifest.json", "state.json"]


def test_a_processing_job_with_the_inputs_of_serve_serves(mean: Component, data: Path) -> None:
    run(mean, ["train"], env(data))
    (data / "processing/output/state").rename(data / "processing/input/state")
    processing_job(data, ["data", "state"], ["data"])

    assert run(mean, [], env(data)) == 0

    assert (data / "processing/out-data/part-0000-of-0001.csv").read_text() == "a,-1.0\nb,1.0\n"


def test_an_output_that_the_job_does_not_name_is_dropped(mean: Component, data: Path) -> None:
    processing_job(data, ["data"], ["state"])

    assert run(mean, [], env(data)) == 0

    assert files(data / "processing/out-state") == ["manifest.json", "state.json"]
    assert not (data / "processing/output").exists()


def test_no_folder_is_made_for_an_output_that_nobody_writes(mean: Component, data: Path) -> None:
    ports = replace(mean.train_ports, optional_outputs=("extra",))

    assert run(replace(mean, train_ports=ports), ["train"], env(data)) == 0

    assert sorted(path.name for path in (data / "processing/output").iterdir()) == ["report", "state"]


def test_the_mode_may_be_told_by_a_variable(mean: Component, data: Path) -> None:
    processing_job(data, ["data"], ["data"])

    assert run(mean, [], env(data, QUARTET_MODE="serve")) == 2
    assert "serve has no input 'state'" in (data / "output/message").read_text()


def test_settings_may_be_an_input(mean: Component, data: Path) -> None:
    write(data / "processing/input/settings/settings.json", {"shift": -1})
    processing_job(data, ["data", "settings"], ["state", "report"])

    assert run(mean, [], env(data)) == 2
    assert "shift is -1, wanted greater than or equal to 0" in (data / "output/message").read_text()


@pytest.mark.parametrize("arguments", [[], ["train"]])
def test_a_training_job_needs_no_argument(mean: Component, data: Path, arguments: list[str]) -> None:
    (data / "input/data").mkdir(parents=True)
    (data / "processing/input/data").rename(data / "input/data/data")
    write(data / "input/config/hyperparameters.json", {"shift": "2"})
    write(data / "input/config/inputdataconfig.json", {"data": {"TrainingInputMode": "File"}})

    assert run(mean, arguments, env(data)) == 0

    assert files(data / "model") == ["manifest.json", "state.json"]
    assert json.loads((data / "model/manifest.json").read_text())["settings"]["shift"] == 2.0
    assert files(data / "output/data") == ["deep/report.json"]


@pytest.mark.parametrize("present", [("hyperparameters",), ("inputdataconfig", "resourceconfig"), ("resourceconfig",)])
def test_any_file_of_a_training_job_tells_that_it_is_one(mean: Component, data: Path, present: tuple[str, ...]) -> None:
    """Clients leave out what a job does not need: no hyperparameters, no channels, no hosts."""
    (data / "input/data").mkdir(parents=True)
    (data / "processing/input/data").rename(data / "input/data/data")
    values: dict[str, object] = {
        "hyperparameters": {},
        "inputdataconfig": {"data": {"TrainingInputMode": "File"}},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
    }
    for name in present:
        write(data / f"input/config/{name}.json", values[name])

    assert run(mean, [], env(data)) == 0

    assert files(data / "model") == ["manifest.json", "state.json"]


def test_on_a_laptop_channels_give_a_training_jobs_outputs(mean: Component, data: Path) -> None:
    (data / "input/data").mkdir(parents=True)
    (data / "processing/input/data").rename(data / "input/data/data")
    (data / "processing/input").rmdir()

    assert run(mean, ["train"], env(data)) == 0

    assert files(data / "model") == ["manifest.json", "state.json"]


def test_with_nothing_mounted_it_explains_itself(
    mean: Component, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mean, [], env(tmp_path)) == 2
    assert "docker run" in capsys.readouterr().err


def test_train_with_nothing_mounted_says_what_to_mount(mean: Component, tmp_path: Path) -> None:
    assert run(mean, ["train"], env(tmp_path)) == 2
    assert "nothing is mounted" in (tmp_path / "output/failure").read_text()


def test_help_names_every_setting(mean: Component, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mean, ["--help"], {}) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in mean.settings.model_fields)


def test_schema_prints_json_schema(mean: Component, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mean, ["schema"], {}) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["shift"]["minimum"] == 0


def test_an_unknown_word_is_refused_with_the_nearest(mean: Component, data: Path) -> None:
    assert run(mean, ["trian"], env(data)) == 2
    assert "Did you mean 'train'?" in (data / "output/failure").read_text()


def test_a_program_on_the_path_is_executed_in_our_place(tmp_path: Path) -> None:
    code = "import sys; from shared.entrypoint import run; from conftest import MEAN; sys.exit(run(MEAN, sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}:{Path(__file__).parent}"}
    done = subprocess.run(
        [sys.executable, "-c", code, "echo", "hello"], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"hello\n"


@pytest.mark.parametrize(
    ("content", "arguments", "code", "said"),
    [
        ("id,x\na,one\n", [], 3, "row 1: column 'x' is 'one', wanted a finite number"),
        ("id,y\na,1\n", [], 3, "lacks column 'x'"),
        (None, [], 3, "input 'data' is empty"),
        ("id,x\na,1\n", ["--shift", "-1"], 2, "shift is -1"),
        ("id,x\na,1\n", ["--shfit", "1"], 2, "Did you mean 'shift'?"),
        ("id,x\na,1\n", ["--end", "crash"], 1, "internal error: ZeroDivisionError: a bug"),
        ("id,x\na,1\n", ["--end", "SIGTERM"], 143, "stopped by SIGTERM"),
        ("id,x\na,1\n", ["--end", "SIGINT"], 130, "stopped by SIGINT"),
    ],
)
def test_a_failure_has_its_code_its_sentence_and_no_output(
    mean: Component, data: Path, content: str | None, arguments: list[str], code: int, said: str
) -> None:
    path = data / "processing/input/data/t.csv"
    path.unlink()
    if content is not None:
        path.write_text(content)

    assert run(mean, ["train", *arguments], env(data)) == code

    assert said in (data / "output/failure").read_text()
    assert said in (data / "output/message").read_text()
    assert files(data / "processing/output") == []
    assert not list((data / "processing/output").rglob(".staging*"))


def test_a_success_leaves_no_failure_of_an_earlier_run(mean: Component, data: Path) -> None:
    assert run(mean, ["train", "--shift", "-1"], env(data)) == 2
    assert run(mean, ["train"], env(data)) == 0

    assert not (data / "output/failure").exists()


def test_a_failure_that_cannot_be_written_still_fails(mean: Component, data: Path) -> None:
    (data / "output").write_text("a file where a folder was wanted")

    assert run(mean, ["train", "--shift", "-1"], env(data)) == 2


@pytest.mark.parametrize("word", ["--help", "schema"])
def test_a_reader_that_has_seen_enough_is_no_failure(word: str) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "components.processing", word]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write)

    assert (ended.returncode, ended.stderr) == (0, "")
