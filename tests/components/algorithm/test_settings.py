"""Which settings can be used, and what is said of those that cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from components.algorithm.component import COMPONENT
from components.algorithm.settings import SYNONYMS, AlgorithmSettings
from shared.errors import SettingsError
from shared.settings import parsed

README = Path(__file__).parents[3] / "components/algorithm/README.md"


def test_hyperparameters_are_strings_and_become_numbers() -> None:
    """As SageMaker's API carries them, and as its SDK encodes them once more."""
    found = parsed(
        AlgorithmSettings,
        {"max_depth": "4", "eta": "1e-1", "eval_metric": "auc,logloss", "ids": '["a", "b"]', "target": '"007"'},
    )

    assert (found.max_depth, found.rate, found.metrics) == (4, 0.1, ("auc", "logloss"))
    assert (found.ids, found.target) == (("a", "b"), "007")


@pytest.mark.parametrize(("other", "own"), SYNONYMS.items())
def test_a_settings_other_name_is_understood(other: str, own: str) -> None:
    assert getattr(parsed(AlgorithmSettings, {other: "1"}), own) == 1


def test_two_names_of_one_setting_are_refused() -> None:
    with pytest.raises(SettingsError, match="'lambda' and 'reg_lambda' are two names of one setting"):
        parsed(AlgorithmSettings, {"lambda": "1", "reg_lambda": "2"})


def test_weights_by_label_are_a_mapping_or_a_word() -> None:
    assert parsed(AlgorithmSettings, {"class_weights": '{"0": 1, "1": 4}'}).class_weights == {"0": 1, "1": 4}
    assert parsed(AlgorithmSettings, {"class_weights": "balanced"}).class_weights == "balanced"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"max_dept": "3"}, r"'max_dept' is no setting. Did you mean 'max_depth'\?"),
        ({"max_depth": "0"}, "max_depth is 0, wanted greater than or equal to 1"),
        ({"max_depth": "deep"}, "max_depth is 'deep', wanted a valid integer"),
        ({"eta": "nan"}, "eta is"),
        ({"framework": "lightgbm"}, "framework is 'lightgbm', wanted 'xgboost' or 'torch'"),
        ({"objective": "rank:ndcg"}, "objective is 'rank:ndcg', wanted 'binary:logistic'"),
        ({"framework": "torch", "objective": "reg:gamma"}, "objective 'reg:gamma' is for xgboost"),
        ({"num_class": "3"}, "num_class belongs to objective 'multi:softprob'"),
        ({"eval_metric": "auk"}, "eval_metric 'auk' is none of 'auc'"),
        ({"eval_metric": "rmse"}, "eval_metric 'rmse' is none of 'auc'"),
        ({"eval_metric": "auc@0.3"}, "eval_metric 'auc@0.3' is none of"),
        ({"framework": "torch", "eval_metric": "error@0.3"}, "which torch knows"),
        ({"threshold": "1.5"}, "threshold: is 1.5, wanted a number between 0 and 1, or 'best_f1'"),
        ({"threshold": "best_f1", "objective": "reg:squarederror"}, "threshold best_f1 belongs to"),
        ({"class_weights": "balanced", "scale_pos_weight": "2"}, "both weigh the classes"),
        ({"class_weights": "balanced", "objective": "reg:squarederror"}, "class_weights need classes"),
        ({"scale_pos_weight": "2", "objective": "reg:squarederror"}, "scale_pos_weight belongs to"),
        ({"outputs": "score,score"}, "name one twice"),
        ({"outputs": "probabilities", "objective": "reg:squarederror"}, "need classes"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        parsed(AlgorithmSettings, values)


def test_a_metric_may_carry_a_number() -> None:
    assert parsed(AlgorithmSettings, {"eval_metric": "error@0.3"}).metrics == ("error@0.3",)


@pytest.mark.parametrize(
    ("framework", "foreign"), [("torch", {"max_depth": 3, "gamma": 1}), ("xgboost", {"hidden": (8,), "dropout": 0.5})]
)
def test_settings_of_the_other_framework_are_told_apart(framework: str, foreign: dict[str, Any]) -> None:
    found = parsed(AlgorithmSettings, {"framework": framework, "eta": 0.1, **foreign})

    assert found.without_effect == tuple(foreign) or set(found.without_effect) == set(foreign)


def test_the_readme_lists_the_settings_with_their_defaults_and_words() -> None:
    section = README.read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| (.*) \|$", section, flags=re.MULTILINE)
    declared = [
        (name, str(list(field.default) if isinstance(field.default, tuple) else field.default), field.description)
        for name, field in AlgorithmSettings.model_fields.items()
    ]

    assert rows == declared


def test_each_setting_says_what_it_is() -> None:
    assert [name for name, field in COMPONENT.settings.model_fields.items() if not field.description] == []
