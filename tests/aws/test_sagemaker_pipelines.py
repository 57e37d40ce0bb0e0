"""The SageMaker Pipelines engine, executed: its definitions are run step by step on the loopback SageMaker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.aws.calls import CloudError, RunFailedError
from pipelines.aws.places import Rendered, Site, site_of
from pipelines.aws.uploads import store
from pipelines.manifest import UseCase, for_environment
from pipelines.sagemaker import client, render
from pipelines.sagemaker.client import Ended, Step
from shared.errors import ArtefactError, DataError, SettingsError
from tests.aws.cloud import Cloud
from tests.aws.data import CALM, DRIFTED, STORAGE, Flights, flights_use_case, toy_in, toy_use_case
from tests.aws.locally import scored_locally
from tests.aws.pipelines_interpreter import Pipelines
from tests.aws.runners import Containers
from tests.aws.sagemaker import SageMaker, ServiceError


@dataclass
class Engine:
    """SageMaker Pipelines, as the client sees them."""

    sagemaker: SageMaker
    pipelines: Pipelines
    told: list[Step] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return self.sagemaker.cloud

    def connect(self, service: str) -> Any:
        return self.sagemaker.client() if service == "sagemaker" else self.cloud.client(service)

    def deploy(self, use_case: UseCase, environment: str | None = None) -> Site:
        """Render, create or update."""
        site = site_of(for_environment(use_case.manifest, environment), environment)
        client.upsert(self.connect, site, render(use_case, specs(), {}, environment))
        return site

    def run(self, site: Site, pipeline: str, **parameters: str) -> Ended:
        """Start, and wait for the end."""
        return self.ended(client.start(self.connect, site, pipeline, parameters))

    def ended(self, execution: str) -> Ended:
        return client.wait(self.connect, execution, poll=0.02, tell=self.told.append)

    def promote(self, site: Site) -> str:
        """Move the pointer to the release of the newest approved model, as the rule on approvals does."""
        package = self.pipelines.packages[site.title][-1]
        assert package["ModelApprovalStatus"] == "Approved"
        uri: str = package["CustomerMetadataProperties"]["release"]
        self.cloud.client("ssm").put_parameter(Name=site.pointer, Value=uri, Type="String", Overwrite=True)
        return uri

    def queue(self, site: Site) -> str:
        """The queue that drift is told on."""
        return str(self.cloud.client("sqs").create_queue(QueueName=site.drift_queue)["QueueUrl"])

    def message(self, queue: str) -> dict[str, Any]:
        """Wait for the next message."""
        sqs = self.cloud.client("sqs")
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for message in sqs.receive_message(QueueUrl=queue).get("Messages", ()):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                body: dict[str, Any] = json.loads(message["Body"])
                return body
            time.sleep(0.05)
        raise AssertionError("no message came")

    def jobs(self, kind: str) -> int:
        return sum(1 for of, _ in self.sagemaker.jobs if of == kind)


# --- With toy programs: what becomes of each kind of step


@pytest.fixture(scope="module")
def toy(toy_sagemaker: SageMaker, cloud: Cloud) -> Iterator[Engine]:
    toy_in(cloud)
    pipelines = Pipelines(toy_sagemaker)
    yield Engine(toy_sagemaker, pipelines)
    pipelines.close()


def statuses(ended: Ended) -> dict[str, str]:
    return {step.name: step.status for step in ended.steps}


@pytest.fixture
def trained(toy: Engine, tmp_path: Path) -> tuple[Site, Ended]:
    """The toy after a training whose release is in use."""
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: steps")))
    ended = toy.run(site, "training")
    toy.promote(site)
    return site, ended


def test_training_ends_in_a_registered_model_that_names_its_release(toy: Engine, trained: tuple[Site, Ended]) -> None:
    site, ended = trained
    package = toy.pipelines.packages["quartet-steps"][-1]
    uri = f"{site.storage}/releases/{ended.run}/release.json"
    release = toy.cloud.json(uri)

    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"] == {"release": uri, "startedBy": "command"}
    assert release["parts"]["model"]["uri"] == package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert release["id"] == ended.run
    assert all(toy.cloud.list(part["uri"]) for part in release["parts"].values())
    assert toy.sagemaker.events[-1]["detail-type"] == "SageMaker Model Package State Change"


def test_a_run_that_drift_started_says_so_in_its_release(toy: Engine, trained: tuple[Site, Ended]) -> None:
    site, first = trained
    ended = toy.run(site, "training", StartedBy="drift abc123")
    release = toy.cloud.json(f"{site.storage}/releases/{ended.run}/release.json")

    assert release["started_by"] == {"cause": "drift", "run": "abc123"}
    assert release["parent"] == f"{site.storage}/releases/{first.run}/release.json"


def test_inference_without_drift_scores_and_tells_nobody(toy: Engine, trained: tuple[Site, Ended]) -> None:
    site, _ = trained
    queue = toy.queue(site)
    data = f"{site.storage}/raw/score/p3.csv"
    ended = toy.run(site, "inference", ScoreData=data, Period="p3")
    scores = f"{site.storage}/inference/{ended.run}/algorithm/scores/part-0000-of-0001.csv.out"

    assert toy.cloud.get(scores).decode().splitlines() == [f"p3-{row},0.5" for row in range(5)]
    assert "drift-event" not in statuses(ended)
    assert "Messages" not in toy.cloud.client("sqs").receive_message(QueueUrl=queue)


def test_drift_is_told_and_the_run_waits_for_the_answer(toy: Engine, trained: tuple[Site, Ended]) -> None:
    site, _ = trained
    queue = toy.queue(site)
    data = f"{site.storage}/raw/score/p4.csv"
    execution = client.start(toy.connect, site, "inference", {"ScoreData": data, "Period": "p4"})
    message = toy.message(queue)
    status = toy.sagemaker.call("DescribePipelineExecution", {"PipelineExecutionArn": execution})
    answer = {"CallbackToken": message["token"], "OutputParameters": [{"Name": "decision", "Value": "retrain"}]}
    toy.sagemaker.client().send_pipeline_execution_step_success(**answer)
    ended = toy.ended(execution)

    assert status["PipelineExecutionStatus"] == "Executing"
    assert statuses(ended)["drift-event"] == "Succeeded"
    told = message["arguments"]
    assert (told["useCase"], told["environment"], told["run"], told["period"]) == ("steps", "", ended.run, "p4")
    assert toy.cloud.json(told["verdict"])["detected"] is True


def test_a_run_whose_drift_nobody_could_judge_fails(toy: Engine, trained: tuple[Site, Ended]) -> None:
    site, _ = trained
    queue = toy.queue(site)
    data = f"{site.storage}/raw/score/p4.csv"
    execution = client.start(toy.connect, site, "inference", {"ScoreData": data})
    token = toy.message(queue)["token"]
    toy.sagemaker.client().send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="no such window")

    with pytest.raises(RunFailedError, match="has failed: step drift-event failed: no such window"):
        toy.ended(execution)


def test_a_run_that_somebody_stops_has_not_succeeded(toy: Engine, trained: tuple[Site, Ended]) -> None:
    site, _ = trained
    queue = toy.queue(site)
    execution = client.start(toy.connect, site, "inference", {"ScoreData": f"{site.storage}/raw/score/p4.csv"})
    toy.message(queue)
    toy.sagemaker.client().stop_pipeline_execution(PipelineExecutionArn=execution)

    with pytest.raises(RunFailedError, match="has stopped: "):
        toy.ended(execution)


def test_a_failing_training_job_stops_the_run_with_its_reason(toy: Engine, tmp_path: Path) -> None:
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: fails"), ("auc: 0.7", "fail: 3")))

    with pytest.raises(RunFailedError, match=r"step algorithm failed: .*algorithm cannot go on: told so") as failure:
        toy.run(site, "training")
    assert failure.value.exit_code == 3
    assert "fails" not in toy.pipelines.packages
    steps = {step.name for step in toy.told if step.status == "Executing"}
    assert toy.told[-1].name == "algorithm"
    assert "processing" in steps


def test_a_failing_processing_job_says_why_itself(toy: Engine, tmp_path: Path) -> None:
    change = ("components:\n", "components:\n  processing: {settings: {fail: 2}}\n")
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: refuses"), change))

    with pytest.raises(RunFailedError, match=r"processing cannot go on: told so\. \(ClientError: .*exit code: 2\)"):
        toy.run(site, "training")


def test_a_gate_that_is_not_met_registers_nothing(toy: Engine, tmp_path: Path) -> None:
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: gated"), ("auc: 0.7", "auc: 0.5")))
    ended = toy.run(site, "training")

    assert statuses(ended)["gates"] == "Succeeded"
    assert "register" not in statuses(ended)
    assert "gated" not in toy.pipelines.packages
    assert toy.cloud.parameter(site.pointer) is None
    assert toy.cloud.json(f"{site.storage}/releases/{ended.run}/verdict.json")["gates_met"] is False


def test_manual_approval_leaves_the_model_pending(toy: Engine, tmp_path: Path) -> None:
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: manual"), ("approve: automatic", "approve: manual")))
    toy.run(site, "training")

    assert toy.pipelines.packages["quartet-manual"][-1]["ModelApprovalStatus"] == "PendingManualApproval"


def test_a_cached_step_is_not_run_again_and_the_release_is(toy: Engine, tmp_path: Path) -> None:
    change = ("training: {gates", "training: {cache: 30d, gates")
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: cached"), change))
    first = toy.run(site, "training")
    before = toy.jobs("TrainingJob"), toy.jobs("ProcessingJob")
    second = toy.run(site, "training")
    releases = [toy.cloud.json(f"{site.storage}/releases/{ended.run}/release.json") for ended in (first, second)]

    assert (toy.jobs("TrainingJob"), toy.jobs("ProcessingJob")) == (before[0], before[1] + 1)
    assert releases[0]["id"] != releases[1]["id"]
    assert releases[0]["parts"] == releases[1]["parts"]


def test_without_a_cache_every_step_runs_again(toy: Engine, trained: tuple[Site, Ended]) -> None:
    before = toy.jobs("TrainingJob"), toy.jobs("ProcessingJob")
    toy.run(trained[0], "training")

    assert (toy.jobs("TrainingJob"), toy.jobs("ProcessingJob")) == (before[0] + 1, before[1] + 4)


def test_a_throttled_step_is_tried_again(toy: Engine, trained: tuple[Site, Ended]) -> None:
    toy.pipelines.faults["CreateTrainingJob"] = [ServiceError("ThrottlingException", "Rate exceeded")] * 5
    ended = toy.run(trained[0], "training")
    listed = toy.sagemaker.client().list_pipeline_execution_steps(PipelineExecutionArn=ended.execution)

    attempts = {step["StepName"]: step["AttemptCount"] for step in listed["PipelineExecutionSteps"]}
    assert attempts["algorithm"] == 6


def full_region(toy: Engine, tmp_path: Path, retries: int) -> Site:
    """A use case whose training job finds no instance, twice."""
    changes = (("name: toy", f"name: full{retries}"), ("data:\n", f"defaults: {{retries: {retries}}}\ndata:\n"))
    toy.pipelines.faults["CreateTrainingJob"] = [ServiceError("ResourceLimitExceeded", "no instance is left")] * 2
    return toy.deploy(toy_use_case(tmp_path, *changes))


def test_a_full_region_is_asked_again_as_often_as_the_manifest_says(toy: Engine, tmp_path: Path) -> None:
    ended = toy.run(full_region(toy, tmp_path, 2), "training")

    assert statuses(ended)["algorithm"] == "Succeeded"


def test_a_full_region_ends_the_run_when_the_manifest_wants_no_retries(toy: Engine, tmp_path: Path) -> None:
    site = full_region(toy, tmp_path, 0)
    try:
        with pytest.raises(RunFailedError, match="no instance is left"):
            toy.run(site, "training")
    finally:
        toy.pipelines.faults.clear()


# --- The client


def test_deploying_twice_updates(toy: Engine, tmp_path: Path) -> None:
    rendered = render(toy_use_case(tmp_path, ("name: toy", "name: twice")), specs(), {})
    site = site_of(toy_use_case(tmp_path, ("name: toy", "name: twice")).manifest)
    first = client.upsert(toy.connect, site, rendered)
    changed = Rendered({**rendered.files, "training.json": rendered.files["training.json"].replace(b'"0.7"', b'"0.8"')})
    second = client.upsert(toy.connect, site, changed)

    assert first == second
    assert set(first) == {"quartet-twice-training", "quartet-twice-inference"}
    kept = toy.sagemaker.client().describe_pipeline(PipelineName="quartet-twice-training")["PipelineDefinition"]
    assert kept.encode() == changed.files["training.json"]


def test_what_lies_in_s3_already_is_not_stored_again(toy: Engine, tmp_path: Path) -> None:
    uploads = render(toy_use_case(tmp_path, ("name: toy", "name: stored")), specs(), {}).uploads

    new = store(toy.connect, uploads)
    assert set(new) <= set(uploads)
    assert store(toy.connect, uploads) == []
    assert all(toy.cloud.get(uri) == content for uri, content in uploads.items())


def test_the_same_key_starts_one_run(toy: Engine, trained: tuple[Site, Ended]) -> None:
    first = client.start(toy.connect, trained[0], "training", key="2013-05")
    second = client.start(toy.connect, trained[0], "training", key="2013-05")
    other = client.start(toy.connect, trained[0], "training", key="2013-06")

    assert first == second != other
    toy.ended(first)
    toy.ended(other)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"ScoreDate": "x"}, "the inference pipeline has no parameter 'ScoreDate'. Did you mean 'ScoreData'?"),
        ({"Period": "p3"}, "the inference pipeline wants 'ScoreData', which nobody has given. Name a value."),
    ],
)
def test_parameters_are_checked_before_the_start(
    toy: Engine, trained: tuple[Site, Ended], parameters: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        client.start(toy.connect, trained[0], "inference", parameters)

    assert str(refusal.value) == said


def test_inference_wants_a_release(toy: Engine, tmp_path: Path) -> None:
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: virgin")))

    with pytest.raises(DataError, match="no release is current at /virgin/releases/current"):
        client.start(toy.connect, site, "inference", {"ScoreData": "s3://x/y"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "is no release"),
        ('{"name": "other", "created": "", "gates": [], "parts": {}}', "of 'other', wanted one of 'odd'"),
    ],
)
def test_a_pointer_to_something_else_is_refused(toy: Engine, tmp_path: Path, content: str, said: str) -> None:
    site = toy.deploy(toy_use_case(tmp_path, ("name: toy", "name: odd")))
    uri = toy.cloud.put(f"{site.storage}/odd.json", content)
    toy.cloud.client("ssm").put_parameter(Name=site.pointer, Value=uri, Type="String", Overwrite=True)

    with pytest.raises(ArtefactError, match=said):
        client.start(toy.connect, site, "inference", {"ScoreData": "s3://x/y"})


def test_a_pipeline_that_was_never_deployed_is_missed(toy: Engine, tmp_path: Path) -> None:
    site = site_of(toy_use_case(tmp_path, ("name: toy", "name: nowhere")).manifest)

    with pytest.raises(SettingsError, match="pipeline 'quartet-nowhere-training' does not exist in eu-west-1"):
        client.start(toy.connect, site, "training")


def test_what_aws_refuses_is_one_sentence(toy: Engine, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: roleless"))
    site = site_of(use_case.manifest)

    with pytest.raises(CloudError, match=r"quartet-roleless-training: AWS answers ValidationException: .*RoleArn"):
        client.upsert(toy.connect, site, render(use_case, specs(), {}), role="not-an-arn-of-any-kind-at-all")


def test_environments_are_pipelines_of_their_own(toy: Engine, tmp_path: Path) -> None:
    change = ("data:\n", "environments: {prod: {storage: 's3://quartet-test/prod', defaults: {tags: {a: b}}}}\ndata:\n")
    use_case = toy_use_case(tmp_path, ("name: toy", "name: many"), change)
    toy_in(toy.cloud)
    for period in ("p1", "p2"):
        toy.cloud.put(f"s3://quartet-test/prod/raw/train/{period}.csv", "id,value\na,1\n")
    site = toy.deploy(use_case, "prod")
    ended = toy.run(site, "training")

    assert site.pointer == "/many/prod/releases/current"
    assert toy.cloud.list(f"s3://quartet-test/prod/releases/{ended.run}/release.json")
    assert toy.pipelines.packages["quartet-many-prod"][-1]["ModelApprovalStatus"] == "Approved"


# --- With the real programs, and in the real images, on the flights


@dataclass(frozen=True)
class Flown:
    """The flights after training, and after inference with and without drift."""

    engine: Engine
    site: Site
    trained: Ended
    calm: Ended
    drifted: Ended
    message: dict[str, Any]
    locally: dict[str, bytes]
    """What the local engine predicts, run in the same way: of processes and images the libraries may differ."""


@pytest.fixture(
    scope="module",
    params=["sagemaker", pytest.param("sagemaker_in_containers", marks=pytest.mark.docker)],
    ids=["processes", "containers"],
)
def flown(
    request: pytest.FixtureRequest, flights: Flights, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flown]:
    sagemaker = request.getfixturevalue(request.param)
    pipelines = Pipelines(sagemaker)
    engine = Engine(sagemaker, pipelines)
    site = engine.deploy(flights_use_case(tmp_path_factory.mktemp("manifest")))
    trained = engine.run(site, "training")
    engine.promote(site)
    queue = engine.queue(site)
    calm = engine.run(site, "inference", ScoreData=flights.score(CALM), Labels=flights.labels(CALM), Period=CALM)
    data = {"ScoreData": flights.score(DRIFTED), "Period": DRIFTED}
    execution = client.start(engine.connect, site, "inference", data)
    message = engine.message(queue)
    sagemaker.client().send_pipeline_execution_step_success(CallbackToken=message["token"])
    drifted = engine.ended(execution)
    images = dict(sagemaker.runner.images) if isinstance(sagemaker.runner, Containers) else {}
    yield Flown(engine, site, trained, calm, drifted, message, scored_locally(flights, images))
    pipelines.close()


def predictions(flown: Flown, ended: Ended) -> bytes:
    (uri,) = flown.engine.cloud.list(f"{STORAGE}/inference/{ended.run}/algorithm/scores/")
    return flown.engine.cloud.get(uri)


def test_the_predictions_are_those_of_the_local_engine_byte_for_byte(flown: Flown) -> None:
    assert predictions(flown, flown.calm) == flown.locally[CALM]
    assert predictions(flown, flown.drifted) == flown.locally[DRIFTED]


def test_every_flight_has_one_score(flown: Flown, flights: Flights) -> None:
    raw = flown.engine.cloud.get(flights.score(CALM)).decode().splitlines()[1:]
    scores = predictions(flown, flown.calm).decode().splitlines()

    assert [line.split(",")[0] for line in scores] == [line.split(",")[0] for line in raw]


def test_october_has_drifted_and_may_has_not(flown: Flown) -> None:
    verdicts = {
        ended.run: flown.engine.cloud.json(f"{STORAGE}/inference/{ended.run}/monitoring/report/drift.json")["detected"]
        for ended in (flown.calm, flown.drifted)
    }

    assert verdicts == {flown.calm.run: False, flown.drifted.run: True}
    assert "drift-event" not in statuses(flown.calm)
    assert flown.message["arguments"]["period"] == DRIFTED
    assert flown.message["arguments"]["run"] == flown.drifted.run


def test_labels_that_have_come_give_the_models_quality_and_others_none(flown: Flown) -> None:
    reports = [f"{STORAGE}/inference/{ended.run}/monitoring/report/" for ended in (flown.calm, flown.drifted)]

    assert f"{reports[0]}model_quality.json" in flown.engine.cloud.list(reports[0])
    assert f"{reports[1]}model_quality.json" not in flown.engine.cloud.list(reports[1])


def test_the_registry_shows_files_that_are_there(flown: Flown) -> None:
    package = flown.engine.pipelines.packages["quartet-flights"][-1]
    uris = [
        section["S3Uri"]
        for part in ("ModelMetrics", "DriftCheckBaselines")
        for group in package[part].values()
        for section in group.values()
    ]

    assert len(uris) == 7
    for uri in uris:
        assert isinstance(flown.engine.cloud.json(uri), dict)
    statistics = flown.engine.cloud.json(package["ModelMetrics"]["ModelDataQuality"]["Statistics"]["S3Uri"])
    assert {feature["name"] for feature in statistics["features"]} >= {"carrier", "distance"}


def test_the_release_is_whole(flown: Flown) -> None:
    uri = flown.engine.cloud.parameter(flown.site.pointer)
    release = flown.engine.cloud.json(f"{STORAGE}/releases/{flown.trained.run}/release.json")

    assert uri == f"{STORAGE}/releases/{flown.trained.run}/release.json"
    assert set(release["parts"]) == {"model", "state", "baseline", "explainer"}
    assert release["data"]["periods"] == ["2013-01", "2013-02", "2013-03", "2013-04"]
    assert [gate["met"] for gate in release["gates"]] == [True]
    assert all("@sha256:" in image for image in release["images"].values())
