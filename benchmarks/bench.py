"""Processes whose cost is measured: jobs from start to end, servers between two moments, and what both need.

This process starts them all and stays small: what it imported would count as their memory, because Linux hands the
greatest memory of a process on to the programs that it starts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.table import Result
from shared.errors import QuartetError, SettingsError

ROOT: Final = Path(__file__).parents[1]
LONGEST_S: Final = 1800
"""Time after which a process is taken for hung."""
CARRIERS: Final = ("AWS_", "QUARTET_", "SAGEMAKER_", "SM_", "OMP_", "POLARS_")
"""Prefixes of variables that would change what a side does."""
MODEL_ROWS: Final = 20_000
"""Rows that the models which score and are explained have learnt from: enough for trees with all their leaves."""
MAXRSS_BYTES: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit in which the kernel tells a process's greatest memory."""


class FailedSide(QuartetError):
    """A process that was to be measured and did not do its work."""


@dataclass(frozen=True)
class Size:
    """How much work a benchmark does.

    Attributes:
        rows: rows of ours.
        peer_rows: rows of a peer that cannot be asked for as many; its cost is taken per row.
        trees: trees of the model that scores or is explained.
        repeats: how often each side runs.
    """

    rows: int
    peer_rows: int = 0
    trees: int = 0
    repeats: int = 1


@dataclass(frozen=True)
class Usage:
    """What a process and all that it started cost.

    Attributes:
        cpu_s: user and system seconds.
        peak_mb: greatest resident memory of any one of its processes, in 10⁶ bytes.
        said: the JSON object of its last line on standard output, if it wrote one.
    """

    cpu_s: float
    peak_mb: float
    said: Mapping[str, Any] = field(default_factory=dict)


Side = Callable[[], Usage]


@dataclass(frozen=True)
class Bench:
    """Where a benchmark works, and with which interpreters.

    Attributes:
        folder: for data, models and outputs; goes when all is done.
        peers: the interpreter of the peers' environment; None leaves out what needs it.
    """

    folder: Path
    peers: str | None = None
    python: str = sys.executable

    def job(self, component: str, mode: str, base: Path, settings: Mapping[str, object], **inputs: Path) -> Usage:
        """Run a component as SageMaker does, on links to its inputs.

        Args:
            component: which.
            mode: `train` or `serve`.
            base: what stands for /opt/ml; made here.
            settings: by name.
            inputs: folders by the input's name.
        """
        place = base / ("input/data" if component == "algorithm" else "processing/input")
        place.mkdir(parents=True, exist_ok=True)
        for name, folder in inputs.items():
            (place / name).unlink(missing_ok=True)
            (place / name).symlink_to(folder)
        told = [word for name, value in settings.items() for word in (f"--{name}", text_of(value))]
        return run((self.python, "-m", f"components.{component}", mode, *told), SAGEMAKER_BASE_DIR=str(base))

    def ours(self, module: str, *arguments: object) -> Usage:
        """Run a module of the benchmarks with the libraries of the components."""
        return run((self.python, "-m", f"benchmarks.{module}", *map(str, arguments)))

    def peer(self, program: str, *arguments: object) -> Usage:
        """Run a program of `peers/` in the peers' environment."""
        if self.peers is None:
            raise FailedSide(f"peers/{program}.py needs the peers' environment. Run `make bench`, which makes it.")
        return run((self.peers, str(ROOT / "benchmarks/peers" / f"{program}.py"), *map(str, arguments)))

    def data(self, kind: str, rows: int, seed: int, *, form: str = "parquet") -> Path:
        """A folder with one file of synthetic data, made once."""
        folder = self.folder / f"{kind}-{rows}-{seed}-{form}"
        if not folder.exists():
            self.ours("data", kind, rows, seed, folder / f"data.{form}")
        return folder

    def model(self, trees: int) -> Path:
        """The root of a training job that has made a model of so many trees of depth 6, made once."""
        base = self.folder / f"model-{trees}"
        if not base.exists():
            settings = {"target": "target", "num_round": trees, "early_stopping_rounds": 0}
            self.job("algorithm", "train", base, settings, train=self.data("numbers", MODEL_ROWS, 1))
        return base


@dataclass(frozen=True)
class Benchmark:
    """One kind of work, compared.

    Attributes:
        name: as it is called on the command line.
        summary: what is compared with what.
        run: does it.
        full: the sizes of the design's bars.
        quick: small enough for a look between two changes; fixed costs weigh more than they should.
    """

    name: str
    summary: str
    run: Callable[[Bench, Size], Result]
    full: Size
    quick: Size


def text_of(value: object) -> str:
    """A setting as the command line takes it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change a side's work."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CARRIERS)}
    # Evidently tells its makers of its use unless told not to.
    return {**kept, "DO_NOT_TRACK": "1", "PYTHONPATH": str(ROOT), **more}


def run(command: Sequence[str], **more: str) -> Usage:
    """Run a program to its end and measure it.

    Raises:
        FailedSide: it ended with another code than 0.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=output, stderr=subprocess.STDOUT)
        watch = threading.Timer(LONGEST_S, process.kill)
        watch.start()
        try:
            # Not process.wait(): only wait4 tells what this one child cost.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise FailedSide(f"`{' '.join(command)}` ended with code {process.returncode}: {text[-2000:].strip()}")
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * MAXRSS_BYTES / 1e6, last_object(text))


def last_object(text: str) -> Mapping[str, Any]:
    """The JSON object on the last line, or nothing."""
    last = text.rstrip().rpartition("\n")[2]
    if not last.startswith("{"):
        return {}
    try:
        return dict(json.loads(last))
    except ValueError:
        return {}


def interleaved(repeats: int, **sides: Side) -> dict[str, list[Usage]]:
    """Each side `repeats` times, in turn and each time in the other order, so that a busy minute meets both."""
    measured: dict[str, list[Usage]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            print(f"  {name}, {turn + 1} of {repeats}", file=sys.stderr, flush=True)
            measured[name].append(sides[name]())
    return measured


def least(usages: Sequence[Usage]) -> Usage:
    """The run that cost least, since noise only ever adds to a cost, with the greatest memory of all runs."""
    cheapest = min(usages, key=lambda usage: usage.cpu_s)
    return Usage(cheapest.cpu_s, max(usage.peak_mb for usage in usages), cheapest.said)


def raw(measured: Mapping[str, Sequence[Usage]]) -> dict[str, Any]:
    """All measurements, for JSON."""
    return {name: [asdict(usage) for usage in usages] for name, usages in measured.items()}


# --- Servers


@contextmanager
def server(command: Sequence[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is stopped at the end, with all its workers.

    Raises:
        SettingsError: this system does not tell what a running process has cost.
    """
    if not Path("/proc/self/stat").exists():
        raise SettingsError("A server's cost is read from /proc, which this system does not have. Run it on Linux.")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        except BaseException:
            output.seek(0)
            sys.stderr.write(output.read()[-2000:].decode(errors="replace"))
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def cpu_of(pid: int) -> float:
    """CPU-seconds so far of a process, of its children, and of theirs, in steps of a clock tick."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        tasks = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for task in tasks for child in task.read_text().split()]
    except FileNotFoundError:
        return 0.0
    # utime, stime, and both of the children that have ended: fields 14 to 17 of proc(5).
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_of, children))
