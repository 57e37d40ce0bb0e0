"""Train as a job: what it writes, and that it learns from the training rows alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest


def test_every_kept_row_is_in_one_part_with_its_id_and_its_target(trained: Any, table: pl.DataFrame) -> None:
    kept = table.filter(pl.col("delay").is_not_null())
    parts = pl.concat([trained.table("train"), trained.table("validation")])

    assert parts["trip"].to_list() == kept["trip"].to_list()
    assert parts["late"].to_list() == (kept["delay"] >= 15).cast(int).to_list()


def test_columns_are_ids_features_target(trained: Any) -> None:
    found = trained.table("train")

    assert found.columns == ["trip", "carrier", "distance", "seats", "private", "late"]
    assert found.dtypes == [pl.String, pl.Int64, pl.Float64, pl.Float64, pl.Float64, pl.Int64]
    assert trained.manifest()["extra"]["output_schema"]["ids"] == ["trip"]
    assert [item["name"] for item in trained.manifest()["extra"]["output_schema"]["columns"]] == found.columns


def test_the_state_names_the_digest_of_each_raw_file(place: Any, table: pl.DataFrame, settings: Any) -> None:
    place.put("data", table.head(200), "2013/01.csv")
    place.put("data", table.tail(200), "2013/02.csv")
    place.put("validation", table.tail(50), "late.csv")

    assert place.run("train", **settings) == 0, place.failure
    paths = {name: place.root / "processing/input" / name for name in ("data/2013/01.csv", "data/2013/02.csv")}
    paths["validation/late.csv"] = place.root / "processing/input/validation/late.csv"
    assert place.manifest()["extra"]["data"] == {
        name.removeprefix("data/"): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()
    }


def test_what_only_the_target_uses_is_not_wanted_at_serving(trained: Any) -> None:
    assert [item["name"] for item in trained.manifest()["schema"]["columns"]] == [
        "trip",
        "carrier",
        "distance",
        "seats",
        "private",
    ]


def test_validation_rows_are_the_latest_and_no_day_is_in_both_parts(trained: Any, table: pl.DataFrame) -> None:
    days = dict(zip(table["trip"], table["day"], strict=True))
    training = [days[trip] for trip in trained.table("train")["trip"]]
    validation = [days[trip] for trip in trained.table("validation")["trip"]]

    assert max(training) < min(validation)
    assert len(validation) >= 0.2 * (len(training) + len(validation))


def test_nothing_is_learnt_from_validation_rows(
    place: Any, production: Any, table: pl.DataFrame, settings: Any
) -> None:
    """Validation rows turned upside down leave the same state."""
    late = table["day"] >= date(2013, 3, 22)
    changed = table.with_columns(
        pl.when(late).then(pl.lit(1e6)).otherwise(pl.col("distance")).alias("distance"),
        pl.when(late).then(pl.lit("NEW")).otherwise(pl.col("carrier")).alias("carrier"),
    )
    for where, data in ((place, table), (production, changed)):
        where.put("data", data)
        assert where.run("train", **settings) == 0

    assert place.state() == production.state()
    assert (place.table("validation")["carrier"] != production.table("validation")["carrier"]).any()


def test_numbers_are_filled_with_the_median_of_the_training_rows(trained: Any, table: pl.DataFrame) -> None:
    training = table.filter(pl.col("trip").is_in(trained.table("train")["trip"].implode()))
    fills = {item["column"]: item["fill"] for item in trained.state()["features"] if item["kind"] == "number"}

    assert fills["distance"] == float(np.median(training["distance"].drop_nulls().to_numpy()))
    assert fills["seats"] == float(np.median(training["seats"].to_numpy()))


def filled(values: Any, training: Any, impute: str) -> Any:
    """NumPy's idea of `impute`."""
    fills = {
        "median": np.nanmedian(training, axis=0),
        "mean": np.nanmean(training, axis=0),
        "zero": 0.0,
        "none": np.nan,
    }
    return np.where(np.isnan(values), fills[impute], values)


def scaled(values: Any, training: Any, scale: str) -> Any:
    """NumPy's idea of `scale`; a spread of 0 counts as 1."""
    low, middle, high = np.nanpercentile(training, [25, 50, 75], axis=0)
    minimum, maximum = np.nanmin(training, axis=0), np.nanmax(training, axis=0)
    centre, spread = {
        "standard": (np.nanmean(training, axis=0), np.nanstd(training, axis=0)),
        "minmax": (minimum, maximum - minimum),
        "robust": (middle, high - low),
    }[scale]
    return (values - centre) / np.where(spread == 0, 1, spread)


@pytest.mark.parametrize("impute", ["median", "mean", "zero", "none"])
@pytest.mark.parametrize("scale", ["standard", "minmax", "robust"])
def test_imputed_and_scaled_numbers_are_those_of_the_formulas(
    place: Any, table: pl.DataFrame, settings: Any, impute: str, scale: str
) -> None:
    """With figures of the training rows' cells, for validation rows too."""
    place.put("data", table)
    columns = ["distance", "seats", "private"]

    assert place.run("train", **settings, impute=impute, scale=scale) == 0

    raw = {
        part: table.filter(pl.col("trip").is_in(place.table(part)["trip"].implode()))
        .select(pl.col(columns).cast(pl.Float64))
        .to_numpy()
        .astype(float)
        for part in ("train", "validation")
    }
    for part, values in raw.items():
        found = place.table(part).select(columns).to_numpy().astype(float)
        expected = scaled(filled(values, raw["train"], impute), raw["train"], scale)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_rare_levels_are_pooled_and_counted_in_shares(place: Any, settings: Any) -> None:
    table = pl.DataFrame(
        {
            "trip": [str(number) for number in range(100)],
            "day": [date(2013, 1, 1)] * 100,
            "carrier": ["A"] * 60 + ["B"] * 30 + ["C"] * 4 + ["D"] * 3 + [None] * 3,
            "delay": [0, 30] * 50,
        }
    )
    place.put("data", table)
    settings["time"] = None

    assert place.run("train", **settings, min_frequency=0.05, split={"validation": 0}) == 0

    (feature,) = place.state()["features"]
    assert feature["levels"] == ["A", "B"]
    assert feature["shares"] == [0.6, 0.3]
    assert feature["rare"] == ["C", "D"]
    assert (feature["other"], feature["missing"]) == (0.07, 0.03)
    assert place.table("train")["carrier"].value_counts(sort=True).rows() == [(2, 60), (3, 30), (1, 7), (0, 3)]


def test_without_a_share_validation_is_a_table_without_rows(place: Any, table: pl.DataFrame, settings: Any) -> None:
    place.put("data", table)

    assert place.run("train", **settings, split={"validation": 0}) == 0

    assert place.table("validation").schema == place.table("train").schema
    assert place.table("validation").height == 0


def test_a_test_set_is_the_very_latest(place: Any, table: pl.DataFrame, settings: Any) -> None:
    place.put("data", table)

    assert place.run("train", **settings, split={"validation": 0.2, "test": 0.1}) == 0

    trips = [set(place.table(part)["trip"]) for part in ("train", "validation", "test")]
    assert max(trips[0]) < min(trips[1]) <= max(trips[1]) < min(trips[2])


def test_a_random_split_meets_its_share_exactly_and_a_seed_changes_it(
    place: Any, production: Any, table: pl.DataFrame, settings: Any
) -> None:
    kept = table["delay"].count()
    for where, seed in ((place, 0), (production, 1)):
        where.put("data", table)
        assert where.run("train", **settings, split={"by": "random", "validation": 0.25, "seed": seed}) == 0

    assert place.table("validation").height == production.table("validation").height == -(-kept // 4)
    assert set(place.table("validation")["trip"]) != set(production.table("validation")["trip"])


def test_a_mounted_validation_set_takes_the_place_of_the_share(place: Any, table: pl.DataFrame, settings: Any) -> None:
    place.put("data", table[:300])
    place.put("validation", table[300:])

    assert place.run("train", **settings) == 0

    assert place.table("train").height == table[:300]["delay"].count()
    assert place.table("validation").height == table[300:]["delay"].count()


def test_dates_become_parts_and_parts_that_do_not_vary_are_left_out(
    place: Any, table: pl.DataFrame, settings: Any
) -> None:
    place.put("data", table)
    settings |= {"time": None, "split": {"by": "random"}}

    assert place.run("train", **settings) == 0

    day = [name for name in place.table("train").columns if name.startswith("day_")]
    assert day == ["day_month", "day_day", "day_weekday"]
    assert "constant: 2013" in json.dumps(place.report())
    ids = dict(zip(table["trip"], table["day"], strict=True))
    first = place.table("train").row(0, named=True)
    assert (first["day_month"], first["day_weekday"]) == (ids[first["trip"]].month, ids[first["trip"]].isoweekday())


def test_a_constant_column_is_left_out_and_not_wanted_at_serving(
    place: Any, table: pl.DataFrame, settings: Any
) -> None:
    place.put("data", table.with_columns(pl.lit("x").alias("flat"), pl.lit(3).alias("three")))

    assert place.run("train", **settings) == 0

    assert {"flat", "three"}.isdisjoint(place.table("train").columns)
    assert {"flat", "three"}.isdisjoint(item["name"] for item in place.manifest()["schema"]["columns"])
    assert "constant: 'x' in all training rows" in json.dumps(place.report())
    assert "2 constant columns left out" in place.report()["verdict"]


def test_one_number_and_gaps_vary_while_missing_stays_missing(place: Any, table: pl.DataFrame, settings: Any) -> None:
    gaps = pl.Series("gaps", [1.0 if row % 2 else None for row in range(table.height)])
    place.put("data", table.with_columns(gaps))

    assert place.run("train", **settings, impute="none", scale="standard") == 0

    assert set(place.table("train")["gaps"]) == {0.0, None}


def test_explicit_features_come_in_the_order_named(place: Any, table: pl.DataFrame, settings: Any) -> None:
    settings["derive"] = {**settings["derive"], "long": "distance > 1000"}
    place.put("data", table)

    assert place.run("train", **settings, features=["seats", "long", "day"], dates=["weekday"]) == 0

    assert place.table("train").columns == ["trip", "seats", "long", "day_weekday", "late"]


def test_a_dropped_helper_column_is_still_computed(place: Any, table: pl.DataFrame, settings: Any) -> None:
    settings["derive"] = {**settings["derive"], "hundreds": "distance // 100", "odd": "hundreds % 2"}
    place.put("data", table)

    assert place.run("train", **settings, drop=["hundreds"]) == 0

    assert "odd" in place.table("train").columns
    assert "hundreds" not in place.table("train").columns


def test_text_as_target_becomes_classes_in_order_of_their_names(place: Any, table: pl.DataFrame) -> None:
    answers = pl.Series("answer", ["yes", "no", "perhaps", "no"] * 100)
    place.put("data", table.with_columns(answers))

    assert place.run("train", target="answer", ids=["trip"], split={"validation": 0}) == 0

    assert place.table("train")["answer"].to_list() == [2, 0, 1, 0] * 100
    assert place.manifest()["extra"]["classes"] == ["no", "perhaps", "yes"]


@pytest.mark.parametrize("file", ["data.parquet", "data.jsonl", "data.csv.gz", "data.csv"])
def test_each_format_gives_the_same_features(
    place: Any, production: Any, table: pl.DataFrame, settings: Any, file: str
) -> None:
    content: Any = table
    if file == "data.jsonl":
        content = table.with_columns(pl.col("day").cast(pl.String)).write_ndjson()
        settings["time"], settings["split"] = None, {"by": "random"}
        settings["drop"] = ["day"]
    elif file == "data.csv.gz":
        stream = io.BytesIO()
        table.write_csv(stream)
        content = gzip.compress(stream.getvalue())
    place.put("data", table, "data.parquet")
    production.put("data", content, file)

    assert place.run("train", **settings) == production.run("train", **settings) == 0

    assert place.table("train").equals(production.table("train"))
    assert place.table("validation").equals(production.table("validation"))


def test_a_separator_and_missing_markers_of_ones_own(place: Any, table: pl.DataFrame, settings: Any) -> None:
    text = table.write_csv(separator=";", null_value="?")
    place.put("data", text)

    assert place.run("train", **settings, separator=";", missing=["?"]) == 0

    assert place.table("train").height + place.table("validation").height == table["delay"].count()


def test_without_a_header_columns_are_numbered(place: Any, production: Any) -> None:
    place.put("data", "".join(f"{row},{row % 3},{row % 2}\n" for row in range(30)))

    assert place.run("train", target="column_3", ids=["column_1"], header=False) == 0
    assert place.table("train").columns == ["column_1", "column_2", "column_3"]

    production.mount("state", place)
    production.put("data", "7,1\n8,2\n")
    assert production.run("serve") == 0
    assert production.served().rows() == [("7", "1.0"), ("8", "2.0")]


def test_many_small_files_are_one_table_in_the_order_of_their_names(
    place: Any, table: pl.DataFrame, settings: Any
) -> None:
    for number in reversed(range(8)):
        place.put("data", table[number * 50 : number * 50 + 50], f"part-{number}.csv")

    assert place.run("train", **settings, split={"validation": 0}) == 0

    assert place.table("train")["trip"].to_list() == table.filter(pl.col("delay").is_not_null())["trip"].to_list()


def test_batches_do_not_show(
    place: Any, production: Any, table: pl.DataFrame, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of many batches, or of more columns than one pass seeks medians of, gives what a table of one does."""
    place.put("data", table)
    assert place.run("train", **settings, scale="robust") == 0
    monkeypatch.setattr("components.processing.spool.BATCH_ROWS", 7)
    monkeypatch.setattr("components.processing.passes.TOGETHER", 1)
    production.put("data", table)
    assert production.run("train", **settings, scale="robust") == 0

    assert place.state() == production.state()
    assert place.table("train").equals(production.table("train"))
    assert place.table("validation").equals(production.table("validation"))


def test_the_same_run_twice_writes_the_same_bytes(
    place: Any, production: Any, table: pl.DataFrame, settings: Any
) -> None:
    for where in (place, production):
        where.put("data", table)
        assert where.run("train", **settings, scale="standard", encode="onehot") == 0

    files = place.written()
    assert files == production.written()
    for name in files:
        assert (place.root / "processing/output" / name).read_bytes() == (
            production.root / "processing/output" / name
        ).read_bytes(), name


def test_the_order_in_which_derived_columns_are_given_does_not_matter(
    place: Any, production: Any, table: pl.DataFrame, settings: Any
) -> None:
    derive = {"b": "distance // 10", "a": "b % 3", **settings.pop("derive")}
    for where, given in ((place, derive), (production, dict(reversed(derive.items())))):
        where.put("data", table)
        assert where.run("train", **settings, derive=given) == 0

    assert place.table("train").columns == production.table("train").columns
    assert place.state() == production.state()


def test_the_report_counts_rows_and_the_profile_knows_each_column(trained: Any, table: pl.DataFrame) -> None:
    profile = json.loads((trained.output("report") / "profile.json").read_text())
    columns = {item["name"]: item for item in profile["columns"]}
    training = table.filter(pl.col("trip").is_in(trained.table("train")["trip"].implode()))

    assert trained.report()["rows"] == 400
    assert profile["rows"] == {
        "train": trained.table("train").height,
        "validation": trained.table("validation").height,
        "test": 0,
    }
    distance = columns["distance"]["parts"]["train"]
    assert distance["mean"] == pytest.approx(training["distance"].mean())
    assert distance["missing"] == training["distance"].null_count()
    assert columns["carrier"]["parts"]["train"]["distinct"] == training["carrier"].drop_nulls().n_unique()
    assert columns["late"]["parts"]["train"]["mean"] == pytest.approx((training["delay"] >= 15).mean())
    assert trained.message == f"4 features; rows: {training.height:,} train, {376 - training.height:,} validation."


def test_nothing_temporary_is_left(trained: Any) -> None:
    assert trained.written() == [
        "report/profile.json",
        "report/report.html",
        "report/report.json",
        "state/manifest.json",
        "state/state.json",
        "train/part-0000-of-0001.parquet",
        "validation/part-0000-of-0001.parquet",
    ]


def test_the_state_holds_neither_a_time_nor_a_path(trained: Any) -> None:
    text = (trained.output("state") / "manifest.json").read_text() + (
        trained.output("state") / "state.json"
    ).read_text()

    assert str(Path(trained.root)) not in text
    assert "2026" not in text
