"""Containers as SageMaker starts them, with the folders and files that it would mount."""

from __future__ import annotations

import http.client
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from components.spec import NAMES, specs
from tests.images.data import Settings

STARTED_S: Final = 60
"""Longest wait for a container to answer; far above what it takes, so that a busy machine does not matter."""

USERS: Final = {"root": "0:0", "anybody": "54321:54321"}
"""SageMaker starts images as root; elsewhere the user can be any, without a name or a home."""
SERVED: Final = (*NAMES, "torch-cpu")
"""Images that are tried as servers; test_cuda.py compares the one for NVIDIA's devices with that of the CPU."""
Hosts = tuple[str, tuple[str, ...]]
Start = Callable[..., Any]
"""Starts a container: the component, then its arguments and docker's options; a context that removes it."""


@dataclass
class Ended:
    """A container that has come to its end."""

    code: int
    said: str


class Container:
    """One running container, from whichever image and with whichever mounts."""

    def __init__(self, container: Any) -> None:
        self._container = container

    @property
    def address(self) -> tuple[str, int]:
        """Where its port 8080 is reached."""
        self._container.reload()
        (bound,) = self._container.ports["8080/tcp"]
        return bound["HostIp"], int(bound["HostPort"])

    @property
    def running(self) -> bool:
        """Whether its PID 1 still lives."""
        self._container.reload()
        return bool(self._container.status == "running")

    def said(self) -> str:
        """Its standard output and standard error, so far."""
        return str(self._container.logs().decode(errors="replace"))

    def signal(self, name: str) -> None:
        """Send a signal to its PID 1."""
        self._container.kill(signal=name)

    def status(self) -> str:
        """What the kernel says of its PID 1: read on this machine, for a process inside would slow it."""
        self._container.reload()
        path = Path("/proc", str(self._container.attrs["State"]["Pid"]), "status")
        return path.read_text() if path.exists() else ""

    def executed(self, *command: str) -> str:
        """What another process in it prints."""
        code, output = self._container.exec_run(list(command))

        assert code == 0, output
        return str(output.decode())

    def ended(self, timeout_s: float = 120) -> Ended:
        """Wait for its end."""
        code = self._container.wait(timeout=timeout_s)["StatusCode"]
        return Ended(int(code), self.said())

    def request(self, method: str, path: str, body: bytes | Iterator[bytes] = b"", **headers: str) -> tuple[int, bytes]:
        """Ask its server; the status and the body."""
        connection = http.client.HTTPConnection(*self.address, timeout=STARTED_S)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, names)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answered(self, path: str) -> tuple[int, bytes]:
        """The first answer to a path, whatever it is, once somebody listens."""
        until = time.monotonic() + STARTED_S
        while time.monotonic() < until:
            try:
                return self.request("GET", path)
            except OSError:
                assert self.running, self.said()
            time.sleep(0.05)
        raise AssertionError(f"no answer in {STARTED_S} s: {self.said()}")

    def ready(self) -> Container:
        """Wait until `/ping` answers 200."""
        until = time.monotonic() + STARTED_S
        while time.monotonic() < until:
            try:
                if self.request("GET", "/ping")[0] == 200:
                    return self
            except OSError:
                assert self.running, self.said()
            time.sleep(0.05)
        raise AssertionError(f"not ready in {STARTED_S} s: {self.said()}")


@dataclass
class Mounts:
    """Folders of the host by their place in a container."""

    root: Path
    places: dict[str, str] = field(default_factory=dict)
    """Place in the container to `rw` or `ro`."""

    def folder(self, place: str, mode: str = "rw") -> Path:
        """The host's folder for a place, writable for every user, as the services make it."""
        path = self.root / place.removeprefix("/opt/ml/").replace("/", "-")
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        self.places[place] = mode
        return path

    def volumes(self) -> dict[str, dict[str, str]]:
        """The mounts as docker-py takes them."""
        return {str(self.folder(place, mode)): {"bind": place, "mode": mode} for place, mode in self.places.items()}


@dataclass
class Done:
    """A job that has run: how it ended and where what it wrote lies."""

    code: int
    said: str
    outputs: Mapping[str, Path]
    message: str
    failure: str


@dataclass
class Jobs:
    """Runs jobs with the folders and files that SageMaker gives them."""

    start: Start
    root: Path
    user: str
    hosts: Hosts = ("algo-1", ("algo-1",))
    """The current host, and all of them in the order in which a service lists them."""
    configuration: tuple[str, ...] = ("hyperparameters", "inputdataconfig", "resourceconfig")
    """Those of a training job's files that are there."""
    count: int = 0

    def processing(
        self,
        component: str,
        inputs: Mapping[str, Path],
        outputs: Sequence[str],
        settings: Settings | None = None,
        **options: Any,
    ) -> Done:
        """A Processing job: everything is found by name in its configuration, and no word says train or serve."""
        mounts = self._mounts(component)
        if settings is not None:
            inputs = {**inputs, "settings": self._settings(settings)}
        config = mounts.folder("/opt/ml/config")
        (config / "processingjobconfig.json").write_text(json.dumps(processing_config(inputs, outputs)))
        (config / "resourceconfig.json").write_text(json.dumps(self._hosts()))
        folders = {name: mounts.folder(f"/opt/ml/processing/output/{name}") for name in outputs}
        given = {str(path): {"bind": f"/opt/ml/processing/input/{name}", "mode": "ro"} for name, path in inputs.items()}
        return self._run(component, mounts, given, folders, options)

    def training(
        self, component: str, channels: Mapping[str, Path], hyperparameters: Mapping[str, str], **options: Any
    ) -> Done:
        """A Training job."""
        mounts = self._mounts(component)
        config = mounts.folder("/opt/ml/input/config")
        channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
        files: dict[str, Mapping[str, Any]] = {
            "hyperparameters": hyperparameters,
            "inputdataconfig": {name: dict(channel) for name in channels},
            "resourceconfig": {**self._hosts(), "network_interface_name": "eth0"},
        }
        for name in self.configuration:
            (config / f"{name}.json").write_text(json.dumps(files[name]))
        given = {str(path): {"bind": f"/opt/ml/input/data/{name}", "mode": "ro"} for name, path in channels.items()}
        folders = {"model": mounts.folder("/opt/ml/model"), "data": mounts.folder("/opt/ml/output") / "data"}
        return self._run(component, mounts, given, folders, {"command": ["train"], **options})

    def _hosts(self) -> dict[str, Any]:
        current, everyone = self.hosts
        return {"current_host": current, "hosts": list(everyone)}

    def _mounts(self, component: str) -> Mounts:
        self.count += 1
        mounts = Mounts(self.root / f"{self.count:02d}-{component}")
        mounts.folder("/opt/ml/output")
        return mounts

    def _settings(self, settings: Settings) -> Path:
        folder = self.root / f"{self.count:02d}-settings"
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps(settings))
        return folder

    def _run(
        self,
        component: str,
        mounts: Mounts,
        given: Mapping[str, dict[str, str]],
        outputs: Mapping[str, Path],
        options: Mapping[str, Any],
    ) -> Done:
        options = {"user": self.user, **options, "volumes": {**mounts.volumes(), **given}}
        with self.start(component, **options) as container:
            ended = container.ended(300)
        output = mounts.folder("/opt/ml/output")
        told = [path.read_text() if path.exists() else "" for path in (output / "message", output / "failure")]
        return Done(ended.code, ended.said, outputs, *told)


def processing_config(inputs: Mapping[str, Path], outputs: Sequence[str]) -> dict[str, Any]:
    """A `processingjobconfig.json` with the keys of the request, as the service and local mode write it."""
    return {
        "ProcessingJobName": "job",
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": None, "ContainerArguments": None},
        "Environment": {},
        "ProcessingInputs": [
            {
                "InputName": name,
                "AppManaged": False,
                "S3Input": {
                    "LocalPath": f"/opt/ml/processing/input/{name}",
                    "S3Uri": f"s3://bucket/{name}",
                    "S3DataDistributionType": "FullyReplicated",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3CompressionType": "None",
                },
                "DatasetDefinition": None,
            }
            for name in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": name,
                    "AppManaged": False,
                    "S3Output": {
                        "LocalPath": f"/opt/ml/processing/output/{name}",
                        "S3Uri": f"s3://bucket/out/{name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for name in outputs
            ],
            "KmsKeyId": None,
        },
        "RoleArn": "<no_role>",
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    }


def packed(model: Path, folder: Path) -> Path:
    """A folder with `model.tar.gz`, which is how SageMaker hands a model to a Processing job."""
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        for path in sorted(model.iterdir()):
            archive.add(path, path.name)
    return folder


def outputs_of(component: str, mode: str) -> tuple[str, ...]:
    """The outputs that every run of a mode writes."""
    spec = specs()[component]
    return (spec.train if mode == "train" else spec.serve).outputs


def artefacts_of(runs: Mapping[str, Done]) -> dict[str, Path]:
    """By component, the folder that its train left for its server."""
    held = {"processing": "state", "algorithm": "model", "monitoring": "baseline", "explainability": "explainer"}
    return {name: runs[f"{name} train"].outputs[held[name]] for name in NAMES}
