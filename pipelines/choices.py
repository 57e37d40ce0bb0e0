"""What the manifest leaves out and somebody has to choose: each choice a value and the reason for it.

All of it is arithmetic on the manifest, so that every engine chooses the same, and rendering stays a function of its
input. `plan` shows the choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipelines.manifest import Component, Manifest, Resources, Serve, Train
from shared.errors import names

Mode = Literal["train", "serve"]

MACHINES: Final = (
    ("ml.m5.xlarge", 16),
    ("ml.m5.2xlarge", 32),
    ("ml.m5.4xlarge", 64),
    ("ml.m5.12xlarge", 192),
    ("ml.m5.24xlarge", 384),
)
"""Machines without a device, and their memory in GiB."""
DEVICES: Final = (
    ("ml.g5.xlarge", 16),
    ("ml.g5.2xlarge", 32),
    ("ml.g5.4xlarge", 64),
    ("ml.g5.8xlarge", 128),
    ("ml.g5.16xlarge", 256),
)
"""Machines with one NVIDIA A10G."""
RELEASE_MACHINE: Final = "ml.t3.medium"
WHOLE: Final = 4.0
"""Memory of a training for each byte of CSV: the table, its matrix of floats, the booster's bins, and room."""
STREAMED: Final = 0.5
"""Memory of a component that reads its data in batches: only sketches, samples and scores grow with them."""
DISK_GB: Final = 30
COPIES: Final = 4
"""What a job's disk holds at most: its input, a spool of it, and two outputs of its size."""


@dataclass(frozen=True)
class Choice:
    """A value that was chosen, and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Named:
    """A choice, and the key of the manifest that would have said it."""

    key: str
    choice: Choice


def instance(manifest: Manifest, component: str, mode: Mode) -> Choice:
    """The machine of a component's job."""
    if component == "algorithm" and mode == "train" and device(manifest) == "cuda":
        return _smallest(DEVICES, manifest.data.gigabytes, WHOLE, "device is cuda")
    if component == "algorithm" and mode == "train":
        return _smallest(MACHINES, manifest.data.gigabytes, WHOLE, "training holds all rows in memory")
    if component == "algorithm":
        return Choice(MACHINES[0][0], "a server scores record by record, whatever their number")
    return _smallest(MACHINES, manifest.data.gigabytes, STREAMED, "rows are read in batches")


def _smallest(machines: tuple[tuple[str, int], ...], gigabytes: float | None, share: float, why: str) -> Choice:
    """The first machine with enough memory, or the last one."""
    if gigabytes is None:
        return Choice(machines[0][0], f"{why}; data.gigabytes is not said, so the smallest")
    needed = gigabytes * share
    fitting = next(((name, memory) for name, memory in machines if memory >= needed), None)
    said = f"{why}: about {needed:.3g} GB for {gigabytes:g} GB of data"
    if fitting is None:
        name, memory = machines[-1]
        return Choice(name, f"{said}, more than the {memory} GiB of the largest: sample the data, or use several hosts")
    return Choice(fitting[0], f"{said}, and it has {fitting[1]} GiB")


def device(manifest: Manifest) -> str:
    """Where the algorithm trains: `cpu` or `cuda`."""
    own = manifest.components.algorithm
    image = manifest.images.get("algorithm")
    variant = (image.variant or "") if image else ""
    return str({**own.settings, **own.train.settings}.get("device", "cuda" if "cuda" in variant else "cpu"))


def volume_gb(manifest: Manifest) -> Choice:
    """The disk of a job."""
    if manifest.data.gigabytes is None:
        return Choice(DISK_GB, "data.gigabytes is not said")
    wanted = max(DISK_GB, math.ceil(COPIES * manifest.data.gigabytes) + 10)
    return Choice(wanted, f"{COPIES} copies of {manifest.data.gigabytes:g} GB and 10 GB of room, at least {DISK_GB}")


def release_instance(manifest: Manifest) -> Choice:
    """The machine of the release step."""
    if manifest.defaults.instance:
        return Choice(manifest.defaults.instance, "the manifest's default: whoever named it has a quota for it")
    return Choice(RELEASE_MACHINE, "it compares digests and writes three files")


def payload(own: Serve) -> Choice:
    """How much a request of Batch Transform holds."""
    if own.max_payload_mb is not None:
        return Choice(f"{own.max_payload_mb} MB", "the manifest says so")
    return Choice("what the container answers", "/execution-parameters knows the variant and its memory")


def concurrency(own: Serve) -> Choice:
    """How many requests of Batch Transform are under way at once."""
    if own.concurrency is not None:
        return Choice(own.concurrency, "the manifest says so")
    return Choice("what the container answers", "/execution-parameters counts the machine's processors")


def split(manifest: Manifest) -> Choice:
    """Which rows are held out of training."""
    own = manifest.components.processing
    said = {**own.settings, **own.train.settings}
    told = said.get("split")
    given = told if isinstance(told, dict) else {}
    time = said.get("time", manifest.data.time)
    share = given.get("validation", 0.2)
    if given.get("by") == "random" or (time is None and "by" not in given):
        return Choice(f"{share:.0%} at random", "the manifest says so" if "by" in given else "there is no time column")
    return Choice(f"the latest {share:.0%} by {time}", "rows of the future must not teach about the past")


def checks(manifest: Manifest) -> Choice:
    """What has to hold before a release may be used."""
    gates = manifest.pipelines.training.gates
    if gates:
        return Choice(", ".join(gate.metric for gate in gates), "the manifest says so")
    return Choice("digests and parents of all parts", "there are no gates: any model that trains is released")


TUNING: Final = ("sagemaker-pipelines", "step-functions", "airflow")
"""Engines that have SageMaker's tuning jobs."""


def untuned(manifest: Manifest, engine: str | None = None) -> str | None:
    """Why the manifest's tuning is without effect; None where there is none, or where the engine does it.

    Args:
        manifest: the use case.
        engine: what runs it, if not the manifest's own.
    """
    engine = engine or manifest.engine
    on_batch = engine == "step-functions" and manifest.platform == "batch"
    if manifest.components.algorithm.train.tuning is None or (engine in TUNING and not on_batch):
        return None
    where = f"engine {engine} on platform batch" if on_batch else f"engine {engine}"
    return f"{where} tunes nothing: it trains once, with the settings as they stand; {names(TUNING)} tune on SageMaker."


def left_out(manifest: Manifest) -> Iterator[Named]:
    """Every choice that the manifest leaves to us, by the key that would say otherwise."""
    for name in manifest.pipelines.training.steps:
        yield from _machine(manifest, name, "train")
    for name in manifest.pipelines.inference.steps if manifest.data.score else ():
        yield from _machine(manifest, name, "serve")
    if manifest.defaults.volume_gb is None:
        yield Named("defaults.volume_gb", volume_gb(manifest))
    if "processing" in manifest.pipelines.training.steps and not _says_split(manifest):
        yield Named("components.processing.settings.split", split(manifest))
    serve = manifest.components.algorithm.serve
    if manifest.data.score and serve.max_payload_mb is None:
        yield Named("components.algorithm.serve.max_payload_mb", payload(serve))
    if manifest.data.score and serve.concurrency is None:
        yield Named("components.algorithm.serve.concurrency", concurrency(serve))
    if not manifest.pipelines.training.gates:
        yield Named("pipelines.training.gates", checks(manifest))


def _machine(manifest: Manifest, name: str, mode: Mode) -> Iterator[Named]:
    component: Component = getattr(manifest.components, name)
    own: Train | Serve = getattr(component, mode)
    if own.instance is None and manifest.defaults.instance is None:
        yield Named(f"components.{name}.{mode}.instance", instance(manifest, name, mode))


def _says_split(manifest: Manifest) -> bool:
    own = manifest.components.processing
    return "by" in ({**own.settings, **own.train.settings}.get("split") or {})


def chosen(manifest: Manifest, component: str, mode: Mode) -> Resources:
    """What is chosen of a job's machine when nobody says it."""
    return Resources(instance=instance(manifest, component, mode).value, volume_gb=volume_gb(manifest).value)
