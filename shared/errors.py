"""What can go wrong, and the exit code that says whose turn it is.

    QuartetError            1   ours: keeps its traceback
    +- SettingsError        2   what the caller asked for cannot be done
    +- DataError            3   what the caller sent cannot be used
       +- ArtefactError     3   a model, state, baseline or explainer that must not be trusted
    Stopped           143/130   SIGTERM / SIGINT

An AWS Batch retry rule or a Step Functions Retry can tell them apart by the code alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

EXIT_OK: Final = 0
EXIT_INTERNAL: Final = 1
EXIT_SETTINGS: Final = 2
EXIT_DATA: Final = 3


class QuartetError(Exception):
    """Base of all errors that end a job with one sentence: what was found, what was wanted, what to do."""

    exit_code: int = EXIT_INTERNAL


class SettingsError(QuartetError):
    """A setting, argument, channel or mode that cannot be used."""

    exit_code = EXIT_SETTINGS


class DataError(QuartetError):
    """Input data that cannot be used."""

    exit_code = EXIT_DATA


class ArtefactError(DataError):
    """An artefact that is incomplete, changed, older than the code reads, or made for other data."""


class Stopped(BaseException):
    """The process was asked to stop. Not an `Exception`, so that no handler on the way swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells count it: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.signum


def unwritable(name: str, place: object, error: OSError) -> SettingsError:
    """An output that cannot be written to its place; None is a temporary folder."""
    return SettingsError(
        f"output {name!r} cannot be written to {place or 'a temporary folder'}: {error.strerror}. "
        "Mount a folder there that the container's user may write to."
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint ` Did you mean 'x'?` for a misspelt name, or an empty string when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def names(values: Iterable[str], limit: int = 8) -> str:
    """`'a', 'b', 'c'`, cut after `limit` names so that a sentence stays a sentence."""
    listed = list(values)
    shown = ", ".join(repr(value) for value in listed[:limit])
    return shown + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
