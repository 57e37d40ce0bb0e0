"""`selftest`: trains and serves a small known problem, over files and over HTTP, and says how it went.

Each step is this program again, started as SageMaker starts it, below a temporary folder in the place of /opt/ml: as a
training job, as a processing job and as a server on the loopback interface. Nothing is mounted, and no network is used.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from shared.artefact import MANIFEST, library_versions, versions_text
from shared.carrier.client import Client, free_port
from shared.component import Component
from shared.contract import OPT_ML, Contract
from shared.errors import EXIT_INTERNAL, EXIT_OK, QuartetError, SettingsError, names
from shared.files import read_json, write_json
from shared.sample import Sample
from shared.version import VERSION

CARRIERS: Final = ("AWS_", "QUARTET_", "SAGEMAKER_", "SM_")
"""Prefixes of variables that would change what the steps do: settings of a job, ports, folders."""
LIBRARIES: Final = ("flask", "gunicorn", "numpy", "polars", "pydantic")
"""Libraries that every image has; the artefact tells those that its component needs."""
LONGEST_S: Final = 300
"""Time for one step; it takes one or two."""
GRACE_S: Final = 30
"""Time for a server to end that is no longer wanted."""
FALLBACK: Final = "device cuda is not there"
"""How the log line begins that a component writes when it trains on the CPU in spite of its build."""


class FailedStep(QuartetError):
    """A step that did not end as it must."""


@dataclass(frozen=True)
class Step:
    """One thing that worked: what, how many seconds it took with its program's start, and what it said."""

    name: str
    seconds: float
    said: str


@dataclass
class Report:
    """What `selftest` prints."""

    component: str
    version: str = VERSION
    python: str = field(default_factory=platform.python_version)
    system: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    libraries: Mapping[str, str] = field(default_factory=lambda: library_versions(LIBRARIES))
    device: str = "cpu"
    notes: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    def as_json(self) -> str:
        """All of it, and `ok`, as JSON."""
        return json.dumps({**asdict(self), "ok": not self.error}, indent=2)

    def as_text(self) -> str:
        """The same for people."""
        width = max((len(step.name) for step in self.steps), default=0)
        facts = {
            "python": f"{self.python} on {self.system}",
            "libraries": versions_text(self.libraries),
            "device": self.device,
        }
        lines = [f"quartet {self.component} {self.version}", ""]
        lines += [f"  {name:<11}{value}" for name, value in facts.items()]
        lines += [f"  {'note':<11}{note}" for note in self.notes]
        lines += ["", *(f"  {step.name:<{width}} {step.seconds:>7.2f} s   {step.said}" for step in self.steps)]
        lines += [""] if self.steps else []
        lines += [f"failed: {self.error}" if self.error else f"ok, {self.seconds:.2f} s"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Program:
    """How this program is started once more: its command, and an environment without a job's variables."""

    command: Sequence[str]
    environment: Mapping[str, str]

    @classmethod
    def of(cls, component: Component, environment: Mapping[str, str]) -> Program:
        """The component's own program, in this interpreter and with its flags."""
        safe = ["-P"] if sys.flags.safe_path else []
        kept = {name: value for name, value in environment.items() if not name.startswith(CARRIERS)}
        return cls((sys.executable, *safe, "-m", f"components.{component.name}"), kept)

    def at(self, root: Path, **more: str) -> dict[str, str]:
        """Its environment, with a folder in the place of /opt/ml."""
        return {**self.environment, "SAGEMAKER_BASE_DIR": str(root), **more}


def run(
    component: Component, arguments: Sequence[str], environment: Mapping[str, str], program: Program | None = None
) -> int:
    """Try a component and print how it went.

    Args:
        component: what to try.
        arguments: nothing, or `--json`.
        environment: variables of this process.
        program: how to start it; by default as `python -m components.<name>`.

    Returns:
        The exit code: 0, or 1 when a step failed.

    Raises:
        SettingsError: an argument is none that is known.
    """
    unknown = [argument for argument in arguments if argument != "--json"]
    if unknown:
        raise SettingsError(f"selftest takes no argument but --json, found {names(unknown)}.")
    report = Report(component.name)
    begun = time.perf_counter()
    try:
        with scratch() as folder:
            fill(report, component, folder, program or Program.of(component, environment))
    except QuartetError as error:
        report.error = str(error)
    except Exception as error:
        # Libraries that cannot be loaded explain themselves on many lines.
        report.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
    report.seconds = round(time.perf_counter() - begun, 3)
    print(report.as_json() if arguments else report.as_text())
    return EXIT_INTERNAL if report.error else EXIT_OK


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, gone after the block.

    Raises:
        SettingsError: no folder can be written to.
    """
    try:
        holder = tempfile.TemporaryDirectory(prefix="quartet-selftest-")
    except OSError:
        raise SettingsError("no temporary folder can be written. Mount one: --tmpfs /tmp.") from None
    with holder as folder:
        yield Path(folder)


def fill(report: Report, component: Component, folder: Path, program: Program) -> None:
    """Run the steps, one after the other, and note each that worked.

    Raises:
        FailedStep: one did not.
    """
    sample = component.sample(folder / "sample")
    trained = Contract(folder / "train")
    note(report, "train", lambda: train(sample, trained, program, report))
    report.libraries = {**report.libraries, **read_json(trained.model / MANIFEST)["versions"]}
    report.device = device(sample, report.notes)
    if component.serve is not None:
        files = Contract(folder / "serve")
        note(report, "serve", lambda: serve_files(component, sample, trained.model, files, program))
    note(report, "serve over HTTP", lambda: serve_http(sample, trained.root, program))


def note(report: Report, name: str, step: Callable[[], str]) -> None:
    """Run a step and note what it said and how long it took; its error is named after it."""
    begun = time.perf_counter()
    try:
        said = step()
    except QuartetError as error:
        raise FailedStep(f"{name} {error}") from None
    report.steps.append(Step(name, round(time.perf_counter() - begun, 3), said))


def train(sample: Sample, contract: Contract, program: Program, report: Report) -> str:
    """Train as a training job that is started without a word."""
    write_json(contract.hyperparameters, dict(sample.hyperparameters))
    write_json(contract.input_data_config, {name: {"TrainingInputMode": "File"} for name in sample.train})
    for name, path in sample.train.items():
        shutil.copytree(path, contract.channel(name))
    log = job(contract, program)
    report.notes += [line.partition(": ")[2] for line in log.splitlines() if " WARNING " in line]
    return contract.message.read_text(encoding="utf-8")


def serve_files(component: Component, sample: Sample, artefact: Path, contract: Contract, program: Program) -> str:
    """Serve as a processing job: over files, then it ends."""
    inputs = {**sample.serve, component.artefact: artefact}
    for name, path in inputs.items():
        shutil.copytree(path, contract.processing_input(name))
    write_json(contract.processing_job_config, processing_job(inputs, component.serve_ports.outputs))
    job(contract, program)
    return contract.message.read_text(encoding="utf-8")


def processing_job(inputs: Iterable[str], outputs: Iterable[str]) -> dict[str, Any]:
    """The configuration of a processing job, with what a component reads of it."""
    return {
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"LocalPath": f"{OPT_ML}/processing/input/{name}"}} for name in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {"OutputName": name, "S3Output": {"LocalPath": f"{OPT_ML}/processing/output/{name}"}}
                for name in outputs
            ]
        },
    }


def job(contract: Contract, program: Program) -> str:
    """Run a job to its end; its log.

    Raises:
        FailedStep: it failed, or did not end.
    """
    try:
        done = subprocess.run(
            program.command,
            env=program.at(contract.root),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        raise FailedStep(f"did not end in {LONGEST_S} s.") from None
    if done.returncode:
        raise FailedStep(f"ended with exit code {done.returncode}: {last_line(done.stdout)}")
    return done.stdout


def serve_http(sample: Sample, root: Path, program: Program) -> str:
    """Serve over HTTP, wait until it is ready, ask it, and end it.

    Raises:
        FailedStep: it did not become ready, gave another answer than it must, or did not end well.
    """
    port = free_port()
    begun = time.perf_counter()
    with server(root, program, port) as told, closing(Client(port)) as client:
        if not client.wait_until_healthy(lambda: told() is not None, LONGEST_S):
            raise FailedStep(told() or f"was not ready in {LONGEST_S} s.")
        ready_s = time.perf_counter() - begun
        answer = client.ask("POST", "/invocations", sample.request, LONGEST_S)
        if answer.status != HTTPStatus.OK:
            raise FailedStep(f"answered with status {answer.status}: {last_line(answer.body.decode(errors='replace'))}")
        sent, lines = len(sample.request.splitlines()), len(answer.body.splitlines())
        if sample.answers is None:
            json.loads(answer.body)
        elif lines != sample.answers:
            raise FailedStep(f"answered {sent} rows with {lines} lines, wanted {sample.answers}.")
    came = "one JSON object" if sample.answers is None else f"{lines} lines"
    return f"{sent} rows sent, {came} came back; ready after {ready_s:.2f} s."


@contextmanager
def server(root: Path, program: Program, port: int) -> Iterator[Callable[[], str | None]]:
    """The program as a server, ended by SIGTERM after the block.

    Yields:
        A function that gives None while it runs, and why once it has ended.

    Raises:
        FailedStep: it did not end well.
    """
    environment = program.at(root, SAGEMAKER_BIND_TO_PORT=str(port), SAGEMAKER_MODEL_SERVER_WORKERS="1")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", dir=root) as log:
        process = subprocess.Popen([*program.command, "serve"], env=environment, stdout=log, stderr=subprocess.STDOUT)

        def why() -> str | None:
            if process.poll() is None:
                return None
            log.seek(0)
            return f"ended with exit code {process.returncode}: {last_line(log.read())}"

        try:
            yield why
            process.terminate()
            process.wait(LONGEST_S)
            if process.returncode:
                raise FailedStep(str(why()))
        except subprocess.TimeoutExpired:
            raise FailedStep(f"did not end within {LONGEST_S} s of SIGTERM.") from None
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that a server has ended: by SIGTERM first, so that its workers end with it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def device(sample: Sample, notes: Iterable[str]) -> str:
    """What the sample was trained on: the NVIDIA device's name, or `cpu`."""
    if sample.hyperparameters.get("device") != "cuda" or any(note.startswith(FALLBACK) for note in notes):
        return "cpu"
    try:
        command = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONGEST_S)
    except (OSError, subprocess.SubprocessError):
        return "cuda"
    return f"cuda: {', '.join(done.stdout.splitlines())}"


def last_line(text: str) -> str:
    """The last line that says something."""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return said[-1] if said else "it said nothing."
