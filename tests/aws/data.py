"""The flights use case cut to a size that takes seconds: 1,500 flights a month, in S3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.spec import NAMES
from pipelines.flights.prepare import prepare
from pipelines.manifest import UseCase, read_manifest
from tests.aws.cloud import ACCOUNT, BUCKET, REGION, ROLE, Cloud

MANIFEST: Final = Path(__file__).parents[2] / "pipelines/flights/use-case.yaml"
ROWS: Final = 1500
CALM: Final = "2013-05"
DRIFTED: Final = "2013-10"
"""At this size: the seats of October's planes are not those of January to April."""
STORAGE: Final = f"s3://{BUCKET}/flights"
DIGESTS: Final = {name: f"sha256:{str(number) * 64}" for number, name in enumerate(NAMES, start=1)}
REGISTRY: Final = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
IMAGES: Final = {f"{REGISTRY}/quartet/{name}@{DIGESTS[name]}": name for name in NAMES}
"""Image uris as the cloud knows them, and the component behind each."""


TOY: Final = f"""\
apiVersion: quartet/v1
name: toy
region: {REGION}
storage: s3://{BUCKET}/toy
role: {ROLE}
data:
  train: {{uri: "{{storage}}/raw/train/{{period}}.csv", periods: [p1, p2]}}
  score: {{uri: "{{storage}}/raw/score/{{period}}.csv"}}
  labels: {{uri: "{{storage}}/raw/labels/{{period}}.csv"}}
  periods: [p3, p4]
  target: late
  ids: [id]
components:
  algorithm: {{settings: {{auc: 0.7}}}}
pipelines:
  training: {{gates: [{{metric: "validation:auc", min: 0.6}}], release: {{approve: automatic}}}}
drift: {{then: retrain, with: {{periods: 2}}}}
"""
"""A use case for programs that start in a few hundredths of a second (tests/pipelines/fake_component.py)."""


@dataclass(frozen=True)
class Flights:
    """The raw files, on this machine and in S3."""

    folder: Path
    storage: str = STORAGE

    def score(self, period: str) -> str:
        """The uri of what to score in a month."""
        return f"{self.storage}/data/score/{period}.csv"

    def labels(self, period: str) -> str:
        """The uri of what became of it."""
        return f"{self.storage}/data/labels/{period}.csv"


def flights_in(cloud: Cloud, folder: Path) -> Flights:
    """The raw files of every month, written and stored."""
    prepare(folder / "data", ROWS)
    cloud.bucket()
    cloud.put_folder(f"{STORAGE}/data", folder / "data")
    return Flights(folder)


def images() -> str:
    """The manifest's lines that name an image by component."""
    return "".join(f"  {name}: {{uri: {REGISTRY}/quartet/{name}, digest: '{DIGESTS[name]}'}}\n" for name in NAMES)


def in_the_cloud() -> str:
    """The flights manifest with what a cloud wants to know besides: storage, role, region and images."""
    more = f"region: {REGION}\nstorage: {STORAGE}\nrole: {ROLE}\nimages:\n{images()}"
    return MANIFEST.read_text(encoding="utf-8").replace("name: flights\n", f"name: flights\n{more}", 1)


def flights_use_case(folder: Path, *changes: tuple[str, str]) -> UseCase:
    """The flights in the cloud, with pieces of the manifest's text replaced."""
    return declared(folder, in_the_cloud(), *changes)


def toy_use_case(folder: Path, *changes: tuple[str, str]) -> UseCase:
    """The toy in the cloud, with pieces of the manifest's text replaced."""
    return declared(folder, TOY + f"images:\n{images()}", *changes)


def declared(folder: Path, text: str, *changes: tuple[str, str]) -> UseCase:
    """A manifest's text with pieces replaced, written and read."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "use-case.yaml"
    path.write_text(text, encoding="utf-8")
    return read_manifest(path)


def toy_in(cloud: Cloud) -> str:
    """The toy's raw data: p4 has drifted; its storage."""
    storage = f"s3://{cloud.bucket()}/toy"
    for period in ("p1", "p2", "p3", "p4"):
        rows = "".join(f"{period}-{row},{row}\n" for row in range(5))
        cloud.put(f"{storage}/raw/train/{period}.csv", f"id,value\n{rows}")
        cloud.put(f"{storage}/raw/labels/{period}.csv", f"id,late\n{rows}")
        cloud.put(f"{storage}/raw/score/{period}.csv", rows + (f"{period}-5,drift\n" if period == "p4" else ""))
    return storage


def image_of(component: str) -> str:
    """The uri of a component's image."""
    return next(uri for uri, name in IMAGES.items() if name == component)


def summary(answer: dict[str, Any]) -> str:
    """How a job ended, for the message of an assertion."""
    keys = ("ProcessingJobStatus", "TrainingJobStatus", "TransformJobStatus", "FailureReason", "ExitMessage")
    return ", ".join(f"{key}: {answer[key]}" for key in keys if key in answer)
