"""The `/opt/ml` tree of one job on this machine: made from the job's request as SageMaker makes it in a container.

Paths inside the configuration files stay `/opt/ml/…`: `SAGEMAKER_BASE_DIR` is what moves the tree.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pipelines.graph import Request
from pipelines.local.archives import pack, unpack
from pipelines.storage import local_path, same_bytes
from shared.carrier.tree import channel_config, processing_config, training_hosts
from shared.contract import Hosts
from shared.errors import DataError
from shared.files import read_json, write_json

OPT_ML: Final = PurePosixPath("/opt/ml")
HOST: Final = "algo-1"


def processing_tree(request: Request, root: Path) -> None:
    """Lay out a processing job: configuration, inputs, and a folder for each output.

    Raises:
        DataError: an input does not exist or holds no file.
    """
    write_json(root / "config/processingjobconfig.json", processing_config(request))
    write_json(root / "config/resourceconfig.json", {"current_host": HOST, "hosts": [HOST]})
    for item in request["ProcessingInputs"]:
        source = item["S3Input"]
        download(source["S3Uri"], source["S3DataType"], below(root, source["LocalPath"]), item["InputName"])
    for item in request["ProcessingOutputConfig"]["Outputs"]:
        below(root, item["S3Output"]["LocalPath"]).mkdir(parents=True)
    (root / "output").mkdir()


def upload_processing(request: Request, root: Path) -> None:
    """Put each output where the request wants it. Links and hidden staging files are not followed or taken."""
    for item in request["ProcessingOutputConfig"]["Outputs"]:
        target = local_path(item["S3Output"]["S3Uri"], root)
        for path, name in files(below(root, item["S3Output"]["LocalPath"])):
            same_bytes(path, target / name)


def training_tree(request: Request, root: Path) -> None:
    """Lay out a training job: configuration and channels.

    Raises:
        DataError: a channel's data do not exist or hold no file.
    """
    config = root / "input/config"
    write_json(config / "hyperparameters.json", request["HyperParameters"])
    write_json(
        config / "inputdataconfig.json", {item["ChannelName"]: channel_config(item) for item in _channels(request)}
    )
    write_json(config / "resourceconfig.json", training_hosts(Hosts(), request["ResourceConfig"]["InstanceType"]))
    if "CheckpointConfig" in request:
        write_json(config / "checkpointconfig.json", request["CheckpointConfig"])
        below(root, request["CheckpointConfig"]["LocalPath"]).mkdir(parents=True)
    for item in _channels(request):
        source = item["DataSource"]["S3DataSource"]
        target = root / "input/data" / item["ChannelName"]
        download(source["S3Uri"], source["S3DataType"], target, item["ChannelName"])
    (root / "model").mkdir()
    (root / "output/data").mkdir(parents=True)


def _channels(request: Request) -> list[Request]:
    channels: list[Request] = request["InputDataConfig"]
    return channels


def upload_training(request: Request, root: Path) -> None:
    """model.tar.gz and, when the job left something there, output.tar.gz; the report also as plain files."""
    target = local_path(request["OutputDataConfig"]["S3OutputPath"], root)
    pack(root / "model", target / "output/model.tar.gz")
    if any(files(root / "output/data")):
        pack(root / "output/data", target / "output/output.tar.gz")
    for path, name in files(root / "output/data"):
        same_bytes(path, target / "report" / name)


def model_tree(request: Request, root: Path) -> None:
    """Lay out a server: the model, unpacked.

    Raises:
        DataError: the model does not exist.
        ArtefactError: its archive is damaged.
    """
    archive = local_path(request["PrimaryContainer"]["ModelDataUrl"], root)
    if not archive.is_file():
        raise DataError(f"model {archive} does not exist. Run the training pipeline again.")
    unpack(archive, root / "model")
    (root / "output").mkdir()


def failure_message(root: Path) -> str:
    """Why a job says it failed: `output/failure` of a training job, `output/message` of a processing job."""
    for name in ("failure", "message"):
        path = root / "output" / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text:
                return text
    return ""


def download(uri: str, data_type: str, target: Path, what: str) -> None:
    """Copy what lies at a uri into a folder, as a job's start does from S3.

    Args:
        uri: a file, or a folder whose files keep their relative names; of a manifest file, the files that it lists.
        data_type: `S3Prefix` or `ManifestFile`.
        target: the folder, which is made.
        what: the input's or channel's name, for errors.

    Raises:
        DataError: there is no file.
    """
    target.mkdir(parents=True, exist_ok=True)
    source = local_path(uri, target)
    found = list(listed(source) if data_type == "ManifestFile" else files(source))
    if not found:
        state = "is empty" if source.is_dir() else "does not exist"
        raise DataError(f"input {what!r}: {source} {state}, wanted a file or a folder with files. Check the uri.")
    for path, name in found:
        if not path.is_file():
            raise DataError(f"input {what!r}: {path} does not exist, wanted a file. Check the uri and the periods.")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)


def listed(manifest: Path) -> Iterator[tuple[Path, str]]:
    """The files that one of SageMaker's S3 manifests lists: `[{"prefix": P}, name, …]`."""
    first, *names = read_json(manifest, "list of inputs")
    prefix = local_path(first["prefix"], manifest.parent)
    for name in names:
        yield prefix / name, name


def write_listing(path: Path, prefix: str, names: list[str]) -> None:
    """A manifest in SageMaker's form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"prefix": prefix}, *names]) + "\n", encoding="utf-8")


def files(source: Path) -> Iterator[tuple[Path, str]]:
    """Files below a folder with their relative names, in order; of a single file, the file under its own name."""
    if source.is_file():
        yield source, source.name
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield path, path.relative_to(source).as_posix()


def below(root: Path, local: str) -> Path:
    """A `/opt/ml/…` path of a request, in this tree."""
    return root / PurePosixPath(local).relative_to(OPT_ML)


def processing_mounts(request: Request) -> dict[str, str]:
    """The folders that a processing container sees, `ro` or `rw` by place."""
    inputs = [item["S3Input"]["LocalPath"] for item in request["ProcessingInputs"]]
    outputs = [item["S3Output"]["LocalPath"] for item in request["ProcessingOutputConfig"]["Outputs"]]
    return {
        f"{OPT_ML}/config": "ro",
        **dict.fromkeys(inputs, "ro"),
        **dict.fromkeys((*outputs, f"{OPT_ML}/output"), "rw"),
    }


def training_mounts(request: Request) -> dict[str, str]:
    """The folders that a training container sees, `ro` or `rw` by place."""
    channels = [f"{OPT_ML}/input/data/{item['ChannelName']}" for item in _channels(request)]
    checkpoints = [request["CheckpointConfig"]["LocalPath"]] if "CheckpointConfig" in request else []
    written = (f"{OPT_ML}/model", f"{OPT_ML}/output", *checkpoints)
    return {f"{OPT_ML}/input/config": "ro", **dict.fromkeys(channels, "ro"), **dict.fromkeys(written, "rw")}


def server_mounts() -> dict[str, str]:
    """The folders that a server's container sees: the model, and where it says why it failed."""
    return {f"{OPT_ML}/model": "ro", f"{OPT_ML}/output": "rw"}


def environment_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The environment that a request itself gives its container."""
    return dict(request.get("Environment") or {})
