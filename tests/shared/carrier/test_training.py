"""Training jobs that are described in S3."""

from __future__ import annotations

import io
import json
import signal
import tarfile

import pytest

from tests.shared.carrier.conftest import Batch, training, until


@pytest.fixture
def data(batch: Batch) -> str:
    """A channel of two rows."""
    batch.cloud.put(f"{batch.prefix}/data/one.csv", "id,x\na,1\nb,3\n")
    return f"{batch.prefix}/data/"


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as stream:
        files = [member for member in stream.getmembers() if member.isfile()]
        return {member.name: stream.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def test_a_training_job_leaves_the_two_archives_that_sagemaker_makes(batch: Batch, data: str) -> None:
    request = training(batch, {"data": data}, {"shift": "2"})
    done = batch.run({"CreateTrainingJob": request})

    assert done.code == 0, done.said
    found = batch.objects("out/algorithm/")
    assert sorted(found) == ["mean-1/output/model.tar.gz", "mean-1/output/output.tar.gz"]
    model = members(found["mean-1/output/model.tar.gz"])
    assert sorted(model) == ["manifest.json", "state.json"]
    assert json.loads(model["manifest.json"])["settings"]["shift"] == 2.0
    assert list(members(found["mean-1/output/output.tar.gz"])) == ["deep/report.json"]


def test_the_configuration_files_are_those_that_sagemaker_writes(batch: Batch, data: str) -> None:
    """Names and keys as the Developer Guide gives them: S3DistributionType, and no uri."""
    batch.run({"CreateTrainingJob": training(batch, {"data": data}, {"shift": "2"})})
    config = batch.tree / "input/config"
    read = {path.name: json.loads(path.read_text()) for path in config.iterdir()}

    assert read["hyperparameters.json"] == {"shift": "2"}
    assert read["inputdataconfig.json"] == {
        "data": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    }
    hosts = read["resourceconfig.json"]
    assert hosts["current_host"] == "algo-1"
    assert hosts["hosts"] == ["algo-1"]
    assert hosts["current_instance_type"] == "ml.m5.xlarge"
    assert hosts["instance_groups"][0]["hosts"] == ["algo-1"]
    assert sorted(read) == ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"]
    assert (batch.tree / "input/data/data/one.csv").is_file()


def test_checkpoints_come_before_the_program_and_go_back_also_when_it_is_stopped(batch: Batch, data: str) -> None:
    kept = f"{batch.prefix}/kept"
    batch.cloud.put(f"{kept}/old/1.json", "{}")
    request = training(
        batch, {"data": data}, {"end": "SIGCONT"},
        CheckpointConfig={"S3Uri": kept, "LocalPath": "/opt/ml/checkpoints"},
    )  # fmt: skip
    uri = batch.described({"CreateTrainingJob": request, "Failure": f"{batch.prefix}/out/failure"})
    with batch.started("--job", uri) as process:
        until((batch.tree / "output/data").is_dir)
        until(lambda: any((batch.tree / "output/data").glob(".staging-*")))
        assert (batch.tree / "checkpoints/old/1.json").is_file()
        (batch.tree / "checkpoints/2.json").write_text("2")
        (batch.tree / "checkpoints/.3.json").write_text("half")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 143, said
    assert batch.objects("kept/") == {"old/1.json": b"{}", "2.json": b"2"}
    # No model was made, and an archive of nothing would pass for one.
    assert batch.objects("out/") == {"failure": b"stopped by SIGTERM."}


def test_several_machines_are_refused(batch: Batch, data: str) -> None:
    request = training(batch, {"data": data}, {})
    request["ResourceConfig"]["InstanceCount"] = 2
    done = batch.run({"CreateTrainingJob": request})

    assert done.code == 2
    assert "training on AWS Batch runs on one machine, the job wants 2. Ask for one." in done.said
