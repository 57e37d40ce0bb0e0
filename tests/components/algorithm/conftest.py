"""A known problem, the tree of a training job around it, and a model trained on it once."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.algorithm.component import COMPONENT
from shared.artefact import write_artefact
from shared.entrypoint import run
from shared.schema import Column, Schema

FEATURES = ("age", "income", "visits", "noise")
QUICK = {"num_round": "30", "max_depth": "3", "eta": "0.3", "nthread": "1"}


def table(rows: int, seed: int, *, missing: float = 0.05) -> pl.DataFrame:
    """Rows whose log odds of `late` are 2 age + income × visits - 1; `noise` means nothing."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, len(FEATURES)))
    odds = 2 * values[:, 0] + values[:, 1] * values[:, 2] - 1
    late = generator.random(rows) < 1 / (1 + np.exp(-odds))
    values[generator.random(values.shape) < missing] = np.nan
    return pl.DataFrame(
        {
            "flight": [f"F{seed}-{row}" for row in range(rows)],
            **{name: values[:, index] for index, name in enumerate(FEATURES)},
            "late": late.astype(np.int64),
        }
    ).with_columns(pl.col(FEATURES).fill_nan(None))


@dataclass
class Outcome:
    """A finished run of the component."""

    root: Path
    code: int

    @property
    def failure(self) -> str:
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else ""

    @property
    def message(self) -> str:
        return (self.root / "output/message").read_text()

    @property
    def model(self) -> Path:
        return self.root / "model"

    def read(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())


class TrainingJob:
    """The `/opt/ml` tree of a SageMaker training job below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hyperparameters: dict[str, str] = {"target": "late", "ids": '["flight"]', **QUICK}
        self.channels: list[str] = []

    def channel(self, name: str, content: pl.DataFrame | str | bytes, file: str = "part-0000-of-0001.csv") -> None:
        folder = self.root / "input/data" / name
        folder.mkdir(parents=True, exist_ok=True)
        self.channels.append(name)
        if isinstance(content, pl.DataFrame):
            if file.endswith(".parquet"):
                content.write_parquet(folder / file)
            else:
                content.write_csv(folder / file)
        elif isinstance(content, str):
            (folder / file).write_text(content)
        else:
            (folder / file).write_bytes(content)

    def write(self) -> None:
        config = self.root / "input/config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(self.hyperparameters))
        mode = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
        (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(self.channels, mode)))
        hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
        (config / "resourceconfig.json").write_text(json.dumps(hosts))

    def run(self, **settings: str) -> Outcome:
        self.hyperparameters |= settings
        self.write()
        return Outcome(self.root, run(COMPONENT, ["train"], {"SAGEMAKER_BASE_DIR": str(self.root)}))


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """The entrypoint takes SIGTERM and SIGINT; pytest gets them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    """A training job without channels yet."""
    return TrainingJob(tmp_path)


@pytest.fixture
def known_table() -> Callable[..., pl.DataFrame]:
    return table


@pytest.fixture
def ready(job: TrainingJob) -> TrainingJob:
    """A training job that would end well."""
    job.channel("train", table(600, 1))
    job.channel("validation", table(300, 2))
    return job


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A model of the known problem, trained from Parquet with a validation channel; not to be changed."""
    job = TrainingJob(tmp_path_factory.mktemp("trained"))
    job.channel("train", table(4000, 1), "part-0000-of-0001.parquet")
    job.channel("validation", table(2000, 2), "part-0000-of-0001.parquet")
    outcome = job.run()
    assert outcome.code == 0, outcome.failure
    return outcome


@pytest.fixture
def state(tmp_path: Path) -> Callable[[Mapping[str, str], str | None], Path]:
    """Writes a processing state into the channel `state`: names and types of what it makes, and the target."""

    def write(columns: Mapping[str, str], target: str | None = "late") -> Path:
        folder = tmp_path / "input/data/state"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
        made = Schema(tuple(Column(name, kind) for name, kind in columns.items()), ("flight",), target)  # type: ignore[arg-type]  # a test may say what it likes
        write_artefact(
            folder,
            component="processing",
            schema=Schema((Column("raw", "text"),)),
            settings={},
            extra={"output_schema": made.to_json()},
        )
        return folder

    return write
