"""Tuning in the manifest: what it may say, and the request that the algorithm's job becomes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines import choices
from pipelines.aws.shapes import problems as shape_problems
from pipelines.graph import Graph, TrainingJob, TuningJob, training_graph
from pipelines.manifest import Manifest, UseCase, read_manifest
from pipelines.settings import judge
from pipelines.tuning import metric_definitions
from shared.errors import SettingsError
from tests.aws import tuning as service
from tests.pipelines.test_graph import resolve

HEAD = """\
apiVersion: quartet/v1
name: toy
data: {train: {uri: a.csv}, target: late}
components:
  algorithm:
    settings: {max_depth: 6, eta: 0.1, objective: "binary:logistic", seed: 7}
    train:
      retries: 2
      tuning:
"""
FULL = """\
        metric: "validation:auc"
        direction: maximize
        max_jobs: 12
        parallel: 3
        early_stopping: auto
        ranges:
          max_depth: {min: 3, max: 10}
          learning_rate: {min: 0.01, max: 0.3, scale: log}
          gamma: {min: 0, max: 5}
          subsample: [0.6, 0.8, 1.0]
          hidden: [[64, 32], [128]]
"""


def declared(folder: Path, text: str = FULL, *changes: tuple[str, str]) -> UseCase:
    text = HEAD + text
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "use-case.yaml"
    path.write_text(text, encoding="utf-8")
    found = read_manifest(path)
    judge(found)
    return found


def refused(folder: Path, *changes: tuple[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        declared(folder, FULL, *changes)
    return str(caught.value).replace(f"{folder}/use-case.yaml:", "").splitlines()


def graph(manifest: Manifest, *, tunes: bool = True) -> Graph:
    return training_graph(manifest, specs(), tunes=tunes)


@pytest.fixture
def request_of(tmp_path: Path) -> dict[str, Any]:
    request: dict[str, Any] = graph(declared(tmp_path).manifest).job("algorithm").request(resolve)
    return request


def test_the_request_fits_the_service(request_of: dict[str, Any]) -> None:
    assert list(shape_problems("CreateHyperParameterTuningJob", request_of)) == []
    assert list(service.inconsistent(request_of)) == []


def test_ranges_are_of_the_kinds_that_the_settings_have(request_of: dict[str, Any]) -> None:
    """Gamma's ends are whole numbers, and the setting is not."""
    assert request_of["HyperParameterTuningJobConfig"] == {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3},
        "TrainingJobEarlyStoppingType": "Auto",
        "RandomSeed": 7,
        "ParameterRanges": {
            "IntegerParameterRanges": [
                {"Name": "max_depth", "MinValue": "3", "MaxValue": "10", "ScalingType": "Auto"},
            ],
            "ContinuousParameterRanges": [
                {"Name": "gamma", "MinValue": "0.0", "MaxValue": "5.0", "ScalingType": "Auto"},
                {"Name": "learning_rate", "MinValue": "0.01", "MaxValue": "0.3", "ScalingType": "Logarithmic"},
            ],
            "CategoricalParameterRanges": [
                {"Name": "hidden", "Values": ["[64, 32]", "[128]"]},
                {"Name": "subsample", "Values": ["0.6", "0.8", "1.0"]},
            ],
        },
    }


def test_a_fixed_setting_that_has_a_range_is_left_out_under_all_its_names(request_of: dict[str, Any]) -> None:
    assert request_of["TrainingJobDefinition"]["StaticHyperParameters"] == {
        "objective": "binary:logistic",
        "seed": "7",
    }


def test_each_training_is_as_a_training_job_would_be(tmp_path: Path) -> None:
    manifest = declared(tmp_path).manifest
    tuned = graph(manifest).job("algorithm").request(resolve)["TrainingJobDefinition"]
    once = graph(manifest, tunes=False).job("algorithm").request(resolve)

    assert {name: tuned[name] for name in ("InputDataConfig", "OutputDataConfig", "ResourceConfig", "RoleArn")} == {
        name: once[name] for name in ("InputDataConfig", "OutputDataConfig", "ResourceConfig", "RoleArn")
    }
    assert tuned["AlgorithmSpecification"]["TrainingImage"] == once["AlgorithmSpecification"]["TrainingImage"]
    assert tuned["RetryStrategy"] == {"MaximumRetryAttempts": 2}


def test_an_engine_that_cannot_tune_trains_once_with_the_settings_as_they_stand(tmp_path: Path) -> None:
    job = graph(declared(tmp_path).manifest, tunes=False).job("algorithm")

    assert type(job) is TrainingJob
    assert job.hyperparameters["max_depth"] == "6"
    assert job.hyperparameters["eta"] == "0.1"


def test_the_order_of_the_steps_stays_the_same(tmp_path: Path) -> None:
    manifest = declared(tmp_path).manifest

    assert isinstance(graph(manifest).job("algorithm"), TuningJob)
    assert graph(manifest).layers() == graph(manifest, tunes=False).layers()


LOG = """\
12:00 train-auc=0.91;
12:00 validation-auc=0.71;
12:00 validation-aucpr=0.6;
12:01 validation-auc=0.69;
12:01 train:auc=0.95;
12:01 validation:auc=0.71;
12:01 validation:auc_best=1;
"""


def test_the_expression_finds_each_round_and_last_the_model_that_is_kept() -> None:
    ((name, regex),) = [(item["Name"], item["Regex"]) for item in metric_definitions("validation:auc")]

    assert name == "validation:auc"
    assert re.findall(regex, LOG) == ["0.71", "0.69", "0.71"]


def test_a_metrics_name_is_no_expression() -> None:
    ((regex,),) = [[item["Regex"] for item in metric_definitions("validation:error@0.3")]]

    assert re.findall(regex, "validation-error@0.3=1e-3;\nvalidation-error@0x3=2;\n") == ["1e-3"]


def test_a_grid_trains_every_combination_and_names_no_number(tmp_path: Path) -> None:
    grid = """\
        {metric: "validation:logloss", direction: minimize, strategy: Grid, max_jobs: 6,
         ranges: {max_depth: [3, 6, 9], subsample: {values: [0.5, 1]}}}
"""
    request = graph(declared(tmp_path, grid).manifest).job("algorithm").request(resolve)

    assert request["HyperParameterTuningJobConfig"]["ResourceLimits"] == {"MaxParallelTrainingJobs": 2}
    assert list(service.inconsistent(request)) == []
    assert len({json.dumps(values) for values in service.drawn(request)}) == 6


REFUSED = [
    (("max_depth: {min", "max_dept: {min"), "16: {}.max_dept: no known setting. Did you mean 'max_depth'?"),
    (("max: 10}", "max: 31}"), "16: {}.max_depth.max: found 31, wanted a whole number of at least 1 and at most 30."),
    (("min: 3", "min: 3.5"), "16: {}.max_depth.min: found 3.5, wanted a whole number of at least 1 and at most 30."),
    (("0.8,", "1.8,"), "19: {}.subsample[1]: found 1.8, wanted a number above 0 and at most 1."),
    (("min: 3", "min: 12"), "16: {}.max_depth: found {{'min': 12, 'max': 10}}, wanted a min below a max"),
    (("min: 0.01", "min: 0"), "17: {}.learning_rate: found {{'min': 0, 'max': 0.3, 'scale': 'log'}}, wanted a min"),
    (("scale: log", "scale: logs"), "17: {}.learning_rate.scale: found 'logs', wanted 'auto', 'linear', 'log' or"),
    (("max: 10}", "max: 10, step: 2}"), "16: {}.max_depth.step: no known key. Known keys: min, max, scale, values."),
    (("0.8, 1.0", "0.6"), "19: {}.subsample: found [0.6, 0.6], wanted 2 to 30 values that are all different."),
    (("gamma: {min: 0, max: 5}", "eta: {min: 0.1, max: 0.2}"), "18: {}.eta: the same setting as 'learning_rate'"),
    (("subsample: [0.6, 0.8, 1.0]", "device: [cpu, cuda]"), "19: {}.device: no setting to tune: it decides"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_a_range_that_cannot_be_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    (found,) = refused(tmp_path, change)

    assert found.startswith(said.format("components.algorithm.train.tuning.ranges"))


OTHERS = [
    (("parallel: 3", "parallel: 11"), "parallel: found 11, wanted less than or equal to 10."),
    (("max_jobs: 12", "max_jobs: 751"), "max_jobs: found 751, wanted less than or equal to 750."),
    (("max_jobs: 12", "max_jobs: 2"), "wanted parallel of at most max_jobs, which is 2."),
    (("early_stopping: auto", "strategy: Grid"), "wanted lists of values alone, where strategy is Grid."),
    (("early_stopping: auto", "strategy: Hyperband"), "found 'Hyperband', wanted 'Bayesian', 'Random' or 'Grid'."),
    (('"validation:auc"', "train-auc"), "tuning.metric: found 'train-auc', wanted text that matches"),
    (("direction: maximize", "towards: maximize"), "tuning.towards: no known key. Known keys: metric, direction, "),
    (("retries: 2", "checkpoint: true"), "wanted either tuning or checkpoint"),
    (("  algorithm:\n    settings: {max_depth: 6, eta: 0.1, objective: \"binary:logistic\", seed: 7}", "  monitoring:"),
     "components.monitoring.train.tuning: no known key."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), OTHERS)
def test_what_the_service_would_refuse_is_refused_first(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert any(said in line for line in refused(tmp_path, change))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("engine: local\n", "engine local tunes nothing: it trains once, with the settings as they stand; "),
        ("engine: batch\n", "engine batch tunes nothing"),
        ("engine: step-functions\nplatform: batch\n", "engine step-functions on platform batch tunes nothing"),
        ("engine: step-functions\n", None),
        ("engine: sagemaker-pipelines\n", None),
        ("engine: airflow\n", None),
    ],
)
def test_where_nothing_is_tuned_one_sentence_says_so(tmp_path: Path, more: str, told: str | None) -> None:
    found = choices.untuned(declared(tmp_path, FULL, ("name: toy\n", f"name: toy\n{more}")).manifest)

    assert found is None if told is None else str(found).startswith(told)
