"""Jobs as AWS Batch starts them: a program, a description in S3, nothing below /opt/ml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.aws.cloud import BUCKET, Cloud, serving_cloud

ROOT: Final = Path(__file__).parents[3]
ROLE: Final = "arn:aws:iam::123456789012:role/jobs"
Request = dict[str, Any]


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    with serving_cloud() as cloud:
        cloud.bucket()
        yield cloud


@dataclass(frozen=True)
class Done:
    """How a job ended."""

    code: int
    said: str


@dataclass
class Batch:
    """Starts jobs; their S3 prefix is their own."""

    cloud: Cloud
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Where this test's objects lie."""
        return f"s3://{BUCKET}/{self.folder.name}"

    @property
    def tree(self) -> Path:
        """What the job finds at /opt/ml."""
        return self.folder / "ml"

    def described(self, description: Any) -> str:
        """Store a description; its uri."""
        content = description if isinstance(description, str) else json.dumps(description)
        return self.cloud.put(f"{self.prefix}/job.json", content)

    @contextmanager
    def started(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """The program at work."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        base = {"PYTHONPATH": str(ROOT), "SAGEMAKER_BASE_DIR": str(self.tree), "AWS_BATCH_JOB_ID": "1234"}
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("program.py")), *arguments],
            env={**kept, **self.cloud.environment, **base, **self.environment, **environment},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def run(self, description: Any, *arguments: str, **environment: str) -> Done:
        """Do a described job."""
        uri = self.described(description)
        with self.started("--job", uri, *arguments, **environment) as process:
            said, _ = process.communicate(timeout=120)
            return Done(process.returncode, said)

    def objects(self, place: str) -> dict[str, bytes]:
        """What lies below a place of this test, by name."""
        start = f"{self.prefix}/{place}"
        return {uri.removeprefix(start): self.cloud.get(uri) for uri in self.cloud.list(start)}


@pytest.fixture
def batch(cloud: Cloud, tmp_path: Path) -> Batch:
    return Batch(cloud, tmp_path)


def processing(batch: Batch, arguments: list[str], inputs: Mapping[str, Any], outputs: list[str]) -> Request:
    """A CreateProcessingJob request; an input is a uri, or the S3Input's own members."""
    sources = {name: {"S3Uri": item} if isinstance(item, str) else item for name, item in inputs.items()}
    return {
        "ProcessingJobName": "mean-1",
        "AppSpecification": {
            "ImageUri": "mean@sha256:0",
            "ContainerEntrypoint": ["python", "-m", "components.mean"],
            "ContainerArguments": arguments,
        },
        "Environment": {},
        "ProcessingInputs": [
            {
                "InputName": name,
                "AppManaged": False,
                "S3Input": {
                    "LocalPath": f"/opt/ml/processing/input/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated",
                    "S3CompressionType": "None",
                    **source,
                },
            }
            for name, source in sources.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": name,
                    "AppManaged": False,
                    "S3Output": {
                        "S3Uri": f"{batch.prefix}/out/{name}",
                        "LocalPath": f"/opt/ml/processing/output/{name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for name in outputs
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
        },
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "NetworkConfig": {"EnableNetworkIsolation": True},
    }


def training(batch: Batch, channels: Mapping[str, str], hyperparameters: Mapping[str, str], **more: Any) -> Request:
    """A CreateTrainingJob request."""
    return {
        "TrainingJobName": "mean-1",
        "AlgorithmSpecification": {"TrainingImage": "mean@sha256:0", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": dict(hyperparameters),
        "InputDataConfig": [
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "InputMode": "File",
            }
            for name, uri in channels.items()
        ],
        "OutputDataConfig": {"S3OutputPath": f"{batch.prefix}/out/algorithm"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **more,
    }  # fmt: skip


def transform(batch: Batch, data: str, model: str, **more: Any) -> dict[str, Request]:
    """A CreateModel and a CreateTransformJob request."""
    return {
        "CreateModel": {
            "ModelName": "mean-1",
            "PrimaryContainer": {"Image": "mean@sha256:0", "ModelDataUrl": model, "Environment": {}},
            "ExecutionRoleArn": ROLE,
        },
        "CreateTransformJob": {
            "TransformJobName": "mean-1",
            "ModelName": "mean-1",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}},
                "ContentType": "text/csv",
                "CompressionType": "None",
                "SplitType": "Line",
            },
            "TransformOutput": {
                "S3OutputPath": f"{batch.prefix}/out/scores",
                "Accept": "text/csv",
                "AssembleWith": "None",
            },
            "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
            **more,
        },
    }


def until(true: Any, seconds: float = 60) -> None:
    """Wait for something that will be so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
