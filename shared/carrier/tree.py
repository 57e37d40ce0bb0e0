"""The configuration files that SageMaker writes below `/opt/ml`, made from the request that creates a job.

Paths inside them stay `/opt/ml/…`: `SAGEMAKER_BASE_DIR` is what moves the tree.

Source: "How Amazon SageMaker Provides Training Information" and "Build Your Own Processing Container (Advanced
Scenario)" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from gzip import GzipFile
from pathlib import Path
from typing import Any

from shared.contract import Contract, Hosts
from shared.errors import ArtefactError
from shared.files import replacing, write_json

Request = Mapping[str, Any]


def write_processing_config(request: Request, contract: Contract, hosts: Hosts) -> None:
    """`config/processingjobconfig.json` and `config/resourceconfig.json`."""
    write_json(contract.processing_job_config, processing_config(request))
    write_json(contract.processing_resource_config, {"current_host": hosts.current, "hosts": list(hosts.all)})


def processing_config(request: Request) -> dict[str, Any]:
    """What SageMaker writes of a request into processingjobconfig.json: its keys, null for what was not set."""
    application = {"ContainerEntrypoint": None, "ContainerArguments": None} | request["AppSpecification"]
    cluster = {"VolumeKmsKeyId": None} | request["ProcessingResources"]["ClusterConfig"]
    outputs = request.get("ProcessingOutputConfig", {})
    return {
        "ProcessingJobArn": f"arn:aws:sagemaker:local:000000000000:processing-job/{request['ProcessingJobName']}",
        "ProcessingJobName": request["ProcessingJobName"],
        "AppSpecification": application,
        "Environment": request.get("Environment", {}),
        "ProcessingInputs": [
            {**item, "S3Input": {**item["S3Input"], "S3DownloadMode": "StartOfJob"}, "DatasetDefinition": None}
            for item in request.get("ProcessingInputs", ())
        ],
        "ProcessingOutputConfig": {
            "Outputs": [{**item, "FeatureStoreOutput": None} for item in outputs.get("Outputs", ())],
            "KmsKeyId": outputs.get("KmsKeyId"),
        },
        "ProcessingResources": {"ClusterConfig": cluster},
        "RoleArn": request["RoleArn"],
        "StoppingCondition": request.get("StoppingCondition"),
    }


def write_training_config(request: Request, contract: Contract, hosts: Hosts) -> None:
    """The files of `input/config`."""
    channels = request.get("InputDataConfig", ())
    write_json(contract.hyperparameters, request.get("HyperParameters", {}))
    write_json(contract.input_data_config, {item["ChannelName"]: channel_config(item) for item in channels})
    write_json(
        contract.training_resource_config, training_hosts(hosts, request["ResourceConfig"].get("InstanceType", "local"))
    )
    if "CheckpointConfig" in request:
        write_json(contract.hyperparameters.with_name("checkpointconfig.json"), request["CheckpointConfig"])


def channel_config(item: Request) -> dict[str, str]:
    """A channel as inputdataconfig.json has it: `S3DistributionType` is this file's word, and no uri is told."""
    content = {"ContentType": item["ContentType"]} if "ContentType" in item else {}
    source = item["DataSource"]["S3DataSource"]
    return {
        **content,
        "TrainingInputMode": item.get("InputMode", "File"),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": "None",
    }


def training_hosts(hosts: Hosts, instance: str) -> dict[str, Any]:
    """What resourceconfig.json says of a training job's machines."""
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": list(hosts.all)}
    return {
        "current_host": hosts.current,
        "current_instance_type": instance,
        "current_group_name": "homogeneousCluster",
        "hosts": list(hosts.all),
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files below a folder with their relative names, in order. Links are not followed, as SageMaker follows none."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        # A job that was killed leaves what was not whole yet in a folder of this name.
        if path.is_file() and not path.is_symlink() and not name.startswith(".staging-"):
            yield path, name


def pack(folder: Path, archive: Path) -> None:
    """Pack the content of a folder (its files at the archive's root), without times, owners or order of creation."""
    with (
        replacing(archive) as temporary,
        temporary.open("wb") as stream,
        GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=1) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*"), key=lambda item: item.relative_to(folder).as_posix()):
            _add(tar, path, path.relative_to(folder).as_posix())


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """One file or folder; links and sockets are left out, as the upload does not follow them."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        return
    entry.size, entry.mode = path.stat().st_size, 0o644
    with path.open("rb") as stream:
        tar.addfile(entry, stream)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder.

    Raises:
        ArtefactError: the archive is damaged or tries to write outside the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArtefactError(f"{archive} cannot be unpacked: {error}. Train again.") from None
