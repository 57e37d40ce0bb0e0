"""How a run goes on, told while it runs: one line a step, and a bar on long work when a terminal is looking."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

LABEL_WIDTH = 34


class Lines:
    """An observer that prints a line when a step ends; on a terminal, what is under way stands below."""

    def __init__(self, console: Console | None = None) -> None:
        # Plain lines must not be wrapped at the 80 columns that a pipe is taken to have.
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._tasks: dict[str, TaskID] = {}
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Lines:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """A line of its own."""
        self._live.console.print(Text(text, style=style), soft_wrap=True)

    def started(self, label: str) -> None:
        """A step has started: it gets a place below the lines."""
        # The length of most work is not known before: such a bar moves to and fro.
        self._tasks[label] = self._live.add_task(label.ljust(LABEL_WIDTH), total=None, share="")

    def advanced(self, label: str, done: int, total: int) -> None:
        """A step has done a part of its work: its bar fills."""
        if label in self._tasks:
            share = f"{100 * done // max(total, 1)} %"
            self._live.update(self._tasks[label], completed=done, total=total, share=share)

    def finished(self, label: str, rows: int | None, seconds: float) -> None:
        """A step has ended well."""
        self._ended(label, "done", rows, seconds, "green")

    def failed(self, label: str, seconds: float) -> None:
        """A step has failed."""
        self._ended(label, "failed", None, seconds, "red")

    def stopped(self, label: str, seconds: float) -> None:
        """A step was stopped."""
        self._ended(label, "stopped", None, seconds, "yellow")

    def retrying(self, label: str, reason: str, attempt: int, retries: int) -> None:
        """A step is tried again."""
        first = reason.strip().partition("\n")[0]
        self.say(f"{label}: {first} Trying again ({attempt} of {retries}).", "yellow")

    def _ended(self, label: str, state: str, rows: int | None, seconds: float, style: str) -> None:
        task = self._tasks.pop(label, None)
        if task is not None:
            self._live.remove_task(task)
        counted = "" if rows is None else f"{rows:,} rows"
        line = Text(label.ljust(LABEL_WIDTH))
        line.append(state.ljust(8), style=style)
        line.append(f"{counted:>16}{seconds:>8.1f} s")
        self._live.console.print(line, soft_wrap=True)
