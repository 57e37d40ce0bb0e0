"""The /opt/ml trees that SageMaker lays out, filled from S3 and emptied into S3.

Written from the Developer Guide and on its own: programs that run here and in `pipelines.local` check both.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tests.aws.cloud import Cloud, split

HOST: Final = "algo-1"
TOLD: Final = 1024
"""Characters of a failure or message file that the service shows."""
Request = Mapping[str, Any]


class JobError(Exception):
    """A job that fails before its program starts, or whose output cannot be stored; the text is its FailureReason."""


def folder(root: Path, place: str) -> Path:
    """The folder of the tree for a place below /opt/ml, made and writable for every user."""
    path = root / PurePosixPath(place).relative_to("/opt/ml")
    for part in (*reversed(path.relative_to(root).parents), path.relative_to(root)):
        made = root / part
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(0o777)
    return path


def write(path: Path, value: Any) -> None:
    """A configuration file."""
    path.write_text(json.dumps(value, indent=2))


# --- Processing


def processing_tree(cloud: Cloud, root: Path, request: Request, arn: str) -> None:
    """Configuration, inputs, and a folder for each output."""
    config = folder(root, "/opt/ml/config")
    write(config / "processingjobconfig.json", processing_config(request, arn))
    write(config / "resourceconfig.json", {"current_host": HOST, "hosts": [HOST]})
    folder(root, "/opt/ml/output")
    folder(root, "/opt/ml/processing")
    for item in request.get("ProcessingInputs", ()):
        source = item["S3Input"]
        download(cloud, source["S3Uri"], source["S3DataType"], folder(root, source["LocalPath"]))
    for item in outputs_of(request):
        folder(root, item["S3Output"]["LocalPath"])


def processing_config(request: Request, arn: str) -> dict[str, Any]:
    """The request as the container reads it: every key is there, and null when the caller did not set it."""
    application = request["AppSpecification"]
    return {
        "ProcessingJobArn": arn,
        "ProcessingJobName": request["ProcessingJobName"],
        "AppSpecification": {
            "ImageUri": application["ImageUri"],
            "ContainerEntrypoint": application.get("ContainerEntrypoint"),
            "ContainerArguments": application.get("ContainerArguments"),
        },
        "Environment": request.get("Environment"),
        "ProcessingInputs": [
            {
                "InputName": item["InputName"],
                "AppManaged": item.get("AppManaged", False),
                "S3Input": {**item["S3Input"], "S3DownloadMode": "StartOfJob"},
                "DatasetDefinition": None,
            }
            for item in request.get("ProcessingInputs", ())
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": item["OutputName"],
                    "AppManaged": item.get("AppManaged", False),
                    "S3Output": item["S3Output"],
                    "FeatureStoreOutput": None,
                }
                for item in outputs_of(request)
            ],
            "KmsKeyId": request.get("ProcessingOutputConfig", {}).get("KmsKeyId"),
        },
        "ProcessingResources": {
            "ClusterConfig": {"VolumeKmsKeyId": None, **request["ProcessingResources"]["ClusterConfig"]}
        },
        "RoleArn": request["RoleArn"],
        "StoppingCondition": request.get("StoppingCondition", {"MaxRuntimeInSeconds": 86400}),
    }


def outputs_of(request: Request) -> list[Any]:
    """The outputs that a processing request asks for."""
    return list(request.get("ProcessingOutputConfig", {}).get("Outputs", ()))


def store_processing(cloud: Cloud, root: Path, request: Request) -> None:
    """Upload each output; the service does so at the end of a failed job too."""
    for item in outputs_of(request):
        cloud.put_folder(item["S3Output"]["S3Uri"], folder(root, item["S3Output"]["LocalPath"]))


# --- Training


def training_tree(cloud: Cloud, root: Path, request: Request) -> None:
    """Configuration and channels."""
    config = folder(root, "/opt/ml/input/config")
    write(config / "hyperparameters.json", request.get("HyperParameters", {}))
    channels = request.get("InputDataConfig", ())
    write(config / "inputdataconfig.json", {item["ChannelName"]: channel(item, request) for item in channels})
    instance = request["ResourceConfig"]["InstanceType"]
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": [HOST]}
    hosts = {"current_host": HOST, "current_instance_type": instance, "current_group_name": "homogeneousCluster"}
    more = {"hosts": [HOST], "instance_groups": [group], "network_interface_name": "eth0"}
    write(config / "resourceconfig.json", hosts | more)
    for item in channels:
        source = item["DataSource"]["S3DataSource"]
        target = folder(root, f"/opt/ml/input/data/{item['ChannelName']}")
        download(cloud, source["S3Uri"], source["S3DataType"], target)
    folder(root, "/opt/ml/model")
    folder(root, "/opt/ml/output/data")
    if "CheckpointConfig" in request:
        write(config / "checkpointconfig.json", {"LocalPath": "/opt/ml/checkpoints", **request["CheckpointConfig"]})
        download(cloud, request["CheckpointConfig"]["S3Uri"], "S3Prefix", checkpoints(root, request), required=False)


def channel(item: Request, request: Request) -> dict[str, str]:
    """A channel as inputdataconfig.json has it."""
    content = {"ContentType": item["ContentType"]} if "ContentType" in item else {}
    source = item["DataSource"]["S3DataSource"]
    return {
        **content,
        "TrainingInputMode": item.get("InputMode", request["AlgorithmSpecification"]["TrainingInputMode"]),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": item.get("RecordWrapperType", "None"),
    }


def checkpoints(root: Path, request: Request) -> Path:
    """The folder of a job's checkpoints."""
    return folder(root, request["CheckpointConfig"].get("LocalPath", "/opt/ml/checkpoints"))


def store_training(cloud: Cloud, root: Path, request: Request) -> str:
    """Upload model.tar.gz and, when there is any, output.tar.gz and checkpoints; the model's uri."""
    base = f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output"
    archive = root / "model.tar.gz"
    pack(folder(root, "/opt/ml/model"), archive)
    cloud.put(f"{base}/model.tar.gz", archive.read_bytes())
    data = folder(root, "/opt/ml/output/data")
    if any(data.iterdir()):
        pack(data, archive)
        cloud.put(f"{base}/output.tar.gz", archive.read_bytes())
    if "CheckpointConfig" in request:
        cloud.put_folder(request["CheckpointConfig"]["S3Uri"], checkpoints(root, request))
    return f"{base}/model.tar.gz"


def pack(source: Path, archive: Path) -> None:
    """What a folder holds, at the root of an archive."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as stream:
        for path in sorted(source.iterdir()):
            stream.add(path, path.name)


# --- Models


def model_tree(cloud: Cloud, root: Path, uri: str | None) -> None:
    """The model, unpacked."""
    target = folder(root, "/opt/ml/model")
    if uri is None:
        return
    if uri not in cloud.list(uri):
        raise JobError(f"ClientError: Failed to download model data from {uri}. It does not exist.")
    archive = root / "model.tar.gz"
    archive.write_bytes(cloud.get(uri))
    with tarfile.open(archive, "r:gz") as stream:
        stream.extractall(target, filter="data")


# --- S3


def download(cloud: Cloud, uri: str, data_type: str, target: Path, *, required: bool = True) -> None:
    """Copy what an input names into a folder."""
    found = dict(listed(cloud, uri) if data_type == "ManifestFile" else below(cloud, uri))
    if not found and required:
        raise JobError(f"ClientError: No S3 objects found under S3 URL {uri!r} given in input data source.")
    for name, source in found.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cloud.get(source))


def below(cloud: Cloud, uri: str) -> Iterator[tuple[str, str]]:
    """Every object whose key starts as the uri's does, by its path below that prefix.

    `S3Prefix` compares text: `s3://b/data` also takes `s3://b/database/x`, and keeps the path from its last slash.
    """
    for source in cloud.list(uri):
        rest = source[len(uri) :]
        whole = uri.endswith("/") or rest.startswith("/")
        name = rest.removeprefix("/") if whole else source[uri.rindex("/") + 1 :]
        if name and not name.endswith("/"):
            yield name, source


def listed(cloud: Cloud, uri: str) -> Iterator[tuple[str, str]]:
    """The objects that a manifest `[{"prefix": P}, name, …]` lists; each must be there."""
    rows: list[Any] = cloud.json(uri) if uri in cloud.list(uri) else [{"prefix": uri}]
    prefix = rows[0]["prefix"]
    for name in rows[1:]:
        source = f"{prefix}{name}"
        if source not in cloud.list(source):
            raise JobError(f"ClientError: {source} in manifest {uri} does not exist.")
        yield name, source


def told(root: Path, name: str) -> str | None:
    """What a program left in output/failure or output/message, as much as the service shows."""
    path = root / "output" / name
    try:
        return path.read_bytes().decode("utf-8")[:TOLD] if path.is_file() else None
    except UnicodeDecodeError:
        raise JobError(f"ClientError: output/{name} is no UTF-8 text.") from None


def bucket_of(uri: str) -> str:
    """The bucket of an S3 uri."""
    return split(uri)[0]
