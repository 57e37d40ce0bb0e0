"""The ways in which an image is started, by services, by clients and by people."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import build
from components.spec import NAMES, specs
from tests.images.containers import Ended, Jobs, outputs_of
from tests.images.data import BASELINE, SETTINGS, training

Starting = Callable[..., Any]
HELP = ("--help", "-h", "help")


@pytest.fixture(params=NAMES)
def component(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ended(start: Starting, component: str, *command: str, **options: Any) -> Any:
    with start(component, command, **options) as container:
        return container.ended(60)


def test_alone_it_explains_itself_and_fails(start: Starting, component: str) -> None:
    done = ended(start, component)

    assert done.code == 2
    assert done.said.startswith(f"quartet {component}: ")


COMMANDS = (
    *(f"{program} {word}" for program in ("quartet-component", "/opt/program/bin/quartet-component") for word in HELP),
    *("quartet-component", "quartet-component train", "quartet-component serve", "train", "serve"),
    *("quartet-component schema", "quartet-component tarin"),
)
"""What is asked of each image, all at once: none of it changes anything."""
ASKING = """
import json, subprocess, sys
asked = {line: subprocess.Popen(line.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
         for line in json.loads(sys.argv[1])}
said = {line: process.communicate()[0] for line, process in asked.items()}
print(json.dumps({line: (process.returncode, said[line]) for line, process in asked.items()}))
"""


@pytest.fixture(scope="module")
def answers_of(start: Starting) -> Callable[[str], Mapping[str, Ended]]:
    """By command line, how each of `COMMANDS` ended in a component's image with nothing mounted."""

    @cache
    def answers(component: str) -> Mapping[str, Ended]:
        asking = [ASKING, json.dumps(COMMANDS)]
        with start(component, asking, entrypoint=["python3", "-c"]) as container:
            done = container.ended(120)

        assert done.code == 0, done.said
        return {line: Ended(*answer) for line, answer in json.loads(done.said).items()}

    return answers


@pytest.fixture
def answers(answers_of: Callable[[str], Mapping[str, Ended]], component: str) -> Mapping[str, Ended]:
    return answers_of(component)


@pytest.mark.parametrize("command", ["quartet-component", "serve"])
def test_its_commands_are_entry_points_too(start: Starting, component: str, command: str) -> None:
    done = ended(start, component, entrypoint=[command])

    assert done.code == 2
    assert component in done.said or "Mount" in done.said


@pytest.mark.parametrize("line", ["quartet-component train", "quartet-component serve", "train", "serve"])
def test_with_nothing_mounted_it_says_what_is_missing(answers: Mapping[str, Ended], line: str) -> None:
    assert answers[line].code == 2
    assert "Mount" in answers[line].said
    assert "Traceback" not in answers[line].said


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.split()[-1] in HELP])
def test_help_is_no_failure(answers: Mapping[str, Ended], line: str) -> None:
    assert answers[line].code == 0
    assert "train" in answers[line].said


def test_its_command_alone_explains_itself_and_fails(answers: Mapping[str, Ended], component: str) -> None:
    assert answers["quartet-component"].code == 2
    assert answers["quartet-component"].said.startswith(f"quartet {component}: ")


def test_schema_is_a_json_schema(answers: Mapping[str, Ended]) -> None:
    done = answers["quartet-component schema"]
    schema = json.loads(done.said)

    assert done.code == 0
    assert schema["type"] == "object"
    assert schema["properties"]


def test_an_unknown_word_is_refused(answers: Mapping[str, Ended]) -> None:
    assert answers["quartet-component tarin"].code == 2
    assert "Did you mean 'train'?" in answers["quartet-component tarin"].said


def test_it_runs_without_network_privileges_or_a_disk_to_write_on(engine: Any) -> None:
    """What the engine was told, and what the kernel makes of it."""
    script = "cat /proc/self/status /proc/net/dev; touch /opt/program/x /var/tmp/x; touch /tmp/x && echo written"
    image = build.defaults(build.images(specs(), "processing"))[0].local
    container = engine.containers.create(image, ["-c", script], entrypoint=["bash"], **build.HARDENED)
    try:
        host = engine.api.inspect_container(container.id)["HostConfig"]
        container.start()
        code = container.wait(timeout=60)["StatusCode"]
        said = container.logs().decode()
    finally:
        container.remove(force=True)

    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Tmpfs"] == {"/tmp": ""}
    assert not host["Privileged"]
    assert code == 0, said
    assert re.findall(r"^CapEff:\s*(\w+)$", said, re.MULTILINE) == ["0" * 16]
    assert re.findall(r"^NoNewPrivs:\s*(\d)$", said, re.MULTILINE) == ["1"]
    assert re.findall(r"^ *(\w+): *\d+ ", said, re.MULTILINE) == ["lo"]
    assert said.count("Read-only file system") == 2
    assert "written" in said.splitlines()


def test_another_program_can_be_run_in_it(start: Starting, component: str) -> None:
    """What the SageMaker Python SDK needs of an image when it brings a script: bash, python3 and pip."""
    done = ended(start, component, "bash", "-c", "command -v python3 && (command -v pip || command -v pip3)")

    assert done.code == 0
    assert "/opt/venv/bin/python3" in done.said


def test_a_file_beside_it_does_not_hide_its_own_modules(start: Starting, component: str, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("raise SystemExit(9)")
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    mounted = {str(tmp_path): {"bind": "/opt/ml/code", "mode": "ro"}}
    done = ended(start, component, "--help", volumes=mounted, working_dir="/opt/ml/code")

    assert done.code == 0, done.said


def test_arguments_alone_are_settings(start: Starting, raw: Path, tmp_path: Path) -> None:
    """A Processing job with ContainerArguments and no entry point: no word says train or serve."""
    jobs = Jobs(start, tmp_path, "0:0")
    arguments = ["--target", "late", "--ids", "flight", "--time", "when"]
    done = jobs.processing(
        "processing", {"data": raw / "training"}, outputs_of("processing", "train"), command=arguments
    )

    assert done.code == 0, done.said
    assert (done.outputs["state"] / "state.json").exists()


def test_an_entry_point_with_arguments_is_the_same_job(start: Starting, raw: Path, tmp_path: Path) -> None:
    jobs = Jobs(start, tmp_path, "0:0")
    entrypoint = ["quartet-component", "train", "--target", "late", "--ids", "flight"]
    done = jobs.processing(
        "processing", {"data": raw / "training"}, outputs_of("processing", "train"), entrypoint=entrypoint
    )

    assert done.code == 0, done.said


@pytest.mark.parametrize("present", [("hyperparameters",), ("inputdataconfig", "resourceconfig")])
@pytest.mark.parametrize("name", NAMES)
def test_a_training_job_without_a_word_trains(
    start: Starting, raw: Path, runs: Mapping[str, Any], tmp_path: Path, name: str, present: tuple[str, ...]
) -> None:
    """As ModelTrainer of the SageMaker Python SDK v3 starts it locally, with hyperparameters or without any."""
    made = runs["processing train"].outputs
    channels = {
        "processing": {"data": raw / "training"},
        "algorithm": {part: made[part] for part in ("train", "validation", "state")},
        "monitoring": {"data": raw / "training"},
        "explainability": {"data": made["train"], "model": runs["algorithm train"].outputs["model"]},
    }[name]
    needed = {"processing": {"target": "late"}, "algorithm": {"num_round": "2"}}.get(name, {})
    told = needed if "hyperparameters" in present else {}
    variables = {f"QUARTET_{key.upper()}": value for key, value in ({} if told else needed).items()}
    jobs = Jobs(start, tmp_path, "0:0", configuration=present)
    done = jobs.training(name, channels, told, command=[], environment=variables)

    assert done.code == 0, done.said
    assert (done.outputs["model"] / "manifest.json").exists()


def test_folders_alone_do_not_tell_what_to_do(start: Starting, raw: Path) -> None:
    """Both configurations are missing and no word is given: plain `docker run` with the inputs of train."""
    mounted = {str(raw / "training"): {"bind": "/opt/ml/processing/input/data", "mode": "ro"}}
    done = ended(start, "processing", volumes=mounted)

    assert done.code == 2
    assert "Example:" in done.said


def test_a_laptop_needs_two_mounts_and_a_word(start: Starting, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    volumes = {
        str(raw / "training"): {"bind": "/opt/ml/processing/input/data", "mode": "ro"},
        str(tmp_path / "out"): {"bind": "/opt/ml/processing/output", "mode": "rw"},
    }
    done = ended(
        start, "processing", "train", "--target", "late", volumes=volumes, tmpfs={"/tmp": "", "/opt/ml/output": ""}
    )

    assert done.code == 0, done.said
    assert (tmp_path / "out/state/state.json").exists()


def test_a_failure_is_told_where_each_kind_of_job_looks_for_it(start: Starting, raw: Path, tmp_path: Path) -> None:
    jobs = Jobs(start, tmp_path, "0:0")
    wrong = {**SETTINGS, "target": "lat"}
    done = jobs.processing("processing", {"data": raw / "training"}, outputs_of("processing", "train"), wrong)

    assert done.code in (2, 3)
    assert "late" in done.message
    assert done.message == done.failure
    assert [path for folder in done.outputs.values() for path in folder.rglob("*")] == []


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_job_ends_soon_and_leaves_no_output(
    start: Starting, runs: Mapping[str, Any], tmp_path: Path, name: str, signal: str
) -> None:
    """A quarter of a processor makes any job last long enough to be stopped."""
    big = tmp_path / "big"
    big.mkdir()
    training(60_000).write_csv(big / "data.csv")
    jobs = Stopping(start, tmp_path, signal, works)
    slow: dict[str, Any] = {"nano_cpus": 250_000_000}
    made = runs["processing train"].outputs
    if name == "algorithm":
        channels = {part: made[part] for part in ("train", "validation", "state")}
        rounds = {"num_round": "100000", "early_stopping_rounds": "0", "nthread": "1"}
        done = jobs.training(name, channels, rounds, **slow)
    elif name == "explainability":
        given = {"data": made["train"], "model": runs["algorithm train"].outputs["model"]}
        done = jobs.processing(name, given, outputs_of(name, "train"), **slow)
    else:
        settings = SETTINGS if name == "processing" else BASELINE
        done = jobs.processing(name, {"data": big}, outputs_of(name, "train"), settings, **slow)

    assert done.code == {"SIGTERM": 143, "SIGINT": 130}[signal], done.said
    assert "Traceback" not in done.said
    assert done.failure == f"stopped by {signal}."
    assert [path for folder in done.outputs.values() for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("name", NAMES)
def test_a_job_that_is_stopped_while_it_starts_ends_at_once(
    start: Starting, raw: Path, tmp_path: Path, name: str, signal: str
) -> None:
    """Imports take half a processor-second, two seconds here. Process 1 would be deaf to SIGTERM without a handler."""
    jobs = Stopping(start, tmp_path, signal, listens)
    done = jobs.training(name, {"data": raw / "training"}, {}, nano_cpus=250_000_000)

    # No other line: the program had not come so far as to set up its log.
    assert (done.code, done.said) == ({"SIGTERM": 143, "SIGINT": 130}[signal], f"stopped by {signal}.\n")
    assert done.failure == done.message == f"stopped by {signal}."


def test_a_server_that_is_stopped_while_it_starts_ends_at_once(start: Starting, tmp_path: Path) -> None:
    volumes = {str(tmp_path): {"bind": "/opt/ml/model", "mode": "ro"}}
    started = start("processing", ["serve"], volumes=volumes, nano_cpus=250_000_000)
    with Stopped(started, "SIGTERM", lambda container: listens(tmp_path, container)) as container:
        done = container.ended(60)

    assert (done.code, done.said) == (143, "stopped by SIGTERM.\n")


class Stopping(Jobs):
    """Runs jobs and stops each as soon as something is so."""

    def __init__(self, start: Starting, root: Path, signal: str, when: Callable[[Path, Any], bool]) -> None:
        super().__init__(self._stopped, root, "0:0")
        self._start = start
        self._signal = signal
        self._when = when

    def _stopped(self, component: str, *arguments: Any, **options: Any) -> Any:
        return Stopped(
            self._start(component, *arguments, **options), self._signal, lambda it: self._when(self.root, it)
        )


class Stopped:
    """A container that is told to end once something is so."""

    def __init__(self, context: Any, signal: str, when: Callable[[Any], bool]) -> None:
        self._context = context
        self._signal = signal
        self._when = when

    def __enter__(self) -> Any:
        container = self._context.__enter__()
        until = time.monotonic() + 60
        while container.running and time.monotonic() < until and not self._when(container):
            time.sleep(0.01)
        container.signal(self._signal)
        return container

    def __exit__(self, *details: object) -> None:
        self._context.__exit__(*details)


def works(root: Path, _container: Any) -> bool:
    """Whether a job is under way: the folders are there in which its outputs are made."""
    return any(root.glob("*/*/.staging-*"))


def listens(_root: Path, container: Any) -> bool:
    """Whether process 1 has a handler of its own for SIGTERM: the bits of SigCgt in its status."""
    # Python itself has one for SIGINT from its first moment; ours comes with that for SIGTERM.
    caught = next((line.split()[1] for line in container.status().splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> 14 & 1)
