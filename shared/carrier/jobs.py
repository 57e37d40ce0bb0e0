"""The three kinds of job: what each lays out, runs and uploads, as SageMaker does around a container."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.artefact import ARCHIVE
from shared.carrier import inputs, program, tree
from shared.carrier.client import Client, free_port
from shared.carrier.cutting import batch_variables, cutting
from shared.carrier.description import Description
from shared.carrier.s3 import Place, Store
from shared.carrier.transform import transform_objects
from shared.contract import Contract, Hosts
from shared.errors import EXIT_INTERNAL, QuartetError, SettingsError

SYNC_SECONDS: Final = 60.0
"""How often checkpoints are copied to S3 while a job runs."""


class JobFailedError(QuartetError):
    """The component's program failed, with its own reason and exit code."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.exit_code = code


@dataclass
class Carried:
    """One job on its way: laid out, run, and its results uploaded."""

    component: str
    description: Description
    contract: Contract
    hosts: Hosts
    store: Store
    environment: Mapping[str, str]
    log: logging.Logger
    sent: dict[Path, float] = field(default_factory=dict)
    """Checkpoints that are in S3 by now, and when they were written."""

    @property
    def request(self) -> Mapping[str, Any]:
        """The request that would create the job."""
        return self.description.request

    def down(self) -> bool:
        """Lay out the tree; False when no object is left for this host, so that there is nothing to do.

        Raises:
            SettingsError: the request asks for what cannot be done here.
            DataError: an input does not exist.
            QuartetError: S3 cannot be read.
        """
        raise NotImplementedError

    def work(self) -> None:
        """Run the component's program to its end.

        Raises:
            JobFailedError: it failed.
        """
        raise NotImplementedError

    def up(self) -> None:
        """Upload what the program has left.

        Raises:
            QuartetError: S3 does not take it.
        """
        raise NotImplementedError

    def run(self, arguments: Sequence[str], own: Mapping[str, str]) -> None:
        """Run the program over files.

        Raises:
            JobFailedError: it ended with another code than 0.
        """
        with program.child(arguments, self._environment(own)) as process:
            while True:
                try:
                    status = process.wait(SYNC_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    self.sync()
        if status:
            raise self.failure(status)

    def sync(self) -> None:
        """What is done from time to time while the program runs."""

    def failure(self, status: int) -> JobFailedError:
        """The program's failure: what it wrote of it, and its exit code."""
        written = [path for path in (self.contract.failure, self.contract.message) if path.is_file()]
        said = [path.read_text(encoding="utf-8", errors="replace").strip() for path in written]
        reason = next(filter(None, said), program.ending(status))
        return JobFailedError(reason, program.exit_code(status) or EXIT_INTERNAL)

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        return program.environment_of(self.environment, str(self.contract.root), own)

    def _copied(self, wanted: Sequence[inputs.Input]) -> bool:
        """Copy the inputs; False when one that the hosts share out has nothing left for this one."""
        if len(self.hosts.all) > 1 and not any(item.sharded for item in wanted):
            raise SettingsError(
                f"the job is an array of {len(self.hosts.all)} and no input is shared out among them. "
                "Set S3DataDistributionType of one to ShardedByS3Key, or submit a single job."
            )
        # Not a generator: each is copied, even after one that is empty.
        counts = [(item, inputs.copied(item, self.store, self.hosts, self.log)) for item in wanted]
        return all(count for _, count in counts)


class Processing(Carried):
    """A CreateProcessingJob request."""

    def down(self) -> bool:
        """See `Carried`."""
        self._check_entrypoint()
        self._outputs()
        tree.write_processing_config(self.request, self.contract, self.hosts)
        self.contract.output.mkdir(parents=True, exist_ok=True)
        for folder, _ in self._outputs():
            folder.mkdir(parents=True, exist_ok=True)
        return self._copied(list(inputs.processing_inputs(self.request, self.contract)))

    def _check_entrypoint(self) -> None:
        """The image's own program is what runs here: a description for another one must not pass for ours."""
        entrypoint = self.request["AppSpecification"].get("ContainerEntrypoint")
        own = ["python", "-m", f"components.{self.component}"]
        if entrypoint not in (None, own):
            raise SettingsError(
                f"the job's ContainerEntrypoint is {entrypoint}, and this image runs {own}. Use its image."
            )

    def work(self) -> None:
        """See `Carried`."""
        self.run(self.request["AppSpecification"].get("ContainerArguments") or [], self.request.get("Environment", {}))

    def up(self) -> None:
        """See `Carried`."""
        kms_key = self.request.get("ProcessingOutputConfig", {}).get("KmsKeyId")
        self.store.send(
            [(path, place.below(name)) for folder, place in self._outputs() for path, name in tree.files(folder)],
            kms_key,
        )

    def _outputs(self) -> list[tuple[Path, Place]]:
        """Folder and prefix of each output."""
        declared = self.request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        return [
            (self.contract.relocated(item["S3Output"]["LocalPath"]), Place.of(item["S3Output"]["S3Uri"]))
            for item in declared
        ]


class Training(Carried):
    """A CreateTrainingJob request."""

    def down(self) -> bool:
        """See `Carried`."""
        self._check_request()
        tree.write_training_config(self.request, self.contract, self.hosts)
        for folder in (self.contract.model, self.contract.output_data):
            folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoints is not None:
            folder, place = self._checkpoints
            folder.mkdir(parents=True, exist_ok=True)
            found = self.store.objects(place.below(""))
            self.store.fetch((item.place, folder / item.name) for item in found)
            self.sent = {path: path.stat().st_mtime for path, _ in tree.files(folder)}
        return self._copied(list(inputs.training_channels(self.request, self.contract)))

    def _check_request(self) -> None:
        if self.request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
            raise SettingsError(
                "OutputDataConfig.CompressionType is 'NONE', wanted 'GZIP': model.tar.gz is what is read."
            )
        count = self.request["ResourceConfig"].get("InstanceCount", 1)
        if count > 1 or len(self.hosts.all) > 1:
            raise SettingsError(
                f"training on AWS Batch runs on one machine, the job wants {max(count, 2)}. Ask for one."
            )

    def work(self) -> None:
        """See `Carried`."""
        name = {"TRAINING_JOB_NAME": self.request["TrainingJobName"]}
        self.run(["train"], name | dict(self.request.get("Environment", {})))

    def sync(self) -> None:
        """Copy new and changed checkpoints to S3, so that another attempt goes on from there."""
        if self._checkpoints is None:
            return
        folder, place = self._checkpoints
        # Written beside their place under a name with a dot, and moved there when they are whole.
        found = [(path, name) for path, name in tree.files(folder) if not Path(name).name.startswith(".")]
        times = {path: path.stat().st_mtime for path, _ in found}
        fresh = [(path, name) for path, name in found if self.sent.get(path) != times[path]]
        self.store.send([(path, place.below(name)) for path, name in fresh])
        self.sent.update(times)

    def up(self) -> None:
        """See `Carried`. An archive of nothing is left out: it would pass for a model."""
        self.sync()
        target = Place.of(self.request["OutputDataConfig"]["S3OutputPath"]).below(self.request["TrainingJobName"])
        kms_key = self.request["OutputDataConfig"].get("KmsKeyId")
        packed = {ARCHIVE: self.contract.model, "output.tar.gz": self.contract.output_data}
        with tempfile.TemporaryDirectory(dir=self.contract.root) as room:
            copies = []
            for name, folder in packed.items():
                if any(tree.files(folder)):
                    tree.pack(folder, Path(room, name))
                    copies.append((Path(room, name), target.below(f"output/{name}")))
            self.store.send(copies, kms_key)

    @property
    def _checkpoints(self) -> tuple[Path, Place] | None:
        config = self.request.get("CheckpointConfig")
        if config is None:
            return None
        return self.contract.relocated(config.get("LocalPath", "/opt/ml/checkpoints")), Place.of(config["S3Uri"])


class Transform(Carried):
    """A CreateTransformJob request, and the CreateModel request of the model that it names."""

    def down(self) -> bool:
        """See `Carried`."""
        assert self.description.model is not None
        source = self.request["TransformInput"]
        if source.get("SplitType", "None") not in ("None", "Line") or source.get("CompressionType", "None") != "None":
            raise SettingsError("the transform job wants another SplitType or CompressionType than Line, None or None.")
        data = source["DataSource"]["S3DataSource"]
        found = inputs.objects(data["S3Uri"], data.get("S3DataType", "S3Prefix"), "data", self.store)
        self._found = inputs.shard(found, self.hosts)
        if not self._found:
            return False
        with tempfile.TemporaryDirectory(dir=self.contract.root) as room:
            archive = Path(room, ARCHIVE)
            self.store.fetch([(Place.of(self.description.model["PrimaryContainer"]["ModelDataUrl"]), archive)])
            tree.unpack(archive, self.contract.model)
        self.contract.output.mkdir(parents=True, exist_ok=True)
        return True

    def work(self) -> None:
        """See `Carried`. Answers are uploaded object by object, as soon as they are whole."""
        assert self.description.model is not None
        port = free_port()
        said = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_BIND_TO_PORT": str(port)} | batch_variables(self.request)
        own = {**self.description.model["PrimaryContainer"].get("Environment", {}), **said}
        own |= self.request.get("Environment", {})
        wanted = self.request["TransformInput"].get("ContentType", "text/csv")
        accept = self.request["TransformOutput"].get("Accept", "text/csv")
        target = Place.of(self.request["TransformOutput"]["S3OutputPath"])
        with (
            program.child(["serve"], self._environment(own)) as server,
            closing(Client(port, wanted, accept)) as client,
        ):
            if not client.wait_until_healthy(lambda: server.poll() is not None):
                raise self._not_healthy(server.poll())
            cut = cutting(self.request, client.execution_parameters())
            try:
                done = transform_objects(
                    self._found, target, self.contract.root / "transform", self.store, client, cut, self.log
                )
            except QuartetError:
                if server.poll():
                    raise self.failure(server.returncode) from None
                raise
        self.log.info("%s records transformed.", done)

    def _not_healthy(self, status: int | None) -> JobFailedError:
        if status is None:
            return JobFailedError("the server did not answer /ping with 200 in time. See the log.", EXIT_INTERNAL)
        return self.failure(status)

    def up(self) -> None:
        """See `Carried`. All of it is there."""


KINDS: Final[Mapping[str, type[Carried]]] = {"processing": Processing, "training": Training, "transform": Transform}


def base_folder(environment: Mapping[str, str]) -> Path:
    """Where the tree is made: `$SAGEMAKER_BASE_DIR`, `/opt/ml`, or where only /tmp can be written, there.

    Raises:
        SettingsError: none of them can be written.
    """
    told = environment.get("SAGEMAKER_BASE_DIR")
    candidates = [told] if told else [str(Contract().root), str(Path(tempfile.gettempdir(), "ml"))]
    for path in candidates:
        try:
            os.makedirs(path, exist_ok=True)
        except OSError:
            continue
        if os.access(path, os.W_OK | os.X_OK):
            return Path(path).absolute()
    raise SettingsError(f"{candidates[-1]} cannot be written, and a job needs room. Mount a folder there.")


def hosts_of(environment: Mapping[str, str]) -> Hosts:
    """This job's place in its array; one host when it is none.

    Raises:
        SettingsError: the variables are no such place.
    """
    index, size = (environment.get(f"AWS_BATCH_JOB_ARRAY_{name}", "") for name in ("INDEX", "SIZE"))
    if not index:
        return Hosts()
    if not (index.isdigit() and size.isdigit() and int(index) < int(size)):
        raise SettingsError(f"AWS_BATCH_JOB_ARRAY_INDEX is {index!r} of {size!r}, wanted a number below the size.")
    # Names whose order is that of their numbers: SageMaker's hosts are sorted as text.
    everyone = tuple(names_of(int(size)))
    return Hosts(everyone[int(index)], everyone)


def names_of(count: int) -> Iterator[str]:
    """Names of so many hosts: `algo-0001`, `algo-0002` and so on."""
    width = max(4, len(str(count)))
    return (f"algo-{number:0{width}d}" for number in range(1, count + 1))
