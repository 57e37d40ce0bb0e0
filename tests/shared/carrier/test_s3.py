"""What goes wrong with S3 is one sentence within bounded time, and its exit code says whether to try again."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, EndpointConnectionError, NoCredentialsError

from shared.carrier.s3 import Object, Place, Store, spoken
from shared.errors import DataError, QuartetError, SettingsError
from tests.aws.cloud import BUCKET, Cloud
from tests.shared.carrier.conftest import Batch


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "kind", "code", "sentence"),
    [
        (
            refused("AccessDenied"), SettingsError, 2,
            "AccessDenied: No. Check the permissions of the job's role, and that there is such an object.",
        ),
        (refused("NoSuchKey"), DataError, 3, "there is no such object"),
        (refused("NoSuchBucket"), DataError, 3, "there is no such bucket"),
        (refused("SlowDown"), QuartetError, 1, "S3 answers SlowDown: No."),
        (NoCredentialsError(), SettingsError, 2, "Give the job definition a jobRoleArn."),
        (CredentialRetrievalError(provider="role", error_msg="busy"), QuartetError, 1, "busy"),
        (EndpointConnectionError(endpoint_url="https://x"), QuartetError, 1, "Check that the job's subnets reach S3"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_tried_and_what_to_do(
    error: Exception, kind: type[QuartetError], code: int, sentence: str
) -> None:
    with pytest.raises(kind, match="cannot read s3://b/k: ") as raised, spoken("read s3://b/k"):
        raise error

    assert raised.value.exit_code == code
    assert sentence in str(raised.value)


def test_an_endpoint_where_nobody_listens_ends_the_job_with_a_sentence(batch: Batch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with batch.started("--job", "s3://b/job.json", AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}") as process:
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "cannot read s3://b/job.json: Could not connect to the endpoint URL" in said
    assert "Traceback" not in said


def test_a_job_without_credentials_ends_with_a_sentence(batch: Batch) -> None:
    uri = batch.described({})
    with batch.started("--job", uri, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="") as process:
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 2
    assert "Unable to locate credentials. Give the job definition a jobRoleArn." in said
    assert "Traceback" not in said


@pytest.fixture
def store(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    return Store.connected()


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("list/data", ["a.csv", "deep/b.csv"]),
        ("list/data/", ["a.csv", "deep/b.csv"]),
        ("list/data/a.csv", ["a.csv"]),
        ("list/dat", ["data/a.csv", "data/deep/b.csv", "database/c.csv"]),
        ("list/data/deep/", ["b.csv"]),
        ("list/none", []),
    ],
)
def test_a_prefix_is_an_object_a_folder_or_the_start_of_keys(
    cloud: Cloud, store: Store, key: str, names: list[str]
) -> None:
    for name in ("data/a.csv", "data/deep/b.csv", "data/deep/", "database/c.csv"):
        cloud.put(f"s3://{BUCKET}/list/{name}", "x")

    assert [item.name for item in store.objects(Place(BUCKET, key))] == names


def test_more_objects_than_one_answer_holds_are_all_listed() -> None:
    class Paginator:
        def paginate(self, **_: str) -> Any:
            return [{"Contents": [{"Key": "p/a", "Size": 1}]}, {}, {"Contents": [{"Key": "p/b", "Size": 2}]}]

    class Client:
        def get_paginator(self, name: str) -> Paginator:
            assert name == "list_objects_v2"
            return Paginator()

    found = Store(Client()).objects(Place("bucket", "p"))

    assert found == [Object(Place("bucket", "p/a"), "a", 1), Object(Place("bucket", "p/b"), "b", 2)]


@pytest.mark.parametrize(
    ("uri", "place"),
    [("s3://b/k/e y?#.csv", Place("b", "k/e y?#.csv")), ("s3://b", Place("b", "")), ("s3://b/p/", Place("b", "p/"))],
)
def test_a_uri_is_a_bucket_and_all_the_rest(uri: str, place: Place) -> None:
    assert Place.of(uri) == place
