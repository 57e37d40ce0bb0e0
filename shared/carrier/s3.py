"""S3 as the carrier needs it: list, read, copy to and from files. Every failure is one sentence within bounded time.

Credentials come from where AWS's own clients look: on AWS Batch from the job's role.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from shared.errors import DataError, QuartetError, SettingsError

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 15
"""Longest wait for the next byte: an endpoint that is silent is given up within two minutes."""
ATTEMPTS: Final = 4
DENIED: Final = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
ABSENT: Final = ("NoSuchKey", "404")


@dataclass(frozen=True, order=True)
class Place:
    """An object, or the objects whose keys start alike."""

    bucket: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Place:
        """The place that a uri names.

        Raises:
            SettingsError: it is no `s3://bucket/key`.
        """
        parts = urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc:
            raise SettingsError(f"uri {uri!r} is not in S3, wanted s3://bucket/key.")
        return cls(parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/"))

    def below(self, name: str) -> Place:
        """The object of this name below this prefix."""
        return Place(self.bucket, f"{self.key.rstrip('/')}/{name}".removeprefix("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Object:
    """An object, and its name relative to what was asked for."""

    place: Place
    name: str
    size: int


class Store:
    """S3, by one client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def connected(cls) -> Store:
        """S3 with the credentials and the region of this process; nothing is asked of the network yet.

        Raises:
            SettingsError: there is no region, or a variable that configures the client cannot be used.
        """
        # Late: on SageMaker and on a laptop nobody speaks to S3.
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=20,
        )
        try:
            return cls(botocore.session.get_session().create_client("s3", config=config))
        except BotoCoreError as error:
            raise SettingsError(f"no client of S3 can be made: {error}. Set AWS_REGION.") from None

    def objects(self, place: Place) -> list[Object]:
        """What a prefix holds, in the order of the keys.

        An object of just this key; else those below the key as a folder; else those whose keys start with it. Names are
        relative to the folder that the prefix ends in. Markers of empty folders are no objects.

        Raises:
            DataError: a key would lie outside of the folder that it is copied to.
            QuartetError: S3 cannot be asked.
        """
        found = {key: size for key, size in self._keys(place) if not key.endswith("/")}
        if place.key in found:
            return [Object(place, PurePosixPath(place.key).name, found[place.key])]
        folder = place.key if place.key.endswith("/") or not place.key else f"{place.key}/"
        if not any(key.startswith(folder) for key in found):
            folder = folder.rstrip("/").rpartition("/")[0] + "/" if "/" in place.key else ""
        wanted = {key: size for key, size in found.items() if key.startswith(folder)}
        return [Object(Place(place.bucket, key), inside(key, folder), size) for key, size in sorted(wanted.items())]

    def _keys(self, place: Place) -> Iterator[tuple[str, int]]:
        with spoken(f"list {place}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key)
            for page in pages:
                yield from ((str(item["Key"]), int(item["Size"])) for item in page.get("Contents", ()))

    def read(self, place: Place) -> bytes:
        """The bytes of a small object.

        Raises:
            DataError: there is none.
            QuartetError: S3 cannot be asked.
        """
        with spoken(f"read {place}"):
            return bytes(self._client.get_object(Bucket=place.bucket, Key=place.key)["Body"].read())

    def write(self, place: Place, content: bytes) -> None:
        """Store a small object.

        Raises:
            QuartetError: S3 does not take it.
        """
        with spoken(f"write {place}"):
            self._client.put_object(Bucket=place.bucket, Key=place.key, Body=content)

    def fetch(self, copies: Iterable[tuple[Place, Path]]) -> None:
        """Copy objects to files, several at once, each whole or not at all.

        Raises:
            DataError: an object does not exist.
            QuartetError: S3 cannot be asked.
        """
        with self._transfers() as manager:
            running = []
            for place, path in copies:
                path.parent.mkdir(parents=True, exist_ok=True)
                running.append((place, manager.download(place.bucket, place.key, str(path))))
            for place, future in running:
                with spoken(f"read {place}"):
                    future.result()

    def send(self, copies: Iterable[tuple[Path, Place]], kms_key: str | None = None) -> None:
        """Copy files to objects, several at once.

        Raises:
            QuartetError: S3 does not take one.
        """
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else None
        with self._transfers() as manager:
            running = [(place, manager.upload(str(path), place.bucket, place.key, extra)) for path, place in copies]
            for place, future in running:
                with spoken(f"write {place}"):
                    future.result()

    def _transfers(self) -> Any:
        from s3transfer.manager import TransferManager  # type: ignore[import-untyped]

        return TransferManager(self._client)


def inside(key: str, folder: str) -> str:
    """A key's name below a folder.

    Raises:
        DataError: the name would lead out of it.
    """
    name = key.removeprefix(folder)
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"object {key!r} has a name that leads out of its folder. Rename it.")
    return name


@contextmanager
def spoken(what: str) -> Iterator[None]:
    """What goes wrong with S3 in this block as one of our errors, whose exit code says whether to try again.

    Raises:
        SettingsError: the job's role lacks a permission, or there are no credentials: again would be the same.
        DataError: the object or the bucket does not exist.
        QuartetError: the network, or S3 itself.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        raise _refused(what, error.response) from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SettingsError(f"cannot {what}: {_line(error)}. Give the job definition a jobRoleArn.") from None
    except CredentialRetrievalError as error:
        raise QuartetError(f"cannot {what}: {_line(error)}.") from None
    except BotoCoreError as error:
        raise QuartetError(
            f"cannot {what}: {_line(error)}. Check that the job's subnets reach S3 (an endpoint, or NAT)."
        ) from None


def _refused(what: str, response: Mapping[str, Any]) -> QuartetError:
    code = str(response.get("Error", {}).get("Code", "unknown"))
    text = str(response.get("Error", {}).get("Message", "")).rstrip(".")
    said = f"{code}: {text}" if text else code
    if code in DENIED:
        # So S3 answers for an absent object too, unless the role may list the whole bucket.
        absent = ", and that there is such an object" if what.startswith("read ") else ""
        return SettingsError(f"cannot {what}: S3 answers {said}. Check the permissions of the job's role{absent}.")
    if code in ABSENT:
        return DataError(f"cannot {what}: there is no such object. Check the uri.")
    if code == "NoSuchBucket":
        return DataError(f"cannot {what}: there is no such bucket. Check the uri.")
    return QuartetError(f"cannot {what}: S3 answers {said}.")


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
