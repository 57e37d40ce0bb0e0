"""A signal that waits: SIGTERM and SIGINT are noted, and heeded where nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from shared.errors import Stopped
from shared.signals import ignore

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether the process has been told to stop.

    Attributes:
        signum: the first signal that came; None as long as none did.
        taken: whether somebody has answered for it.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.taken = False

    def take(self) -> int:
        """The signal, which from now on is the caller's to heed."""
        assert self.signum is not None
        self.taken = True
        return self.signum


@contextmanager
def postponed() -> Iterator[Stop]:
    """Note SIGTERM and SIGINT until the block has ended, then let their handlers have what nobody has taken."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, _frame: object) -> None:
        stop.signum = stop.signum or number

    handlers: dict[int, Any] = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield stop
    except Stopped:
        ignore()
        raise
    except BaseException:
        restore(handlers)
        raise
    restore(handlers)
    if stop.signum is not None and not stop.taken:
        signal.raise_signal(stop.signum)


def restore(handlers: Mapping[int, Any]) -> None:
    """Give signals the handlers that they had, as `signal.signal` told them."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
