"""What a job asks AWS Batch for, from the instance type that it would get on SageMaker.

Sources: "Amazon EC2 instance types", and "resourceRequirements" in AWS Batch's API reference for what Fargate offers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.errors import SettingsError, did_you_mean

Platform = Literal["EC2", "FARGATE"]
MIB: Final = 1024
"""MiB in a GiB."""
PER_VCPU: Final = {"c": 2, "m": 4, "r": 8}
"""GiB a vCPU in the families of general use, by their first letter."""
VCPUS: Final = {"large": 2, "xlarge": 4}
BURSTING: Final = {"medium": (2, 4), "large": (2, 8), "xlarge": (4, 16), "2xlarge": (8, 32)}
"""vCPUs and GiB of t2 and t3, which follow no rule."""
SINGLE: Final = {size: (vcpus, 4 * vcpus, 1) for size, vcpus in {"xlarge": 4, "2xlarge": 8, "4xlarge": 16}.items()}
LARGER: Final = {size: (vcpus, 4 * vcpus, 1) for size, vcpus in {"8xlarge": 32, "16xlarge": 64}.items()}
GPUS: Final[dict[str, dict[str, tuple[int, int, int]]]] = {
    "g4dn": {**SINGLE, **LARGER, "12xlarge": (48, 192, 4)},
    "g5": {**SINGLE, **LARGER, "12xlarge": (48, 192, 4), "24xlarge": (96, 384, 4), "48xlarge": (192, 768, 8)},
    "g6": {**SINGLE, **LARGER, "12xlarge": (48, 192, 4), "24xlarge": (96, 384, 4), "48xlarge": (192, 768, 8)},
    "p3": {"2xlarge": (8, 61, 1), "8xlarge": (32, 244, 4), "16xlarge": (64, 488, 8)},
    "p4d": {"24xlarge": (96, 1152, 8)},
    "p5": {"48xlarge": (192, 2048, 8)},
}
"""vCPUs, GiB and GPUs of the families that have any."""
WITHOUT_IMAGE: Final = ("p3.",)
"""Families for which AWS Batch has no image any more: ECS_AL2023_NVIDIA does not know them (Ec2Configuration)."""
HOST_SHARE: Final = 10
"""Percent of an EC2 instance's memory that system and agent keep: a job that asks for all of it never starts."""
FARGATE: Final = ((1, 2, 8, 1), (2, 4, 16, 1), (4, 8, 30, 1), (8, 16, 60, 4), (16, 32, 120, 8))
"""vCPUs, least and most GiB, and the step between: what Fargate has."""
EPHEMERAL: Final = (21, 200)
"""GiB of disk that Fargate gives a job, least and most."""


@dataclass(frozen=True)
class Machine:
    """What an instance has: vCPUs, MiB of memory, GPUs."""

    vcpus: int
    memory: int
    gpus: int = 0

    def requirements(self) -> list[dict[str, Any]]:
        """`resourceRequirements`."""
        wanted = {"VCPU": self.vcpus, "MEMORY": self.memory, "GPU": self.gpus}
        return [{"type": kind, "value": str(value)} for kind, value in wanted.items() if value]


def instance(name: str) -> Machine:
    """What an instance type has.

    Args:
        name: as SageMaker calls it, such as ml.m5.xlarge.

    Raises:
        SettingsError: it is not known here.
    """
    family, _, size = name.removeprefix("ml.").partition(".")
    if family in GPUS:
        if size not in GPUS[family]:
            raise SettingsError(f"instance {name!r} is not known here: {family} has {', '.join(GPUS[family])}.")
        vcpus, gib, gpus = GPUS[family][size]
        return Machine(vcpus, gib * MIB, gpus)
    if re.fullmatch(r"t[23]", family) and size in BURSTING:
        vcpus, gib = BURSTING[size]
        return Machine(vcpus, gib * MIB)
    found = VCPUS.get(size) or (4 * int(size.removesuffix("xlarge")) if re.fullmatch(r"\d{1,2}xlarge", size) else 0)
    if not found or not re.fullmatch(r"[cmr][4-9][a-z]{0,3}", family):
        hint = did_you_mean(family, GPUS)
        raise SettingsError(
            f"instance {name!r} is not known here, wanted one of the families c, m, r, t2, t3, {', '.join(GPUS)}.{hint}"
        )
    return Machine(found, found * PER_VCPU[family[0]] * MIB)


def on(platform: Platform, machine: Machine, name: str) -> Machine:
    """What a job asks for to have about as much as that instance: a whole EC2 instance, or what Fargate has.

    Raises:
        SettingsError: Fargate has nothing like it, or AWS Batch no image for it.
    """
    if platform == "EC2":
        if name.removeprefix("ml.").startswith(WITHOUT_IMAGE):
            raise SettingsError(f"instance {name!r} is too old for the images of AWS Batch. Take a g5 or later.")
        return Machine(machine.vcpus, machine.memory * (100 - HOST_SHARE) // 100, machine.gpus)
    if machine.gpus:
        raise SettingsError(f"instance {name!r} has GPUs, and Fargate has none. Render for EC2.")
    for vcpus, least, most, step in FARGATE:
        if vcpus >= machine.vcpus and most * MIB >= machine.memory:
            steps = -(-max(0, machine.memory - least * MIB) // (step * MIB))
            return Machine(vcpus, (least + steps * step) * MIB)
    raise SettingsError(f"instance {name!r} is more than Fargate has (16 vCPUs, 120 GiB). Render for EC2.")


def disk(volume_gb: int) -> int:
    """GiB of disk on Fargate.

    Raises:
        SettingsError: it has not as much.
    """
    least, most = EPHEMERAL
    if volume_gb > most:
        raise SettingsError(f"volume_gb is {volume_gb}, and Fargate has at most {most}. Render for EC2.")
    return max(least, volume_gb)
