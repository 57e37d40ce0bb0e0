"""Runs inside an image: trains and serves the sample problem as Processing jobs, and tells what first batches cost.

    python first_batch.py COMPONENT REPEATS    the last line is {"train": [CPU-seconds, …], "serve": […]}

A job's first batch is done when the job asks for its second one: by then its process has started, imported what it
needs, read its settings, opened its artefacts and answered their golden batches, and has read, checked, computed and,
where outputs are written as they come, written the first batch. What is counted is user and system time of the job's
process, with all its threads, from its start. A component that is not tried on files in a mode is left out there.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path("/sample")
"""A mount: the sample's inputs, and what was trained on them, for whoever starts a server with it."""
Batches = Callable[..., Iterator[Any]]


def measured(name: str, repeats: int) -> dict[str, list[float]]:
    """CPU-seconds of a component's first batches, by mode."""
    component = importlib.import_module(f"components.{name}.component").COMPONENT
    sample = component.sample(FOLDER / "sample")
    artefact = FOLDER / "train/processing/output" / component.artefact
    modes = {"train": sample.train} | (
        {"serve": {**sample.serve, component.artefact: artefact}} if sample.serve else {}
    )
    settings = {f"QUARTET_{key.upper()}": value for key, value in sample.hyperparameters.items()}
    found = {}
    for mode, inputs in modes.items():
        root = FOLDER / mode
        describe(root, component.ports(mode).outputs, inputs)
        own = {"SAGEMAKER_BASE_DIR": str(root), **(settings if mode == "train" else {})}
        found[mode] = [seconds(name, own) for _ in range(repeats)]
    return found


def describe(root: Path, outputs: tuple[str, ...], inputs: dict[str, Path]) -> None:
    """Write processingjobconfig.json below what stands for /opt/ml, its inputs linked."""
    (root / "config").mkdir(parents=True)
    (root / "processing/input").mkdir(parents=True)
    for name, folder in inputs.items():
        (root / "processing/input" / name).symlink_to(folder)
    config = {
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"LocalPath": f"/opt/ml/processing/input/{name}"}} for name in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {"OutputName": name, "S3Output": {"LocalPath": f"/opt/ml/processing/output/{name}"}} for name in outputs
            ]
        },
    }
    (root / "config/processingjobconfig.json").write_text(json.dumps(config))


def seconds(name: str, own: dict[str, str]) -> float:
    """Run a job in a process of its own; what its first batch cost."""
    command = (sys.executable, "-P", __file__, "--job", name)
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} ended with exit code {done.returncode}: {done.stdout}{done.stderr}")
    return float(done.stderr.split()[-1])


def job(name: str) -> int:
    """Be the job, and tell on standard error what its process had cost when its first batch was done."""
    from shared import tables

    costs: list[float] = []
    tables.raw_batches = watched(tables.raw_batches, costs)
    code: int = importlib.import_module(f"components.{name}.__main__").main()
    print(costs[0], file=sys.stderr)
    return code


def watched(batches: Batches, costs: list[float]) -> Batches:
    """The same batches; each time that another one is asked for, what the process has cost is noted."""

    def noted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for batch in batches(*arguments, **options):
            yield batch
            costs.append(time.process_time())

    return noted


if __name__ == "__main__":
    if sys.argv[1] == "--job":
        component = sys.argv[2]
        del sys.argv[1:]  # the component's own program is given nothing
        sys.exit(job(component))
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
