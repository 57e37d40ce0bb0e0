"""What a start costs, in the images as they are built, and how large those are: beside the bars of the design.

    python -m benchmarks.start [--repeats N] [--no-sizes]

* server ready: CPU-seconds of the whole container from its start until /ping answers 200, with as many workers as the
  image chooses here.
* first batch: CPU-seconds of a Processing job's process until its first batch is done, as first_batch.py says it.
* rebuild: seconds on the clock until an edit of shared is in the image, in a copy of this checkout under another tag.
* compressed: megabytes of the image with gzip -6, and the largest of its packages. Takes half a minute.

The least figure is the one to compare: whatever else the machine does only adds to it. The sample problem is that of
`IMAGE selftest`. No figure is a failure; without a Docker engine it ends with 2.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, NoReturn

import click

import build
from benchmarks.table import significant, table, verdict
from components.spec import NAMES, specs
from shared.errors import EXIT_INTERNAL, EXIT_SETTINGS, QuartetError

READY_CPU_S: Final = 1.5
FIRST_BATCH_CPU_S: Final = 0.7
REBUILD_S: Final = 2.0
COMPRESSED_MB: Final = {"processing": 130, "algorithm": 140, "monitoring": 170, "explainability": 210}
"""The most that an image may take with gzip -6."""
REBUILT: Final = "processing"
"""The image that is built again: the steps are the same in all four."""
CONTEXT: Final = (
    ".dockerignore",
    "build.py",
    "components",
    "packing",
    "pyproject.toml",
    "requirements",
    "shared",
    "wheelhouse",
)
"""What a build reads."""
TAG: Final = "benchmark"
LONGEST_S: Final = 120
"""Time after which a server is taken for hung."""


@dataclass(frozen=True)
class Figure:
    """One thing that was measured, several times.

    Attributes:
        work: what.
        unit: of the values and the bar; less is better.
        values: at least one.
        bar: the most that the least value may be.
    """

    work: str
    unit: str
    values: Sequence[float]
    bar: float

    @property
    def least(self) -> float:
        """The smallest value: noise only ever adds."""
        return min(self.values)

    @property
    def share(self) -> float:
        """The least value as a share of the bar: at most 1 where the bar holds."""
        return self.least / self.bar


def shown(figures: Sequence[Figure]) -> str:
    """The table."""
    rows = [
        (
            figure.work,
            figure.unit,
            significant(figure.least),
            significant(median(figure.values)),
            str(len(figure.values)),
            significant(figure.bar),
            significant(figure.share),
            verdict(figure.share <= 1),
        )
        for figure in figures
    ]
    return table(("work", "unit", "least", "median", "of", "bar", "least ÷ bar", "holds"), rows, (0, 1, 7))


# --- Starts


def starts(client: Any, component: str, repeats: int) -> list[Figure]:
    """What the image's jobs cost until their first batch, and its server until it is ready."""
    with scratch() as folder:
        batches = first_batches(client, component, repeats, folder)
        artefact = folder / "train/processing/output" / artefact_of(folder)
        ready = [server_ready(client, component, artefact) for _ in range(repeats)]
    # Training is the algorithm's work as a Training job, and Batch Transform scores.
    jobs = {} if component == "algorithm" else batches
    return [
        Figure(f"{component}: server ready", "CPU-s", ready, READY_CPU_S),
        *(
            Figure(f"{component}: first batch of {mode}", "CPU-s", took, FIRST_BATCH_CPU_S)
            for mode, took in jobs.items()
        ),
    ]


def first_batches(client: Any, component: str, repeats: int, folder: Path) -> Mapping[str, Sequence[float]]:
    """CPU-seconds by mode, as first_batch.py tells them; the sample and what was trained on it stay in the folder."""
    program = Path(__file__).with_name("first_batch.py")
    mounts = {str(program): {"bind": "/first_batch.py", "mode": "ro"}, str(folder): {"bind": "/sample", "mode": "rw"}}
    with started(
        client, component, ["-P", "/first_batch.py", component, str(repeats)], entrypoint="/opt/venv/bin/python",
        volumes=mounts,
    ) as container:  # fmt: skip
        code = container.wait(timeout=600)["StatusCode"]
        said = container.logs().decode(errors="replace")
    if code:
        raise QuartetError(f"the sample of {component} cannot be run in its image: {said[-1000:].strip()}")
    found: Mapping[str, Sequence[float]] = json.loads(said.splitlines()[-1])
    return found


def artefact_of(folder: Path) -> str:
    """The output of train that is the artefact: the one with a manifest."""
    (manifest,) = (folder / "train/processing/output").glob("*/manifest.json")
    return manifest.parent.name


def server_ready(client: Any, component: str, artefact: Path) -> float:
    """CPU-seconds of a server's container when /ping first answers 200."""
    mounts = {str(artefact): {"bind": "/opt/ml/model", "mode": "ro"}}
    ports = {"8080/tcp": ("127.0.0.1", None)}
    with started(
        client, component, ["serve"], volumes=mounts, network_mode="bridge", ports=ports, tmpfs={"/tmp": ""}
    ) as container:
        container.reload()
        (bound,) = container.ports["8080/tcp"]
        until = time.monotonic() + LONGEST_S
        while not healthy(int(bound["HostPort"])):
            if time.monotonic() > until:
                raise QuartetError(f"the server of {component} was not ready in {LONGEST_S} s. See `IMAGE selftest`.")
            time.sleep(0.01)
        usage = client.api.stats(container.id, stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]
    return float(usage["total_usage"]) / 1e9


def healthy(port: int) -> bool:
    """Whether /ping answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def started(client: Any, component: str, command: Sequence[str], **options: Any) -> Iterator[Any]:
    """A container of a component's CPU image, removed at the end whatever happens."""
    image = build.defaults(build.images(specs(), component))[0].local
    container = client.containers.create(image, list(command), **{"network_mode": "none", **options})
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that any user may write to; what root wrote there goes with it."""
    with tempfile.TemporaryDirectory(prefix="quartet-start-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


# --- Rebuilding


def rebuilds(client: Any, repeats: int) -> Figure:
    """Seconds from an edit in shared until the image is built."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="quartet-rebuild-") as folder:
        copy(Path(folder))
        try:
            built(Path(folder))  # what an edit does not change is in the cache, as it is after any build of a checkout
            for number in range(repeats):
                with Path(folder, "shared/version.py").open("a", encoding="utf-8") as edited:
                    edited.write(f"# {os.getpid()} {number}\n")
                taken.append(built(Path(folder)))
        finally:
            client.images.remove(f"{build.NAMESPACE}/{REBUILT}:{TAG}", force=True)
    return Figure("rebuild after an edit in shared", "s", taken, REBUILD_S)


def copy(folder: Path) -> None:
    """Copy into a folder what a build reads."""
    for name in CONTEXT:
        path = build.ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, folder / name)


def built(folder: Path) -> float:
    """Seconds that a build takes, its program's start included."""
    command = (sys.executable, "build.py", "build", REBUILT, "--tag", TAG)
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise QuartetError(f"{REBUILT} was not built: {done.stderr[-1000:].strip()}")
    return time.perf_counter() - begun


# --- Sizes


def sizes(client: Any) -> list[Figure]:
    """Compressed sizes of the CPU images, two at a time: compressing keeps one processor busy."""

    def compressed(component: str) -> Figure:
        image = build.defaults(build.images(specs(), component))[0].local
        size = build.compressed(client.images.get(image).save()) / 1e6
        largest = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in build.largest(client, image, 3))
        return Figure(f"{component}: compressed image ({largest})", "MB", [size], COMPRESSED_MB[component])

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compressed, NAMES))


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="How often each start is measured."
)
@click.option("--sizes/--no-sizes", "with_sizes", default=True, help="Whether images are compressed.")
def main(repeats: int, with_sizes: bool) -> None:
    """Measure and print one table."""
    try:
        client = build.engine()
    except build.BuildError as error:
        refuse(error, EXIT_SETTINGS)
    try:
        figures = [figure for component in NAMES for figure in starts(client, component, repeats)]
        figures.append(rebuilds(client, repeats))
        figures += sizes(client) if with_sizes else []
    except QuartetError as error:
        refuse(error, EXIT_INTERNAL)
    click.echo(shown(figures))


def refuse(error: QuartetError, code: int) -> NoReturn:
    """End with one sentence: there is nothing to print a table of."""
    click.echo(error, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
