"""Tuning jobs, executed: trainings with values of the ranges, of which the best is what is released."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.aws.calls import RunFailedError
from pipelines.aws.places import site_of
from pipelines.stepfunctions.printer import definitions, machine_name, render
from tests.airflow.installation import Airflow
from tests.aws.cloud import BUCKET, Cloud
from tests.aws.data import Flights, flights_use_case, toy_in, toy_use_case
from tests.aws.pipelines_interpreter import Pipelines
from tests.aws.sagemaker import SageMaker
from tests.aws.states import StateMachines, state_machines
from tests.aws.test_airflow import STEPS
from tests.aws.test_airflow import Engine as OnAirflow
from tests.aws.test_sagemaker_pipelines import Engine

TUNING = (
    "train: {tuning: {metric: 'validation:auc', direction: maximize, max_jobs: 3, parallel: 1, "
    "ranges: {auc: {min: 0.61, max: 0.99}}}}"
)
TUNED = ("{settings: {auc: 0.7}}", f"{{settings: {{auc: 0.7}}, {TUNING}}}")
GRID = (
    "max_jobs: 3, parallel: 1, ranges: {auc: {min: 0.61, max: 0.99}}",
    "max_jobs: 4, strategy: Grid, ranges: {auc: [0.65, 0.75], fail: [0, 3]}",
)


@pytest.fixture(scope="module")
def engine(toy_sagemaker: SageMaker, cloud: Cloud) -> Iterator[Engine]:
    toy_in(cloud)
    pipelines = Pipelines(toy_sagemaker)
    yield Engine(toy_sagemaker, pipelines)
    pipelines.close()


@pytest.fixture
def states(toy_sagemaker: SageMaker, cloud: Cloud) -> Iterator[StateMachines]:
    toy_in(cloud)
    with state_machines(cloud, toy_sagemaker) as states:
        yield states


def named(name: str) -> tuple[tuple[str, str], ...]:
    return (("name: toy", f"name: {name}"), (f"{BUCKET}/toy", f"{BUCKET}/toy"), TUNED)


def trainings(sagemaker: SageMaker, uri: str) -> dict[str, Any]:
    """The tuning job whose training has left the archive: its name, and its trainings' metrics by name."""
    best = uri.split("/")[-3]
    ((name, job),) = [
        (name, job)
        for (kind, name), job in sagemaker.jobs.items()
        if kind == "HyperParameterTuningJob" and any(of.name == best for of, _ in job.children)
    ]
    metrics = {
        of.name: of.more["FinalMetricDataList"][0]["Value"] for of, _ in job.children if of.status == "Completed"
    }
    return {"name": name, "best": best, "metrics": metrics, "job": job}


def run_machine(states: StateMachines, cloud: Cloud, use_case: Any, run: str) -> Any:
    rendered = render(use_case, specs(), {})
    for uri, content in rendered.uploads.items():
        cloud.put(uri, content)
    name = machine_name_of(use_case)
    states.create(name, definitions(rendered)["training"])
    return states.run(name, {}, run)


def machine_name_of(use_case: Any) -> str:
    return machine_name(site_of(use_case.manifest), "training")


# --- SageMaker Pipelines


def test_the_pipeline_releases_the_model_of_the_best_training(engine: Engine, tmp_path: Path) -> None:
    site = engine.deploy(toy_use_case(tmp_path, *named("tuned")))
    ended = engine.run(site, "training")
    release = engine.cloud.json(f"{site.storage}/releases/{ended.run}/release.json")
    found = trainings(engine.sagemaker, release["parts"]["model"]["uri"])
    package = engine.pipelines.packages[site.title][-1]

    assert len(set(found["metrics"].values())) == 3
    assert found["metrics"][found["best"]] == max(found["metrics"].values())
    assert release["metrics"]["validation:auc"] == pytest.approx(max(found["metrics"].values()))
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == release["parts"]["model"]["uri"]


def test_a_training_that_fails_is_passed_over(engine: Engine, tmp_path: Path) -> None:
    site = engine.deploy(toy_use_case(tmp_path, *named("passed-over"), GRID))
    ended = engine.run(site, "training")
    release = engine.cloud.json(f"{site.storage}/releases/{ended.run}/release.json")
    found = trainings(engine.sagemaker, release["parts"]["model"]["uri"])

    assert sorted(of.status for of, _ in found["job"].children) == ["Completed"] * 2 + ["Failed"] * 2
    assert sorted(found["metrics"].values()) == [0.65, 0.75]
    assert found["metrics"][found["best"]] == 0.75


def test_a_tuning_whose_trainings_all_fail_stops_the_pipeline_with_their_reason(engine: Engine, tmp_path: Path) -> None:
    site = engine.deploy(toy_use_case(tmp_path, *named("hopeless"), ("{auc: 0.7}", "{auc: 0.7, fail: 2}")))

    with pytest.raises(RunFailedError, match=r"All training jobs failed.*algorithm cannot go on: told so") as caught:
        engine.run(site, "training")
    assert caught.value.exit_code == 2


def test_a_metric_that_no_log_holds_stops_the_pipeline(engine: Engine, tmp_path: Path) -> None:
    site = engine.deploy(
        toy_use_case(tmp_path, *named("unheard"), ("metric: 'validation:auc'", "metric: 'validation:f1'"))
    )

    with pytest.raises(RunFailedError, match="objective metric"):
        engine.run(site, "training")


# --- Step Functions


def test_the_machine_releases_the_model_of_the_best_training(
    states: StateMachines, cloud: Cloud, toy_sagemaker: SageMaker, tmp_path: Path
) -> None:
    use_case = toy_use_case(tmp_path, *named("machine"), ("direction: maximize", "direction: minimize"))
    ended = run_machine(states, cloud, use_case, "tuned-1")

    assert (ended.status, ended.cause) == ("SUCCEEDED", "")
    release = cloud.json(ended.output["Release"])
    found = trainings(toy_sagemaker, release["parts"]["model"]["uri"])
    assert len(set(found["metrics"].values())) == 3
    assert found["metrics"][found["best"]] == min(found["metrics"].values())
    assert release["metrics"]["validation:auc"] == pytest.approx(min(found["metrics"].values()))
    assert release["parts"]["model"]["uri"].startswith(f"s3://{BUCKET}/toy/training/tuned-1/algorithm/")


def test_a_tuning_whose_trainings_all_fail_stops_the_machine_and_is_not_begun_again(
    states: StateMachines, cloud: Cloud, toy_sagemaker: SageMaker, tmp_path: Path
) -> None:
    changes = (("{auc: 0.7}", "{auc: 0.7, fail: 1}"), ("data:\n", "defaults: {retries: 2}\ndata:\n"))
    before = [key for key in toy_sagemaker.jobs if key[0] == "HyperParameterTuningJob"]
    ended = run_machine(states, cloud, toy_use_case(tmp_path, *named("futile"), *changes), "tuned-2")

    assert (ended.status, ended.error) == ("FAILED", "AlgorithmFailed")
    assert "All training jobs failed" in ended.cause
    assert "algorithm cannot go on: told so." in ended.cause
    assert len([key for key in toy_sagemaker.jobs if key[0] == "HyperParameterTuningJob"]) == len(before) + 1


# --- The flights, with the real components


def test_the_real_algorithm_is_tuned(cloud: Cloud, flights: Flights, sagemaker: SageMaker, tmp_path: Path) -> None:
    """The metric that is compared is that of the model which is kept, not of the last round."""
    ranges = "{max_depth: {min: 1, max: 8}, learning_rate: {min: 0.01, max: 0.5, scale: log}, subsample: [0.5, 1.0]}"
    train = f"train: {{tuning: {{metric: 'validation:auc', direction: maximize, max_jobs: 2, ranges: {ranges}}}}}"
    changes = (
        ("  monitoring:\n", f"    {train}\n  monitoring:\n"),
        ("name: flights\n", "name: tuned-flights\n"),
        ("pipelines:\n  training:\n", "pipelines:\n  inference: {steps: [processing, algorithm]}\n"
         "  training:\n    steps: [processing, algorithm]\n"),
        ("  then: retrain\n", "  then: notify\n"),
    )  # fmt: skip
    pipelines = Pipelines(sagemaker)
    engine = Engine(sagemaker, pipelines)
    try:
        site = engine.deploy(flights_use_case(tmp_path, *changes))
        ended = engine.run(site, "training")
    finally:
        pipelines.close()
    release = cloud.json(f"{site.storage}/releases/{ended.run}/release.json")
    found = trainings(sagemaker, release["parts"]["model"]["uri"])

    assert len(found["metrics"]) == 2
    assert found["metrics"][found["best"]] == max(found["metrics"].values())
    assert release["metrics"]["validation:auc"] == pytest.approx(found["metrics"][found["best"]], abs=1e-6)
    assert flights.storage == site.storage


# --- Airflow


@pytest.mark.airflow
def test_the_dag_releases_the_model_of_the_best_training(
    toy_sagemaker: SageMaker, cloud: Cloud, tmp_path: Path
) -> None:
    toy_in(cloud)
    airflow = Airflow(tmp_path, cloud.environment)
    airflow.install()
    with airflow.warmed() as warm:
        engine = OnAirflow.on(warm, cloud, toy_sagemaker)
        site = engine.deploy(toy_use_case(tmp_path, *named("tuned-dag"), STEPS))
        run = engine.airflow.test(f"{site.title}-training")

    assert run.state == "success", run.said[-3000:]
    release = cloud.json(str(cloud.parameter(site.pointer)))
    found = trainings(toy_sagemaker, release["parts"]["model"]["uri"])
    assert len(set(found["metrics"].values())) == 3
    assert found["metrics"][found["best"]] == max(found["metrics"].values())
