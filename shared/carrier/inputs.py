"""What a job reads, copied from S3 as SageMaker copies it before a container starts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.carrier.s3 import Object, Place, Store, inside
from shared.contract import Contract, Hosts
from shared.errors import DataError, SettingsError

TYPES: Final = ("S3Prefix", "ManifestFile")


@dataclass(frozen=True)
class Input:
    """An input or a channel: what it is called, where it lies, where it goes, and whether hosts share it out."""

    name: str
    uri: str
    data_type: str
    target: Path
    sharded: bool


def processing_inputs(request: Mapping[str, Any], contract: Contract) -> Iterator[Input]:
    """The inputs of a CreateProcessingJob request.

    Raises:
        SettingsError: one asks for what only SageMaker can give.
    """
    for item in request.get("ProcessingInputs", ()):
        source = item.get("S3Input")
        if source is None:
            raise SettingsError(
                f"input {item['InputName']!r} has no S3Input, and only S3 is read here. Export it to S3."
            )
        yield _input(item["InputName"], source, contract.relocated(source["LocalPath"]), source.get("S3InputMode"))


def training_channels(request: Mapping[str, Any], contract: Contract) -> Iterator[Input]:
    """The channels of a CreateTrainingJob request.

    Raises:
        SettingsError: one asks for what only SageMaker can give.
    """
    for item in request.get("InputDataConfig", ()):
        source = item["DataSource"].get("S3DataSource")
        if source is None:
            raise SettingsError(f"channel {item['ChannelName']!r} has no S3DataSource, and only S3 is read here.")
        yield _input(item["ChannelName"], source, contract.channel(item["ChannelName"]), item.get("InputMode"))


def _input(name: str, source: Mapping[str, Any], target: Path, mode: str | None) -> Input:
    data_type = source.get("S3DataType", "S3Prefix")
    if data_type not in TYPES:
        raise SettingsError(f"input {name!r} is of type {data_type!r}, wanted one of {', '.join(TYPES)}.")
    if mode == "Pipe" or source.get("S3CompressionType") == "Gzip":
        raise SettingsError(f"input {name!r} is to be streamed (Pipe), wanted S3InputMode File.")
    return Input(name, source["S3Uri"], data_type, target, source.get("S3DataDistributionType") == "ShardedByS3Key")


def copied(wanted: Input, store: Store, hosts: Hosts, log: logging.Logger) -> int:
    """Copy an input into its folder, which is made; how many objects this host got of those that there are.

    Raises:
        DataError: there are none at all.
        QuartetError: S3 cannot be read.
    """
    found = objects(wanted.uri, wanted.data_type, wanted.name, store)
    own = shard(found, hosts) if wanted.sharded else found
    wanted.target.mkdir(parents=True, exist_ok=True)
    store.fetch((item.place, wanted.target / item.name) for item in own)
    log.info("input %r: %s objects, %.1f MB from %s", wanted.name, len(own), megabytes(own), wanted.uri)
    return len(own)


def objects(uri: str, data_type: str, name: str, store: Store) -> list[Object]:
    """The objects of an input, in an order that is the same for every host.

    Raises:
        DataError: there are none.
    """
    place = Place.of(uri)
    found = listed(store.read(place), place) if data_type == "ManifestFile" else store.objects(place)
    if not found:
        raise DataError(f"input {name!r}: {uri} holds no object, wanted one or more. Check the uri.")
    return found


def listed(content: bytes, manifest: Place) -> list[Object]:
    """The objects that one of SageMaker's S3 manifests lists: `[{"prefix": P}, name, …]`.

    Raises:
        DataError: it is no such list.
    """
    try:
        first, *found = json.loads(content)
        prefix = str(first["prefix"])
        names = [str(name) for name in found]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{manifest} is no list of objects ({error}), wanted [{{"prefix": "s3://…"}}, "name", …].'
        ) from None
    return [Object(Place.of(prefix + name), inside(name, ""), 0) for name in names]


def shard(found: list[Object], hosts: Hosts) -> list[Object]:
    """This host's part of the objects: every n-th of them, so that no two hosts have one and all have as many."""
    return sorted(found, key=lambda item: (item.place, item.name))[hosts.rank :: len(hosts.all)]


def megabytes(found: list[Object]) -> float:
    """How much that is."""
    return sum(item.size for item in found) / 1e6
