"""What is chosen where the manifest is silent, and why."""

from __future__ import annotations

from typing import Any

import pytest

from components.spec import specs
from pipelines import choices
from pipelines.graph import inference_graph, training_graph
from pipelines.manifest import Manifest


def manifest(gigabytes: float | None = None, **changes: Any) -> Manifest:
    data = {"train": {"uri": "a.csv"}, "score": {"uri": "b.csv"}, "target": "y", "gigabytes": gigabytes}
    said = {"apiVersion": "quartet/v1", "name": "toy", "data": data, "components": {}}
    return Manifest.model_validate(said | changes)


@pytest.mark.parametrize(
    ("gigabytes", "machine"),
    [
        (None, "ml.m5.xlarge"),
        (4, "ml.m5.xlarge"),
        (4.1, "ml.m5.2xlarge"),
        (90, "ml.m5.24xlarge"),
        (500, "ml.m5.24xlarge"),
    ],
)
def test_training_gets_the_smallest_machine_whose_memory_holds_the_data_four_times(
    gigabytes: float | None, machine: str
) -> None:
    assert choices.instance(manifest(gigabytes), "algorithm", "train").value == machine


def test_data_that_no_machine_holds_are_told() -> None:
    assert "more than the 384 GiB of the largest" in choices.instance(manifest(500), "algorithm", "train").reason


def test_a_component_that_reads_in_batches_needs_less() -> None:
    assert choices.instance(manifest(20), "processing", "train").value == "ml.m5.xlarge"
    assert choices.instance(manifest(20), "algorithm", "serve").value == "ml.m5.xlarge"


def test_training_on_a_device_gets_a_machine_that_has_one() -> None:
    said = manifest(components={"algorithm": {"train": {"settings": {"device": "cuda"}}}})

    assert choices.instance(said, "algorithm", "train").value == "ml.g5.xlarge"
    assert choices.instance(said, "algorithm", "serve").value == "ml.m5.xlarge"


def test_disks_grow_with_the_data() -> None:
    assert [choices.volume_gb(manifest(size)).value for size in (None, 1, 5, 100)] == [30, 30, 30, 410]


def test_the_graph_has_what_was_chosen_and_the_manifest_wins() -> None:
    declared = specs()
    said = manifest(20, components={"algorithm": {"train": {"volume_gb": 60}}})

    algorithm = training_graph(said, declared).job("algorithm").sizes
    assert (algorithm.instance, algorithm.volume_gb) == ("ml.m5.12xlarge", 60)
    named = training_graph(manifest(20, defaults={"instance": "ml.c5.large"}), declared)
    assert {job.sizes.instance for job in named.jobs} == {"ml.c5.large"}
    assert {job.sizes.instance for job in inference_graph(manifest(20), declared).jobs} == {"ml.m5.xlarge"}


def test_the_release_step_is_small_unless_the_manifest_names_a_machine() -> None:
    assert training_graph(manifest(100), specs()).job("release").sizes.instance == "ml.t3.medium"


@pytest.mark.parametrize(
    ("data", "settings", "value"),
    [
        ({}, {}, "20% at random"),
        ({"time": "day"}, {}, "the latest 20% by day"),
        ({"time": "day"}, {"split": {"by": "random", "validation": 0.3}}, "30% at random"),
        ({}, {"time": "day", "split": {"by": "time", "validation": 0.1}}, "the latest 10% by day"),
    ],
)
def test_rows_are_held_out_by_time_where_there_is_one(data: Any, settings: Any, value: str) -> None:
    said = manifest(data={"train": {"uri": "a.csv"}, **data}, components={"processing": {"settings": settings}})

    assert choices.split(said).value == value


def test_only_what_the_manifest_leaves_out_is_chosen() -> None:
    everything: dict[str, Any] = {
        "defaults": {"instance": "ml.m5.xlarge", "volume_gb": 30},
        "components": {
            "processing": {"settings": {"split": {"by": "random"}}},
            "algorithm": {"serve": {"max_payload_mb": 6, "concurrency": 2}},
        },
        "pipelines": {"training": {"gates": [{"metric": "validation:auc", "min": 0.6}]}},
    }

    assert list(choices.left_out(manifest(**everything))) == []
    keys = [named.key for named in choices.left_out(manifest())]
    assert "components.algorithm.train.instance" in keys
    assert "pipelines.training.gates" in keys
    assert all(named.choice.reason for named in choices.left_out(manifest()))
