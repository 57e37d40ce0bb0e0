"""The /opt/ml contract: paths, names, hosts and messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.contract import MESSAGE_BYTES, Contract, Hosts, cut
from shared.errors import SettingsError


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def processing_config(**names: str) -> dict[str, object]:
    return {
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"LocalPath": path, "S3Uri": "s3://b/x"}, "DatasetDefinition": None}
            for name, path in names.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [{"OutputName": "state", "S3Output": {"LocalPath": "/opt/ml/processing/elsewhere"}}]
        },
    }


def test_the_root_is_opt_ml_unless_the_environment_says_otherwise(tmp_path: Path) -> None:
    assert Contract.from_environment({}).model == Path("/opt/ml/model")
    assert Contract.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)}).model == tmp_path / "model"


def test_an_empty_base_dir_variable_counts_as_unset() -> None:
    assert Contract.from_environment({"SAGEMAKER_BASE_DIR": ""}).root == Path("/opt/ml")


def test_inputs_are_found_by_name_and_follow_the_root(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    write(contract.processing_job_config, processing_config(raw="/opt/ml/processing/somewhere/raw"))

    assert contract.processing_inputs() == {"raw": tmp_path / "processing/somewhere/raw"}
    assert contract.processing_outputs() == {"state": tmp_path / "processing/elsewhere"}


def test_null_inputs_and_outputs_mean_none(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    write(contract.processing_job_config, {"ProcessingInputs": None, "ProcessingOutputConfig": None})

    assert contract.processing_inputs() == {}
    assert contract.processing_outputs() == {}


@pytest.mark.parametrize("path", ["/etc", "/opt/ml/../../etc", "relative"])
def test_a_local_path_outside_opt_ml_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(SettingsError, match="not below /opt/ml"):
        Contract(tmp_path).relocated(path)


def test_channels_are_those_of_the_configuration(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    write(contract.input_data_config, {"train": {"TrainingInputMode": "File"}})

    assert contract.channels() == {"train": tmp_path / "input/data/train"}


def test_without_a_configuration_the_mounted_folders_are_the_channels(tmp_path: Path) -> None:
    (tmp_path / "input/data/validation").mkdir(parents=True)

    assert Contract(tmp_path).channels() == {"validation": tmp_path / "input/data/validation"}


def test_ranks_follow_the_lexicographic_order_of_host_names(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    hosts = [f"algo-{i}" for i in range(1, 13)]
    write(contract.training_resource_config, {"current_host": "algo-2", "hosts": hosts})

    found = contract.hosts()

    assert found.all[:4] == ("algo-1", "algo-10", "algo-11", "algo-12")
    assert found.rank == 4
    assert not found.leads
    assert found.part == "part-0004-of-0012"


def test_a_lone_container_leads_itself() -> None:
    assert Hosts().leads


def test_a_configuration_that_is_no_json_is_one_sentence(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    write(contract.processing_job_config, "{")

    with pytest.raises(SettingsError, match="is no JSON"):
        contract.processing_inputs()


@pytest.mark.parametrize("length", range(1018, 1030))
def test_a_cut_message_is_valid_utf8_and_fits(length: int) -> None:
    text = "a" * length + "€" * 10

    kept = cut(text)

    assert len(kept) <= MESSAGE_BYTES
    assert text.startswith(kept.decode())


def test_a_failure_is_told_to_training_and_to_processing(tmp_path: Path) -> None:
    contract = Contract(tmp_path)

    contract.write_failure("the data is empty.")

    assert contract.failure.read_text() == contract.message.read_text() == "the data is empty."


def test_a_failure_is_told_to_one_where_the_other_cannot_be_written(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    contract.failure.mkdir(parents=True)

    with pytest.raises(IsADirectoryError):
        contract.write_failure("the data is empty.")

    assert contract.message.read_text() == "the data is empty."


def test_a_local_path_of_checkpoints_is_advised_as_one(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    write(contract.checkpoint_config, {"LocalPath": 5})

    with pytest.raises(SettingsError, match=r"Give a path such as /opt/ml/checkpoints\.$"):
        _ = contract.checkpoints
