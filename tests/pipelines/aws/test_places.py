"""Where things lie in the cloud, and what they are called."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from components.spec import specs
from pipelines.aws.places import (
    Places,
    Site,
    listing,
    no_labels,
    prefixes,
    score_data,
    settings_files,
    site_of,
    training_data,
    windows,
)
from pipelines.graph import Destination, Output, training_graph
from pipelines.manifest import Manifest, for_environment
from shared.errors import SettingsError

ROLE = "arn:aws:iam::123456789012:role/jobs"


def manifest(**changes: Any) -> Manifest:
    data = {
        "train": {"uri": "{storage}/raw/{period}.csv", "periods": ["p1", "p2"]},
        "score": {"uri": "s3://new/{period}.csv"},
        "periods": ["p3", "p4"],
        "ids": ["id", "day"],
        "target": "late",
    }
    said = {"apiVersion": "quartet/v1", "name": "toy", "data": data, "components": {}}
    cloud = {"storage": "s3://bucket/toy/", "region": "eu-west-1", "role": ROLE}
    return Manifest.model_validate(said | cloud | changes)


@pytest.fixture
def site() -> Site:
    return site_of(manifest())


def test_names_of_a_use_case_that_is_deployed_once(site: Site) -> None:
    assert site.storage == "s3://bucket/toy"
    assert site.title == "quartet-toy"
    assert site.pointer == "/toy/releases/current"
    assert site.drift_state == "/toy/drift/state"
    assert site.queue_url(site.drift_queue) == "https://sqs.eu-west-1.amazonaws.com/123456789012/quartet-toy-drift"
    assert site.arn("ssm", "parameter/x") == "arn:aws:ssm:eu-west-1:123456789012:parameter/x"


def test_names_in_an_environment() -> None:
    environments = {"prod": {"region": "cn-north-1", "role": ROLE.replace("aws", "aws-cn"), "storage": "s3://prod"}}
    site = site_of(for_environment(manifest(environments=environments), "prod"), "prod")

    assert (site.title, site.storage, site.region) == ("quartet-toy-prod", "s3://prod", "cn-north-1")
    assert site.pointer == "/toy/prod/releases/current"
    assert site.queue_url("q") == "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q"
    assert site.arn("ssm", "x").startswith("arn:aws-cn:ssm:")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"role": None, "region": None}, "the manifest has no 'region', 'role'"),
        ({"storage": "/data"}, "storage is '/data', wanted s3://bucket/prefix"),
        ({"storage": "s3://b/{period}"}, "wanted s3://bucket/prefix"),
        ({"role": "me"}, "role is 'me', wanted the ARN of a role"),
        ({"role": f"{ROLE}/{'r' * 65}"}, "role's name has 65 characters, wanted at most 64"),
    ],
)
def test_what_the_cloud_has_to_know_is_asked_for(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        site_of(manifest(**changes))


def test_the_path_of_a_role_is_no_part_of_its_name() -> None:
    assert site_of(manifest(role=f"{ROLE}/{'p' * 60}/{'r' * 64}")).account == "123456789012"


def test_a_file_is_named_by_its_content(site: Site) -> None:
    uri, content = site.config("settings.json", b"{}\n")

    assert uri == f"s3://bucket/toy/config/{hashlib.sha256(b'{}' + bytes([10])).hexdigest()[:16]}/settings.json"
    assert content == b"{}\n"


def test_training_data_in_periods_are_a_listing(site: Site) -> None:
    uri, uploads = training_data(site, manifest().data)

    assert uri.endswith("/train.manifest")
    assert json.loads(uploads[uri]) == [{"prefix": "s3://bucket/toy/raw/"}, "p1.csv", "p2.csv"]


def test_a_listing_starts_at_the_last_folder_before_the_period(site: Site) -> None:
    _, content = listing(site, "s3://raw/a/month={period}/rows.csv", ["1", "2"])

    assert json.loads(content) == [{"prefix": "s3://raw/a/"}, "month=1/rows.csv", "month=2/rows.csv"]


def test_training_data_without_periods_are_a_prefix(site: Site) -> None:
    data = manifest(data={"train": {"uri": "{storage}/raw"}}).data

    assert training_data(site, data) == ("s3://bucket/toy/raw", {})


def test_data_on_this_machine_are_refused(site: Site) -> None:
    with pytest.raises(SettingsError, match=r"uri 'raw/a.csv' does not lie in S3"):
        training_data(site, manifest(data={"train": {"uri": "raw/a.csv"}}).data)


def test_a_window_ends_with_its_period(site: Site) -> None:
    found = {period: json.loads(content)[1:] for period, (_, content) in windows(site, manifest().data, 2).items()}

    assert found == {
        "p1": ["p1.csv"],
        "p2": ["p1.csv", "p2.csv"],
        "p3": ["p2.csv", "p3.csv"],
        "p4": ["p3.csv", "p4.csv"],
    }


def test_no_labels_are_a_header(site: Site) -> None:
    assert no_labels(site, manifest().data)[1] == b"id,day,late\n"


def test_what_to_score_has_a_default_only_without_periods(site: Site) -> None:
    assert score_data(site, manifest().data) is None
    assert score_data(site, manifest(data={"train": {"uri": "x"}, "score": {"uri": "s3://new/"}}).data) == "s3://new/"


def test_settings_files_hold_what_the_jobs_are_told(site: Site) -> None:
    graph = training_graph(manifest(), specs())
    files = settings_files(site, graph)

    assert set(files) == {"processing", "monitoring", "release"}
    assert json.loads(files["processing"][1]) == {"ids": ["id", "day"], "target": "late"}
    assert prefixes(files)["processing"] == files["processing"][0].removesuffix("/settings.json")


def test_environments_that_share_a_storage_share_their_data_and_nothing_else() -> None:
    found = manifest(environments={"dev": {}, "prod": {}})
    dev, prod = (site_of(for_environment(found, name), name) for name in ("dev", "prod"))

    assert (dev.storage, prod.storage) == ("s3://bucket/toy/dev", "s3://bucket/toy/prod")
    assert dev.path("{storage}/data/x.csv") == prod.path("{storage}/data/x.csv") == "s3://bucket/toy/data/x.csv"


def test_scores_go_where_the_manifest_sends_them() -> None:
    sent = manifest(pipelines={"inference": {"output": "s3://out/scores/{run}/"}})
    site = site_of(sent)
    places = Places(
        site, "inference", {}, {}, lambda *pieces: "".join(pieces), "r1", {}, str, str, str,
    )  # fmt: skip

    assert places(Destination("algorithm", "scores")) == "s3://out/scores/r1"
    assert places(Output("algorithm", "scores")) == "s3://out/scores/r1"
    assert places(Destination("monitoring", "report")) == "s3://bucket/toy/inference/r1/monitoring/report"
