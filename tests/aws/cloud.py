"""The AWS of the tests: moto's services on this machine's loopback, and folders kept in its S3."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"
"""The account of every call: moto's own default."""
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/quartet-jobs"
BUCKET: Final = "quartet-test"
CREDENTIALS: Final = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
# No proxy stands between this machine and itself; a server of the tests that does not answer is a failure at once.
CONFIG: Final = Config(proxies={}, retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60)


LOCK: Final = threading.Lock()
"""Clients may be used by many threads, and made by one at a time."""


@cache
def connected(service: str, endpoint: str) -> Any:
    """A client: made once, because botocore reads a service's model from its files each time."""
    return boto3.Session(**CREDENTIALS).client(service, endpoint_url=endpoint, config=CONFIG)


@dataclass(frozen=True)
class Cloud:
    """One AWS account: everything but SageMaker, which `tests.aws.sagemaker` plays."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process that speaks to this account needs in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def session(self) -> boto3.Session:
        """A session with credentials that no real account knows."""
        return boto3.Session(**CREDENTIALS)

    def client(self, service: str, endpoint: str | None = None) -> Any:
        """A client of a service: of this account's endpoint, or of another server of the tests."""
        with LOCK:
            return connected(service, endpoint or self.endpoint)

    @property
    def s3(self) -> Any:
        """A client of S3."""
        return self.client("s3")

    def bucket(self, name: str = BUCKET) -> str:
        """A bucket, made when it is not there; its name."""
        with contextlib.suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):
            self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def put(self, uri: str, content: bytes | str) -> str:
        """Store an object; its uri."""
        bucket, key = split(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=content.encode() if isinstance(content, str) else content)
        return uri

    def put_folder(self, uri: str, folder: Path) -> str:
        """Store every file below a folder under a prefix; the prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.put(f"{uri.rstrip('/')}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return uri

    def get(self, uri: str) -> bytes:
        """The bytes of an object."""
        bucket, key = split(uri)
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def json(self, uri: str) -> Any:
        """The JSON value in an object."""
        return json.loads(self.get(uri))

    def member(self, uri: str, name: str) -> bytes:
        """One file of a tar.gz archive."""
        with tarfile.open(fileobj=io.BytesIO(self.get(uri)), mode="r:gz") as archive:
            stream = archive.extractfile(name)
            assert stream is not None, name
            return stream.read()

    def list(self, uri: str) -> list[str]:
        """The uris of all objects whose keys start as this uri's does, sorted."""
        bucket, prefix = split(uri)
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(f"s3://{bucket}/{item['Key']}" for page in pages for item in page.get("Contents", ()))

    def parameter(self, name: str) -> str | None:
        """A parameter of Parameter Store; None when there is none."""
        client = self.client("ssm")
        try:
            return str(client.get_parameter(Name=name)["Parameter"]["Value"])
        except client.exceptions.ParameterNotFound:
            return None


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 uri."""
    parts = urlsplit(uri)
    assert parts.scheme == "s3", f"{uri!r} is no S3 uri"
    return parts.netloc, parts.path.removeprefix("/")


@contextmanager
def serving_cloud() -> Iterator[Cloud]:
    """Moto's services on a free port of 127.0.0.1, for as long as the block runs; then all of it is forgotten."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()
        if server._server is not None:
            server._server.server_close()
