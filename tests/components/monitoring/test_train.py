"""Train, run whole."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.monitoring.baseline import PredictionBaseline
from components.monitoring.train import spread_of_stretches
from shared.artefact import open_artefact
from tests.components.monitoring.places import IDS, Place, Places, model_of, rows


def columns(place: Place) -> dict[str, Any]:
    """The baseline's columns by name."""
    return {column["name"]: column for column in place.read("baseline.json", "baseline")["columns"]}


def test_ids_target_time_and_dropped_columns_are_not_monitored(places: Places, table: pl.DataFrame) -> None:
    place = places.trained(table, time="day", drop=["note", "no such column"])

    assert list(columns(place)) == ["amount", "wait", "size", "city"]
    assert open_artefact(place.output("baseline"), "monitoring", "baseline").schema.names == (
        *("id", "day"),
        *("amount", "wait", "size", "city"),
    )


def test_counts_are_exact(trained: Place, table: pl.DataFrame) -> None:
    found = columns(trained)

    city = dict(zip(found["city"]["levels"], found["city"]["counts"], strict=False))
    assert city == dict(table["city"].value_counts().iter_rows())
    assert found["note"]["missing"] == table["note"].null_count()
    edges = np.array(found["amount"]["edges"])
    wanted = np.bincount(np.searchsorted(edges, table["amount"].to_numpy(), side="left"), minlength=len(edges) + 1)
    assert found["amount"]["counts"] == wanted.tolist()


def test_few_whole_numbers_are_levels_and_many_are_bins(trained: Place) -> None:
    found = columns(trained)

    assert found["size"]["kind"] == "levels"
    assert sorted(found["size"]["levels"]) == ["1", "2", "3", "4"]
    assert found["wait"]["kind"] == "numbers"


def test_the_same_data_give_the_same_bytes(places: Places, table: pl.DataFrame) -> None:
    first, second = places.trained(table, time="day"), places.trained(table, time="day")

    for path in sorted(first.output("baseline").iterdir()):
        assert path.read_bytes() == (second.output("baseline") / path.name).read_bytes()


def test_the_format_of_the_file_makes_no_difference(places: Places, table: pl.DataFrame) -> None:
    csv = places.trained(table, time="day")
    zipped, parquet, lines = places(), places(), places()
    zipped.put("data", gzip.compress(table.write_csv().encode()), "data.csv.gz")
    parquet.put("data", table, "data.parquet")
    lines.put("data", table.write_ndjson(), "data.jsonl")

    for place in (zipped, parquet, lines):
        assert place.run("train", time="day", **IDS) == 0, place.message
        written = place.read("baseline.json", "baseline")
        if place is lines:  # JSON lines have no dates, so there is no time to cut blocks by
            assert written["blocks"]["by"] == "rows"
        else:
            assert written == csv.read("baseline.json", "baseline")


def test_independent_rows_keep_the_minimum_effect(trained: Place) -> None:
    found = trained.read("baseline.json", "baseline")

    assert found["blocks"] == {"by": "time", "lengths": [1, 3, 7], "counts": [60, 20, 9]}
    assert all(set(column["spread"]) == {0.0} for column in found["columns"])


def test_days_that_differ_are_no_drift(places: Places) -> None:
    """A column that has a level of its own each day: odd days differ from even days, and that is how it is."""
    random = np.random.default_rng(31)
    table = rows(6000, seed=31).with_columns(
        amount=pl.Series(np.repeat(random.normal(size=60), 100) + 0.1 * random.normal(size=6000))
    )
    odd = (pl.col("day") - pl.col("day").min()).dt.total_days() % 2 == 1
    by_time = places.trained(table.filter(odd), time="day")
    by_nothing = places.trained(table.filter(odd), time="day", block="none")
    even = table.filter(~odd)

    assert places.served(by_time, even).read("drift.json")["columns"] == []
    assert places.served(by_nothing, even).read("drift.json")["columns"] == ["amount"]
    moved = places.served(by_time, even.with_columns(pl.col("amount") + 4))
    assert moved.read("drift.json")["columns"] == ["amount"]


@pytest.mark.parametrize(
    ("block", "by", "counts"), [(1000, "rows", [4]), ("1000", "rows", [4]), ("file", "file", [1]), ("7d", "time", [9])]
)
def test_blocks_can_be_chosen(places: Places, table: pl.DataFrame, block: Any, by: str, counts: list[int]) -> None:
    found = places.trained(table, time="day", block=block).read("baseline.json", "baseline")["blocks"]

    assert (found["by"], found["counts"]) == (by, counts)


def test_without_time_many_files_are_the_blocks(places: Places, table: pl.DataFrame) -> None:
    place = places()
    for number in range(8):
        place.put("data", table.slice(number * 500, 500), f"{number}.csv")
    place.run("train", **IDS)

    assert place.read("baseline.json", "baseline")["blocks"] == {"by": "file", "lengths": [0.0], "counts": [8]}


def test_fifty_columns_fit_into_150_kb(places: Places) -> None:
    random = np.random.default_rng(33)
    numbers = {f"number_{index}": random.normal(size=3000) for index in range(40)}
    texts = {f"text_{index}": [f"level {value}" for value in random.integers(0, 500, 3000)] for index in range(10)}
    place = places()
    place.put("data", pl.DataFrame(numbers).hstack(pl.DataFrame(texts)))
    place.run("train")

    assert (place.output("baseline") / "baseline.json").stat().st_size <= 150_000


def test_no_row_can_be_read_from_a_baseline(places: Places) -> None:
    """Names, comments and the like are not levels: nearly each row has its own."""
    secret = [f"secret {number}" for number in range(1000)]
    place = places.trained(rows(1000).with_columns(comment=pl.Series(secret)))

    assert columns(place)["comment"]["kind"] == "presence"
    for path in place.output("baseline").iterdir():
        assert "secret" not in path.read_text()


def test_statistics_and_constraints_have_model_monitors_form(trained: Place, table: pl.DataFrame) -> None:
    statistics = {item["name"]: item for item in trained.read("statistics.json", "baseline")["features"]}
    constraints = {item["name"]: item for item in trained.read("constraints.json", "baseline")["features"]}

    numbers = statistics["amount"]["numerical_statistics"]
    assert statistics["amount"]["inferred_type"] == "Fractional"
    assert numbers["mean"] == pytest.approx(table["amount"].mean())
    assert numbers["std_dev"] == pytest.approx(table["amount"].std(ddof=0))
    assert len(numbers["distribution"]["kll"]["buckets"]) == 10
    assert sum(bucket["count"] for bucket in numbers["distribution"]["kll"]["buckets"]) == 4000
    assert statistics["size"]["inferred_type"] == "Integral"
    assert statistics["size"]["numerical_statistics"]["mean"] == pytest.approx(table["size"].mean())
    assert statistics["city"]["string_statistics"]["distinct_count"] == 3
    assert constraints["wait"]["num_constraints"] == {"is_non_negative": True}
    assert sorted(constraints["city"]["string_constraints"]["domains"]) == ["Bergen", "Narvik", "Oslo"]
    assert constraints["note"]["completeness"] == pytest.approx(1 - table["note"].null_count() / 4000 - 0.05)


@pytest.mark.parametrize("great", [1e308, 1e200])
def test_numbers_too_great_to_be_squared_are_left_out_of_the_moments(
    places: Places, table: pl.DataFrame, great: float
) -> None:
    place = places.trained(table.with_columns(amount=pl.Series([great, -great, *table["amount"][2:]])))

    found = {item["name"]: item for item in place.read("statistics.json", "baseline")["features"]}["amount"]
    assert found["numerical_statistics"]["common"] == {"num_present": 3998, "num_missing": 2}
    assert found["numerical_statistics"]["std_dev"] == pytest.approx(table["amount"][2:].std(ddof=0))


def test_the_models_scores_become_the_baseline_of_the_prediction(
    places: Places, table: pl.DataFrame, model: Path
) -> None:
    place = places.trained(table, model=model)
    artefact = open_artefact(place.output("baseline"), "monitoring", "baseline")

    assert artefact.parents == {"model": open_artefact(model, "algorithm", "model").digest}
    assert place.read("baseline.json", "baseline")["prediction"] == {
        **json.loads((model / "scores.json").read_text()),
        "outputs": ["score"],
        "spread": None,
        "threshold": 0.4,
        "task": "binary",
    }


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", None])
def test_the_task_is_what_the_models_manifest_says(places: Places, tmp_path: Path, task: str | None) -> None:
    place = places.trained(rows(200), model=model_of(task, ["score"], tmp_path / "model"))

    assert place.read("baseline.json", "baseline")["prediction"]["task"] == task


def test_a_baseline_from_before_the_task_was_kept_knows_none() -> None:
    written = PredictionBaseline(("score",), np.array([0.0, 1.0]), np.array([5]), task="binary").to_json()
    del written["task"]

    assert PredictionBaseline.from_json(written).task is None


def test_scores_that_differ_from_stretch_to_stretch_are_given_more_room() -> None:
    alike = [[50, 50], [50, 50], [50, 50]]
    unlike = [[90, 10], [10, 90], [50, 50]]

    assert spread_of_stretches(alike, 2) == 0
    # 90 and 10 against the others' 60 and 140: 2 sum (p - q)^2 / (p + q) = 1.5, less 1 / neff with neff = 66.7.
    assert spread_of_stretches(unlike, 2) == pytest.approx((1.5 - 0.015) ** 0.5, abs=1e-6)
    assert spread_of_stretches(None, 2) is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["a"] * 200, "levels"), ([None] * 200, "presence"), ([3.5] * 200, "numbers"), ([True, False] * 100, "levels")],
)
def test_odd_columns_are_counted_too(places: Places, values: list[Any], kind: str) -> None:
    """Constant, all missing, constant number, booleans: training on them and checking them finds nothing."""
    table = rows(200).with_columns(odd=pl.Series(values))
    place = places.trained(table)
    served = places.served(place, table)

    assert columns(place)["odd"]["kind"] == kind
    assert served.violations() == set()


def test_a_single_row_is_a_baseline(places: Places) -> None:
    assert places.trained(rows(1)).read("baseline.json", "baseline")["rows"] == 1
