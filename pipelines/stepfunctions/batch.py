"""The same graph on AWS Batch: each state submits the job that `pipelines.batch` has described, and waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.aws.places import Site
from pipelines.graph import PARTS, Job, Request
from pipelines.stepfunctions.jobs import MADE, Named, Words
from pipelines.stepfunctions.language import State, expression, get_object, joined, quoted, task, variable

VARIABLES: Final[Mapping[str, str]] = {part.capitalize(): f"Parts.{part}" for part in PARTS}
"""The variable that holds a parameter of a job, where the two are not called the same."""
JOB_NAME: Final = 128
"""Most characters of a job's name."""
BUSY: Final[list[State]] = [
    {
        "ErrorEquals": ["Batch.TooManyRequestsException", "Batch.ServerException", "Batch.AWSBatchException"],
        "IntervalSeconds": 15,
        "MaxAttempts": 5,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]


@dataclass(frozen=True)
class BatchTasks:
    """Jobs as those of AWS Batch.

    Attributes:
        site: where the use case lives.
        pipeline: `training` or `inference`.
        plan: the pipeline as `pipelines.batch` renders it.
    """

    site: Site
    pipeline: str
    plan: Mapping[str, Any]

    def __call__(self, job: Job) -> Sequence[Named]:
        """The state that does a job."""
        item = next(item for item in self.plan["jobs"] if item["step"] == job.name)
        return [(job.name, task("batch:submitJob.sync", self._submission(item), Retry=BUSY, Output=MADE))]

    def _submission(self, item: Mapping[str, Any]) -> Request:
        """SubmitJob, in the words of the integration: every name with a capital letter."""
        request = item["request"]
        named = f"$replace({quoted(request['jobName'] + '-')} & $Run, /[^A-Za-z0-9_]+/, '-')"
        size = request.get("arrayProperties", {}).get("size")
        return {
            "JobName": expression(f"$substring({named}, 0, {JOB_NAME})"),
            "JobQueue": request["jobQueue"],
            "JobDefinition": request["jobDefinition"],
            "Parameters": {name: variable(VARIABLES.get(name, name)) for name in item["parameters"]},
            **({"ArrayProperties": {"Size": size}} if size else {}),
        }

    def retries(self, job: Job) -> int:
        """None here: AWS Batch tries again by itself, as the job's definition says."""
        return 0

    def words(self, job: Job) -> Words | None:
        """Where a job that fails leaves its own words: AWS Batch only knows its exit code."""
        failure = joined(f"{self.site.storage}/{self.pipeline}/", variable("Run"), f"/{job.name}/failure")
        own = f"{quoted(f'step {job.name} failed: ')} & $states.result.Body & $states.input.exit"
        return Words(get_object(failure), own)
