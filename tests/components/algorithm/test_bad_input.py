"""What cannot be learned from is refused in one sentence, with the right exit code, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from shared.files import read_json, write_json


def refused(outcome: Any, code: int, *parts: str) -> None:
    """One sentence, the code, no traceback, and no output."""
    assert (outcome.code, [part for part in parts if part not in outcome.failure]) == (code, []), outcome.failure
    assert "\n" not in outcome.failure
    assert outcome.message == outcome.failure
    assert list(outcome.model.rglob("*")) == []
    assert list((outcome.root / "output/data").rglob("*")) == []


def test_the_same_tree_without_the_fault_ends_well(ready: Any) -> None:
    assert ready.run().code == 0


@pytest.fixture
def spoilt(job: Any, known_table: Callable[..., pl.DataFrame]) -> Callable[..., Any]:
    """A training job whose train rows went through a function; CSV, or Parquet when asked."""

    def make(spoil: Callable[[pl.DataFrame], pl.DataFrame], file: str = "part.parquet", **settings: str) -> Any:
        job.channel("train", spoil(known_table(200, 1)), file)
        job.channel("validation", known_table(100, 2), file)
        return job.run(**settings)

    return make


def with_first(name: str, value: Any, dtype: Any = None) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Puts a value into the first row of a column."""

    def spoil(table: pl.DataFrame) -> pl.DataFrame:
        column = table[name] if dtype is None else table[name].cast(dtype)
        return table.with_columns(pl.Series(name, [value, *column.to_list()[1:]], dtype=column.dtype))

    return spoil


def test_no_train_channel(job: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    job.channel("training", known_table(50, 1))

    refused(job.run(), 2, "has no input 'train'", "'training'")


def test_an_empty_channel(job: Any) -> None:
    (job.root / "input/data/train").mkdir(parents=True)
    job.channels.append("train")

    refused(job.run(), 3, "channel 'train' is empty")


def test_an_empty_file(job: Any) -> None:
    job.channel("train", "")

    refused(job.run(), 3, "part-0000-of-0001.csv is empty (0 bytes)")


@pytest.mark.parametrize("file", ["part.csv", "part.parquet"])
def test_a_header_and_no_rows(spoilt: Callable[..., Any], file: str) -> None:
    refused(spoilt(lambda table: table.clear(), file), 3, "no rows")


def test_a_file_that_is_no_csv(job: Any) -> None:
    job.channel("train", b"PAR1\x00\xff\xfe\x00" * 50)

    refused(job.run(), 3, "part-0000-of-0001.csv")


def test_a_file_that_is_no_parquet(job: Any) -> None:
    job.channel("train", "flight,age,late\n", "part.parquet")

    refused(job.run(), 3, "part.parquet cannot be read as Parquet")


def test_a_missing_header(job: Any) -> None:
    job.channel("train", "F1,0.5,1\nF2,0.25,0\n")

    refused(job.run(), 3, "lacks column 'flight'")


def test_a_misspelt_target(spoilt: Callable[..., Any]) -> None:
    refused(spoilt(lambda table: table, target="lat"), 3, "lacks column 'lat'", "Did you mean 'late'?")


def test_no_target_named(ready: Any) -> None:
    del ready.hyperparameters["target"]

    refused(ready.run(), 2, "nothing names the column to predict", "'late'", "Set `target`")


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_target(spoilt: Callable[..., Any], value: float | None) -> None:
    refused(
        spoilt(with_first("late", value, pl.Float64)), 3, "target 'late' is missing in row 1", "Leave such rows out"
    )


@pytest.mark.parametrize("settings", [{}, {"target": "late"}], ids=["no settings", "target"])
def test_semicolons_between_cells(job: Any, known_table: Callable[..., pl.DataFrame], settings: dict[str, str]) -> None:
    job.channel("train", known_table(200, 1).write_csv(separator=";"))

    refused(
        job.run(**settings), 3, "has one column, '", "wanted columns with commas between them. Write it with commas"
    )


def test_an_infinite_target(spoilt: Callable[..., Any]) -> None:
    refused(spoilt(with_first("late", float("inf"), pl.Float64)), 3, "row 1", "column 'late' is 'inf'")


def test_an_infinite_feature(spoilt: Callable[..., Any]) -> None:
    refused(spoilt(with_first("age", float("-inf"))), 3, "row 1", "column 'age' is '-inf', wanted a finite number")


@pytest.mark.parametrize("file", ["part.csv", "part.parquet"])
@pytest.mark.parametrize(("name", "value"), [("age", 1e39), ("age", -1.7e308), ("late", 1e39)])
def test_a_number_that_float32_cannot_hold(spoilt: Callable[..., Any], file: str, name: str, value: float) -> None:
    """XGBoost computes in float32 and would take it for an infinite one."""
    outcome = spoilt(with_first(name, value, pl.Float64), file, objective="reg:squarederror")

    refused(
        outcome, 3, "channel 'train', row 1: ", f"column '{name}' is '{value}', wanted a number from -3.4028235e+38"
    )


@pytest.mark.parametrize("value", [1e30, -3.4e38])
def test_a_target_whose_squared_error_float32_cannot_hold(spoilt: Callable[..., Any], value: float) -> None:
    outcome = spoilt(with_first("late", value, pl.Float64), objective="reg:squarederror")

    refused(outcome, 3, "channel 'train': target 'late' is ", "in row 1, wanted a number from -1e+18 to 1e+18")


def test_such_a_number_in_the_validation_rows(ready: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    ready.channel("validation", with_first("age", 1e39)(known_table(300, 2)))

    refused(ready.run(), 3, "channel 'validation', row 1: ", "column 'age' is '1e+39'")


def test_a_feature_that_is_text(spoilt: Callable[..., Any]) -> None:
    outcome = spoilt(lambda table: table.with_columns(age=pl.lit("old")))

    refused(outcome, 3, "feature 'age' holds text", "Run the processing component")


def test_a_target_that_is_text(spoilt: Callable[..., Any]) -> None:
    refused(spoilt(lambda table: table.with_columns(late=pl.lit("yes"))), 3, "target 'late' holds text")


def test_a_feature_that_is_missing_in_all_rows(spoilt: Callable[..., Any]) -> None:
    outcome = spoilt(lambda table: table.with_columns(visits=pl.lit(None, dtype=pl.Float64)))

    refused(outcome, 3, "'visits' is missing in all 200 rows")


def test_labels_that_are_neither_0_nor_1(spoilt: Callable[..., Any]) -> None:
    refused(spoilt(with_first("late", 2)), 3, "target 'late' is 2 in row 1, wanted 0 or 1")


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_only(spoilt: Callable[..., Any], label: int) -> None:
    outcome = spoilt(lambda table: table.with_columns(late=pl.lit(label)))

    refused(outcome, 3, f"target 'late' is {label} in all 200 rows")


def test_one_label_only_among_the_validation_rows(job: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    job.channel("train", known_table(200, 1))
    job.channel("validation", known_table(100, 2).with_columns(late=pl.lit(0)))

    refused(job.run(), 3, "channel 'validation': target 'late' is 0 in all 100 rows")


def test_a_class_that_never_occurs(spoilt: Callable[..., Any]) -> None:
    outcome = spoilt(lambda table: table, objective="multi:softprob", num_class="3")

    refused(outcome, 3, "no row has the class [2]")


def test_a_target_that_the_likelihood_forbids(spoilt: Callable[..., Any]) -> None:
    outcome = spoilt(lambda table: table, objective="reg:gamma")

    refused(outcome, 3, "target 'late' is 0", "wanted a number above 0")


def test_a_validation_channel_with_other_columns(job: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    job.channel("train", known_table(200, 1))
    job.channel("validation", known_table(100, 2).drop("income"))

    refused(job.run(), 3, "lacks column 'income'")


def test_a_cell_that_is_no_number(job: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    """The first 100,000 rows tell the type; here the validation rows differ from it."""
    job.channel("train", known_table(200, 1))
    job.channel("validation", with_first("age", "old", pl.String)(known_table(100, 2)))

    refused(job.run(), 3, "row 1", "column 'age' is 'old', wanted a finite number")


def test_an_unknown_setting(ready: Any) -> None:
    refused(ready.run(num_rounds="30"), 2, "'num_rounds' is no setting. Did you mean 'num_round'?")


def test_weights_of_other_labels(ready: Any) -> None:
    refused(ready.run(class_weights='{"no": 1, "yes": 2}'), 2, "class_weights are for 'no', 'yes'", "'0', '1'")


def test_a_column_to_drop_that_is_not_there(ready: Any) -> None:
    refused(ready.run(drop="nois"), 3, "no column 'nois' to drop", "Did you mean 'noise'?")


def test_nothing_left_to_learn_from(ready: Any) -> None:
    refused(ready.run(drop="age,income,visits,noise"), 3, "has no feature")


def test_more_than_one_host(ready: Any) -> None:
    ready.write()
    write_json(ready.root / "config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})

    refused(ready.run(), 2, "training runs on one host, and the job has 2")


MADE = {"flight": "text", "age": "number", "income": "number", "visits": "number", "noise": "number", "late": "integer"}


def test_a_feature_that_the_state_does_not_make(ready: Any, state: Callable[..., Any]) -> None:
    state({name: kind for name, kind in MADE.items() if name != "noise"})
    ready.channels.append("state")
    del ready.hyperparameters["ids"]

    refused(ready.run(), 3, "channel 'train' has 'noise', which the state does not make")


def test_a_feature_that_the_state_makes_and_the_rows_lack(ready: Any, state: Callable[..., Any]) -> None:
    state({**MADE, "tenure": "number"})
    ready.channels.append("state")

    refused(ready.run(), 3, "lacks column 'tenure'")


def test_a_target_other_than_the_states(ready: Any, state: Callable[..., Any]) -> None:
    state(MADE)
    ready.channels.append("state")

    refused(ready.run(target="age"), 2, "target is 'age', but the state makes 'late'")


def test_a_state_that_makes_no_target(ready: Any, state: Callable[..., Any]) -> None:
    state({name: kind for name, kind in MADE.items() if name != "late"}, None)
    ready.channels.append("state")

    refused(ready.run(), 3, "state makes no target")


def test_a_state_that_was_tampered_with(ready: Any, state: Callable[..., Any]) -> None:
    (state(MADE) / "state.json").write_text("{ }")
    ready.channels.append("state")

    refused(ready.run(), 3, "state file 'state.json' is not the one that was written")


def test_a_state_of_another_format(ready: Any, state: Callable[..., Any]) -> None:
    path = state(MADE) / "manifest.json"
    write_json(path, {**read_json(path), "format": 0})
    ready.channels.append("state")

    refused(ready.run(), 3, "state has format 0, older than the format 1")


def test_a_framework_that_is_not_installed(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "components.algorithm.network", raising=False)
    if importlib.util.find_spec("torch") is not None:
        monkeypatch.setitem(sys.modules, "torch", None)

    refused(ready.run(framework="torch"), 2, "framework 'torch' is not installed here")
