"""The `/opt/ml` tree of a job, as SageMaker lays it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.graph import ProcessingJob, Raw, Reference, SettingsFile, TrainingJob
from pipelines.local.workspace import (
    download,
    failure_message,
    processing_tree,
    training_tree,
    upload_processing,
    upload_training,
    write_listing,
)
from pipelines.storage import uri_of
from shared.contract import Contract
from shared.errors import DataError


def request(job: ProcessingJob | TrainingJob, folder: Path) -> Any:
    """The job's request, its inputs in `folder/in` and its outputs in `folder/out`."""

    def resolve(reference: Reference) -> str:
        match reference:
            case Raw(source):
                return uri_of(folder / "in" / source)
            case SettingsFile():
                return uri_of(folder / "in/settings")
            case _:
                name = getattr(reference, "name", None) or getattr(reference, "step", "role")
                return uri_of(folder / "out" / str(name))

    return job.request(resolve)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in/train/sub").mkdir(parents=True)
    (tmp_path / "in/train/a.csv").write_text("1\n")
    (tmp_path / "in/train/sub/b.csv").write_text("2\n")
    return tmp_path


def test_a_processing_job_finds_inputs_and_outputs_by_the_names_in_its_configuration(source: Path) -> None:
    job = ProcessingJob("step", "processing", "train", inputs={"data": Raw("train")}, results=("state",))
    processing_tree(request(job, source), source / "ml")

    contract = Contract(source / "ml")
    assert contract.processing_inputs() == {"data": source / "ml/processing/input/data"}
    assert contract.processing_outputs() == {"state": source / "ml/processing/output/state"}
    assert (source / "ml/processing/input/data/sub/b.csv").read_text() == "2\n"
    assert (source / "ml/processing/output/state").is_dir()
    assert contract.hosts().all == ("algo-1",)


def test_the_configuration_holds_opt_ml_paths_and_null_for_what_was_not_set(source: Path) -> None:
    job = ProcessingJob("step", "processing", "train", inputs={"data": Raw("train")}, results=("state",))
    processing_tree(request(job, source), source / "ml")

    config = json.loads((source / "ml/config/processingjobconfig.json").read_text())
    assert config["ProcessingInputs"][0]["S3Input"]["LocalPath"] == "/opt/ml/processing/input/data"
    assert config["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["LocalPath"] == "/opt/ml/processing/output/state"
    assert config["ProcessingOutputConfig"]["KmsKeyId"] is None
    assert config["ProcessingInputs"][0]["DatasetDefinition"] is None
    assert set(config) == {
        "ProcessingJobArn",
        "ProcessingJobName",
        "AppSpecification",
        "Environment",
        "ProcessingInputs",
        "ProcessingOutputConfig",
        "ProcessingResources",
        "RoleArn",
        "StoppingCondition",
    }


def test_outputs_are_uploaded_without_links(source: Path) -> None:
    job = ProcessingJob("step", "processing", "train", inputs={"data": Raw("train")}, results=("state",))
    wanted = request(job, source)
    processing_tree(wanted, source / "ml")
    made = source / "ml/processing/output/state"
    (made / "state.json").write_text("{}")
    (made / "link.json").symlink_to("state.json")
    upload_processing(wanted, source / "ml")

    assert [path.name for path in (source / "out/state").iterdir()] == ["state.json"]


def test_a_training_job_has_the_three_configuration_files(source: Path) -> None:
    job = TrainingJob("step", "algorithm", "train", channels={"train": Raw("train")}, hyperparameters={"eta": "0.1"})
    training_tree(request(job, source), source / "ml")

    config = source / "ml/input/config"
    assert json.loads((config / "hyperparameters.json").read_text()) == {"eta": "0.1"}
    assert json.loads((config / "inputdataconfig.json").read_text()) == {
        "train": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    }
    resources = json.loads((config / "resourceconfig.json").read_text())
    assert resources["current_host"] == "algo-1"
    assert resources["hosts"] == ["algo-1"]
    assert resources["instance_groups"][0]["hosts"] == ["algo-1"]
    assert (source / "ml/input/data/train/a.csv").is_file()
    assert (source / "ml/model").is_dir()
    assert (source / "ml/output/data").is_dir()


def test_a_training_job_with_checkpoints_is_told_where_they_go(source: Path) -> None:
    job = TrainingJob("step", "algorithm", "train", channels={"train": Raw("train")}, checkpoint=True)
    training_tree(request(job, source), source / "ml")

    assert (source / "ml/checkpoints").is_dir()
    assert (
        json.loads((source / "ml/input/config/checkpointconfig.json").read_text())["LocalPath"] == "/opt/ml/checkpoints"
    )


def test_a_training_job_leaves_two_archives(source: Path) -> None:
    job = TrainingJob("step", "algorithm", "train", channels={"train": Raw("train")})
    wanted = request(job, source)
    training_tree(wanted, source / "ml")
    (source / "ml/model/model.ubj").write_text("m")
    (source / "ml/output/data/report.json").write_text("{}")
    upload_training(wanted, source / "ml")

    output = Path(wanted["OutputDataConfig"]["S3OutputPath"].removeprefix("file://"))
    assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*")) == [
        "output/model.tar.gz",
        "output/output.tar.gz",
        "report/report.json",
    ]


def test_a_listing_takes_the_files_that_it_names(source: Path) -> None:
    write_listing(source / "list", uri_of(source / "in/train"), ["sub/b.csv"])
    download(uri_of(source / "list"), "ManifestFile", source / "to", "data")

    assert [path.relative_to(source / "to").as_posix() for path in (source / "to").rglob("*.csv")] == ["sub/b.csv"]


def test_a_single_file_keeps_its_name(source: Path) -> None:
    download(uri_of(source / "in/train/a.csv"), "S3Prefix", source / "to", "data")

    assert (source / "to/a.csv").is_file()


def test_what_is_downloaded_is_a_copy(source: Path) -> None:
    download(uri_of(source / "in/train/a.csv"), "S3Prefix", source / "to", "data")
    (source / "to/a.csv").write_text("changed")

    assert (source / "in/train/a.csv").read_text() == "1\n"


def test_a_missing_and_an_empty_input_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match=r"input 'data': .*absent does not exist"):
        download(uri_of(tmp_path / "absent"), "S3Prefix", tmp_path / "to", "data")
    with pytest.raises(DataError, match=r"input 'data': .*empty is empty"):
        download(uri_of(tmp_path / "empty"), "S3Prefix", tmp_path / "to", "data")


def test_a_job_tells_its_failure_before_its_message(tmp_path: Path) -> None:
    assert failure_message(tmp_path) == ""
    (tmp_path / "output").mkdir()
    (tmp_path / "output/message").write_text("from message\n")
    assert failure_message(tmp_path) == "from message"
    (tmp_path / "output/failure").write_text("from failure")
    assert failure_message(tmp_path) == "from failure"
