"""Every path of SageMaker's `/opt/ml` contract, and readers of the configuration files found there.

The root is `/opt/ml`, or `$SAGEMAKER_BASE_DIR`: paths inside configuration files that start with `/opt/ml` follow it,
so the same job description runs in a container and in a folder on a laptop.

Sources: "How Amazon SageMaker Provides Training Information", "How Amazon SageMaker Processes Training Output",
"Build Your Own Processing Container (Advanced Scenario)" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from shared.errors import SettingsError, names
from shared.files import is_there

OPT_ML: Final = PurePosixPath("/opt/ml")
MESSAGE_BYTES: Final = 1024
"""`FailureReason` and `ExitMessage` hold 1,024 characters; counted in bytes here, which is never too long."""
ENTRIES: Final = {
    "ProcessingInputs": ("InputName", "S3Input", "DatasetDefinition"),
    "Outputs": ("OutputName", "S3Output"),
}
"""Lists of a processing job's configuration: what names an entry, and the objects that it may hold."""


@dataclass(frozen=True)
class Hosts:
    """The machines of a job. The leader is the first name in lexicographic order, as SageMaker sorts them."""

    current: str = "algo-1"
    all: tuple[str, ...] = ("algo-1",)

    @property
    def rank(self) -> int:
        """Position of this host among all, from 0."""
        return self.all.index(self.current)

    @property
    def leads(self) -> bool:
        """Whether this host writes the files that must exist once."""
        return self.rank == 0

    @property
    def part(self) -> str:
        """Stem of this host's part files: no two hosts of a job write the same name."""
        return f"part-{self.rank:04d}-of-{len(self.all):04d}"


@dataclass(frozen=True)
class Contract:
    """The contract below one root folder."""

    root: Path = Path(str(OPT_ML))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Contract:
        """The contract at `$SAGEMAKER_BASE_DIR`, or at `/opt/ml`."""
        return cls(Path(environment.get("SAGEMAKER_BASE_DIR") or str(OPT_ML)).absolute())

    @property
    def hyperparameters(self) -> Path:
        """`input/config/hyperparameters.json`: present in training jobs."""
        return self.root / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """`input/config/inputdataconfig.json`: the channels of a training job."""
        return self.root / "input/config/inputdataconfig.json"

    @property
    def training_resource_config(self) -> Path:
        """`input/config/resourceconfig.json`: the hosts of a training job."""
        return self.root / "input/config/resourceconfig.json"

    @property
    def processing_job_config(self) -> Path:
        """`config/processingjobconfig.json`: present in processing jobs."""
        return self.root / "config/processingjobconfig.json"

    @property
    def processing_resource_config(self) -> Path:
        """`config/resourceconfig.json`: the hosts of a processing job."""
        return self.root / "config/resourceconfig.json"

    @property
    def is_training_job(self) -> bool:
        """Whether any of the files is there that a training job gets; each of them may be missing."""
        return any(map(present, (self.hyperparameters, self.input_data_config, self.training_resource_config)))

    @property
    def model(self) -> Path:
        """`model`: written by training, packed into model.tar.gz, unpacked again for serving."""
        return self.root / "model"

    @property
    def output(self) -> Path:
        """`output`: failure, message and data."""
        return self.root / "output"

    @property
    def output_data(self) -> Path:
        """`output/data`: what training leaves beside the model, packed into output.tar.gz."""
        return self.output / "data"

    @property
    def failure(self) -> Path:
        """`output/failure`: becomes a training job's FailureReason."""
        return self.output / "failure"

    @property
    def message(self) -> Path:
        """`output/message`: becomes a processing job's ExitMessage."""
        return self.output / "message"

    @property
    def checkpoint_config(self) -> Path:
        """`input/config/checkpointconfig.json`: present in training jobs with a CheckpointConfig."""
        return self.root / "input/config/checkpointconfig.json"

    @property
    def checkpoints(self) -> Path:
        """`checkpoints`, or LocalPath of the job's CheckpointConfig: exists only when the job asked for checkpoints."""
        told = read_config(self.checkpoint_config).get("LocalPath") if present(self.checkpoint_config) else None
        return self.relocated(told, "checkpoints") if told else self.root / "checkpoints"

    @property
    def wants_checkpoints(self) -> bool:
        """Whether the job asked for checkpoints, wherever they go."""
        return present(self.checkpoint_config) or present(self.checkpoints)

    def channel(self, name: str) -> Path:
        """`input/data/<name>`: a training channel."""
        return self.root / "input/data" / name

    def processing_input(self, name: str) -> Path:
        """`processing/input/<name>`: where an input lies when no configuration says otherwise."""
        return self.root / "processing/input" / name

    def processing_output(self, name: str) -> Path:
        """`processing/output/<name>`: where an output goes when no configuration says otherwise."""
        return self.root / "processing/output" / name

    def relocated(self, path: Any, example: str = "processing/…") -> Path:
        """A path of a job description, below this root; `example` is what the error advises, below /opt/ml.

        Raises:
            SettingsError: the path is none, or not below /opt/ml, where alone SageMaker mounts.
        """
        pure = PurePosixPath(path if isinstance(path, str) else "")
        if not pure.is_relative_to(OPT_ML) or ".." in pure.parts:
            raise SettingsError(f"LocalPath {path!r} is not below {OPT_ML}. Give a path such as {OPT_ML}/{example}.")
        return self.root / pure.relative_to(OPT_ML)

    def processing_inputs(self) -> dict[str, Path]:
        """Folders of the inputs that the job's configuration names; without a configuration, those that exist."""
        if not present(self.processing_job_config):
            return folders(self.root / "processing/input")
        inputs = {}
        for item in entries(self.processing_job_config, "ProcessingInputs"):
            local = (item.get("S3Input") or item.get("DatasetDefinition") or {}).get("LocalPath")
            if local:
                inputs[item["InputName"]] = self.relocated(local)
        return inputs

    def processing_outputs(self) -> dict[str, Path]:
        """Folders of the outputs that the job's configuration names; empty without a configuration."""
        if not present(self.processing_job_config):
            return {}
        return {
            item["OutputName"]: self.relocated(item["S3Output"].get("LocalPath"))
            for item in entries(self.processing_job_config, "Outputs")
            if item.get("S3Output")
        }

    def channels(self) -> dict[str, Path]:
        """Folders of the training channels: those in inputdataconfig.json, and without that file those that exist."""
        if not present(self.input_data_config):
            return folders(self.root / "input/data")
        return {name: self.channel(name) for name in read_config(self.input_data_config)}

    def stray_files(self) -> list[Path]:
        """Files where on a laptop the folders of inputs and channels lie."""
        parents = (self.root / "input/data", self.root / "processing/input")
        return [path for parent in parents for path in sorted(parent.glob("[!.]*")) if path.is_file()]

    def hosts(self) -> Hosts:
        """The hosts of the job, from whichever resource configuration is there; one host when there is none.

        Raises:
            SettingsError: the configuration cannot be read, or does not list the host that this is.
        """
        for path in (self.processing_resource_config, self.training_resource_config):
            if present(path):
                return hosts_of(read_config(path), path)
        return Hosts()

    def clear_outcome(self) -> None:
        """Forget how an earlier run in the same tree ended."""
        for path in (self.failure, self.message):
            # What cannot be removed is on a mount that this job cannot write either: `write_message` tells.
            with suppress(OSError):
                path.unlink()

    def write_failure(self, text: str) -> None:
        """Tell why the job failed: `failure` for training jobs, `message` for processing jobs.

        Both are written, because a container cannot always tell which of the two reads it.

        Raises:
            OSError: one of them cannot be written; the other one has been tried all the same.
        """
        refused: OSError | None = None
        for path in (self.failure, self.message):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cut(text))
            except OSError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def write_message(self, text: str, log: logging.Logger) -> None:
        """Tell how the job ended (`ExitMessage`). Where nothing can be written it still ended well: the log says so."""
        try:
            self.message.parent.mkdir(parents=True, exist_ok=True)
            self.message.write_bytes(cut(text))
        except OSError as error:
            log.warning("the message cannot be written to %s: %s", self.message, error.strerror)


def hosts_of(config: Mapping[str, Any], path: Path) -> Hosts:
    """The hosts that a resource configuration lists.

    Raises:
        SettingsError: it lists something else, or not the host that this is.
    """
    listed = config.get("hosts") or ["algo-1"]
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(f"{path} has hosts {listed!r}, wanted a list of names.")
    everyone = tuple(sorted(listed))
    current = config.get("current_host") or everyone[0]
    if current not in everyone:
        raise SettingsError(f"{path} has current_host {current!r}, wanted one of its hosts {names(everyone)}.")
    return Hosts(current, everyone)


def entries(path: Path, key: str) -> Iterator[dict[str, Any]]:
    """The `ProcessingInputs` or the `Outputs` of a processing job's configuration, each with its name.

    Raises:
        SettingsError: they are not what CreateProcessingJob takes.
    """
    name, *holders = ENTRIES[key]
    config = read_config(path)
    found = (_mapping(config, "ProcessingOutputConfig", path) if key == "Outputs" else config).get(key)
    if not isinstance(found or [], list):
        raise SettingsError(f"{path} has {key} {found!r}, wanted a list.")
    for position, item in enumerate(found or [], start=1):
        if not isinstance(item, dict) or not isinstance(item.get(name), str):
            raise SettingsError(f"{path}: item {position} of {key} has no {name}, wanted an object with one.")
        for holder in holders:
            _mapping(item, holder, path)
        yield item


def _mapping(value: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    found = value.get(key) or {}
    if not isinstance(found, dict):
        raise SettingsError(f"{path} has {key} {found!r}, wanted an object.")
    return found


def cut(text: str, limit: int = MESSAGE_BYTES) -> bytes:
    """UTF-8 of `text`, at most `limit` bytes long and never ending inside a character."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").encode()


def folders(parent: Path) -> dict[str, Path]:
    """The folders directly below `parent` by name; none when it does not exist."""
    if not parent.is_dir():
        return {}
    return {path.name: path for path in sorted(parent.iterdir()) if path.is_dir()}


def present(path: Path) -> bool:
    """Whether there is something at a path.

    Raises:
        SettingsError: that cannot be told, because a folder on the way may not be looked into.
    """
    try:
        return is_there(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Let the container's user read it.") from None


def read_config(path: Path) -> dict[str, Any]:
    """One of SageMaker's configuration files.

    Raises:
        SettingsError: the file cannot be read, or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        # Docker makes one where the source of -v is missing.
        raise SettingsError(f"{path} is a folder, wanted a JSON file. Does the file that is mounted exist?") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Let the container's user read it.") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise SettingsError(f"{path} holds a {type(value).__name__}, wanted a JSON object.")
    return value
