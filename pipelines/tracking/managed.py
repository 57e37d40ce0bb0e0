"""MLflow on SageMaker: where the tracking server, or the app, of an ARN answers, and how requests to it are signed.

Source: the package sagemaker-mlflow, which brings the same to MLflow's own client.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from requests.auth import AuthBase

from pipelines.manifest import MANAGED
from pipelines.tracking.server import Server, TrackingError

if TYPE_CHECKING:
    from requests import PreparedRequest


@dataclass(frozen=True)
class Kind:
    """A kind of server: its address in a region, the header that names it, and the service that signatures are for."""

    address: str
    header: str
    service: str


KINDS: Final = {
    "mlflow-tracking-server": Kind(
        "https://{region}.experiments.sagemaker.aws", "x-mlflow-sm-tracking-server-arn", "sagemaker-mlflow"
    ),
    "mlflow-app": Kind("https://mlflow.sagemaker.{region}.app.aws", "x-sm-mlflow-app-arn", "sagemaker"),
}


@dataclass(frozen=True)
class Signature(AuthBase):
    """Signs a request with AWS's Signature Version 4, as the last thing that is done to it."""

    arn: str
    kind: Kind
    region: str
    credentials: Any = field(repr=False)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """The request, signed. Only what no proxy changes is signed."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        headers = {self.kind.header: self.arn, "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
        # A space in a query is %20 to whoever checks the signature, where requests writes +.
        request.url = (request.url or "").replace("+", "%20")
        signed = AWSRequest(request.method, request.url, headers, body)
        SigV4Auth(self.credentials, self.kind.service, self.region).add_auth(signed)
        request.headers.update(signed.headers.items())
        return request


def server_of(uri: str) -> Server:
    """The tracking server at a uri, or that of an ARN.

    Raises:
        TrackingError: it is SageMaker's, and there are no credentials.
    """
    match = MANAGED.fullmatch(uri)
    if match is None:
        return Server(uri.rstrip("/"))
    import boto3

    kind, region = KINDS[match["kind"]], match["region"]
    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise TrackingError(f"{uri} wants AWS credentials, and there are none. Set AWS_PROFILE, or log in.")
    return Server(kind.address.format(region=region), auth=Signature(uri, kind, region, credentials))
