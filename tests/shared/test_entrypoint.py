"""How the program finds out what to do, and how it ends."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.component import Component, Job
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


def test_what_is_advised_to_mount_is_a_channel_where_only_training_reads_files(mean: Component, tmp_path: Path) -> None:
    assert run(replace(mean, serve=None), ["train"], env(tmp_path)) == 2
    assert "Mount 'data' at /opt/ml/input/data/<name>" in (tmp_path / "output/failure").read_text()


@pytest.mark.parametrize("place", ["input/data/train.csv", "processing/input/data", "processing/input/data.csv"])
def test_a_file_that_is_mounted_in_place_of_its_folder_is_told(mean: Component, tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("id,x\na,1\n")

    assert run(mean, ["train"], env(tmp_path)) == 2
    assert f"{tmp_path / place} is a file, wanted a folder" in (tmp_path / "output/failure").read_text()


def test_a_model_that_is_a_file_is_told(mean: Component, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file where a folder was wanted")

    assert run(mean, ["serve"], env(tmp_path)) == 2
    assert f"{tmp_path}/model is no folder, so there is nothing to serve" in (tmp_path / "output/failure").read_text()


@pytest.mark.parametrize("local", [None, "/opt/ml/elsewhere", "/opt/ml/a-file"])
def test_checkpoints_that_were_asked_for_and_have_no_folder_cost_a_line(
    mean: Component, data: Path, capsys: pytest.CaptureFixture[str], local: str | None
) -> None:
    """A job on a spot instance would lose everything, and nobody would know."""
    (data / "a-file").touch()
    if local is None:
        (data / "checkpoints").touch()
    else:
        write(data / "input/config/checkpointconfig.json", {"LocalPath": local})

    assert run(mean, ["train"], env(data)) == 0
    assert capsys.readouterr().out.count("WARNING mean: no checkpoints: the job asks for them, and ") == 1


def test_a_job_that_asks_for_no_checkpoints_hears_nothing_of_them(
    mean: Component, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mean, ["train"], env(data)) == 0
    assert "checkpoint" not in capsys.readouterr().out


def test_two_outputs_in_one_folder_are_refused(mean: Component, data: Path) -> None:
    processing_job(data, ["data"], ["state", "report"])
    path = data / "config/processingjobconfig.json"
    path.write_text(path.read_text().replace("out-report", "out-state/"))

    assert run(mean, [], env(data)) == 2
    said = (data / "output/message").read_text()
    assert said == (
        f"outputs 'state' and 'report' both go to {data}/processing/out-state. Give each its own LocalPath."
    )
    assert not (data / "processing/out-state").exists()


@pytest.mark.parametrize("name", ["hyperparameters", "inputdataconfig", "resourceconfig", "checkpointconfig"])
def test_a_configuration_that_is_a_folder_is_one_sentence(mean: Component, data: Path, name: str) -> None:
    """Docker makes one where the source of -v is missing."""
    (data / f"input/config/{name}.json").mkdir(parents=True)
    (data / "processing/input").rename(data / "input/data")

    assert run(mean, ["train"], env(data)) == 2
    said = (data / "output/failure").read_text()
    assert f"{data}/input/config/{name}.json is a folder, wanted a JSON file." in said


@pytest.mark.parametrize("method", ["stat", "read_text"])
def test_a_configuration_that_may_not_be_read_is_one_sentence(
    mean: Component, data: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Root may read where others may not, so the refusal is made up: of the folder, or of the file."""
    config = data / "input/config/hyperparameters.json"
    write(config, {})
    known = getattr(Path, method)

    def refusing(path: Path, *arguments: object, **named: object) -> object:
        if path == config:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return known(path, *arguments, **named)

    monkeypatch.setattr(Path, method, refusing)

    assert run(mean, ["train"], env(data)) == 2
    said = (data / "output/failure").read_text()
    assert said == f"{config} cannot be read: Permission denied. Let the container's user read it."


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


def test_a_second_signal_does_not_end_the_clean_up(
    mean: Component, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleanup = tempfile.TemporaryDirectory.cleanup
    cleaned = []

    def interrupted(folder: tempfile.TemporaryDirectory[str]) -> None:
        cleaned.append(folder)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        cleanup(folder)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", interrupted)

    assert run(mean, ["train", "--end", "SIGTERM"], env(data)) == 143
    assert len(cleaned) == 2
    assert not (data / "processing/output").exists()


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


def test_a_job_that_ended_well_and_cannot_say_so_ends_well(
    mean: Component, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "output").write_text("a file where a folder was wanted")

    assert run(mean, ["train"], env(data)) == 0

    said = capsys.readouterr().out
    assert said.count(" WARNING ") == 1
    assert "the message cannot be written to" in said
    assert files(data / "processing/output/state") == ["manifest.json", "state.json"]


def test_a_failure_that_cannot_be_written_is_told_once(
    mean: Component, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "output").write_text("a file where a folder was wanted")

    assert run(mean, ["train", "--shift", "-1"], env(data)) == 2

    levels = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert levels == ["ERROR", "INFO"]


def test_an_output_that_cannot_be_written_is_one_sentence_and_leaves_nothing(mean: Component, data: Path) -> None:
    processing_job(data, ["data"], ["state", "report"])
    (data / "processing/out-report").write_text("a file where a folder was wanted")

    assert run(mean, [], env(data)) == 2

    said = (data / "output/message").read_text()
    assert said.startswith("output 'report' cannot be written to ")
    assert said.endswith("out-report: Not a directory. Mount a folder there that the container's user may write to.")
    assert not (data / "processing/out-state").exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_an_output_on_a_mount_that_refuses_is_one_sentence(
    mean: Component, data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Root may write where others may not, so the refusal is made up."""

    def refusing(*_: object, dir: Path, **__: object) -> None:  # the name of tempfile's argument
        raise OSError(number, os.strerror(number), str(dir))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refusing)

    assert run(mean, ["train"], env(data)) == 2

    said = (data / "output/failure").read_text()
    assert said.startswith(
        f"output 'state' cannot be written to {data}/processing/output/state: {os.strerror(number)}."
    )
    assert not (data / "processing/output").exists()


def test_a_full_volume_is_one_sentence_and_leaves_nothing(mean: Component, data: Path) -> None:
    """The kernel's error, made up here; tests/images fills a volume."""

    def train(job: Job[Any]) -> None:
        (job.output("state") / "state.json").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert run(replace(mean, train=train), ["train"], env(data)) == 2

    said = (data / "output/failure").read_text()
    assert re.fullmatch(
        r"output 'state' cannot be written to \S+/processing/output/state: no space left, the volume holds [\d,]+ "
        r"bytes in all\. Give the job a larger one \(VolumeSizeInGB\), or fewer rows\.",
        said,
    )
    assert not (data / "processing/output").exists()


def test_outputs_move_to_their_places_together_or_not_at_all(
    mean: Component, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[Path] = []

    def replaced(path: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.replace(path, target)
        return target

    monkeypatch.setattr(Path, "replace", replaced)

    assert run(mean, ["train"], env(data)) == 2

    assert [path.name for path in moves] == ["manifest.json", "state.json", "report.json"]
    assert files(data / "processing/output") == []


@pytest.mark.parametrize(
    ("words", "inputs", "outputs", "said"),
    [
        ([], ["data", "stat"], ["data"], "names the input 'stat', which mean does not know, .* Did you mean 'state'?"),
        (["train"], ["data", "settigns"], ["state"], "Did you mean 'settings'?"),
        (["serve"], ["data", "stat"], ["data"], "Did you mean 'state'?"),
        ([], ["data"], ["reprot"], "names the output 'reprot', which mean train does not know, .* mean 'report'?"),
        (["serve"], ["data", "state"], ["dta"], "names the output 'dta', which mean serve does not know, .* 'data'?"),
        (["serve"], ["data"], ["data"], "mean serve has no input 'state'"),
    ],
)
def test_a_processing_job_that_names_what_nobody_knows_does_nothing(
    mean: Component, data: Path, words: list[str], inputs: list[str], outputs: list[str], said: str
) -> None:
    processing_job(data, inputs, outputs)

    assert run(mean, words, env(data)) == 2

    assert re.search(said.replace("?", r"\?"), (data / "output/message").read_text())
    assert not list((data / "processing").glob("out*"))


def test_serve_on_a_laptop_says_which_input_is_missing(mean: Component, data: Path) -> None:
    assert run(mean, ["serve"], env(data)) == 2
    assert "mean serve has no input 'state'" in (data / "output/failure").read_text()


@pytest.mark.parametrize(("channel", "warnings"), [("validatoin", 1), ("code", 0), ("sm_drivers", 0)])
def test_a_channel_that_nobody_reads_is_a_warning_unless_it_is_the_sdks(
    mean: Component, data: Path, capsys: pytest.CaptureFixture[str], channel: str, warnings: int
) -> None:
    (data / "input/data").mkdir(parents=True)
    (data / "processing/input/data").rename(data / "input/data/data")
    write(data / "input/config/inputdataconfig.json", {"data": {}, channel: {}})

    assert run(mean, ["train"], env(data)) == 0

    assert capsys.readouterr().out.count(f"WARNING mean: channels '{channel}' are not read.") == warnings


@pytest.mark.parametrize("words", [["train", "--help"], ["serve", "--help"], ["train", "--shift", "1", "-h"]])
def test_help_is_printed_after_a_mode_too(
    mean: Component, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mean, words, {}) == 0
    assert capsys.readouterr().out.startswith("quartet mean: ")


def test_a_setting_without_its_value_is_one_sentence(mean: Component, data: Path) -> None:
    assert run(mean, ["train", "--target"], env(data)) == 2
    assert (data / "output/failure").read_text() == "`--target` has no value, wanted `--target value`."


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"ProcessingInputs": [{"S3Input": {"LocalPath": "/opt/ml/a"}}]},
            "item 1 of ProcessingInputs has no InputName",
        ),
        ({"ProcessingInputs": {"data": 1}}, "has ProcessingInputs {'data': 1}, wanted a list"),
        ({"ProcessingInputs": ["data"]}, "item 1 of ProcessingInputs has no InputName"),
        ({"ProcessingInputs": [{"InputName": "data", "S3Input": "s3://b"}]}, "has S3Input 's3://b', wanted an object"),
        ({"ProcessingInputs": [{"InputName": "data", "S3Input": {"LocalPath": 7}}]}, "LocalPath 7 is not below"),
        ({"ProcessingOutputConfig": []}, "mean train has no input 'data'"),
        ({"ProcessingOutputConfig": [1]}, "has ProcessingOutputConfig [1], wanted an object"),
        ({"ProcessingOutputConfig": {"Outputs": [{}]}}, "item 1 of Outputs has no OutputName"),
        ({"ProcessingOutputConfig": {"Outputs": [{"OutputName": "state", "S3Output": {"a": 1}}]}}, "LocalPath None is"),
    ],
)
def test_a_malformed_description_is_one_sentence(
    mean: Component, data: Path, config: dict[str, object], said: str
) -> None:
    write(data / "config/processingjobconfig.json", config)

    assert run(mean, [], env(data)) == 2
    assert said in (data / "output/message").read_text()


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (
            {"current_host": "algo-3", "hosts": ["algo-1"]},
            "has current_host 'algo-3', wanted one of its hosts",
        ),
        ({"current_host": "algo-1", "hosts": "algo-1"}, "has hosts 'algo-1', wanted a list of names"),
    ],
)
def test_hosts_that_do_not_fit_are_one_sentence(
    mean: Component, data: Path, hosts: dict[str, object], said: str
) -> None:
    processing_job(data, ["data"], ["state"])
    write(data / "config/resourceconfig.json", hosts)

    assert run(mean, [], env(data)) == 2
    assert said in (data / "output/message").read_text()


def test_a_name_that_is_not_utf8_is_one_sentence(mean: Component, data: Path) -> None:
    (data / "processing/input/data" / os.fsdecode(b"caf\xe9.csv")).write_text("id,x\na,1\n")

    assert run(mean, ["train"], env(data)) == 3
    assert r"holds b'caf\xe9.csv', whose name is not UTF-8" in (data / "output/failure").read_text()


def test_a_plain_file_that_is_called_gz_is_one_sentence(mean: Component, data: Path) -> None:
    folder = data / "processing/input/data"
    (folder / "t.csv").rename(folder / "t.csv.gz")

    assert run(mean, ["train"], env(data)) == 3
    assert "t.csv.gz is not compressed by gzip as its name says" in (data / "output/failure").read_text()


@pytest.mark.parametrize("cut", [12, 40])
def test_a_gz_file_that_was_cut_short_is_one_sentence(mean: Component, data: Path, cut: int) -> None:
    folder = data / "processing/input/data"
    (folder / "t.csv").unlink()
    (folder / "t.csv.gz").write_bytes(gzip.compress(b"id,x\n" + b"a,1\nb,2.5\nc,77\n" * 9)[:cut])

    assert run(mean, ["train"], env(data)) == 3
    assert "t.csv.gz cannot be read as CSV" in (data / "output/failure").read_text()


def test_links_that_lead_to_no_file_are_named_once(
    mean: Component, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link to a file is that file, as a mounted Kubernetes volume has them."""
    folder = data / "processing/input/data"
    (data / "elsewhere").mkdir()
    (data / "elsewhere/more.csv").write_text("id,x\nc,5\n")
    (folder / "u.csv").symlink_to(data / "elsewhere/more.csv")
    (folder / "v.csv").symlink_to(data / "nowhere.csv")
    (folder / "w").symlink_to(data / "elsewhere")

    assert run(mean, ["train"], env(data)) == 0

    said = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert len(said) == 1
    assert said[0].endswith("input 'data' holds 2 links that lead to no file and are skipped, the first is 'v.csv'")
    assert (data / "output/message").read_text() == "Learnt from 3 rows."
