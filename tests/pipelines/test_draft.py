"""A first manifest from a data file: what columns are taken for, and that it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.spec import specs
from pipelines.draft import Draft, drafted, looked_at, name_of, relative, scalar, text_of
from pipelines.graph import inference_graph, training_graph
from pipelines.manifest import UseCase, read_manifest
from pipelines.settings import judge
from shared.errors import DataError, SettingsError

ROOT = Path(__file__).parents[2]
ROWS = 400


def table(**columns: Any) -> pl.DataFrame:
    """Rows with an id, a day and two features, and what is given."""
    days = [f"2024-{1 + row // 28 % 12:02d}-{1 + row % 28:02d}" for row in range(ROWS)]
    base = {
        "customer_id": [f"c{row}" for row in range(ROWS)],
        "day": days,
        "age": [20 + row * 7 % 50 for row in range(ROWS)],
        "town": [["Ulm", "Köln", "Bonn"][row % 3] for row in range(ROWS)],
    }
    return pl.DataFrame({**base, **columns})


def draft_of(folder: Path, frame: pl.DataFrame, **said: Any) -> Draft:
    path = folder / "data.csv"
    frame.write_csv(path)
    return drafted("toy", looked_at(path, "data.csv"), **said)


def use_case(folder: Path, draft: Draft) -> UseCase:
    """The manifest as it is written, read, with its settings judged."""
    path = folder / "use-case.yaml"
    path.write_text(text_of(draft), encoding="utf-8")
    found = read_manifest(path)
    judge(found)
    return found


TARGETS: list[tuple[Callable[[int], Any], str]] = [
    (lambda row: row % 2, "binary:logistic"),
    (lambda row: ["yes", "no"][row % 2], "binary:logistic"),
    (lambda row: row % 2 == 0, "binary:logistic"),
    (lambda row: row % 4, "multi:softprob"),
    (lambda row: "abc"[row % 3], "multi:softprob"),
    (lambda row: row * 0.37 % 11, "reg:squarederror"),
    (lambda row: row * 13 % 300, "reg:squarederror"),
]


@pytest.mark.parametrize(("value", "objective"), TARGETS)
def test_the_objective_follows_from_the_targets_values(
    tmp_path: Path, value: Callable[[int], Any], objective: str
) -> None:
    found = use_case(tmp_path, draft_of(tmp_path, table(target=[value(row) for row in range(ROWS)])))

    assert found.manifest.components.algorithm.settings == {"objective": objective}
    for graph in (training_graph(found.manifest, specs()), inference_graph(found.manifest, specs())):
        assert "algorithm" in {job.name for job in graph.jobs}


def test_ids_and_time_are_found_and_the_split_is_by_time(tmp_path: Path) -> None:
    manifest = use_case(tmp_path, draft_of(tmp_path, table(churn=[row % 2 for row in range(ROWS)]))).manifest

    assert (manifest.data.ids, manifest.data.time, manifest.data.target) == (("customer_id",), "day", "churn")
    assert manifest.components.processing.settings == {"split": {"by": "time", "validation": 0.2}}


def test_a_number_that_differs_in_each_row_is_an_id_only_by_its_name(tmp_path: Path) -> None:
    counted = list(range(ROWS))
    frame = table(order_no=counted, revenue=counted, late=[row % 2 for row in counted])

    assert draft_of(tmp_path, frame).ids == ("customer_id", "order_no")


def test_rows_without_an_outcome_are_left_out_of_training(tmp_path: Path) -> None:
    target = [None if row < 10 else row % 2 for row in range(ROWS)]
    settings = use_case(tmp_path, draft_of(tmp_path, table(target=target))).manifest.components.processing.settings

    assert settings["where"] == '"target" IS NOT NULL'


def test_without_dates_the_split_is_random(tmp_path: Path) -> None:
    frame = table(target=[row % 2 for row in range(ROWS)]).drop("day")

    assert use_case(tmp_path, draft_of(tmp_path, frame)).manifest.components.processing.settings == {
        "split": {"by": "random", "validation": 0.2}
    }


def test_what_the_caller_says_wins(tmp_path: Path) -> None:
    frame = table(target=[row % 2 for row in range(ROWS)])
    draft = draft_of(tmp_path, frame, target="town", ids=("age",), time="day")

    assert (draft.target.name, draft.task, draft.ids, draft.time) == ("town", "multiclass", ("age",), "day")


def test_without_a_telling_name_the_last_column_that_can_be_predicted_is_the_target(tmp_path: Path) -> None:
    frame = table(x=[row % 2 for row in range(ROWS)], constant=[1] * ROWS, seen=["2024-01-01"] * ROWS)

    draft = draft_of(tmp_path, frame)
    assert draft.target.name == "x"
    assert draft.target_reason == (
        "the last column that varies in the first 400 rows and is no date and no id; 'constant', 'seen' are "
        "constant there; --target names another"
    )


def test_a_target_by_which_the_rows_are_sorted_is_no_silent_miss(tmp_path: Path) -> None:
    """`y` would be taken by its name, and is constant as far as anybody looks."""
    pl.DataFrame({"x": [0, 1] * 50, "y": [0] * 90 + [1] * 10}).write_csv(tmp_path / "data.csv")
    look = looked_at(tmp_path / "data.csv", "data.csv", rows=80)

    with pytest.raises(SettingsError, match=r"1 value, wanted two at least in the first 80 rows\. .* sorted by it"):
        drafted("toy", look, "y")
    with pytest.raises(SettingsError, match=r"no column is left to predict 'x' from"):
        drafted("toy", look, "x", ids=["y"])
    assert "'y' is constant there" in drafted("toy", look).target_reason


def test_the_last_column_is_said_to_be_the_last_only_where_it_is(tmp_path: Path) -> None:
    frame = table(x=[row % 2 for row in range(ROWS)])

    assert draft_of(tmp_path, frame).target_reason.startswith("the last column, for no name says more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"a;b\n1;2,5\n2;-3,25\n",
            r"data\.csv has numbers with decimal commas in column 'b', such as '2,5', wanted points",
        ),
        (
            b"a;b\n1;2\n2;\n3; -1.003,25\n4;1,5E3\n",
            r"data\.csv has numbers with decimal commas in column 'b', such as ' -1\.003,25', wanted points",
        ),
        ("town,y\nK\u00f6ln,1\n".encode("latin-1"), r"no UTF-8 text .*\. Convert it, such as by `iconv"),
    ],
)
def test_a_csv_file_of_another_kind_is_told_with_its_remedy(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "data.csv").write_bytes(content)

    with pytest.raises(DataError, match=said):
        looked_at(tmp_path / "data.csv", "data.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", b'a,b\n1,"7,563"\n2,"1,2"\n'),
        ("data.jsonl", b'{"a": 1, "b": "1,2"}\n{"a": 2, "b": "3,4"}\n'),
        ("data.csv", b"a;b\n1;x, y\n2;3,4\n"),
    ],
)
def test_text_with_commas_is_text(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    assert looked_at(tmp_path / name, name).column("b").type == "text"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_what_separates_cells_is_told_to_those_who_read_the_raw_data(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "data.csv"
    table(late=[row % 2 for row in range(ROWS)], town=["Ulm, Donau"] * ROWS).write_csv(path, separator=separator)
    read = use_case(tmp_path, drafted("toy", looked_at(path, "data.csv")))

    components = read.manifest.components
    assert components.processing.settings["separator"] == separator
    assert components.monitoring.settings == {"separator": separator}
    assert read.manifest.data.target == "late"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"target": "twon"}, "no column 'twon'. Did you mean 'town'"),
        ({"target": "day"}, "holds dates"),
        ({"target": "constant"}, "has 1 value, wanted two at least"),
        ({"ids": ("nobody",)}, "no column 'nobody'"),
    ],
)
def test_a_column_that_cannot_be_what_the_caller_says_is_refused(
    tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    frame = table(target=[row % 2 for row in range(ROWS)], constant=[1] * ROWS)

    with pytest.raises(SettingsError, match=message):
        draft_of(tmp_path, frame, **said)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        looked_at(tmp_path / "nothing.csv", "nothing.csv")


def test_only_the_first_rows_are_looked_at(tmp_path: Path) -> None:
    table(target=[row % 2 for row in range(ROWS)]).write_csv(tmp_path / "data.csv")

    assert looked_at(tmp_path / "data.csv", "data.csv", rows=100).rows == 100


@pytest.mark.parametrize("name", ["yes", "a: b", "50%", "naïve", "#tag", "a, b", "-", "two words", "null", "1e5"])
def test_columns_with_odd_names_come_back_as_they_are(tmp_path: Path, name: str) -> None:
    frame = table(**{name: [row % 2 for row in range(ROWS)]})

    assert use_case(tmp_path, draft_of(tmp_path, frame, target=name)).manifest.data.target == name


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Customers 2024", "customers-2024"),
        ("2024_sales", "use-case-2024-sales"),
        ("a" * 40, "a" * 24),
        ("Ü", "use-case"),
    ],
)
def test_a_use_case_is_called_after_its_file(stem: str, name: str) -> None:
    assert name_of(stem) == name


def test_a_name_that_is_reserved_is_refused_before_anything_is_written() -> None:
    with pytest.raises(SettingsError, match=r"would be called 'aws-x', wanted .*\. Give another --name\."):
        name_of("aws-x")


def test_plain_words_need_no_quotes() -> None:
    assert (scalar("town"), scalar("data/a.csv"), scalar("no")) == ("town", "data/a.csv", '"no"')


def test_a_drafted_manifest_runs_from_end_to_end(tmp_path: Path) -> None:
    frame = table(churn=[int(20 + row * 7 % 50 > 45) for row in range(ROWS)])
    frame.write_parquet(tmp_path / "customers.parquet")
    manifest = tmp_path / "use-case.yaml"
    quartet = [sys.executable, "-m", "pipelines"]
    for words in (
        ("init", str(tmp_path / "customers.parquet"), "--output", str(manifest)),
        ("run", str(manifest), "--storage", str(tmp_path / "storage"), "--run-id", "r1"),
    ):
        done = subprocess.run([*quartet, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    (scores,) = (tmp_path / "storage/inference/r1/algorithm/scores").iterdir()
    assert scores.read_text().count("\n") == ROWS


@pytest.mark.parametrize("name", ["my {period} data.csv", "{x.csv"])
def test_a_file_whose_name_a_uri_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"has braces in its path, which mark placeholders in a uri\. Rename it"):
        relative(tmp_path / name, tmp_path)
