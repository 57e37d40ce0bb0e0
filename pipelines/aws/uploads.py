"""What rendering made for the jobs to read, put where they read it."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.aws.calls import CloudError, Connect, asking
from pipelines.aws.places import object_of


def store(connect: Connect, uploads: Mapping[str, bytes]) -> list[str]:
    """Store what rendering made and is not there yet; the uris that were new. Names tell contents: none is replaced.

    What is there is read and compared: whoever may write below the storage could have put something else under a name
    that is easily foretold.

    Raises:
        CloudError: S3 refuses, or another content lies under one of the names.
    """
    s3 = connect("s3")
    new = []
    for uri, content in sorted(uploads.items()):
        bucket, key = object_of(uri)
        with asking(f"store {uri}"):
            try:
                found = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except s3.exceptions.NoSuchKey:
                s3.put_object(Bucket=bucket, Key=key, Body=content)
                new.append(uri)
                continue
        if found != content:
            raise CloudError(
                f"{uri} holds something else than its name says. Find out who put it there, and remove it."
            )
    return new
