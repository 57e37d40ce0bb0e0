"""The state machines executed: training, inference and the drift loop, with toy jobs; once with the real ones."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from components.spec import specs
from pipelines.aws.calls import RunFailedError
from pipelines.aws.places import Rendered, Site, site_of
from pipelines.batch import client as batch_client
from pipelines.batch.printer import QUEUES
from pipelines.manifest import UseCase
from pipelines.sagemaker import render as sagemaker_pipelines
from pipelines.stepfunctions import client
from pipelines.stepfunctions.loop import render_loop
from pipelines.stepfunctions.printer import definitions, machine_name, render
from shared.errors import SettingsError
from tests.aws.batch import in_processes
from tests.aws.cloud import BUCKET, REGION, ROLE, Cloud
from tests.aws.data import CALM, DRIFTED, IMAGES, STORAGE, Flights, flights_use_case, toy_use_case
from tests.aws.locally import scored_locally
from tests.aws.pipelines_interpreter import Callback, Pipelines
from tests.aws.runners import Containers
from tests.aws.sagemaker import SageMaker, ServiceError
from tests.aws.states import Execution, StateMachines, state_machines


@dataclass
class Toy:
    """A use case of a test's own, deployed."""

    cloud: Cloud
    sagemaker: SageMaker
    states: StateMachines
    use_case: UseCase

    @property
    def site(self) -> Site:
        return site_of(self.use_case.manifest)

    def run(self, machine: Any, given: dict[str, Any] | None = None, run: str | None = None) -> Execution:
        return self.states.run(machine_name(self.site, machine), given, run)

    def deploy(self, rendered: Rendered) -> None:
        """Store what a rendering made, and make its machines."""
        for uri, content in rendered.uploads.items():
            self.cloud.put(uri, content)
        for machine, definition in definitions(rendered).items():
            self.states.create(f"{self.site.title}-{machine}", definition)

    @property
    def pointer(self) -> str | None:
        return self.cloud.parameter(self.site.pointer)

    def jobs(self, kind: str, word: str = "") -> list[str]:
        """The names of the jobs of a kind, oldest first."""
        found = self.sagemaker.call(f"List{kind}s", {"NameContains": f"{self.site.name}-{word}"})[f"{kind}Summaries"]
        return [item[f"{kind}Name"] for item in found]

    def release(self, run: str) -> Any:
        return self.cloud.json(f"{self.site.storage}/releases/{run}/release.json")

    def remember(self, last: datetime | None, month: str, count: int) -> None:
        """Write the state of the drift loop."""
        value = {
            "last": last and last.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "month": month,
            "count": count,
        }
        self.cloud.client("ssm").put_parameter(
            Name=self.site.drift_state, Value=json.dumps(value), Type="String", Overwrite=True
        )

    @property
    def remembered(self) -> Any:
        return json.loads(self.cloud.parameter(self.site.drift_state) or "null")


@pytest.fixture
def declare(cloud: Cloud, toy_sagemaker: SageMaker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Declares a toy use case with pieces of the manifest's text replaced, and deploys it."""
    name = f"toy-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"

    with state_machines(cloud, toy_sagemaker) as states:

        def deployed(*changes: tuple[str, str]) -> Toy:
            named = (("name: toy", f"name: {name}"), (f"{BUCKET}/toy", f"{BUCKET}/{name}"))
            toy = Toy(cloud, toy_sagemaker, states, toy_use_case(tmp_path, *named, *changes))
            toy.deploy(render(toy.use_case, specs(), {}))
            for period in ("p1", "p2", "p3", "p4"):
                rows = [f"{period}-{number},{number}\n" for number in range(5)] + ["p4-5,drift\n"] * (period == "p4")
                for kind in ("train", "score", "labels"):
                    head = "id,value\n" * (kind != "score")
                    cloud.put(f"{toy.site.storage}/raw/{kind}/{period}.csv", head + "".join(rows))
            return toy

        yield deployed


def test_training_ends_in_a_release_that_is_in_use(declare: Any) -> None:
    toy = declare()

    ended = toy.run("training", run="r1")

    assert (ended.status, ended.cause) == ("SUCCEEDED", "")
    uri = f"{toy.site.storage}/releases/r1/release.json"
    assert ended.output == {"Status": "current", "Release": uri, "GatesMet": True, "Run": "r1"}
    assert toy.pointer == uri
    assert toy.release("r1")["started_by"] == {"cause": "command"}
    assert toy.release("r1")["data"]["uri"].endswith("/train.manifest")


def test_a_release_that_waits_for_approval_is_a_candidate_and_the_pointer_stays(declare: Any) -> None:
    toy = declare(("approve: automatic", "approve: manual"))

    ended = toy.run("training", run="r1")

    assert (ended.status, ended.output["Status"], ended.output["GatesMet"]) == ("SUCCEEDED", "candidate", True)
    assert toy.pointer is None


def test_a_gate_that_is_not_met_leaves_the_pointer_where_it_was(declare: Any) -> None:
    toy = declare()
    toy.run("training", run="r1")

    toy = declare(("min: 0.6", "min: 0.9"))
    ended = toy.run("training", run="r2")

    assert (ended.status, ended.output["Status"], ended.output["GatesMet"]) == ("SUCCEEDED", "candidate", False)
    assert toy.pointer == f"{toy.site.storage}/releases/r1/release.json"
    assert toy.release("r2")["parent"] == toy.pointer


def test_a_failing_training_job_stops_the_run_with_the_jobs_own_reason(declare: Any) -> None:
    toy = declare(("auc: 0.7", "auc: 0.7, fail: 1"))

    ended = toy.run("training", run="r1")

    assert (ended.status, ended.error) == ("FAILED", "AlgorithmFailed")
    assert ended.cause == ("step algorithm failed: AlgorithmError: algorithm cannot go on: told so., exit code: 1")
    assert toy.jobs("ProcessingJob", "monitoring") == []
    assert toy.pointer is None


def test_a_branch_that_fails_fails_the_run_with_its_reason(declare: Any) -> None:
    toy = declare(("components:\n", "components:\n  monitoring: {settings: {fail: 1, fail_in: train}}\n"))

    ended = toy.run("training", run="r1")

    assert (ended.status, ended.error) == ("FAILED", "MonitoringFailed")
    assert ended.cause == "step monitoring failed: monitoring cannot go on: told so. (exit code: 1)"
    assert toy.jobs("ProcessingJob", "release") == []


def test_a_job_that_fails_is_tried_again_under_a_new_name(declare: Any) -> None:
    toy = declare(("auc: 0.7", "auc: 0.7, fail: 1"), ("data:\n", "defaults: {retries: 2}\ndata:\n"))

    ended = toy.run("training", run="r1")

    assert ended.error == "AlgorithmFailed"
    assert len(set(toy.jobs("TrainingJob"))) == 3


def test_a_job_whose_data_are_wrong_is_not_tried_again(declare: Any) -> None:
    toy = declare(("auc: 0.7", "auc: 0.7, fail: 3"), ("data:\n", "defaults: {retries: 2}\ndata:\n"))

    ended = toy.run("training", run="r1")

    assert ended.cause.endswith("exit code: 3")
    assert len(toy.jobs("TrainingJob")) == 1


def test_a_service_that_is_busy_is_asked_again(declare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = declare()
    answers = [ServiceError("ThrottlingException", "Rate exceeded")]
    create = toy.sagemaker.call

    def busy(operation: str, request: Any) -> Any:
        if operation == "CreateTrainingJob" and answers:
            raise answers.pop()
        return create(operation, request)

    monkeypatch.setattr(toy.sagemaker, "call", busy)
    ended = toy.run("training", run="r1")

    assert (ended.status, answers) == ("SUCCEEDED", [])


def test_an_execution_whose_name_is_no_run_is_refused(declare: Any) -> None:
    toy = declare()

    ended = toy.run("training", run="-r1")

    assert ended.error == "NoRunName"
    assert ended.cause.startswith("the execution is called -r1, wanted letters")


def test_names_of_jobs_stay_within_63_characters_however_long_the_run_is_called(declare: Any) -> None:
    toy = declare()

    ended = toy.run("training", run="r" * 80)

    assert ended.status == "SUCCEEDED"
    names = toy.jobs("ProcessingJob") + toy.jobs("TrainingJob")
    assert max(map(len, names)) == 63


def test_nothing_is_scored_without_a_release(declare: Any) -> None:
    ended = declare().run("inference", {"Period": "p3"})

    assert ended.error == "NoRelease"
    assert "no release is in use. Run the training pipeline" in ended.cause


def test_nothing_is_scored_with_a_release_that_lacks_a_part(declare: Any) -> None:
    toy = declare()
    uri = toy.cloud.put(f"{toy.site.storage}/releases/r0/release.json", "{}")
    toy.cloud.put(
        f"{toy.site.storage}/releases/r0/verdict.json",
        json.dumps({"parts": {"model": "s3://b/m", "state": "s3://b/s"}}),
    )
    toy.cloud.client("ssm").put_parameter(Name=toy.site.pointer, Value=uri, Type="String", Overwrite=True)

    ended = toy.run("inference", {"Period": "p3"})

    assert ended.error == "IncompleteRelease"
    assert "lacks one of baseline, explainer, model, state" in ended.cause


def test_who_waits_for_a_run_that_fails_is_told_why_with_the_jobs_exit_code(declare: Any) -> None:
    toy = declare(("components:\n", "components:\n  processing: {settings: {fail: 3}}\n"))
    execution = client.start(toy.cloud.client, toy.site, "training", {"StartedBy": "schedule"}, "r1")

    with pytest.raises(RunFailedError, match=r"has failed: step processing failed: processing cannot go on") as failed:
        client.wait(toy.cloud.client, execution, poll=0.05)

    assert failed.value.exit_code == 3
    with pytest.raises(SettingsError, match=r"run 'r1' of .*-training exists already"):
        client.start(toy.cloud.client, toy.site, "training", {}, "r1")


@dataclass(frozen=True)
class Listener:
    """A queue that gets what a rule for drift lets through, as the drift loop's own would."""

    cloud: Cloud
    url: str

    def heard(self) -> list[Any]:
        """The events so far."""
        answer = self.cloud.client("sqs").receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", ())]


def listener(toy: Toy) -> Listener:
    """Listen for the drift of a use case."""
    sqs, events = toy.cloud.client("sqs"), toy.cloud.client("events")
    url = sqs.create_queue(QueueName=toy.site.name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["quartet"], "detail-type": ["Drift"], "detail": {"useCase": [toy.site.name]}}
    events.put_rule(Name=toy.site.name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=toy.site.name, Targets=[{"Id": "queue", "Arn": arn}])
    return Listener(toy.cloud, url)


def test_drift_is_told_and_starts_a_training_on_the_window_that_ends_with_the_period(declare: Any) -> None:
    toy = declare()
    toy.run("training", run="r1")
    events = listener(toy)

    scored = toy.run("inference", {"Period": "p4"}, "s1")
    (event,) = events.heard()
    judged = toy.run("retrain", event)

    assert (scored.status, scored.output["Drifted"], scored.output["Period"]) == ("SUCCEEDED", True, "p4")
    verdict = f"{toy.site.storage}/inference/s1/monitoring/report/drift.json"
    assert event["detail"] == {
        "useCase": toy.site.name, "environment": "", "run": "s1", "period": "p4", "verdict": verdict
    }  # fmt: skip
    assert toy.cloud.json(verdict)["detected"] is True
    assert judged.output["Answer"] == "started"
    (name,) = (name for name in toy.states.executions(machine_name(toy.site, "training")) if name != "r1")
    trained = toy.states.ended(f"arn:aws:states:{REGION}:{toy.site.account}:execution:{toy.site.title}-training:{name}")
    assert trained.output["Status"] == "current"
    release = toy.release(name)
    assert release["started_by"] == {"cause": "drift", "run": "s1"}
    assert release["parent"] == f"{toy.site.storage}/releases/r1/release.json"
    assert toy.cloud.json(release["data"]["uri"]) == [{"prefix": f"{toy.site.storage}/raw/train/"}, "p3.csv", "p4.csv"]


def test_a_calm_period_is_scored_and_nothing_is_told(declare: Any) -> None:
    toy = declare()
    toy.run("training", run="r1")
    events = listener(toy)

    scored = toy.run("inference", {"Period": "p3"}, "s1")

    assert (scored.status, scored.output["Drifted"]) == ("SUCCEEDED", False)
    assert toy.cloud.get(f"{toy.site.storage}/inference/s1/algorithm/scores/part-0000-of-0001.csv.out") == b"".join(
        f"p3-{number},0.5\n".encode() for number in range(5)
    )
    assert events.heard() == []


# --- Whether drift starts a training


def drift(run: str = "s1", period: str = "p4", **more: str) -> dict[str, Any]:
    """An event."""
    return {"detail": {"run": run, "period": period, **more}}


def idle(toy: Toy) -> None:
    """A training that does nothing: what is asked here is whether it starts."""
    toy.states.create(
        machine_name(toy.site, "training"),
        {"QueryLanguage": "JSONata", "StartAt": "Idle", "States": {"Idle": {"Type": "Pass", "End": True}}},
    )


def trainings(toy: Toy) -> list[str]:
    return toy.states.executions(machine_name(toy.site, "training"))


def now() -> datetime:
    return datetime.now(UTC)


def test_a_second_drift_within_the_cool_down_is_suppressed(declare: Any) -> None:
    toy = declare()
    idle(toy)

    answers = [toy.run("retrain", drift(run)).output["Answer"] for run in ("s1", "s2")]

    until = datetime.fromisoformat(toy.remembered["last"]) + timedelta(hours=24)
    assert answers == [
        "started",
        f"suppressed: cool-down until {until:%Y-%m-%dT%H:%M:%S}.{until.microsecond // 1000:03}Z",
    ]
    assert len(trainings(toy)) == 1
    assert toy.remembered["count"] == 1


def test_after_the_cool_down_drift_starts_a_training_again(declare: Any) -> None:
    toy = declare()
    idle(toy)
    moment = now()
    toy.remember(moment - timedelta(hours=25), f"{moment:%Y-%m}", 3)

    ended = toy.run("retrain", drift())

    assert ended.output["Answer"] == "started"
    assert toy.remembered["count"] == 4


def test_the_monthly_cap_suppresses_a_training(declare: Any) -> None:
    toy = declare()
    idle(toy)
    moment = now()
    toy.remember(moment - timedelta(hours=25), f"{moment:%Y-%m}", 4)

    ended = toy.run("retrain", drift())

    assert ended.output["Answer"] == "suppressed: cap of 4 a month is reached"
    assert (trainings(toy), toy.remembered["count"]) == ([], 4)


def test_a_new_month_starts_at_nought(declare: Any) -> None:
    toy = declare()
    idle(toy)
    toy.remember(now() - timedelta(hours=25), "2013-10", 4)

    ended = toy.run("retrain", drift())

    assert ended.output["Answer"] == "started"
    assert toy.remembered["count"] == 1


def test_a_period_that_the_manifest_does_not_know_starts_nothing_and_says_so(declare: Any) -> None:
    toy = declare()
    idle(toy)

    ended = toy.run("retrain", drift(period="p9"))

    assert ended.cause.startswith("period p9 is not among the manifest's periods")
    assert trainings(toy) == []


CALENDAR: Final = (
    ("periods: [p1, p2]}", "periods: [2013-10, 2013-11]}"),
    ("periods: [p3, p4]", "periods: [2013-12]"),
    ("with: {periods: 2}", "with: {periods: 4}"),
)
"""A manifest of months: what comes after December is not listed."""


def in_months(toy: Toy, *months: str, kinds: tuple[str, ...] = ("train", "score", "labels")) -> None:
    """Store data of some months, of which 2014-02 has drifted."""
    for month in months:
        rows = [f"{month}-{row},{row}\n" for row in range(5)] + ["more,drift\n"] * (month == "2014-02")
        for kind in kinds:
            toy.cloud.put(
                f"{toy.site.storage}/raw/{kind}/{month}.csv", "id,value\n" * (kind != "score") + "".join(rows)
            )


def test_drift_of_a_month_after_the_listed_ones_trains_on_the_four_months_that_end_with_it(declare: Any) -> None:
    toy = declare(*CALENDAR)
    in_months(toy, "2013-10", "2013-11", "2013-12", "2014-01", "2014-02")
    toy.run("training", run="r1")
    events = listener(toy)

    scored = toy.run("inference", {"Time": "2014-02-28T04:00:00Z"}, "s1")
    (event,) = events.heard()
    judged = toy.run("retrain", event)

    assert (scored.output["Period"], scored.output["Drifted"]) == ("2014-02", True)
    assert (judged.status, judged.cause, judged.output["Answer"]) == ("SUCCEEDED", "", "started")
    (name,) = (name for name in trainings(toy) if name != "r1")
    trained = toy.states.ended(f"arn:aws:states:{REGION}:{toy.site.account}:execution:{toy.site.title}-training:{name}")
    assert trained.output["Status"] == "current"
    listed = toy.release(name)["data"]["uri"]
    assert listed.startswith(f"{toy.site.storage}/config/")
    assert toy.cloud.json(listed) == [
        {"prefix": f"{toy.site.storage}/raw/train/"}, "2013-11.csv", "2013-12.csv", "2014-01.csv", "2014-02.csv"
    ]  # fmt: skip


def test_a_month_whose_training_data_are_not_there_starts_nothing_and_names_the_file(declare: Any) -> None:
    toy = declare(*CALENDAR)
    idle(toy)
    in_months(toy, "2013-11", "2013-12", "2014-01")

    ended = toy.run("retrain", drift(period="2014-02"))

    assert ended.error == "RetrainFailed"
    assert ended.cause.startswith(
        f"no training data at {toy.site.storage}/raw/train/2014-02.csv. Store what is missing"
    )
    assert (trainings(toy), toy.remembered) == ([], None)

    in_months(toy, "2014-02")
    assert toy.run("retrain", drift(period="2014-02")).output["Answer"] == "started"


def test_a_listed_month_trains_on_the_list_that_was_stored_for_it(declare: Any) -> None:
    toy = declare(*CALENDAR)
    idle(toy)
    in_months(toy, "2013-10", "2013-11", "2013-12")
    before = toy.cloud.list(f"{toy.site.storage}/config/")

    ended = toy.run("retrain", drift(period="2013-12"))

    assert ended.output["Answer"] == "started"
    assert toy.cloud.list(f"{toy.site.storage}/config/") == before


@pytest.mark.parametrize("period", ["2013-09", "2014-13", "2014-02-01"])
def test_what_is_no_later_month_starts_nothing_and_says_so(declare: Any, period: str) -> None:
    toy = declare(*CALENDAR)
    idle(toy)

    ended = toy.run("retrain", drift(period=period))

    assert ended.cause.startswith(f"period {period} is no month from 2013-10 on, as the manifest's periods are")
    assert trainings(toy) == []


def test_drift_of_data_without_a_period_starts_nothing_and_is_no_failure(declare: Any) -> None:
    """What `start -p ScoreData=…` scores has no period with which a window could end."""
    toy = declare(*CALENDAR)
    idle(toy)

    ended = toy.run("retrain", drift(period="none"))

    assert ended.output["Answer"].startswith("suppressed: the data that were scored have no period")
    assert trainings(toy) == []


def test_who_decides_on_the_same_state_as_another_starts_no_second_training(declare: Any) -> None:
    """The other has started its training and not yet written the new state: what Parameter Store cannot exclude."""
    toy = declare()
    idle(toy)
    toy.run("training", {"StartedBy": "drift s0"}, "drift-0")

    ended = toy.run("retrain", drift("s1"))

    assert ended.output["Answer"] == "suppressed: another event has just started a training"
    assert trainings(toy) == ["drift-0"]
    assert toy.remembered["count"] == 1


def test_drift_of_many_runs_at_once_starts_one_training(declare: Any) -> None:
    toy = declare()
    idle(toy)
    ends: list[Execution] = []
    threads = [
        threading.Thread(target=lambda run=run: ends.append(toy.run("retrain", drift(run))))
        for run in ("s1", "s2", "s3")
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(trainings(toy)) == 1
    assert sorted(ended.output["Answer"].partition(" ")[0] for ended in ends) == [
        "started",
        "suppressed:",
        "suppressed:",
    ]


# --- Around SageMaker pipelines


@pytest.fixture
def around(declare: Any, toy_sagemaker: SageMaker) -> Iterator[tuple[Toy, Pipelines]]:
    """SageMaker pipelines of a use case with months, and the machines around them."""
    toy = declare(("[p1, p2]", "[2013-01, 2013-02]"), ("[p3, p4]", "[2013-03, 2013-04]"))
    toy.deploy(render_loop(toy.use_case, specs()))
    pipelines = Pipelines(toy_sagemaker)
    for name, definition in sagemaker_pipelines(toy.use_case, specs(), {}).files.items():
        toy_sagemaker.client().create_pipeline(
            PipelineName=f"{toy.site.title}-{name.removesuffix('.json')}",
            PipelineDefinition=definition.decode(),
            RoleArn=ROLE,
            ClientRequestToken="0" * 32,
        )
    for month in ("2013-01", "2013-02", "2013-03", "2013-04"):
        drifts = f"{month}-5,drift\n" * (month == "2013-04")
        rows = "".join(f"{month}-{number},{number}\n" for number in range(5)) + drifts
        for kind in ("train", "score", "labels"):
            toy.cloud.put(f"{toy.site.storage}/raw/{kind}/{month}.csv", "id,value\n" * (kind != "score") + rows)
    toy.cloud.client("sqs").create_queue(QueueName=toy.site.drift_queue)
    yield toy, pipelines
    pipelines.close()


def started(toy: Toy, pipelines: Pipelines, name: str, **given: str) -> Any:
    """A run of a pipeline that somebody starts by hand, once it has ended."""
    answer = toy.sagemaker.client().start_pipeline_execution(
        PipelineName=f"{toy.site.title}-{name}",
        PipelineParameters=[{"Name": key, "Value": value} for key, value in given.items()],
        ClientRequestToken=hashlib.sha256(json.dumps(given).encode()).hexdigest(),
    )
    return pipelines.finished(answer["PipelineExecutionArn"])


def test_from_an_approval_to_the_training_that_drift_starts(around: tuple[Toy, Pipelines]) -> None:
    """`promote` moves the pointer, `start` scores with it, and `retrain` answers the pipeline that waits."""
    toy, pipelines = around
    training = started(toy, pipelines, "training")
    (package,) = pipelines.packages[toy.site.title]
    event = {"detail": {key: package[key] for key in ("ModelPackageArn", "ModelApprovalStatus")}}

    promoted = toy.run("promote", event)

    assert training.status == "Succeeded"
    uri = package["CustomerMetadataProperties"]["release"]
    assert promoted.output == {"Status": "current", "Release": uri, "Package": package["ModelPackageArn"]}
    assert toy.pointer == uri

    scored = toy.run("start", {"Time": "2013-04-05T06:07:08Z"})

    assert scored.cause == ""
    assert scored.output["Period"] == "2013-04"
    assert scored.output["ScoreData"] == f"{toy.site.storage}/raw/score/2013-04.csv"
    assert scored.output["Model"] == toy.cloud.json(uri)["parts"]["model"]["uri"]
    queue = toy.cloud.client("sqs").get_queue_url(QueueName=toy.site.drift_queue)["QueueUrl"]
    message = next(iter(waited(toy.cloud, queue)))
    assert message["arguments"]["period"] == "2013-04"

    judged = toy.run("retrain", {"detail": {**message["arguments"], "token": message["token"]}})

    inference = pipelines.finished(scored.output["Execution"])
    assert judged.output["Answer"] == "started"
    assert inference.status == "Succeeded"
    assert [callback.outputs for callback in pipelines.callbacks.values()] == [{"decision": "started"}]
    (again,) = [
        run for run in pipelines.executions.values() if run.pipeline == training.pipeline and run is not training
    ]
    assert pipelines.finished(again.arn).status == "Succeeded"
    release = toy.cloud.json(f"{toy.site.storage}/releases/{again.id}/release.json")
    assert release["started_by"] == {"cause": "drift", "run": inference.id}
    assert release["parent"] == uri
    assert [*release["data"]["sha256"]] == ["2013-03.csv", "2013-04.csv"] or release["data"]["uri"].endswith(
        ".manifest"
    )


def waited(cloud: Cloud, queue: str) -> Iterator[Any]:
    """The messages of a queue, waiting for each."""
    for _ in range(600):
        for message in cloud.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=0).get("Messages", ()):
            yield json.loads(message["Body"])
        time.sleep(0.1)


def test_the_same_state_starts_one_sagemaker_pipeline_however_often_it_is_asked(around: tuple[Toy, Pipelines]) -> None:
    toy, pipelines = around
    toy.run("retrain", drift("s1", "2013-04"))
    (first,) = pipelines.executions

    toy.cloud.client("ssm").delete_parameter(Name=toy.site.drift_state)
    ended = toy.run("retrain", drift("s2", "2013-04"))

    assert ended.status == "SUCCEEDED"
    assert list(pipelines.executions) == [first]


def test_a_pipeline_that_waits_is_told_when_nothing_can_be_started(around: tuple[Toy, Pipelines]) -> None:
    toy, pipelines = around
    waiting = pipelines.callbacks["token01234"] = Callback("drift-event")

    ended = toy.run("retrain", drift(period="2014-01", token="token01234"))

    assert ended.status == "FAILED"
    assert waiting.failure == ended.cause
    assert ended.cause.startswith(f"no training data at {toy.site.storage}/raw/train/2013-12.csv, s3://")


def test_with_drift_that_is_only_told_a_pipeline_that_waits_is_answered(declare: Any, toy_sagemaker: SageMaker) -> None:
    toy = declare(("then: retrain, with: {periods: 2}", "then: notify"))
    toy.deploy(render_loop(toy.use_case, specs()))
    pipelines = Pipelines(toy_sagemaker)
    waiting = pipelines.callbacks["token01234"] = Callback("drift-event")

    toy.run("retrain", drift(token="token01234"))

    assert waiting.outputs == {"decision": "suppressed: the manifest says drift.then: notify"}


def test_a_package_that_was_rejected_since_moves_nothing(around: tuple[Toy, Pipelines]) -> None:
    toy, _ = around
    arn = toy.sagemaker.client().create_model_package(
        ModelPackageGroupName=toy.site.title,
        ModelApprovalStatus="Rejected",
        CustomerMetadataProperties={"release": "s3://bucket/release.json"},
    )["ModelPackageArn"]

    ended = toy.run("promote", {"detail": {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"}})

    assert ended.output["Status"] == "not approved"
    assert toy.pointer is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"UpdatedModelPackageFields": ["ApprovalDescription"]}, "not an approval"),
        ({"UpdatedModelPackageFields": ["CustomerMetadataProperties", "ModelLifeCycle"]}, "not an approval"),
        ({"UpdatedModelPackageFields": ["ModelApprovalStatus"]}, "current"),
        ({"UpdatedModelPackageFields": ["ApprovalDescription", "ModelApprovalStatus"]}, "current"),
        ({"UpdatedModelPackageFields": []}, "current"),
        ({"UpdatedModelPackageFields": None}, "current"),
        ({}, "current"),
    ],
    ids=["description", "metadata", "approval", "approval with a word", "new, empty list", "new, null", "new"],
)
def test_an_edit_of_an_approved_package_does_not_move_the_pointer_back_to_it(
    around: tuple[Toy, Pipelines], fields: dict[str, Any], status: str
) -> None:
    """AWS: "SageMaker model package state change": the event of an edit lists `UpdatedModelPackageFields`."""
    toy, _ = around
    toy.cloud.client("ssm").put_parameter(Name=toy.site.pointer, Value="s3://bucket/newer.json", Type="String")
    arn = toy.sagemaker.client().create_model_package(
        ModelPackageGroupName=toy.site.title,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"release": "s3://bucket/older.json"},
    )["ModelPackageArn"]

    ended = toy.run("promote", {"detail": {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved", **fields}})

    assert (ended.status, ended.output["Status"]) == ("SUCCEEDED", status)
    assert toy.pointer == f"s3://bucket/{'older' if status == 'current' else 'newer'}.json"


def test_a_scheduled_training_tells_its_release_which_one_was_in_use_before(
    declare: Any, toy_sagemaker: SageMaker
) -> None:
    toy = declare(("drift: {then: retrain", "schedule: {training: rate(30 days)}\ndrift: {then: retrain"))
    toy.deploy(render_loop(toy.use_case, specs()))
    pipelines = Pipelines(toy_sagemaker)
    toy_sagemaker.client().create_pipeline(
        PipelineName=f"{toy.site.title}-training",
        PipelineDefinition=sagemaker_pipelines(toy.use_case, specs(), {}).files["training.json"].decode(),
        RoleArn=ROLE,
        ClientRequestToken="0" * 32,
    )
    first = toy.run("train", {"Time": "2026-01-01T00:00:00Z", "StartedBy": "schedule"}, "first")
    toy.cloud.client("ssm").put_parameter(Name=toy.site.pointer, Value="s3://bucket/r1/release.json", Type="String")

    second = toy.run("train", {"Time": "2026-01-31T00:00:00Z", "StartedBy": "schedule"}, "second")

    runs = [pipelines.finished(ended.output["Execution"]) for ended in (first, second)]
    releases = [toy.release(run.id) for run in runs]
    assert [release["parent"] for release in releases] == [None, "s3://bucket/r1/release.json"]
    assert [release["started_by"] for release in releases] == [{"cause": "schedule"}] * 2
    pipelines.close()


# --- With the real programs, and in the real images, on the flights


@dataclass(frozen=True)
class Flown:
    """The flights after a training, and after inference on each month."""

    cloud: Cloud
    trained: Execution
    scored: dict[str, Execution]
    locally: dict[str, bytes]
    """What the local engine predicts by month, run in the same way."""


@pytest.fixture(
    scope="module",
    params=["sagemaker", pytest.param("sagemaker_in_containers", marks=pytest.mark.docker), "batch"],
    ids=["processes", "containers", "batch"],
)
def flown(
    request: pytest.FixtureRequest, cloud: Cloud, flights: Flights, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flown]:
    use_case = flights_use_case(tmp_path_factory.mktemp("manifest"))
    name = f"states-{request.param.replace('_', '-')}"
    with ExitStack() as stack:
        if request.param == "batch":
            images: Mapping[str, str] = {}
            states = on_batch(stack, cloud, use_case)
        else:
            sagemaker = request.getfixturevalue(request.param)
            images = sagemaker.runner.images if isinstance(sagemaker.runner, Containers) else {}
            states = stack.enter_context(state_machines(cloud, sagemaker))
            Toy(cloud, sagemaker, states, use_case).deploy(render(use_case, specs(), {}))
        trained = states.run("quartet-flights-training", {}, name)
        given = {month: {"Period": month, "Labels": flights.labels(month)} for month in (CALM, DRIFTED)}
        scored = {month: states.run("quartet-flights-inference", given[month], f"{name}-{month}") for month in given}
        yield Flown(cloud, trained, scored, scored_locally(flights, images))


def on_batch(stack: ExitStack, cloud: Cloud, use_case: UseCase) -> StateMachines:
    """The machines of a use case whose jobs run on AWS Batch, deployed, until the stack is left."""
    batch = stack.enter_context(in_processes(cloud, IMAGES))
    states = stack.enter_context(state_machines(cloud))
    rendered = render(use_case, specs(), {}, platform="batch")
    queues = json.loads(rendered.files[QUEUES])
    batch.environments([queue["computeEnvironmentOrder"][0]["computeEnvironment"] for queue in queues])
    batch_client.make_queues(batch.connect, rendered)
    batch_client.deploy(batch.connect, rendered)
    for machine, definition in definitions(rendered).items():
        states.create(f"{site_of(use_case.manifest).title}-{machine}", definition)
    return states


def test_a_job_on_batch_that_fails_tells_its_own_reason(cloud: Cloud, flights: Flights, tmp_path: Path) -> None:
    use_case = flights_use_case(tmp_path, ("name: flights", "name: broken"), ("drop: [arr_delay]", "drop: [arr_dela]"))
    with ExitStack() as stack:
        ended = on_batch(stack, cloud, use_case).run("quartet-broken-training", {}, "batch-broken")

    assert (ended.status, ended.error) == ("FAILED", "ProcessingFailed")
    assert ended.cause.startswith("step processing failed: ")
    assert "arr_dela" in ended.cause
    assert ended.cause.endswith(" (exit code: 3)")


def test_the_flights_are_trained_and_scored(flown: Flown) -> None:
    assert (flown.trained.status, flown.trained.cause) == ("SUCCEEDED", "")
    assert flown.trained.output["Status"] == "current"
    assert {month: (end.status, end.cause) for month, end in flown.scored.items()} == {
        CALM: ("SUCCEEDED", ""),
        DRIFTED: ("SUCCEEDED", ""),
    }
    assert {end.output["Release"] for end in flown.scored.values()} == {flown.trained.output["Release"]}


def test_only_the_month_that_has_drifted_is_told(flown: Flown) -> None:
    assert {month: end.output["Drifted"] for month, end in flown.scored.items()} == {CALM: False, DRIFTED: True}


def test_the_predictions_are_those_of_the_local_engine_byte_for_byte(flown: Flown) -> None:
    for month, end in flown.scored.items():
        (uri,) = flown.cloud.list(f"{STORAGE}/inference/{end.name}/algorithm/scores/")
        assert flown.cloud.get(uri) == flown.locally[month]


def test_the_release_names_its_images_by_digest_and_its_months(flown: Flown) -> None:
    release = flown.cloud.json(flown.trained.output["Release"])

    assert release["data"]["periods"] == ["2013-01", "2013-02", "2013-03", "2013-04"]
    assert all("@sha256:" in image for image in release["images"].values())
    assert set(release["parts"]) == {"model", "state", "baseline", "explainer"}
