"""Processing jobs that are described in S3: the tree, the program, the outputs."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.shared.carrier.conftest import Batch, processing, until

ROWS = "id,x\na,1\nb,3\n"


@pytest.fixture
def data(batch: Batch) -> str:
    """A prefix with two objects, one in a folder, beside another prefix that starts alike."""
    batch.cloud.put(f"{batch.prefix}/data/one.csv", "id,x\na,1\n")
    batch.cloud.put(f"{batch.prefix}/data/deep/two.csv", "id,x\nb,3\n")
    batch.cloud.put(f"{batch.prefix}/data/", b"")
    batch.cloud.put(f"{batch.prefix}/database/other.csv", "id,x\nc,100\n")
    return f"{batch.prefix}/data"


def train(batch: Batch, data: Any, **environment: str) -> dict[str, Any]:
    request = processing(batch, ["train"], {"data": data}, ["state", "report"])
    return {"CreateProcessingJob": {**request, "Environment": environment}, "Failure": f"{batch.prefix}/out/failure"}


def files(batch: Batch) -> list[str]:
    return sorted(path.relative_to(batch.tree).as_posix() for path in batch.tree.rglob("*") if path.is_file())


def test_the_tree_is_the_one_that_sagemaker_lays_out_and_outputs_keep_their_names(batch: Batch, data: str) -> None:
    done = batch.run(train(batch, data))

    assert done.code == 0, done.said
    assert files(batch) == [
        "config/processingjobconfig.json",
        "config/resourceconfig.json",
        "output/message",
        "processing/input/data/deep/two.csv",
        "processing/input/data/one.csv",
        "processing/output/report/deep/report.json",
        "processing/output/state/manifest.json",
        "processing/output/state/state.json",
    ]
    config = json.loads((batch.tree / "config/processingjobconfig.json").read_text())
    assert config["ProcessingJobName"] == "mean-1"
    assert config["AppSpecification"]["ContainerArguments"] == ["train"]
    (source,) = config["ProcessingInputs"]
    assert source["S3Input"]["LocalPath"] == "/opt/ml/processing/input/data"
    assert source["DatasetDefinition"] is None
    assert config["ProcessingOutputConfig"]["KmsKeyId"] is None
    assert config["ProcessingOutputConfig"]["Outputs"][0]["FeatureStoreOutput"] is None
    hosts = json.loads((batch.tree / "config/resourceconfig.json").read_text())
    assert hosts == {"current_host": "algo-1", "hosts": ["algo-1"]}
    found = batch.objects("out/")
    assert sorted(found) == ["report/deep/report.json", "state/manifest.json", "state/state.json"]
    assert json.loads(found["state/state.json"]) == {"mean": 2.0}


def test_an_object_alone_is_an_input_under_its_own_name(batch: Batch, data: str) -> None:
    done = batch.run(train(batch, f"{data}/one.csv"))

    assert done.code == 0, done.said
    assert json.loads(batch.objects("out/")["state/state.json"]) == {"mean": 1.0}
    assert (batch.tree / "processing/input/data/one.csv").is_file()


def test_a_manifest_file_lists_the_objects_of_an_input(batch: Batch, data: str) -> None:
    listing = batch.cloud.put(
        f"{batch.prefix}/train.manifest",
        json.dumps([{"prefix": f"{batch.prefix}/"}, "database/other.csv", "data/one.csv"]),
    )
    done = batch.run(train(batch, {"S3Uri": listing, "S3DataType": "ManifestFile"}))

    assert done.code == 0, done.said
    assert json.loads(batch.objects("out/")["state/state.json"]) == {"mean": 50.5}


def test_the_programs_environment_is_the_jobs_and_speaks_no_more_of_the_carrier(batch: Batch, data: str) -> None:
    uri = batch.described(train(batch, data, QUARTET_SHIFT="2"))
    with batch.started(QUARTET_JOB=uri, QUARTET_RUN="r-1") as process:
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert json.loads(batch.objects("out/")["state/manifest.json"])["settings"]["shift"] == 2.0


def test_holes_are_filled_with_the_runs_values(batch: Batch, data: str) -> None:
    description = train(batch, "{Data}") | {"Parameters": ["Run", "Data"]}
    for output in description["CreateProcessingJob"]["ProcessingOutputConfig"]["Outputs"]:
        output["S3Output"]["S3Uri"] = f"{batch.prefix}/runs/{{Run}}/{output['OutputName']}"
    # Braces that are no hole stay as they are.
    description["CreateProcessingJob"]["Environment"]["NOTE"] = "{period} {Run}"
    done = batch.run(description, "--Data", data, "--Run=r-1")

    assert done.code == 0, done.said
    assert "r-1/state/state.json" in batch.objects("runs/")
    config = json.loads((batch.tree / "config/processingjobconfig.json").read_text())
    assert config["Environment"]["NOTE"] == "{period} r-1"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "wants 'Run': give --Run and its value"),
        (["--Run", "r-1", "--Dat", "x"], "has no parameter 'Dat'. It has 'Run'."),
        (["--Run"], "argument '--Run' is no pair"),
        (["train"], "argument 'train' is no pair"),
    ],
)
def test_values_that_fit_no_hole_are_named(batch: Batch, data: str, arguments: list[str], sentence: str) -> None:
    done = batch.run(train(batch, data) | {"Parameters": ["Run"]}, *arguments)

    assert done.code == 2
    assert sentence in done.said


def test_a_job_that_fails_keeps_its_exit_code_and_tells_why_beside_its_outputs(batch: Batch, data: str) -> None:
    done = batch.run(train(batch, data, QUARTET_SHIFT="-1"))

    assert done.code == 2
    assert batch.objects("out/") == {"failure": (batch.tree / "output/failure").read_bytes()}
    assert b"shift is -1, wanted greater than or equal to 0" in batch.objects("out/")["failure"]


def test_an_internal_error_is_exit_code_1_which_may_go_well_another_time(batch: Batch, data: str) -> None:
    done = batch.run(train(batch, data, QUARTET_END="crash"))

    assert done.code == 1
    assert b"ZeroDivisionError" in batch.objects("out/")["failure"]


def test_bad_data_are_exit_code_3(batch: Batch) -> None:
    batch.cloud.put(f"{batch.prefix}/data/one.csv", "id,x\na,many\n")
    done = batch.run(train(batch, f"{batch.prefix}/data"))

    assert done.code == 3
    assert batch.objects("out/")["failure"]


def test_a_program_that_is_killed_is_told_so(batch: Batch, data: str) -> None:
    """As the kernel does when memory runs out: the program can write nothing itself."""
    done = batch.run(train(batch, data, QUARTET_END="SIGKILL"))

    assert done.code == 137
    # What it had not finished stays where it is.
    assert any((batch.tree / "processing/output/report").glob(".staging-*/deep/report.json"))
    (name, reason), *more = batch.objects("out/").items()
    assert (name, more) == ("failure", [])
    assert b"ended by SIGKILL. It may have used more memory than the job has." in reason


def test_sigterm_reaches_the_program_and_its_reason_is_uploaded(batch: Batch, data: str) -> None:
    """The program waits for a signal that never comes; it is stopped by ours."""
    uri = batch.described(train(batch, data, QUARTET_END="SIGCONT"))
    with batch.started("--job", uri) as process:
        until(lambda: any((batch.tree / "processing/output/report").glob(".staging-*/deep/report.json")))
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 143, said
    assert batch.objects("out/") == {"failure": b"stopped by SIGTERM."}
    # The program's own word: nobody else writes this file.
    assert (batch.tree / "output/failure").read_text() == "stopped by SIGTERM."


def test_sigterm_while_nothing_is_there_yet_ends_at_once(batch: Batch, data: str) -> None:
    uri = batch.described(train(batch, data))
    with batch.started("--job", uri) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert process.returncode in (143, -signal.SIGTERM)
    assert "state/state.json" not in batch.objects("out/")


@pytest.mark.parametrize(
    ("description", "code", "sentence"),
    [
        ("[1", 2, "is no JSON"),
        ("[1]", 2, "holds a list, wanted a JSON object"),
        ({"CreateEndpoint": {}}, 2, "has the requests 'CreateEndpoint', wanted one of 'CreateProcessingJob'"),
        ({"CreateTransformJob": {}}, 2, "(and 'CreateModel' with the last)"),
        ({"CreateProcessingJob": {}}, 1, "internal error: KeyError: 'AppSpecification'"),
    ],
)
def test_a_description_that_is_none_is_refused(batch: Batch, description: Any, code: int, sentence: str) -> None:
    done = batch.run(description)

    assert done.code == code
    assert sentence in done.said


def test_a_description_for_another_image_is_refused(batch: Batch, data: str) -> None:
    description = train(batch, data)
    description["CreateProcessingJob"]["AppSpecification"]["ContainerEntrypoint"][2] = "components.median"
    done = batch.run(description)

    assert done.code == 2
    assert "components.median" in done.said
    assert b"Use its image." in batch.objects("out/")["failure"]


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"S3Uri": "s3://{bucket}/nothing"}, 3, "holds no object, wanted one or more"),
        ({"S3Uri": "s3://no-such-bucket-here/x"}, 3, "there is no such bucket"),
        ({"S3Uri": "/data"}, 2, "is not in S3, wanted s3://bucket/key"),
        ({"S3DataType": "AugmentedManifestFile"}, 2, "wanted one of S3Prefix, ManifestFile"),
        ({"S3InputMode": "Pipe"}, 2, "wanted S3InputMode File"),
    ],
)
def test_an_input_that_cannot_be_had_is_named(
    batch: Batch, data: str, change: dict[str, str], code: int, sentence: str
) -> None:
    change = {name: value.replace("{bucket}", batch.prefix.split("/")[2]) for name, value in change.items()}
    done = batch.run(train(batch, {"S3Uri": data, **change}))

    assert done.code == code
    assert sentence in done.said


def test_a_key_that_leads_out_of_its_folder_is_refused(batch: Batch) -> None:
    listing = json.dumps([{"prefix": f"{batch.prefix}/"}, "../../escape.csv"])
    uri = batch.cloud.put(f"{batch.prefix}/train.manifest", listing)
    done = batch.run(train(batch, {"S3Uri": uri, "S3DataType": "ManifestFile"}))

    assert done.code == 3
    assert "has a name that leads out of its folder" in done.said


def test_an_array_shares_out_the_objects_and_names_parts_by_rank(batch: Batch, data: str) -> None:
    """Three objects for two children, and a third child's share of none; every row comes out once."""
    batch.run(train(batch, data))
    batch.cloud.put(f"{batch.prefix}/new/a.csv", "id,x\na,1\n")
    batch.cloud.put(f"{batch.prefix}/new/b.csv", "id,x\nb,2\n")
    batch.cloud.put(f"{batch.prefix}/new/c.csv", "id,x\nc,3\n")
    new = {"S3Uri": f"{batch.prefix}/new", "S3DataDistributionType": "ShardedByS3Key"}
    request = processing(batch, ["serve"], {"data": new, "state": f"{batch.prefix}/out/state"}, ["data"])
    for index in range(4):
        child = Batch(batch.cloud, batch.folder, {"SAGEMAKER_BASE_DIR": str(batch.folder / f"ml-{index}")})
        done = child.run(
            {"CreateProcessingJob": request}, AWS_BATCH_JOB_ARRAY_INDEX=str(index), AWS_BATCH_JOB_ARRAY_SIZE="4"
        )
        assert done.code == 0, done.said

    assert batch.objects("out/data/") == {
        "part-0000-of-0004.csv": b"a,-1.0\n",
        "part-0001-of-0004.csv": b"b,0.0\n",
        "part-0002-of-0004.csv": b"c,1.0\n",
    }


def test_an_array_with_nothing_to_share_out_is_refused(batch: Batch, data: str) -> None:
    done = batch.run(train(batch, data), AWS_BATCH_JOB_ARRAY_INDEX="1", AWS_BATCH_JOB_ARRAY_SIZE="2")

    assert done.code == 2
    assert "no input is shared out among them" in done.said
    assert "failure-0001" in batch.objects("out/")
