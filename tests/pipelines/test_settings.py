"""Settings that a manifest gives are judged as the components themselves would, and never more strictly."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from components.spec import NAMES
from pipelines.manifest import read_manifest
from pipelines.settings import FOLDER, judge, problems, schema_of
from shared.component import Component
from shared.errors import SettingsError
from shared.settings import parsed

MANIFEST = """\
apiVersion: quartet/v1
name: churn
data:
  train: {uri: train.csv}
components:
  processing:
    settings:
      target: churned
      splitt: {validation: 0.2}
  algorithm:
    settings: {max_depth: 0, eta: 0.1}
    train:
      settings:
        learning_rat: 0.1
  monitoring: {settings: {minimum_effect: a lot}}
"""


def component(name: str) -> Component:
    """The live component, which only tests may import here."""
    found: Component = importlib.import_module(f"components.{name}.component").COMPONENT
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_are_those_of_the_components(name: str) -> None:
    live = component(name).settings.model_json_schema()

    assert json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) == live, "run `make schemas`"


def test_every_problem_has_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "use-case.yaml"
    path.write_text(MANIFEST)

    with pytest.raises(SettingsError) as caught:
        judge(read_manifest(path))
    assert str(caught.value).splitlines() == [
        f"{path}:9: components.processing.settings.splitt: no known setting. Did you mean 'split'?",
        f"{path}:11: components.algorithm.settings.max_depth: found 0, wanted a whole number of at least 1 and "
        "at most 30.",
        f"{path}:14: components.algorithm.train.settings.learning_rat: no known setting. Did you mean 'learning_rate'?",
        f"{path}:15: components.monitoring.settings.minimum_effect: found 'a lot', wanted a number of at least 0 and "
        "at most 2.",
    ]


def test_of_very_many_unknown_settings_a_hundred_are_told(tmp_path: Path) -> None:
    path = tmp_path / "use-case.yaml"
    path.write_text(MANIFEST + "  explainability:\n    settings:\n" + "".join(f"      x{n}: 1\n" for n in range(1096)))

    with pytest.raises(SettingsError) as caught:
        judge(read_manifest(path))
    assert (len(str(caught.value).splitlines()), str(caught.value).splitlines()[-1]) == (101, "and 1,000 more.")


@pytest.mark.parametrize("path", sorted(FOLDER.parent.glob("*/use-case.yaml")), ids=lambda path: str(path.parent.name))
def test_the_manifests_here_are_fine(path: Path) -> None:
    judge(read_manifest(path))


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("processing", {"target": "y", "split": {"by": "random", "validation": 0.3}, "ids": ["a"], "features": None}),
    ("processing", {"target": "y", "split": '{"validation": 0.3}', "ids": "a,b", "header": "yes"}),
    ("processing", {"derive": {"a": "b + 1"}, "dates": ["year"], "separator": ";"}),
    ("algorithm", {"max_depth": "6", "eta": None, "eval_metric": "auc,logloss", "num_round": 300.0}),
    ("algorithm", {"learning_rate": 0.2, "epochs": 5, "class_weights": "balanced", "threshold": "best_f1"}),
    ("algorithm", {"class_weights": {"0": 1, "1": 4.5}, "threshold": 0.3}),
    ("algorithm", {"framework": "torch", "hidden": "[64, 32]", "objective": "reg:squarederror"}),
    ("monitoring", {"block": "3d", "bins": 32, "decision_threshold": None}),
    ("monitoring", {"block": 500, "problem": "binary"}),
    ("explainability", {"method": "auto", "header": False, "rows": 100}),
]


@pytest.mark.parametrize(("name", "settings"), ACCEPTED)
def test_what_a_component_takes_is_no_problem(name: str, settings: dict[str, Any]) -> None:
    parsed(component(name).settings, settings)

    assert problems(settings, schema_of(name)) == []


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("algorithm", {"max_depth": 31}, "max_depth", "a whole number of at least 1 and at most 30"),
    ("algorithm", {"max_depth": "deep"}, "max_depth", "a whole number of at least 1 and at most 30"),
    ("algorithm", {"eta": 0}, "eta", "a number above 0 and at most 1"),
    ("algorithm", {"framework": "tensorflow"}, "framework", "'xgboost' or 'torch'"),
    ("algorithm", {"class_weights": "even"}, "class_weights", "'balanced' or a mapping"),
    ("algorithm", {"threshold": "worst"}, "threshold", "a number or 'best_f1'"),
    ("algorithm", {"hidden": [64, 0]}, "hidden.1", "a whole number of at least 1 and at most 65536"),
    ("processing", {"impute": "mode"}, "impute", "one of 'median', 'mean', 'zero', 'none'"),
    ("processing", {"split": {"validation": 1.5}}, "split.validation", "a number of at least 0 and below 1"),
    ("processing", {"separator": "||"}, "separator", "one character"),
    ("processing", {"ids": 5}, "ids", "a list of text"),
    ("processing", {"header": "perhaps"}, "header", "true or false"),
]


@pytest.mark.parametrize(("name", "settings", "path", "wanted"), REFUSED)
def test_what_a_component_refuses_is_told_with_what_was_wanted(
    name: str, settings: dict[str, Any], path: str, wanted: str
) -> None:
    with pytest.raises(SettingsError):
        parsed(component(name).settings, settings)

    ((place, text),) = problems(settings, schema_of(name))
    assert ".".join(map(str, place)) == path
    assert text.endswith(f"wanted {wanted}.")


def test_a_server_may_be_given_the_entrypoints_own_variables() -> None:
    assert problems({"log": "json"}, schema_of("algorithm")) == []


def test_without_a_near_name_the_known_ones_are_listed() -> None:
    ((_, text),) = problems({"zzz": 1}, schema_of("explainability"))

    assert text.startswith("no known setting. Known: 'answer', 'batch_rows', ")
