"""The shape of a component: a record of functions, and the job that they are handed."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from shared.contract import Contract, Hosts
from shared.errors import SettingsError, did_you_mean, names, unwritable
from shared.files import is_full, without_room
from shared.schema import Schema
from shared.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from shared.sample import Sample

Mode = Literal["train", "serve"]
MODES: Final = ("train", "serve")
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Ports:
    """Names of what a mode reads and writes."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional_inputs: tuple[str, ...] = ()
    optional_outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predictor:
    """A loaded artefact, ready to answer HTTP requests.

    Attributes:
        schema: columns of a request's rows: features, and ids, which a request may leave out.
        answer: a table with the schema's columns (ids only when they were sent) to a table of as many rows, or to one
            JSON object that speaks of all rows together.
    """

    schema: Schema
    answer: Callable[[pl.DataFrame], pl.DataFrame | dict[str, Any]]


@dataclass
class Job(Generic[S]):
    """One run of a component over files: where its inputs are, where its outputs go, and how it was set."""

    component: str
    mode: Mode
    settings: S
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path | None]
    """Where each output goes; None: the job's description does not name it, so it is made and dropped."""
    hosts: Hosts
    log: logging.Logger
    message: str = ""
    """What to tell in the job's ExitMessage when it ends well."""
    checkpoints: Path | None = None
    """Folder for checkpoints; None: nobody asked for any."""
    stopped: int | None = None
    """The signal that ended the work before its time, where what was made is worth keeping all the same."""
    on_demand: tuple[str, ...] = ()
    """Outputs that not every run writes: no folder is made for them before one is asked for."""
    _staging: dict[str, Path] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _made: list[Path] = field(default_factory=list)
    """Folders that were made for outputs, parents first: they vanish again when the job fails."""

    def input(self, name: str) -> Path:
        """Folder of an input.

        Raises:
            SettingsError: the job has no such input.
        """
        if name not in self.inputs:
            raise SettingsError(
                f"{self.component} {self.mode} has no input {name!r}; the job names {names(self.inputs) or 'none'}. "
                f"Add an input (or channel) called {name!r}."
            )
        return self.inputs[name]

    def optional(self, name: str) -> Path | None:
        """Folder of an input that need not be there."""
        return self.inputs.get(name)

    def output(self, name: str) -> Path:
        """Folder to write an output into. Its files appear at their place when the whole job has ended well."""
        if name not in self.outputs:
            raise SettingsError(f"{self.component} {self.mode} has no output {name!r}; it has {names(self.outputs)}.")
        if name not in self._staging:
            target = self.outputs[name]
            try:
                self._staging[name] = self._stage(target)
            except OSError as error:
                raise unwritable(name, target, error) from None
        return self._staging[name]

    def _stage(self, target: Path | None) -> Path:
        if target is not None:
            missing = [folder for folder in (target, *target.parents) if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
                self._made.append(folder)
            # What a killed job of the same host has left; other hosts may be at work in the same folder.
            for left in target.glob(f".staging-{self.hosts.part}-*"):
                shutil.rmtree(left, ignore_errors=True)
        # Inside the target: each output may be a mount of its own, and only moves within one are atomic.
        prefix = f".staging-{self.hosts.part}-"
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=target)))

    @contextmanager
    def staged(self) -> Iterator[None]:
        """Outputs are written beside their place; they move there only if the block ends well, else they vanish."""
        try:
            with self._stack:
                for name in self.outputs:
                    if name not in self.on_demand:
                        self.output(name)
                try:
                    yield
                    self._publish()
                except Exception as error:
                    if is_full(error):
                        raise self._full() from error
                    raise
        except BaseException:
            for folder in reversed(self._made):
                with suppress(OSError):
                    folder.rmdir()
            raise

    def _publish(self) -> None:
        """Move every file to its place, or none."""
        moved: list[Path] = []
        try:
            for name, staging in self._staging.items():
                target = self.outputs[name]
                for path in moved_files(staging, target) if target else ():
                    moved.append(path)
        except BaseException:
            for path in moved:
                path.unlink(missing_ok=True)
            raise

    def _full(self) -> SettingsError:
        """That there is no room: of all volumes that are written to, on the one with the least."""
        places = {f"output {name!r}": self.outputs[name] or staging for name, staging in self._staging.items()}
        places["what the job sets aside"] = Path(tempfile.gettempdir())
        fullest = min(places, key=lambda what: shutil.disk_usage(places[what]).free)
        return without_room(fullest, places[fullest])


def moved_files(source: Path, target: Path) -> Iterator[Path]:
    """Move every file below `source` to the same place below `target`, one at each step; where it is now."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            yield path.replace(place)


@dataclass(frozen=True)
class Component:
    """What a component is: its name, its settings, and one function per thing it does.

    Attributes:
        train: learns from files and writes an artefact.
        serve: applies an artefact to files, as a processing job; None when only HTTP serves.
        load: opens the artefact in a folder for HTTP.
        artefact: the output of train that is the artefact (`/opt/ml/model` in a training job).
        sample: makes in a new folder what `selftest` tries the component on.
        variant: the first of component.toml's variants, whose image examples name.
    """

    name: str
    summary: str
    settings: type[Settings]
    train: Callable[[Job[Any]], None]
    serve: Callable[[Job[Any]], None] | None
    load: Callable[[Path, Mapping[str, str]], Predictor]
    artefact: str
    train_ports: Ports
    serve_ports: Ports
    sample: Callable[[Path], Sample]
    variant: str = "cpu"

    def ports(self, mode: Mode) -> Ports:
        """What a mode reads and writes."""
        return self.train_ports if mode == "train" else self.serve_ports

    @property
    def known_inputs(self) -> tuple[str, ...]:
        """What either mode may read: a job may name inputs that only the other mode needs."""
        both = (self.train_ports, self.serve_ports)
        return tuple(
            dict.fromkeys(name for ports in both for name in (*ports.inputs, *ports.optional_inputs, "settings"))
        )


def output_folders(component: Component, mode: Mode, contract: Contract) -> dict[str, Path | None]:
    """Where each output of a mode goes: as the processing job says, or as a training job must.

    None for what a processing job does not name: nothing would carry it away, and a read-only image has no room for it.

    Raises:
        SettingsError: a processing job names an output that the mode does not write, or one folder for two.
    """
    ports = component.ports(mode)
    wanted = (*ports.outputs, *ports.optional_outputs)
    declared = contract.processing_outputs()
    check_known("output", declared, wanted, f"{component.name} {mode}")
    check_apart(declared)
    if declared:
        return {name: declared.get(name) for name in wanted}
    if not contract.is_training_job and (contract.processing_inputs() or not contract.channels()):
        return {name: contract.processing_output(name) for name in wanted}
    return {name: training_output(component, name, contract) for name in wanted}


def check_apart(folders: Mapping[str, Path]) -> None:
    """Make sure that each output of a processing job has a folder of its own.

    Raises:
        SettingsError: two have the same: the files of one would replace those of the other.
    """
    owners: dict[Path, str] = {}
    for name, folder in folders.items():
        first = owners.setdefault(folder, name)
        if first != name:
            raise SettingsError(f"outputs {first!r} and {name!r} both go to {folder}. Give each its own LocalPath.")


def check_known(what: str, declared: Iterable[str], known: Sequence[str], who: str) -> None:
    """Make sure that a processing job names only inputs or outputs that there are.

    Raises:
        SettingsError: one is none of them: it would go unread, or stay empty, without a word.
    """
    for name in declared:
        if name not in known:
            raise SettingsError(
                f"the job names the {what} {name!r}, which {who} does not know, wanted one of {names(known)}."
                f"{did_you_mean(name, known)}"
            )


def training_output(component: Component, name: str, contract: Contract) -> Path:
    """Where a training job puts an output: the artefact is the model, a report lies in output/data itself."""
    if name == component.artefact:
        return contract.model
    return contract.output_data if name == "report" else contract.output_data / name
