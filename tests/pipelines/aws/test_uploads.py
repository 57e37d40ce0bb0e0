"""Files that jobs read, stored under names made of their content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from pipelines.aws.calls import CloudError
from pipelines.aws.uploads import store
from tests.aws.cloud import BUCKET, CREDENTIALS, REGION

URI = f"s3://{BUCKET}/flights/config/0123456789abcdef/settings.json"


@pytest.fixture
def connect() -> Iterator[Callable[[str], Any]]:
    with mock_aws():
        session = boto3.Session(**CREDENTIALS)
        session.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield session.client


def test_what_is_there_is_not_stored_again(connect: Callable[[str], Any]) -> None:
    assert store(connect, {URI: b"{}"}) == [URI]
    assert store(connect, {URI: b"{}"}) == []


def test_a_longer_name_that_begins_alike_is_another_file(connect: Callable[[str], Any]) -> None:
    store(connect, {f"{URI}.bak": b"{}"})

    assert store(connect, {URI: b"{}"}) == [URI]


def test_another_content_under_the_name_is_refused_and_left_alone(connect: Callable[[str], Any]) -> None:
    store(connect, {URI: b'{"max_depth": 99}'})

    with pytest.raises(CloudError, match="holds something else than its name says"):
        store(connect, {URI: b"{}"})
    key = URI.removeprefix(f"s3://{BUCKET}/")
    assert connect("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read() == b'{"max_depth": 99}'
