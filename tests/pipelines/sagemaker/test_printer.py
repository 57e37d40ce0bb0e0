"""The definitions of the two pipelines, as they are printed."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.manifest import UseCase
from pipelines.sagemaker import render
from shared.errors import SettingsError
from tests.aws.data import CALM, DIGESTS, flights_use_case, toy_use_case
from tests.aws.pipelines_interpreter import every_step, needed, unresolved
from tests.aws.sagemaker import validated

README = Path(__file__).parents[3] / "pipelines/sagemaker/README.md"
OPERATIONS = {
    "Processing": ("CreateProcessingJob", "ProcessingJobName"),
    "Training": ("CreateTrainingJob", "TrainingJobName"),
    "Transform": ("CreateTransformJob", "TransformJobName"),
    "Model": ("CreateModel", "ModelName"),
    "RegisterModel": ("CreateModelPackage", "ModelPackageDescription"),
}
Definition = dict[str, Any]


def printed(use_case: UseCase, **options: Any) -> dict[str, Definition]:
    """The definitions by pipeline."""
    files = render(use_case, specs(), {}, **options).files
    return {name.removesuffix(".json"): json.loads(content) for name, content in files.items()}


@pytest.fixture
def flights(tmp_path: Path) -> dict[str, Definition]:
    return printed(flights_use_case(tmp_path))


def steps(definition: Definition) -> dict[str, Mapping[str, Any]]:
    return {step["Name"]: step for step in every_step(definition["Steps"])}


def filled(node: Any) -> Any:
    """A request with an example in the place of each reference."""
    if isinstance(node, Mapping):
        if set(node) == {"Get"}:
            path = node["Get"]
            return (
                "abc123def456" if path.endswith(("ExecutionId", "ModelName", "StartedBy")) else "s3://bucket/some/where"
            )
        if set(node) == {"Std:Join"}:
            return node["Std:Join"]["On"].join(filled(item) for item in node["Std:Join"]["Values"])
        return {key: filled(item) for key, item in node.items()}
    return [filled(item) for item in node] if isinstance(node, list) else node


def requests(definition: Definition) -> Iterator[tuple[str, Any]]:
    """Every request that the pipeline makes, with examples for what is known only then."""
    for step in every_step(definition["Steps"]):
        if step["Type"] in OPERATIONS:
            operation, name = OPERATIONS[step["Type"]]
            yield operation, {name: "example", **filled(step["Arguments"])}


def test_every_request_fits_the_service(flights: dict[str, Definition]) -> None:
    found = [operation for definition in flights.values() for operation, request in requests(definition)
             if validated(operation, request)]  # fmt: skip

    assert sorted(found) == [
        *["CreateModel", "CreateModelPackage"],
        *["CreateProcessingJob"] * 7,
        *["CreateTrainingJob", "CreateTransformJob"],
    ]


def test_every_reference_leads_somewhere(flights: dict[str, Definition]) -> None:
    for definition in flights.values():
        assert list(unresolved(definition)) == []


def test_steps_and_what_they_wait_for(flights: dict[str, Definition]) -> None:
    training = {name: needed(step) for name, step in steps(flights["training"]).items()}
    inference = {name: needed(step) for name, step in steps(flights["inference"]).items()}

    assert training["processing"] == set()
    assert training["algorithm"] == {"processing"}
    assert training["monitoring"] == {"algorithm"}
    assert training["explainability"] == {"processing", "algorithm"}
    assert training["release"] == {"processing", "algorithm", "monitoring", "explainability"}
    assert training["gates"] == {"release"}
    assert inference["algorithm"] == {"processing", "algorithm-model"}
    assert inference["monitoring"] == {"algorithm"}
    assert inference["explainability"] == {"processing"}
    assert inference["drift"] == {"monitoring"}


def test_the_parameters_have_the_names_that_all_engines_share(flights: dict[str, Definition]) -> None:
    training, inference = (
        {item["Name"]: item.get("DefaultValue") for item in flights[name]["Parameters"]}
        for name in ("training", "inference")
    )

    assert set(training) == {"TrainData", "StartedBy", "Parent"}
    assert training["StartedBy"] == "command"
    assert training["TrainData"].endswith("/train.manifest")
    assert set(inference) == {
        *("ScoreData", "Labels", "Period", "Release"),
        *("Model", "State", "Baseline", "Explainer"),
    }
    assert inference["Period"] == "none"
    assert inference["Labels"].endswith("/labels.csv")
    assert {name for name, default in inference.items() if default is None} == {
        *("ScoreData", "Release", "Model", "State", "Baseline", "Explainer")
    }


def test_the_readme_lists_the_parameters(flights: dict[str, Definition]) -> None:
    section = README.read_text(encoding="utf-8").partition("## Parameters")[2].partition("\n## ")[0]
    listed = re.findall(r"^\|[^|]*\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)

    names = [name for cell in listed for name in re.findall(r"`(\w+)`", cell)]
    declared = [item["Name"] for name in ("training", "inference") for item in flights[name]["Parameters"]]
    assert sorted(names) == sorted(declared)


def test_the_readme_lists_the_steps(flights: dict[str, Definition]) -> None:
    section = README.read_text(encoding="utf-8").partition("## Steps")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`.*?) \| (\w+(?:, \w+)*) \|", section, re.MULTILINE)

    listed = {
        (name, kind) for names, kinds in rows for name in re.findall(r"`([\w-]+)`", names) for kind in kinds.split(", ")
    }
    made = {(name, step["Type"]) for definition in flights.values() for name, step in steps(definition).items()}
    assert made <= listed


def test_conditions_read_the_verdicts(flights: dict[str, Definition]) -> None:
    def read(definition: Definition, name: str) -> tuple[Any, ...]:
        step = steps(definition)[name]["Arguments"]
        (test,) = step["Conditions"]
        value = test["LeftValue"]["Std:JsonGet"]
        then = [item["Name"] for item in step["IfSteps"]]
        return test["Type"], test["RightValue"], value["PropertyFile"]["Get"], value["Path"], then, step["ElseSteps"]

    assert read(flights["training"], "gates") == (
        *("Equals", True, "Steps.release.PropertyFiles.verdict", "gates_met"),
        *(["register"], []),
    )
    assert read(flights["inference"], "drift") == (
        *("Equals", True, "Steps.monitoring.PropertyFiles.drift", "detected"),
        *(["drift-event"], []),
    )
    file = {"PropertyFileName": "drift", "OutputName": "report", "FilePath": "drift.json"}
    assert steps(flights["inference"])["monitoring"]["PropertyFiles"] == [file]
    assert "PropertyFiles" not in steps(flights["training"])["monitoring"]


def test_outputs_lie_below_the_run_and_the_release_by_itself(flights: dict[str, Definition]) -> None:
    def places(definition: Definition, name: str) -> set[str]:
        arguments = filled(steps(definition)[name]["Arguments"])
        return {output["S3Output"]["S3Uri"] for output in arguments["ProcessingOutputConfig"]["Outputs"]}

    base, run = "s3://quartet-test/flights", "abc123def456"
    assert f"{base}/training/{run}/processing/state" in places(flights["training"], "processing")
    assert places(flights["training"], "release") == {f"{base}/releases/{run}"}
    assert f"{base}/inference/{run}/monitoring/report" in places(flights["inference"], "monitoring")
    algorithm = filled(steps(flights["training"])["algorithm"]["Arguments"])
    assert algorithm["OutputDataConfig"]["S3OutputPath"] == f"{base}/training/{run}/algorithm"


def test_the_release_step_is_told_who_and_what(flights: dict[str, Definition]) -> None:
    assert steps(flights["training"])["release"]["Arguments"]["Environment"] == {
        "QUARTET_RUN": {"Get": "Execution.PipelineExecutionId"},
        "QUARTET_STARTED_BY": {"Get": "Parameters.StartedBy"},
        "QUARTET_PARENT": {"Get": "Parameters.Parent"},
        "QUARTET_DATA": {"Get": "Parameters.TrainData"},
    }


def test_jobs_are_named_by_the_service(flights: dict[str, Definition]) -> None:
    for definition in flights.values():
        for step in every_step(definition["Steps"]):
            assert not {"ProcessingJobName", "TrainingJobName", "TransformJobName"} & set(step["Arguments"])


def test_caching_is_for_training_steps_when_the_manifest_wants_it(tmp_path: Path) -> None:
    change = ("training: {gates", "training: {cache: 30d, gates")
    cached = printed(toy_use_case(tmp_path, change))
    having = {
        name for definition in cached.values() for name, step in steps(definition).items() if "CacheConfig" in step
    }

    assert having == {"processing", "algorithm", "monitoring", "explainability"}
    assert steps(cached["training"])["algorithm"]["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P30D"}
    assert not any("CacheConfig" in step for step in steps(printed(toy_use_case(tmp_path))["training"]).values())


def test_retries_are_the_manifests(tmp_path: Path) -> None:
    change = ("algorithm: {settings: {auc: 0.7}", "algorithm: {train: {retries: 4}, settings: {auc: 0.7}")
    found = steps(printed(toy_use_case(tmp_path, change))["training"])

    def attempts(name: str) -> dict[str, int]:
        return {
            kind: policy["MaxAttempts"] for policy in found[name]["RetryPolicies"] for kind in policy["ExceptionType"]
        }

    assert attempts("algorithm")["SageMaker.CAPACITY_ERROR"] == 4
    assert "SageMaker.CAPACITY_ERROR" not in attempts("processing")
    assert attempts("processing")["Step.THROTTLING"] == 5


def test_without_a_drift_policy_nobody_is_told(tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("drift: {then: retrain, with: {periods: 2}}\n", ""))

    assert not {"drift", "drift-event"} & set(steps(printed(use_case)["inference"]))


def test_without_monitoring_nothing_is_compared(tmp_path: Path) -> None:
    wanted = "[processing, algorithm, explainability]"
    change = ("  training: {gates", f"  inference: {{steps: {wanted}}}\n  training: {{steps: {wanted}, gates")
    found = printed(toy_use_case(tmp_path, change))
    arguments = steps(found["training"])["register"]["Arguments"]

    assert set(arguments["ModelMetrics"]) == {"ModelQuality", "Explainability"}
    assert "drift" not in steps(found["inference"])
    assert "Baseline" not in {item["Name"] for item in found["inference"]["Parameters"]}
    assert [list(unresolved(definition)) for definition in found.values()] == [[], []]


def test_without_an_algorithm_there_is_nothing_to_register(tmp_path: Path) -> None:
    changes = (
        ('gates: [{metric: "validation:auc", min: 0.6}], ', "steps: [processing], "),
        ("  training:", "  inference: {steps: [processing]}\n  training:"),
    )
    found = printed(toy_use_case(tmp_path, *changes))

    assert steps(found["training"])["gates"]["Arguments"]["IfSteps"] == []
    assert list(unresolved(found["training"])) == []


def test_without_data_to_score_there_is_one_pipeline(tmp_path: Path) -> None:
    change = ('  score: {uri: "{storage}/raw/score/{period}.csv"}\n', "")

    assert set(printed(toy_use_case(tmp_path, change))) == {"training"}


def test_approval_is_the_manifests(tmp_path: Path) -> None:
    manual = printed(toy_use_case(tmp_path, ("approve: automatic", "approve: manual")))

    assert steps(manual["training"])["register"]["Arguments"]["ModelApprovalStatus"] == "PendingManualApproval"


def test_an_environment_has_names_and_sizes_of_its_own(tmp_path: Path) -> None:
    change = ("data:\n", "environments: {prod: {storage: 's3://prod', defaults: {instance: ml.m5.4xlarge}}}\ndata:\n")
    found = printed(toy_use_case(tmp_path, change), environment="prod")
    step = steps(found["training"])

    assert step["register"]["Arguments"]["ModelPackageGroupName"] == "quartet-toy-prod"
    assert step["algorithm"]["Arguments"]["ResourceConfig"]["InstanceType"] == "ml.m5.4xlarge"
    assert filled(step["algorithm"]["Arguments"])["OutputDataConfig"]["S3OutputPath"].startswith("s3://prod/training/")
    assert steps(found["inference"])["drift-event"]["SqsQueueUrl"].endswith("/quartet-toy-prod-drift")


def test_uploads_are_what_the_steps_read(tmp_path: Path) -> None:
    rendered = render(flights_use_case(tmp_path), specs(), {})
    named = {uri.rpartition("/")[2] for uri in rendered.uploads}
    text = b"".join(rendered.files.values()).decode()

    assert named == {"settings.json", "train.manifest", "labels.csv"}
    for uri, content in rendered.uploads.items():
        assert uri.split("/")[-2] == hashlib.sha256(content).hexdigest()[:16]
        assert uri.removesuffix("/settings.json") in text


def test_an_image_by_tag_is_refused(tmp_path: Path) -> None:
    change = (f", digest: '{DIGESTS['monitoring']}'", "")

    with pytest.raises(
        SettingsError, match=r"the image of 'monitoring' is '.*/quartet/monitoring', wanted one by digest"
    ):
        printed(toy_use_case(tmp_path, change))


def test_a_value_that_no_service_takes_is_named_with_its_path(tmp_path: Path) -> None:
    change = ("data:\n", f"defaults: {{tags: {{a: {'x' * 300}}}}}\ndata:\n")

    with pytest.raises(SettingsError, match=r"CreateProcessingJob\.Tags\[0\]\.Value is 300 long, wanted at most 256"):
        printed(toy_use_case(tmp_path, change))


def test_the_same_manifest_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path)
    program = (
        "import sys, hashlib; from pathlib import Path; from components.spec import specs;"
        "from pipelines.manifest import read_manifest; from pipelines.sagemaker import render;"
        "made = render(read_manifest(Path(sys.argv[1])), specs(), {});"
        "print(hashlib.sha256(repr([sorted(made.files.items()), sorted(made.uploads.items())]).encode()).hexdigest())"
    )
    command = [sys.executable, "-c", program, str(use_case.document.path)]
    root = Path(__file__).parents[3]
    digests = {
        subprocess.run(
            command, cwd=root, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1


def test_periods_are_for_who_starts_a_run(flights: dict[str, Definition]) -> None:
    assert CALM not in json.dumps(flights["inference"])
