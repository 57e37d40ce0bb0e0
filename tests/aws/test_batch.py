"""The AWS Batch engine, executed: its definitions and jobs are moto's Batch's, its programs carry their own data."""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.spec import NAMES, specs
from pipelines.aws.calls import CloudError, RunFailedError
from pipelines.aws.executions import latest
from pipelines.aws.places import Rendered, Site, site_of
from pipelines.batch import client
from pipelines.batch.client import Outcome
from pipelines.batch.printer import QUEUES, render
from pipelines.batch.retraining import Retraining, claim, retrain
from pipelines.manifest import Drift, UseCase, for_environment
from shared.errors import ArtefactError, DataError, SettingsError
from tests.aws.batch import Batch, in_containers, in_processes
from tests.aws.cloud import Cloud
from tests.aws.data import CALM, DRIFTED, IMAGES, STORAGE, Flights, flights_use_case, toy_in, toy_use_case
from tests.aws.locally import scored_locally
from tests.aws.runners import ROOT, Containers

PROGRAM = """
import os, runpy, sys
from pathlib import Path

if "--job" in sys.argv:
    from shared.carrier import carry

    sys.exit(carry(Path(__file__).parent.name, sys.argv[1:], os.environ))
runpy.run_path(str(Path(__file__).with_name("fake_component.py")), run_name="__main__")
"""


@dataclass
class Deployed:
    """A use case on AWS Batch."""

    batch: Batch
    use_case: UseCase
    site: Site
    rendered: Rendered

    def run(self, pipeline: str, run: str, **parameters: str) -> Outcome:
        """A run to its end."""
        return client.run(self.batch.connect, self.site, self.rendered, pipeline, run, parameters, poll=0.05)


def deployed(batch: Batch, use_case: UseCase, environment: str | None = None) -> Deployed:
    site = site_of(for_environment(use_case.manifest, environment), environment)
    rendered = render(use_case, specs(), {}, environment)
    batch.environments(
        [item["computeEnvironmentOrder"][0]["computeEnvironment"] for item in json.loads(rendered.files[QUEUES])]
    )
    client.make_queues(batch.connect, rendered)
    client.deploy(batch.connect, rendered)
    return Deployed(batch, use_case, site, rendered)


def events(batch: Batch, name: str) -> str:
    """A queue that every drift is told on; its url."""
    sqs, rules = batch.connect("sqs"), batch.connect("events")
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name=name, EventPattern=json.dumps({"source": ["quartet"], "detail-type": ["Drift"]}))
    rules.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return url


def told(batch: Batch, url: str) -> list[Any]:
    messages = batch.connect("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())
    return [json.loads(message["Body"])["detail"] for message in messages]


def until(true: Callable[[], bool]) -> None:
    """Wait for what will be so."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def new_run() -> str:
    return f"r{uuid.uuid4().hex[:8]}"


# --- With toy programs: what becomes of each kind of job


@pytest.fixture(scope="module")
def toys(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    toy_in(cloud)
    root = tmp_path_factory.mktemp("programs")
    (root / "shared").symlink_to(ROOT / "shared")
    for name in NAMES:
        folder = root / "components" / name
        folder.mkdir(parents=True)
        (folder / "__main__.py").write_text(PROGRAM)
        shutil.copy(ROOT / "tests/pipelines/fake_component.py", folder)
    with in_processes(cloud, IMAGES, root) as batch:
        yield batch


@pytest.fixture
def toy(toys: Batch, tmp_path: Path) -> Deployed:
    return deployed(toys, toy_use_case(tmp_path))


def test_a_training_whose_gates_are_met_moves_the_pointer(toy: Deployed) -> None:
    run = new_run()
    outcome = toy.run("training", run)
    uri = f"{toy.site.storage}/releases/{run}/release.json"
    release = toy.batch.cloud.json(uri)

    assert outcome.promoted
    assert toy.batch.cloud.parameter(toy.site.pointer) == uri
    assert release["id"] == run
    assert release["started_by"] == {"cause": "command"}
    assert all(toy.batch.cloud.list(part["uri"]) for part in release["parts"].values())

    again = new_run()
    toy.run("training", again, StartedBy="drift r7")
    release = toy.batch.cloud.json(f"{toy.site.storage}/releases/{again}/release.json")

    assert release["started_by"] == {"cause": "drift", "run": "r7"}
    assert release["parent"] == uri


def test_inference_scores_with_the_release_in_use_and_tells_of_drift_alone(toy: Deployed) -> None:
    toy.run("training", new_run())
    url = events(toy.batch, "toy-drift")
    calm, drifted = new_run(), new_run()
    parameters = client.period_parameters(toy.site, toy.use_case.manifest.data, "p3")
    outcome = toy.run("inference", calm, **parameters)
    scores = toy.batch.cloud.get(f"{toy.site.storage}/inference/{calm}/algorithm/scores/part-0000-of-0001.csv.out")

    assert scores.decode().splitlines() == [f"p3-{row},0.5" for row in range(5)]
    assert not outcome.drifted
    assert told(toy.batch, url) == []

    outcome = toy.run("inference", drifted, ScoreData=f"{toy.site.storage}/raw/score/p4.csv", Period="p4")

    assert outcome.drifted
    verdict = f"{toy.site.storage}/inference/{drifted}/monitoring/report/drift.json"
    assert told(toy.batch, url) == [
        {"useCase": "toy", "environment": "", "run": drifted, "period": "p4", "verdict": verdict}
    ]


def test_drift_trains_again_once_until_the_cool_down_is_over(toys: Batch, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: loop"))
    loop = deployed(toys, use_case)
    toys.connect("ssm").delete_parameters(Names=[loop.site.drift_state])
    loop.run("training", new_run())
    data = client.period_parameters(loop.site, use_case.manifest.data, "p4")
    outcome = loop.run("inference", cause := new_run(), **data)
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def again(later: timedelta) -> Retraining:
        return retrain(toys.connect, loop.site, loop.rendered, use_case.manifest, outcome, new_run(), now + later)

    first = again(timedelta())
    assert first.submitted is not None
    client.wait(toys.connect, loop.site, first.submitted, poll=0.05)
    release = toys.cloud.json(f"{loop.site.storage}/releases/{first.submitted.run}/release.json")

    assert release["started_by"] == {"cause": "drift", "run": cause}
    assert release["data"]["periods"] == ["p3", "p4"]
    assert again(timedelta(hours=23)) == Retraining(
        None, "the last retraining was 23 hours ago, and drift.cooldown is 1 day"
    )
    state = json.loads(toys.cloud.parameter("/loop/drift/state") or "")
    assert state == {"last": "2026-01-31T12:00:00Z", "month": "2026-01", "count": 1}


def test_drift_of_data_without_a_period_starts_nothing_and_is_no_failure(toys: Batch, tmp_path: Path) -> None:
    """What `start -p ScoreData=…` scores has no period with which a window could end."""
    use_case = toy_use_case(tmp_path, ("name: toy", "name: single"))
    single = deployed(toys, use_case)
    single.run("training", new_run())
    outcome = single.run("inference", new_run(), ScoreData=f"{single.site.storage}/raw/score/p4.csv")
    now = datetime(2026, 1, 31, tzinfo=UTC)
    found = retrain(toys.connect, single.site, single.rendered, use_case.manifest, outcome, new_run(), now)

    assert outcome.drifted
    assert found.submitted is None
    assert found.why.startswith("the data that were scored have no period")
    assert toys.cloud.parameter("/single/drift/state") is None


def test_the_monthly_cap_holds_and_a_new_month_begins_anew(toys: Batch, tmp_path: Path) -> None:
    """The state is as a state machine writes it, with fractions of seconds."""
    site = site_of(toy_use_case(tmp_path, ("name: toy", "name: cap")).manifest)
    policy = Drift(cooldown=3600, max_per_month=2)
    ssm = toys.connect("ssm")
    value = {"last": "2026-01-30T12:00:00.123Z", "month": "2026-01", "count": 2}
    ssm.put_parameter(Name=site.drift_state, Value=json.dumps(value), Type="String")

    assert "drift.max_per_month is 2" in claim(toys.connect, site, policy, datetime(2026, 1, 31, tzinfo=UTC))
    assert claim(toys.connect, site, policy, datetime(2026, 2, 1, tzinfo=UTC)) == ""
    ssm.put_parameter(Name=site.drift_state, Value="soon", Type="String", Overwrite=True)
    with pytest.raises(ArtefactError, match="parameter /cap/drift/state holds no state of the drift loop"):
        claim(toys.connect, site, policy, datetime(2026, 2, 2, tzinfo=UTC))


def test_of_two_that_drift_at_once_one_trains(toys: Batch, tmp_path: Path) -> None:
    """Another writes between our reading and our writing."""
    site = site_of(toy_use_case(tmp_path, ("name: toy", "name: race")).manifest)
    real = toys.connect("ssm")
    value = json.dumps({"last": None, "month": "", "count": 0})
    real.put_parameter(Name=site.drift_state, Value=value, Type="String")

    class Between:
        exceptions = real.exceptions

        def get_parameter(self, **request: Any) -> Any:
            answer = real.get_parameter(**request)
            real.put_parameter(Name=site.drift_state, Value=value, Type="String", Overwrite=True)
            return answer

        def put_parameter(self, **request: Any) -> Any:
            return real.put_parameter(**request)

    why = claim(lambda service: Between(), site, Drift(), datetime(2026, 2, 1, tzinfo=UTC))

    assert why == "another run has just started a training"


def test_a_failing_job_stops_the_chain_with_its_reason(toys: Batch, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: fails"), ("auc: 0.7", "auc: 0.7, fail: 3"))
    broken = deployed(toys, use_case)
    toys.engine.started.clear()

    with pytest.raises(RunFailedError) as raised:
        broken.run("training", run := new_run())

    assert raised.value.exit_code == 3
    assert f"run {run}: step algorithm failed (exit code 3): algorithm cannot go on: told so." in str(raised.value)
    assert [component for component, _ in toys.engine.started] == ["processing", "algorithm"]
    assert toys.cloud.get(f"{STORAGE.replace('flights', 'toy')}/training/{run}/algorithm/failure").startswith(b"algo")


def test_a_gate_that_is_not_met_leaves_the_pointer(toys: Batch, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: bad"), ("auc: 0.7", "auc: 0.5"))
    weak = deployed(toys, use_case)
    outcome = weak.run("training", new_run())

    assert outcome.verdict["gates_met"] is False
    assert not outcome.promoted
    assert toys.cloud.parameter("/bad/releases/current") is None
    with pytest.raises(DataError, match="no release is current at /bad/releases/current"):
        weak.run("inference", new_run(), ScoreData="s3://b/k")


def test_manual_approval_leaves_the_pointer_to_somebody(toys: Batch, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: manual"), ("approve: automatic", "approve: manual"))
    outcome = deployed(toys, use_case).run("training", new_run())

    assert outcome.verdict["gates_met"] is True
    assert not outcome.promoted
    assert toys.cloud.parameter("/manual/releases/current") is None


def test_environments_keep_apart(toys: Batch, tmp_path: Path) -> None:
    more = "environments: {prod: {storage: s3://quartet-test/toy-prod}}\n"
    use_case = toy_use_case(tmp_path, ("drift: {then", f"{more}drift: {{then"))
    prod = deployed(toys, use_case, "prod")
    toys.cloud.put_folder("s3://quartet-test/toy-prod/raw", _copy_of_raw(toys.cloud, tmp_path / "raw"))
    run = new_run()
    prod.run("training", run)

    assert (
        toys.cloud.parameter("/toy/prod/releases/current") == f"s3://quartet-test/toy-prod/releases/{run}/release.json"
    )


def _copy_of_raw(cloud: Cloud, folder: Path) -> Path:
    for uri in cloud.list("s3://quartet-test/toy/raw/"):
        path = folder / uri.removeprefix("s3://quartet-test/toy/raw/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cloud.get(uri))
    return folder


def test_what_is_registered_already_is_not_registered_again(toys: Batch, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: twice"))
    twice = deployed(toys, use_case)

    assert client.deploy(toys.connect, twice.rendered) == []
    assert client.make_queues(toys.connect, twice.rendered) == []
    changed = render(toy_use_case(tmp_path, ("name: toy", "name: twice"), ("auc: 0.7", "auc: 0.8")), specs(), {})
    (arn,) = client.deploy(toys.connect, changed)[:1]
    assert arn.endswith("twice-training-algorithm:2")


@pytest.mark.parametrize(
    ("pipeline", "run", "parameters", "sentence"),
    [
        ("training", "r1", {"TrainDate": "x"}, "no parameter 'TrainDate'. Did you mean 'TrainData'?"),
        ("training", "r/1", {}, "the run's id is 'r/1', wanted at most 40 letters, digits and hyphens"),
        ("inference", "r1", {}, "the inference pipeline wants 'ScoreData', which nobody has given"),
        ("scoring", "r1", {}, "pipeline 'scoring' was not rendered"),
        ("training", "r1", {"TrainData": "s3://b/" + "x" * 31_000}, "bytes with its definition, wanted at most 30,720"),
    ],
)
def test_what_cannot_be_started_is_refused_in_a_sentence(
    toy: Deployed, pipeline: str, run: str, parameters: dict[str, str], sentence: str
) -> None:
    if toy.batch.cloud.parameter(toy.site.pointer) is None:
        toy.run("training", new_run())

    with pytest.raises(SettingsError, match="(?s).*" + sentence.replace(".", r"\.").replace("?", r"\?")):
        client.start(toy.batch.connect, toy.site, toy.rendered, pipeline, run, parameters)


def test_a_run_keeps_to_the_definitions_that_it_began_with(toy: Deployed) -> None:
    """A deployment while its jobs are submitted is for the next run."""

    class Deploying:
        """A client that registers all definitions anew before each job."""

        def __getattr__(self, name: str) -> Any:
            return getattr(toy.batch.connect("batch"), name)

        def submit_job(self, **request: Any) -> Any:
            for definition in json.loads(toy.rendered.files["training.json"])["definitions"]:
                toy.batch.connect("batch").register_job_definition(**definition)
            return toy.batch.connect("batch").submit_job(**request)

    def revisions() -> dict[str, int]:
        pages = toy.batch.connect("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        newest: dict[str, int] = {}
        for item in pages:
            newest[item["jobDefinitionName"]] = max(item["revision"], newest.get(item["jobDefinitionName"], 0))
        return {name: number for name, number in newest.items() if name.startswith(f"{toy.site.title}-training-")}

    began = revisions()

    def connect(service: str) -> Any:
        return Deploying() if service == "batch" else toy.batch.connect(service)

    submitted = client.start(connect, toy.site, toy.rendered, "training", new_run())

    jobs = toy.batch.connect("batch").describe_jobs(jobs=list(submitted.jobs.values()))["jobs"]
    used = dict(job["jobDefinition"].rpartition("/")[2].rsplit(":", 1) for job in jobs)
    assert {name: int(number) for name, number in used.items()} == began
    assert all(number > began[name] for name, number in revisions().items())
    client.cancel(toy.batch.connect, submitted.jobs.values(), "seen")


def test_status_tells_the_latest_runs_and_why_one_failed(toys: Batch, tmp_path: Path) -> None:
    name = f"told-{new_run()}"
    healthy = deployed(toys, toy_use_case(tmp_path, ("name: toy", f"name: {name}")))
    healthy.run("training", "good")
    broken = deployed(toys, toy_use_case(tmp_path, ("name: toy", f"name: {name}"), ("auc: 0.7", "auc: 0.7, fail: 1")))
    with pytest.raises(RunFailedError):
        broken.run("training", "bad")

    found = list(latest(toys.connect, healthy.site, "batch"))

    said = [re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>", line) for line in found]
    assert len(said) == 2
    assert said[0].startswith("training   bad  <time>  failed: step algorithm: ")
    assert said[1] == "training   good  <time>  succeeded"


def test_a_run_whose_definitions_are_not_deployed_is_refused_in_a_sentence(toy: Deployed, tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("name: toy", "name: new"))
    rendered, site = render(use_case, specs(), {}), site_of(use_case.manifest)

    with pytest.raises(SettingsError, match=r"job definition 'quartet-new-.*' does not exist. Deploy the use case"):
        client.start(toy.batch.connect, site, rendered, "training", new_run())


def test_a_pipeline_that_cannot_be_submitted_whole_is_cancelled(toy: Deployed) -> None:
    plan = json.loads(toy.rendered.files["training.json"])
    plan["jobs"][2]["request"]["jobQueue"] = "unknown"
    broken = Rendered({**toy.rendered.files, "training.json": json.dumps(plan).encode()}, {})

    with pytest.raises(CloudError, match="AWS answers ClientException"):
        client.start(toy.batch.connect, toy.site, broken, "training", run := new_run())

    def statuses() -> list[str]:
        listed = toy.batch.connect("batch").list_jobs(
            jobQueue="quartet-toy-training", filters=[{"name": "JOB_NAME", "values": ["*"]}]
        )
        return [item["status"] for item in listed["jobSummaryList"] if run in item["jobName"]]

    until(lambda: statuses() == ["FAILED", "FAILED"])


# --- With the real programs, and in the real images, on the flights


@pytest.fixture(scope="module")
def processes(cloud: Cloud) -> Iterator[Batch]:
    with in_processes(cloud, IMAGES) as batch:
        yield batch


@pytest.fixture(scope="module")
def images(cloud: Cloud, containers: Containers) -> Iterator[Batch]:
    with in_containers(cloud, IMAGES, containers.engine, containers.images) as batch:
        yield batch


@dataclass(frozen=True)
class Flown:
    """The flights after training, and after inference with and without drift."""

    deployed: Deployed
    trained: Outcome
    calm: Outcome
    drifted: Outcome
    told: list[Any]
    locally: dict[str, bytes]

    def predictions(self, outcome: Outcome) -> bytes:
        cloud = self.deployed.batch.cloud
        (uri,) = cloud.list(f"{STORAGE}/inference/{outcome.submitted.run}/algorithm/scores/")
        return cloud.get(uri)


@pytest.fixture(
    scope="module",
    params=["processes", pytest.param("images", marks=pytest.mark.docker)],
    ids=["processes", "containers"],
)
def flown(request: pytest.FixtureRequest, flights: Flights, tmp_path_factory: pytest.TempPathFactory) -> Flown:
    batch: Batch = request.getfixturevalue(request.param)
    containers: Containers | None = request.getfixturevalue("containers") if request.param == "images" else None
    there = deployed(batch, flights_use_case(tmp_path_factory.mktemp("manifest")))
    url = events(batch, f"quartet-flights-drift-{request.param}")
    trained = there.run("training", new_run())
    calm = client.period_parameters(there.site, there.use_case.manifest.data, CALM)
    drifted = client.period_parameters(there.site, there.use_case.manifest.data, DRIFTED)
    return Flown(
        there,
        trained,
        there.run("inference", new_run(), **calm, Labels=flights.labels(CALM)),
        there.run("inference", new_run(), **drifted),
        told(batch, url),
        scored_locally(flights, dict(containers.images) if containers else {}),
    )


def test_the_predictions_are_those_of_the_local_engine_byte_for_byte(flown: Flown) -> None:
    assert flown.predictions(flown.calm) == flown.locally[CALM]
    assert flown.predictions(flown.drifted) == flown.locally[DRIFTED]


def test_october_has_drifted_and_may_has_not(flown: Flown) -> None:
    assert not flown.calm.drifted
    assert flown.drifted.drifted
    assert [item["period"] for item in flown.told] == [DRIFTED]
    assert flown.told[0]["run"] == flown.drifted.submitted.run


def test_labels_that_have_come_give_the_models_quality_and_others_none(flown: Flown) -> None:
    cloud = flown.deployed.batch.cloud
    reports = [
        cloud.list(f"{STORAGE}/inference/{outcome.submitted.run}/monitoring/report/")
        for outcome in (flown.calm, flown.drifted)
    ]

    assert [any(uri.endswith("/model_quality.json") for uri in found) for found in reports] == [True, False]


def test_the_release_is_whole_and_in_use(flown: Flown) -> None:
    cloud = flown.deployed.batch.cloud
    uri = f"{STORAGE}/releases/{flown.trained.submitted.run}/release.json"
    release = cloud.json(uri)

    assert flown.trained.promoted
    assert set(release["parts"]) == {"model", "state", "baseline", "explainer"}
    assert release["data"]["periods"] == ["2013-01", "2013-02", "2013-03", "2013-04"]
    assert [gate["met"] for gate in release["gates"]] == [True]
    assert all("@sha256:" in image for image in release["images"].values())
