"""Settings from strings, files, variables and arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from shared.contract import Contract
from shared.errors import SettingsError
from shared.settings import Settings, argument_values, gathered, parsed


class Example(Settings):
    target: str | None = None
    max_depth: int = Field(6, ge=1, le=20)
    eta: float = 0.3
    verbose: bool = False
    ids: list[str] = Field(default=[])
    derive: dict[str, str] = Field(default={})
    impute: Literal["median", "mean"] = "median"


def from_sources(
    root: Path,
    environment: dict[str, str] | None = None,
    arguments: list[str] | None = None,
    folder: Path | None = None,
) -> Example:
    return gathered(Example, Contract(root), environment or {}, arguments or [], folder)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_depth", "7", 7),
        ("max_depth", "7.0", 7),
        ("eta", "1e-3", 0.001),
        ("eta", "0.30000000000000004", 0.30000000000000004),
        ("verbose", "true", True),
        ("verbose", "True", True),
        ("verbose", "1", True),
        ("target", "late", "late"),
        ("target", '"late"', "late"),
        ("target", "007", "007"),
        ("target", "true", "true"),
        ("target", "null", None),
        ("ids", '["a", "b"]', ["a", "b"]),
        ("ids", '"[\\"a\\"]"', ["a"]),
        ("ids", "a, b", ["a", "b"]),
        ("ids", "a", ["a"]),
        ("derive", '{"late": "arr_delay >= 15"}', {"late": "arr_delay >= 15"}),
        ("impute", '"mean"', "mean"),
    ],
)
def test_a_string_means_what_the_declared_type_says(name: str, text: str, value: object) -> None:
    assert getattr(parsed(Example, {name: text}), name) == value


def test_every_bad_value_is_named_in_one_sentence() -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(Example, {"max_depth": "0", "eta": "fast", "max_dept": "3", "impute": "mode"})

    text = str(caught.value)
    assert text.count("\n") == 0
    assert "max_depth is 0, wanted greater than or equal to 1" in text
    assert "eta is 'fast'" in text
    assert "'max_dept' is no setting. Did you mean 'max_depth'?" in text
    assert "impute is 'mode', wanted 'median' or 'mean'" in text


def test_a_number_whose_value_was_forgotten_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="`--eta` has no value, wanted `--eta value`"):
        from_sources(tmp_path, arguments=["--eta"])


@pytest.mark.parametrize("text", ["NaN", "Infinity", "inf"])
def test_a_number_must_be_finite(text: str) -> None:
    with pytest.raises(SettingsError, match="eta"):
        parsed(Example, {"eta": text})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Example().max_depth = 3  # type: ignore[misc]


def test_arguments_win_over_hyperparameters_over_variables_over_the_file(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    contract.hyperparameters.parent.mkdir(parents=True)
    contract.hyperparameters.write_text(json.dumps({"max-depth": "3", "eta": "0.3"}))
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"max_depth": 1, "eta": 0.1, "target": "file", "ids": ["file"]}))

    found = from_sources(
        tmp_path, {"QUARTET_MAX_DEPTH": "2", "QUARTET_ETA": "0.2", "QUARTET_TARGET": "env"}, ["--eta", "0.4"], folder
    )

    assert (found.eta, found.max_depth, found.target, found.ids) == (0.4, 3, "env", ["file"])


def test_what_sagemaker_adds_is_no_setting(tmp_path: Path) -> None:
    contract = Contract(tmp_path)
    contract.hyperparameters.parent.mkdir(parents=True)
    contract.hyperparameters.write_text(json.dumps({"sagemaker_program": "x", "_tuning_objective_metric": "auc"}))

    assert from_sources(tmp_path) == Example()


def test_a_yaml_file_may_be_named_by_an_argument(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("max_depth: 4\nids: [no, yes]\n")

    found = from_sources(tmp_path, arguments=["--settings", str(tmp_path / "s.yaml")])

    assert found.max_depth == 4
    assert found.ids == ["no", "yes"]


@pytest.mark.parametrize(
    ("content", "said"), [("a: [", "is no YAML"), ("- 1\n", "holds list"), (None, "does not exist")]
)
def test_a_settings_file_that_cannot_be_used_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match=said):
        from_sources(tmp_path, arguments=["--settings", str(path)])


def test_arguments_may_use_dashes_equals_signs_and_bare_flags() -> None:
    assert argument_values(["--max-depth=3", "--verbose", "--eta", "-1"]) == {
        "max_depth": "3",
        "verbose": "true",
        "eta": "-1",
    }


def test_an_argument_without_dashes_is_refused() -> None:
    with pytest.raises(SettingsError, match="'max_depth' is no setting"):
        argument_values(["max_depth", "3"])


def test_an_unknown_variable_with_our_prefix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="max_dept"):
        from_sources(tmp_path, {"QUARTET_MAX_DEPT": "2"})


def test_reserved_variables_are_no_settings(tmp_path: Path) -> None:
    assert from_sources(tmp_path, {"QUARTET_LOG": "json", "QUARTET_MODE": "train"}) == Example()


class Either(Settings):
    threshold: float | Literal["best"] = 0.5
    weights: Literal["balanced"] | dict[str, float] | None = None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"threshold": "worst"}, "threshold is 'worst', wanted a number or 'best'."),
        ({"weights": "even"}, "weights is 'even', wanted 'balanced' or a mapping."),
        ({"weights": {"0": "x"}}, "weights is {'0': 'x'}, wanted 'balanced' or '0' to be a number."),
    ],
)
def test_a_setting_that_may_be_several_things_is_told_once_with_all_of_them(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(Either, values)

    assert str(caught.value) == f"settings cannot be used: {said}"


def test_a_sentence_that_ends_in_a_question_ends_there() -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(Example, {"max_dept": 3})

    assert str(caught.value).endswith("Did you mean 'max_depth'?")
