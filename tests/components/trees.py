"""A folder laid out as SageMaker lays out a processing job, and what a test does with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl

from shared.component import Component
from shared.entrypoint import run


@dataclass
class Tree:
    """The folder that stands for /opt/ml. Each component's tests say whose it is, and what else they read there."""

    root: Path
    component: ClassVar[Component]

    def put(self, name: str, content: pl.DataFrame | str | bytes, file: str = "data.csv") -> Path:
        """Mount content as a file of an input."""
        path = self.root / "processing/input" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path) if path.suffix == ".parquet" else content.write_csv(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def mount(self, name: str, trained: Self) -> None:
        """Mount the output of another tree's train as the input of the same name."""
        shutil.copytree(trained.output(name), self.root / "processing/input" / name, dirs_exist_ok=True)

    def run(self, mode: str, **settings: Any) -> int:
        """Run a mode with settings in a file, as the pipelines hand them over; the exit code."""
        self.put("settings", json.dumps(settings, sort_keys=True), "settings.json")
        return run(self.component, [mode], {"SAGEMAKER_BASE_DIR": str(self.root)})

    def hosts(self, *names: str, current: str) -> None:
        """Say that the job runs on these hosts."""
        path = self.root / "config/resourceconfig.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"hosts": names, "current_host": current}))

    def output(self, name: str) -> Path:
        """Folder of an output."""
        return self.root / "processing/output" / name

    def read(self, name: str, output: str = "report") -> Any:
        """A JSON file of an output."""
        return json.loads((self.output(output) / name).read_text())

    def written(self) -> list[str]:
        """Every file of every output, hidden ones too."""
        folder = self.root / "processing/output"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @property
    def message(self) -> str:
        """How the job ended."""
        return (self.root / "output/message").read_text()

    @property
    def failure(self) -> str:
        """Why the job failed."""
        return (self.root / "output/failure").read_text()
