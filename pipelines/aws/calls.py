"""What goes wrong when AWS is asked, told in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import EXIT_INTERNAL, QuartetError

Connect = Callable[[str], Any]
"""Gives a boto3 client by the service's name: `boto3.Session(region_name=site.region).client`."""


class CloudError(QuartetError):
    """AWS refused, or could not be asked."""


class RunFailedError(QuartetError):
    """A run of a pipeline failed or was stopped. `exit_code` is that of the job that failed, when it told one."""

    def __init__(self, text: str, exit_code: int = EXIT_INTERNAL) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Tell in one sentence what AWS refused.

    Args:
        what: was asked for, such as `pipeline quartet-flights-training`.

    Raises:
        CloudError: it refused, or did not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        raise CloudError(f"{what}: AWS answers {told.get('Code')}: {told.get('Message')}") from None
    except BotoCoreError as error:
        raise CloudError(f"{what}: {error}. Check credentials, region and network.") from None
