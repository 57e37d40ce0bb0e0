"""The Airflow engine, run by a real Airflow with the provider's real operators; only the AWS behind them is ours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.airflow import render
from pipelines.aws.places import Site, site_of
from pipelines.aws.shapes import jinja_hole, problems
from pipelines.manifest import UseCase
from tests.airflow.installation import Airflow, DagRun
from tests.aws.cloud import Cloud
from tests.aws.data import CALM, DRIFTED, STORAGE, Flights, flights_use_case, toy_in, toy_use_case
from tests.aws.locally import scored_locally
from tests.aws.runners import Containers
from tests.aws.sagemaker import SageMaker

pytestmark = pytest.mark.airflow

READ_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
dags = {
    dag.dag_id: {
        "schedule": f"{dag.schedule} {dag.timezone}",
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "runs": dag.max_active_runs,
        "tasks": {
            task.task_id: {
                "kind": type(task).__name__,
                "config": getattr(task, "config", None),
                "retries": task.retries,
            }
            for task in dag.tasks
        },
    }
    for dag in bag.dags.values()
}
warnings = [str(warning) for found in bag.captured_warnings.values() for warning in found]
json.dump({"dags": dags, "errors": bag.import_errors, "warnings": warnings}, open(sys.argv[2], "w"))
"""
STEPS = (
    "pipelines:\n  training: {",
    "pipelines:\n  inference: {steps: [processing, algorithm]}\n  training: {steps: [processing, algorithm], ",
)
"""The toy without monitoring and explainability, where they matter not."""
OPERATIONS = {
    "SageMakerModelOperator": "CreateModel",
    "SageMakerProcessingOperator": "CreateProcessingJob",
    "SageMakerTrainingOperator": "CreateTrainingJob",
    "SageMakerTransformOperator": "CreateTransformJob",
}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Iterator[Airflow]:
    """One database for all of this module's tests: names of their own keep them apart."""
    airflow = Airflow(tmp_path_factory.mktemp("airflow"), cloud.environment)
    airflow.install()
    with airflow.warmed() as warm:
        yield warm


@dataclass(frozen=True)
class Engine:
    """An Airflow whose jobs one SageMaker runs."""

    airflow: Airflow
    cloud: Cloud

    @classmethod
    def on(cls, installation: Airflow, cloud: Cloud, sagemaker: SageMaker) -> Engine:
        variables = {**cloud.environment, "AWS_ENDPOINT_URL_SAGEMAKER": sagemaker.endpoint}
        return cls(replace(installation, cloud=variables), cloud)

    def deploy(self, use_case: UseCase) -> Site:
        """The DAG file into the DAG folder, and what the jobs read into S3."""
        rendered = render(use_case, specs(), {})
        for name, content in rendered.files.items():
            (self.airflow.dags / name).write_bytes(content)
        for uri, content in rendered.uploads.items():
            self.cloud.put(uri, content)
        return site_of(use_case.manifest)

    def events(self, name: str) -> EventQueue:
        """What is told to the event bus of drift in a use case, from now on."""
        queue = EventQueue(self.cloud, self.cloud.client("sqs").create_queue(QueueName=name)["QueueUrl"])
        attributes = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]
        pattern = {"source": ["quartet"], "detail-type": ["Drift"], "detail": {"useCase": [name]}}
        events = self.cloud.client("events")
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}])
        return queue


@dataclass(frozen=True)
class EventQueue:
    """Events that nobody has looked at yet."""

    cloud: Cloud
    url: str

    @property
    def client(self) -> Any:
        return self.cloud.client("sqs")

    def take(self) -> list[dict[str, Any]]:
        """The details of the events since the last call."""
        found = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        for message in found.get("Messages", ()):
            self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"])["detail"] for message in found.get("Messages", ())]


# --- With toy programs: what becomes of each kind of task


@pytest.fixture(scope="module")
def toy(installation: Airflow, cloud: Cloud, toy_sagemaker: SageMaker) -> Engine:
    toy_in(cloud)
    return Engine.on(installation, cloud, toy_sagemaker)


MONTHS = (("periods: [p1, p2]}", "periods: [2013-10, 2013-11]}"), ("periods: [p3, p4]", "periods: [2013-12]"))


@dataclass(frozen=True)
class Story:
    """A use case's life: trained, a calm month, an unlisted one that drifts, the same once more, trained again."""

    engine: Engine
    site: Site
    trained: DagRun
    first: str | None
    calm: DagRun
    drifted: DagRun
    again: DagRun
    retrained: DagRun
    events: list[list[dict[str, Any]]]
    states: list[dict[str, Any] | None]
    asked: list[dict[str, Any]]


@pytest.fixture(scope="module")
def story(toy: Engine, tmp_path_factory: pytest.TempPathFactory) -> Story:
    use_case = toy_use_case(tmp_path_factory.mktemp("manifest"), ("name: toy\n", "name: toy-airflow\n"), *MONTHS)
    site = toy.deploy(use_case)
    for period, month in zip(("p1", "p2", "p3", "p4"), ("2013-10", "2013-11", "2013-12", "2014-01"), strict=True):
        for kind in ("train", "score", "labels"):
            content = toy.cloud.get(f"{site.data}/raw/{kind}/{period}.csv")
            toy.cloud.put(f"{site.data}/raw/{kind}/{month}.csv", content)
    queue = toy.events(site.name)
    events, states = [], []

    def look() -> None:
        state = toy.cloud.parameter(site.drift_state)
        states.append(json.loads(state) if state else None)
        events.append(queue.take())

    trained = toy.airflow.test("quartet-toy-airflow-training")
    first = toy.cloud.parameter(site.pointer)
    calm = toy.airflow.test("quartet-toy-airflow-inference", Period="2013-12")
    look()
    drifted = toy.airflow.test("quartet-toy-airflow-inference", Period="2014-01")
    look()
    again = toy.airflow.test("quartet-toy-airflow-inference", Period="2014-01")
    look()
    asked = [run for run in toy.airflow.runs("quartet-toy-airflow-training") if run["state"] == "queued"]
    retrained = toy.airflow.test("quartet-toy-airflow-training", **asked[0]["conf"])
    return Story(toy, site, trained, first, calm, drifted, again, retrained, events, states, asked)


def release_of(engine: Engine, site: Site) -> dict[str, Any]:
    uri = engine.cloud.parameter(site.pointer)
    assert uri is not None
    found: dict[str, Any] = engine.cloud.json(uri)
    return found


def test_training_moves_the_pointer_to_its_release(story: Story) -> None:
    release = story.engine.cloud.json(str(story.first))

    assert story.trained.state == "success", story.trained.said[-3000:]
    assert story.trained.ended("skipped") == {"candidate"}
    assert story.first == f"{story.site.storage}/releases/{release['id']}/release.json"
    assert release["started_by"] == {"cause": "command"}
    assert release["parent"] is None
    assert all(story.engine.cloud.list(part["uri"]) for part in release["parts"].values())


def test_a_calm_period_is_scored_and_starts_nothing(story: Story) -> None:
    assert story.calm.state == "success", story.calm.said[-3000:]
    assert story.calm.ended("skipped") == {
        "announce_drift",
        "may_retrain",
        "no_retraining",
        "note_retraining",
        "retrain",
        "training_window",
    }
    assert story.events[0] == []
    assert story.states[0] is None


def test_drift_is_told_to_the_event_bus(story: Story) -> None:
    (event,) = story.events[1]

    assert story.drifted.state == "success", story.drifted.said[-3000:]
    assert {**event, "run": "", "verdict": ""} == {
        "useCase": "toy-airflow",
        "environment": None,
        "run": "",
        "period": "2014-01",
        "verdict": "",
    }
    assert event["verdict"] == f"{story.site.storage}/inference/{event['run']}/monitoring/report/drift.json"
    assert story.engine.cloud.json(event["verdict"])["detected"] is True


def test_drift_asks_for_a_training_on_the_window_that_ends_with_the_period(story: Story) -> None:
    (asked,) = story.asked
    listing = story.engine.cloud.json(asked["conf"]["TrainData"])

    assert asked["conf"]["StartedBy"] == f"drift {story.events[1][0]['run']}"
    assert listing == [{"prefix": f"{story.site.storage}/raw/train/"}, "2013-12.csv", "2014-01.csv"]
    assert story.states[1] is not None
    assert story.states[1]["count"] == 1
    assert story.states[1]["last"].startswith(story.states[1]["month"])


def test_a_second_drift_within_the_cool_down_trains_nothing(story: Story) -> None:
    assert story.again.state == "success", story.again.said[-3000:]
    assert "no_retraining" in story.again.ended("success")
    assert {"note_retraining", "retrain"} <= story.again.ended("skipped")
    assert "the cool-down ends at" in story.again.said
    assert len(story.events[2]) == 1
    assert story.states[2] == story.states[1]


def test_a_release_says_which_drift_has_started_its_training_and_what_it_follows(story: Story) -> None:
    release = release_of(story.engine, story.site)

    assert story.retrained.state == "success", story.retrained.said[-3000:]
    assert release["started_by"] == {"cause": "drift", "run": story.events[1][0]["run"]}
    assert release["parent"] == story.first
    assert set(release["data"]["sha256"]) == {"2013-12.csv", "2014-01.csv"}


def test_a_failing_training_job_stops_the_run_with_its_reason(toy: Engine, tmp_path: Path) -> None:
    changes = ("{auc: 0.7}", "{auc: 0.7, fail: 3}"), ("data:\n", "defaults: {retries: 2}\ndata:\n")
    use_case = toy_use_case(tmp_path, ("name: toy\n", "name: toy-fails\n"), *changes)
    site = toy.deploy(use_case)
    ended = toy.airflow.test("quartet-toy-fails-training")

    assert ended.state == "failed"
    assert ended.ended("failed") == {"algorithm"}
    assert {"monitoring", "explainability", "release", "promote", "candidate"} <= ended.ended("upstream_failed")
    assert "algorithm cannot go on: told so." in ended.said
    assert "settings and data do not get better by trying again" in ended.said
    assert toy.cloud.parameter(site.pointer) is None


def test_a_gate_that_is_not_met_leaves_the_pointer_alone(toy: Engine, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy\n", "name: toy-gated\n"), ("min: 0.6", "min: 0.9"), STEPS)
    site = toy.deploy(use_case)
    ended = toy.airflow.test("quartet-toy-gated-training")
    inference = toy.airflow.test("quartet-toy-gated-inference", Period="p3")

    assert ended.state == "success", ended.said[-3000:]
    assert ended.ended("skipped") == {"promote"}
    assert "does not meet its gates" in ended.said
    assert toy.cloud.parameter(site.pointer) is None
    assert inference.ended("failed") == {"release_in_use"}
    assert "No release is current at /toy-gated/releases/current" in inference.said


def test_a_job_that_was_stopped_has_not_ended_well(toy: Engine, toy_sagemaker: SageMaker, tmp_path: Path) -> None:
    late = ("components:\n", "components:\n  processing: {settings: {sleep: 60}}\n")
    toy.deploy(toy_use_case(tmp_path, ("name: toy\n", "name: toy-late\n"), late))
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(stop_job, toy_sagemaker, "toy-late-processing")
        ended = toy.airflow.test("quartet-toy-late-training")

    assert stopping.result()
    assert ended.ended("failed") == {"processing"}
    assert "is Stopped, wanted Completed" in ended.said


def test_tasks_may_be_deferred_while_their_jobs_run(toy: Engine, tmp_path: Path) -> None:
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy\n", "name: toy-deferred\n"), STEPS))
    deferring = {**toy.airflow.cloud, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    with replace(toy.airflow, cloud=deferring).warmed() as airflow:
        ended = airflow.test("quartet-toy-deferred-training")

    assert ended.state == "success", ended.said[-3000:]
    assert ended.said.count("Pausing task as DEFERRED") == 3
    assert toy.cloud.parameter(site.pointer) is not None


def stop_job(sagemaker: SageMaker, prefix: str) -> bool:
    """Stop the job whose name starts so, as soon as it runs; whether there was one."""
    for _ in range(1200):
        running = [job for (_, name), job in list(sagemaker.jobs.items()) if name.startswith(prefix) and job.running]
        if running:
            sagemaker.call("StopProcessingJob", {"ProcessingJobName": running[0].name})
            return True
        time.sleep(0.05)
    return False


# --- The files, as Airflow reads them


def test_airflow_reads_the_files_without_a_warning_and_finds_requests_that_fit(
    installation: Airflow, tmp_path: Path
) -> None:
    schedule = 'schedule: {inference: "cron(0 4 ? * MON-FRI *)", training: rate(7 days), timezone: Europe/Berlin}\n'
    more = "alarms: {inference_failed: 'arn:aws:sns:eu-west-1:123456789012:oncall'}\ndefaults: {retries: 2}\n"
    change = ("apiVersion: quartet/v1\n", f"apiVersion: quartet/v1\n{schedule}{more}")
    for name, content in render(flights_use_case(tmp_path, change), specs(), {}).files.items():
        (tmp_path / name).write_bytes(content)
    answer = tmp_path / "answer.json"
    done = installation.command("python", "-c", READ_DAGS, str(tmp_path), str(answer))
    assert done.returncode == 0, done.stdout
    found = json.loads(answer.read_text())
    tasks = [task for dag in found["dags"].values() for task in dag["tasks"].values()]
    jobs = [task for task in tasks if task["kind"] in OPERATIONS]

    assert found["errors"] == {}
    assert found["warnings"] == []
    assert {name: dag["schedule"] for name, dag in found["dags"].items()} == {
        "quartet-flights-inference": "0 4 * * MON-FRI Europe/Berlin",
        "quartet-flights-training": "7 days, 0:00:00 Europe/Berlin",
    }
    assert all(dag["tags"] == ["flights", "quartet"] and dag["runs"] == 1 for dag in found["dags"].values())
    assert not any(dag["catchup"] for dag in found["dags"].values())
    assert len(jobs) == 10
    assert [job["retries"] for job in jobs] == [2] * 10
    for job in jobs:
        assert list(problems(OPERATIONS[job["kind"]], job["config"], jinja_hole)) == []


# --- With the real programs, and in the real images, on the flights


@dataclass(frozen=True)
class Flown:
    """The flights after a training, and after inference on each month."""

    engine: Engine
    site: Site
    trained: DagRun
    scored: dict[str, DagRun]
    locally: dict[str, bytes]
    """What the local engine predicts by month, run in the same way."""


@pytest.fixture(
    scope="module",
    params=[
        ("sagemaker", "flights-airflow", (CALM, DRIFTED)),
        pytest.param(("sagemaker_in_containers", "flights-docker", (DRIFTED,)), marks=pytest.mark.docker),
    ],
    ids=["processes", "containers"],
)
def flown(
    request: pytest.FixtureRequest,
    installation: Airflow,
    cloud: Cloud,
    flights: Flights,
    tmp_path_factory: pytest.TempPathFactory,
) -> Flown:
    runner, name, months = request.param
    sagemaker = request.getfixturevalue(runner)
    engine = Engine.on(installation, cloud, sagemaker)
    site = engine.deploy(flights_use_case(tmp_path_factory.mktemp("manifest"), ("name: flights\n", f"name: {name}\n")))
    trained = engine.airflow.test(f"quartet-{name}-training")
    assert trained.state == "success", trained.said[-3000:]
    scored = {
        month: engine.airflow.test(f"quartet-{name}-inference", Period=month, Labels=flights.labels(month))
        for month in months
    }
    images = sagemaker.runner.images if isinstance(sagemaker.runner, Containers) else {}
    return Flown(engine, site, trained, scored, scored_locally(flights, images))


def test_the_predictions_are_those_of_the_local_engine_byte_for_byte(flown: Flown) -> None:
    for month, run in flown.scored.items():
        assert run.state == "success", run.said[-3000:]
        assert predictions(flown, run) == flown.locally[month]


def predictions(flown: Flown, run: DagRun) -> bytes:
    """The scores of a run, whose folder the log of its jobs names."""
    folder = run.said.partition(f"{STORAGE}/inference/")[2].partition("/")[0]
    (uri,) = flown.engine.cloud.list(f"{STORAGE}/inference/{folder}/algorithm/scores/")
    return flown.engine.cloud.get(uri)


def test_only_the_month_that_has_drifted_asks_for_a_training(flown: Flown) -> None:
    retraining = {month for month, run in flown.scored.items() if "retrain" in run.ended("success")}
    (asked,) = [run["conf"] for run in flown.engine.airflow.runs(f"{flown.site.title}-training") if run["conf"]]
    listing = flown.engine.cloud.json(asked["TrainData"])

    assert retraining == {DRIFTED}
    assert listing[1:] == ["2013-07.csv", "2013-08.csv", "2013-09.csv", "2013-10.csv"]
