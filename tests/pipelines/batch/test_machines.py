"""What an instance type has, and what AWS Batch is asked for instead."""

from __future__ import annotations

import pytest

from pipelines.batch.machines import Machine, Platform, disk, instance, on
from shared.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "vcpus", "gib", "gpus"),
    [
        # As the EC2 instance types page lists them.
        ("ml.m5.large", 2, 8, 0),
        ("ml.m5.xlarge", 4, 16, 0),
        ("ml.m7i.48xlarge", 192, 768, 0),
        ("ml.c5.2xlarge", 8, 16, 0),
        ("ml.r5.4xlarge", 16, 128, 0),
        ("ml.t3.medium", 2, 4, 0),
        ("ml.g4dn.xlarge", 4, 16, 1),
        ("ml.g5.12xlarge", 48, 192, 4),
        ("ml.p3.2xlarge", 8, 61, 1),
        ("ml.p4d.24xlarge", 96, 1152, 8),
    ],
)
def test_an_instance_has_what_its_page_says(name: str, vcpus: int, gib: int, gpus: int) -> None:
    assert instance(name) == Machine(vcpus, gib * 1024, gpus)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ml.z9.xlarge", "instance 'ml.z9.xlarge' is not known here, wanted one of the families c, m, r, t2, t3, g4dn"),
        ("ml.m5.huge", "is not known here"),
        ("ml.m5.metal", "is not known here"),
        ("ml.g5.large", "g5 has xlarge, 2xlarge, 4xlarge, 8xlarge, 16xlarge"),
        ("ml.g5n.xlarge", "Did you mean 'g5'?"),
    ],
)
def test_an_unknown_instance_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        instance(name)

    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("name", "platform", "wanted"),
    [
        # A tenth of an EC2 instance's memory is its system's and its agent's.
        ("ml.m5.xlarge", "EC2", {"VCPU": "4", "MEMORY": "14745"}),
        ("ml.g5.xlarge", "EC2", {"VCPU": "4", "MEMORY": "14745", "GPU": "1"}),
        ("ml.m5.xlarge", "FARGATE", {"VCPU": "4", "MEMORY": "16384"}),
        ("ml.t3.medium", "FARGATE", {"VCPU": "2", "MEMORY": "4096"}),
        # 32 GiB are more than 4 vCPUs can have there (30).
        ("ml.r5.xlarge", "FARGATE", {"VCPU": "8", "MEMORY": "32768"}),
        ("ml.c5.4xlarge", "FARGATE", {"VCPU": "16", "MEMORY": "32768"}),
    ],
)
def test_a_job_asks_for_about_as_much(name: str, platform: Platform, wanted: dict[str, str]) -> None:
    asked = on(platform, instance(name), name).requirements()

    assert {item["type"]: item["value"] for item in asked} == wanted


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ml.g5.xlarge", "has GPUs, and Fargate has none. Render for EC2."),
        ("ml.m5.8xlarge", "is more than Fargate has (16 vCPUs, 120 GiB). Render for EC2."),
    ],
)
def test_what_fargate_has_not_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        on("FARGATE", instance(name), name)

    assert sentence in str(raised.value)


def test_a_family_for_which_aws_batch_has_no_image_is_refused() -> None:
    """AWS: `Ec2Configuration.imageType`, "ECS_AL2023_NVIDIA doesn't support p3"; and Amazon Linux 2 has ended."""
    with pytest.raises(SettingsError, match=r"instance 'ml.p3.2xlarge' is too old for the images of AWS Batch"):
        on("EC2", instance("ml.p3.2xlarge"), "ml.p3.2xlarge")


@pytest.mark.parametrize(("wanted", "given"), [(1, 21), (30, 30), (200, 200)])
def test_fargate_gives_21_to_200_gib_of_disk(wanted: int, given: int) -> None:
    assert disk(wanted) == given


def test_more_disk_than_fargate_has_is_refused() -> None:
    with pytest.raises(SettingsError, match="volume_gb is 201, and Fargate has at most 200"):
        disk(201)
