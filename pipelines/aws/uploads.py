"""What rendering made for the jobs to read, put where they read it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from pipelines.aws.calls import asking
from pipelines.aws.releases import Connect


def store(connect: Connect, uploads: Mapping[str, bytes]) -> list[str]:
    """Store what rendering made and is not there yet; the uris that were new. Names tell contents: none is replaced.

    Raises:
        CloudError: S3 refuses.
    """
    s3 = connect("s3")
    new = []
    for uri, content in sorted(uploads.items()):
        bucket, key = urlsplit(uri).netloc, urlsplit(uri).path.removeprefix("/")
        with asking(f"store {uri}"):
            if s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount"):
                continue
            s3.put_object(Bucket=bucket, Key=key, Body=content)
        new.append(uri)
    return new
