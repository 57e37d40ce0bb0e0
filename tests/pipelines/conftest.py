"""A use case on toy components: programs that obey the contract and start in a few hundredths of a second."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import shared
from components.spec import NAMES, ModeSpec, Spec
from pipelines.local.children import Programs
from pipelines.local.engine import Machine, Slots
from pipelines.local.runs import Runner
from pipelines.manifest import UseCase, read_manifest
from pipelines.storage import Storage

MANIFEST = """\
apiVersion: quartet/v1
name: toy
data:
  train: {uri: "raw/train/{period}.csv", periods: [p1, p2]}
  score: {uri: "raw/score/{period}.csv"}
  labels: {uri: "raw/labels/{period}.csv"}
  periods: [p3, p4, p5]
  target: late
  ids: [id]
components:
  processing: {settings: {}}
  algorithm: {settings: {auc: 0.7}, train: {}, serve: {settings: {}}}
pipelines:
  training: {gates: [{metric: "validation:auc", min: 0.6}], release: {approve: automatic}}
drift: {then: retrain, with: {periods: 2}}
"""

SPECS = {
    "processing": Spec(
        "processing",
        "toy",
        ModeSpec("processing", ("data",), ("validation", "settings"), ("train", "validation", "state", "report")),
        ModeSpec("processing", ("data", "state"), ("settings",), ("data", "report")),
    ),
    "algorithm": Spec(
        "algorithm",
        "toy",
        ModeSpec("training", ("train",), ("validation", "state", "settings"), ("model", "report")),
        ModeSpec("transform", ("data", "model"), (), ("data",)),
    ),
    "monitoring": Spec(
        "monitoring",
        "toy",
        ModeSpec("processing", ("data",), ("model", "settings"), ("baseline", "report")),
        ModeSpec("processing", ("data", "baseline"), ("scores", "labels", "settings"), ("report",)),
    ),
    "explainability": Spec(
        "explainability",
        "toy",
        ModeSpec("processing", ("data", "model"), ("settings",), ("explainer", "report")),
        ModeSpec("processing", ("data", "model", "explainer"), ("settings",), ("report",)),
    ),
}


@dataclass
class Told:
    """A teller that remembers."""

    sentences: list[str] = field(default_factory=list)
    ended: list[tuple[str, str, int | None]] = field(default_factory=list)

    def say(self, text: str, style: str = "") -> None:
        self.sentences.append(text)

    def started(self, label: str) -> None:
        pass

    def advanced(self, label: str, done: int, total: int) -> None:
        pass

    def finished(self, label: str, rows: int | None, seconds: float) -> None:
        self.ended.append((label, "done", rows))

    def failed(self, label: str, seconds: float) -> None:
        self.ended.append((label, "failed", None))

    def retrying(self, label: str, reason: str, attempt: int, retries: int) -> None:
        self.sentences.append(f"{label}: {reason} {attempt}/{retries}")

    def stopped(self, label: str, seconds: float) -> None:
        self.ended.append((label, "stopped", None))


@dataclass
class Toy:
    """A toy use case in a folder of its own."""

    folder: Path
    programs: Programs
    told: Told = field(default_factory=Told)

    @property
    def path(self) -> Path:
        return self.folder / "use-case.yaml"

    @property
    def storage(self) -> Storage:
        return Storage(self.folder / "storage")

    def declare(self, *changes: tuple[str, str]) -> UseCase:
        """The manifest with pieces of text replaced, written and read."""
        text = MANIFEST
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.path.write_text(text)
        return read_manifest(self.path)

    def machine(self, **options: Any) -> Machine:
        return Machine(Slots(2), processors=2, jobs=2, programs=self.programs, grace=5.0, **options)

    def runner(self, *changes: tuple[str, str], run: str = "r1", **options: Any) -> Runner:
        return Runner(self.declare(*changes), SPECS, self.storage, self.machine(**options), self.told, run)

    def score(self, period: str, *records: str) -> None:
        """Replace what is to be scored in a period."""
        (self.folder / f"raw/score/{period}.csv").write_text("".join(f"{record}\n" for record in records))


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The toy component under all four names."""
    root = tmp_path_factory.mktemp("programs")
    for name in NAMES:
        folder = root / "components" / name
        folder.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("fake_component.py"), folder / "__main__.py")
    (root / "shared").symlink_to(Path(shared.__path__[0]).resolve())
    return Programs(root)


@pytest.fixture
def toy(tmp_path: Path, programs: Programs) -> Toy:
    """A use case of its own for each test."""
    return furnished(tmp_path, programs)


@pytest.fixture(scope="module")
def lasting_toy(tmp_path_factory: pytest.TempPathFactory, programs: Programs) -> Toy:
    """A use case that all tests of a module look at and none changes."""
    return furnished(tmp_path_factory.mktemp("toy"), programs)


def furnished(tmp_path: Path, programs: Programs) -> Toy:
    """Five periods of raw data, two to learn from; p4 has drifted."""
    for period in ("p1", "p2", "p3", "p4", "p5"):
        for kind in ("train", "score", "labels"):
            (tmp_path / "raw" / kind).mkdir(parents=True, exist_ok=True)
            rows = [f"{period}-{number},{number}\n" for number in range(5)]
            if kind == "score" and period == "p4":
                rows.append("p4-5,drift\n")
            (tmp_path / f"raw/{kind}/{period}.csv").write_text("id,value\n" * (kind != "score") + "".join(rows))
    return Toy(tmp_path, programs)
