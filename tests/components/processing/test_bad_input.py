"""What users get wrong: one sentence, the right exit code, the message file, and no output."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

SETTINGS, DATA = 2, 3


def refused(place: Any, *parts: str) -> None:
    """The last run failed with a sentence with these parts where SageMaker reads it, and left nothing."""
    for part in parts:
        assert part in place.message
    assert place.message == place.failure
    assert "\n" not in place.message
    assert place.message.endswith((".", "?"))
    assert place.written() == []


def train(place: Any, data: Any, settings: Any, code: int, *parts: str, file: str = "data.csv") -> None:
    place.put("data", data, file)
    assert place.run("train", **settings) == code
    refused(place, *parts)


def serve(
    production: Any, trained: Any, data: Any, code: int, *parts: str, file: str = "data.csv", **settings: Any
) -> None:
    production.mount("state", trained)
    production.put("data", data, file)
    assert production.run("serve", **settings) == code
    refused(production, *parts)


@pytest.fixture
def raw(table: pl.DataFrame) -> pl.DataFrame:
    return table.drop("delay", "day")


# --- Numbers


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "none"])
@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((1e308, -1e308), "reaches from -1e+308 to 1e+308 in train rows"),
        ((1e308, 1e308), "to 1e+308 in train rows"),
        ((0.0, -1e200), "reaches from -1e+200 to "),
    ],
)
def test_numbers_too_great_for_moments_are_refused(
    place: Any, table: pl.DataFrame, settings: Any, cells: tuple[float, float], said: str, scale: str
) -> None:
    """Their squares are beyond double precision, whose greatest number is 1.8e308."""
    great = table.with_columns(distance=pl.Series([*cells, *table["distance"][2:]]))

    train(
        place,
        great,
        settings | {"scale": scale, "time": None, "split": {"validation": 0, "test": 0}},
        DATA,
        "column 'distance'",
        said,
        "wanted numbers that can be squared (below 1e+150)",
        file="data.parquet",
    )


def test_numbers_too_great_are_refused_in_validation_rows_and_in_the_target(
    place: Any, table: pl.DataFrame, settings: Any
) -> None:
    great = table.with_columns(distance=pl.Series([*table["distance"][:-1], 1e308]))
    place.put("validation", great)
    train(place, table, settings, DATA, "column 'distance'", "to 1e+308 in validation rows")

    target = table.with_columns(pl.Series("delay", [1e308, -1e308, *table["delay"][2:]]))
    (place.root / "processing/input/validation/data.csv").unlink()
    (place.root / "processing/input/validation").rmdir()
    train(place, target, settings | {"target": "delay", "derive": {}}, DATA, "column 'delay'", "from -1e+308 to 1e+308")


def test_numbers_up_to_1e150_are_scaled(place: Any, table: pl.DataFrame, settings: Any) -> None:
    place.put("data", table.with_columns(distance=pl.Series([1e150, -1e150, *table["distance"][2:]])))

    assert place.run("train", **settings) == 0
    assert place.table("train")["distance"].is_finite().all()


# --- Columns


def test_semicolons_without_their_setting_are_refused_in_train(place: Any, table: pl.DataFrame, settings: Any) -> None:
    train(place, table.write_csv(separator=";"), settings, DATA, "data.csv has one column, '", "`separator` to ';'")


def test_semicolons_without_their_setting_are_refused_in_serve(
    production: Any, trained: Any, raw: pl.DataFrame
) -> None:
    serve(production, trained, raw.write_csv(separator=";"), DATA, "data.csv has one column, '", "`separator` to ';'")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"target": "lat"}, ["lacks 'lat', which `target` names", "Did you mean 'late'?"]),
        ({"ids": ["tripp"]}, ["lacks 'tripp', which `ids` names", "it has 'trip', 'day'", "Did you mean 'trip'?"]),
        ({"time": "days"}, ["lacks 'days', which `time` names", "Did you mean 'day'?"]),
        ({"drop": ["saets"]}, ["lacks 'saets', which `drop` names", "Did you mean 'seats'?"]),
        ({"features": ["seats", "speed"]}, ["lacks 'speed', which `features` names"]),
        ({"time": "carrier"}, ["time 'carrier' holds text, wanted dates, timestamps or numbers"]),
        ({"target": "day", "time": None}, ["target 'day' holds dates, wanted numbers"]),
    ],
)
def test_a_column_that_is_not_there_or_not_fit_is_named(
    place: Any, table: pl.DataFrame, settings: Any, change: Any, parts: list[str]
) -> None:
    train(place, table, settings | change, DATA, *parts)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"where": "dely > 3"}, ["where uses 'dely'", "Did you mean 'delay'?"]),
        ({"where": "SUM(seats) > 3"}, ["where is 'SUM(seats) > 3', which depends on other rows"]),
        ({"where": "seats"}, ["where is 'seats', which gives integer, wanted a condition"]),
        ({"derive": {"late": "delay >="}}, ["derive 'late' is 'delay >=', which is no SQL expression"]),
        ({"derive": {"late": "delay >= 15", "x": "late + 1"}}, ["features 'x' are made of the target 'late'"]),
        ({"derive": {"seats": "1", "late": "delay > 0"}}, ["derive names 'seats', which the data has already"]),
        ({"drop": ["carrier", "distance", "seats", "private"]}, ["no column is left to make features of"]),
        ({"target": None}, ["'target' is missing"]),
    ],
)
def test_settings_that_do_not_fit_the_data_are_told(
    place: Any, table: pl.DataFrame, settings: Any, change: Any, parts: list[str]
) -> None:
    train(place, table, settings | change, SETTINGS, *parts)


def test_missing_columns_in_production_are_named(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    serve(production, trained, raw.drop("seats", "private"), DATA, "lacks 'seats', 'private', which the state was")


def test_a_state_from_other_data_is_told_by_the_columns_that_it_wants(production: Any, trained: Any) -> None:
    other = pl.DataFrame({"house": ["a"], "rooms": [3]})

    serve(production, trained, other, DATA, "'trip', 'carrier'", "'house', 'rooms'", "Mount the state of this data")


# --- Files


def test_an_empty_file_is_told(place: Any, settings: Any) -> None:
    train(place, b"", settings, DATA, "data.csv is empty (0 bytes).")


def test_an_empty_file_is_told_in_serve(production: Any, trained: Any) -> None:
    serve(production, trained, b"", DATA, "data.csv is empty (0 bytes).")


def test_a_header_without_rows_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    train(place, table[:0], settings, DATA, "data.csv holds a header and no rows")


def test_a_header_without_rows_is_told_in_serve(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    serve(production, trained, raw[:0], DATA, "'data.csv' without rows, wanted at least one")


def test_a_folder_without_files_is_told(place: Any, settings: Any) -> None:
    (place.root / "processing/input/data").mkdir(parents=True)

    assert place.run("train", **settings) == DATA
    refused(place, "input 'data' is empty", "Check the S3 prefix")


def test_an_input_that_is_not_mounted_is_told(place: Any, settings: Any) -> None:
    assert place.run("train", **settings) == SETTINGS
    refused(place, "processing train has no input 'data'", "Add an input")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xd8", b"a,b\n1,2,3\n4,5,6,7\n"])
def test_a_file_that_is_no_csv_is_told(place: Any, settings: Any, content: bytes) -> None:
    train(place, content, settings, DATA, "data.csv")


def test_a_file_that_is_no_parquet_is_told(place: Any, settings: Any) -> None:
    train(place, b"trip,day\n", settings, DATA, "data.parquet cannot be read as Parquet", file="data.parquet")


def test_a_file_that_is_no_csv_is_told_in_serve(production: Any, trained: Any) -> None:
    serve(production, trained, b"\x89PNG\r\n\x1a\n\x00\x00\xff", DATA, "data.csv")


def test_a_header_where_none_was_said_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    settings |= {"target": "column_7", "ids": ["column_1"], "time": None, "where": None, "derive": {}, "header": False}

    train(place, table, settings, DATA, "data.csv has a header line where none was said", "Set header to true")


def test_a_header_where_none_was_said_is_told_in_serve(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    serve(production, trained, raw, DATA, "has a header line where none was said", header=False)


def test_no_header_where_one_was_said_is_told_in_serve(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    serve(production, trained, raw.write_csv(include_header=False), DATA, "data.csv lacks 'trip'")


# --- Values


def test_a_column_missing_in_all_rows_is_named(place: Any, table: pl.DataFrame, settings: Any) -> None:
    train(
        place,
        table.with_columns(pl.lit(None).alias("gone")),
        settings,
        DATA,
        "column 'gone' is missing in all 297 training rows",
        "Name it under `drop`.",
    )


def test_a_column_missing_in_all_training_rows_is_named_though_later_rows_have_it(
    place: Any, table: pl.DataFrame, settings: Any
) -> None:
    new = pl.Series("new", [None] * 350 + [1.0] * 50)

    train(place, table.with_columns(new), settings, DATA, "column 'new' is missing in all 297 training rows")


def test_only_constant_columns_teach_nothing(place: Any, settings: Any) -> None:
    table = pl.DataFrame({"trip": ["a", "b"] * 5, "flat": [1] * 10, "delay": [0, 20] * 5})
    settings |= {"time": None}

    train(place, table, settings, DATA, "all features are constant in the training rows")


def test_a_constant_target_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    settings["derive"] = {"late": "delay > 1000"}

    train(place, table, settings, DATA, "target 'late' is 0 in all 297 training rows, wanted at least two values")


@pytest.mark.parametrize("nothing", ["", "NaN", "nan", "NA"])
def test_a_missing_or_nan_target_is_counted_and_where_is_recommended(place: Any, nothing: str) -> None:
    rows = "".join(f"{row},{row % 2 if row != 7 else nothing}\n" for row in range(20))

    train(
        place,
        f"x,y\n{rows}",
        {"target": "y"},
        DATA,
        "target 'y' is missing in 1 of 20 rows (first in row 8)",
        '"y" IS NOT NULL',
    )


@pytest.mark.parametrize("infinity", ["inf", "-inf", "Infinity", "1e999"])
def test_an_infinite_target_is_named_by_row(place: Any, infinity: str) -> None:
    rows = "".join(f"{row},{row % 2 if row != 7 else infinity}\n" for row in range(20))

    train(place, f"x,y\n{rows}", {"target": "y"}, DATA, f"row 8: column 'y' is '{infinity}', wanted a finite number")


def test_nan_and_infinity_in_a_parquet_target_are_told(place: Any) -> None:
    table = pl.DataFrame({"x": np.arange(10.0), "y": [0.0, 1.0] * 5})

    train(
        place,
        table.with_columns(y=pl.Series([float("nan"), *[0.0, 1.0] * 4, 0.0])),
        {"target": "y"},
        DATA,
        "target 'y' is missing in 1 of 10 rows",
        file="data.parquet",
    )
    train(
        place,
        table.with_columns(y=pl.Series([float("inf"), *[0.0, 1.0] * 4, 0.0])),
        {"target": "y"},
        DATA,
        "row 1: column 'y' is 'inf'",
        file="data.parquet",
    )


def test_a_derived_target_that_is_infinite_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    settings["derive"] = {"late": "delay / (seats - 2)"}

    train(
        place,
        table.with_columns(seats=pl.Series([2, *range(3, 402)])),
        settings,
        DATA,
        "row 1: derived column 'late' (delay / (seats - 2)) is",
        "infinite",
        "NULLIF",
    )


def test_a_stray_word_among_numbers_is_named(place: Any, table: pl.DataFrame, settings: Any) -> None:
    seats = table["seats"].cast(pl.String).set(table["trip"] == "00010", "many")

    train(
        place,
        table.with_columns(seats),
        settings,
        DATA,
        "column 'seats' holds 'many' in 1 of 297 training rows and numbers in all others",
        "Correct these cells",
    )


def test_codes_that_look_like_numbers_can_be_said_to_be_text(place: Any, table: pl.DataFrame, settings: Any) -> None:
    seats = table["seats"].cast(pl.String).set(table["trip"] == "00010", "many")
    settings["derive"] = {**settings["derive"], "code": 'CAST("seats" AS VARCHAR)'}
    place.put("data", table.with_columns(seats))

    assert place.run("train", **settings, drop=["seats"], min_frequency=0) == 0
    assert place.table("train")["code"].dtype == pl.Int64


def test_a_column_of_identifiers_is_told(
    place: Any, table: pl.DataFrame, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.processing.passes.LEVELS", 200)

    train(
        place,
        table.with_columns(pl.format("t{}", "trip").alias("name")),
        settings,
        DATA,
        "column 'name' holds more than 200 different texts",
        "Name it under `ids` or `drop`",
    )


def test_a_missing_time_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    days = table["day"].set(table["trip"] == "00010", None)

    train(place, table.with_columns(days), settings, DATA, "time 'day' is missing in row 11")


def test_a_split_that_leaves_no_training_rows_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    one_day = table.with_columns(day=pl.lit(date(2013, 1, 1)))

    train(
        place, one_day, settings, DATA, "the split by time 'day' leaves no row for training", "Set split.by to 'random'"
    )


def test_a_single_row_is_too_few_to_split(place: Any, table: pl.DataFrame, settings: Any) -> None:
    train(place, table[:1], settings, DATA, "1 row is too few to hold out validation 0.2")


def test_a_condition_that_keeps_nothing_is_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    train(place, table, settings | {"where": "seats > 1000"}, DATA, "where (seats > 1000) keeps none of 400 rows")


def test_a_class_that_only_validation_has_is_told(place: Any, table: pl.DataFrame) -> None:
    classes = pl.Series("kind", ["a", "b"] * 195 + ["late"] * 10)
    settings = {"target": "kind", "time": "day", "ids": ["trip"], "drop": ["delay"]}

    train(
        place,
        table.with_columns(classes),
        settings,
        DATA,
        "target 'kind' has 'late' in validation rows and in no training row",
    )


def test_two_columns_of_one_name_are_told(place: Any, table: pl.DataFrame, settings: Any) -> None:
    clash = table.with_columns(pl.col("seats").alias("day_weekday"))
    settings |= {"time": None}

    train(place, clash, settings, DATA, "the finished table would have two columns called 'day_weekday'")


def test_a_column_named_twice_is_told(place: Any, settings: Any) -> None:
    train(place, "trip,x,x\n1,2,3\n", settings, DATA, "data.csv names column 'x' twice")


def test_too_many_rejected_rows_fail_the_job(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    seats = raw["seats"].cast(pl.String).set(raw["trip"] < "00041", "?")

    serve(
        production,
        trained,
        raw.with_columns(seats),
        DATA,
        "41 of 400 rows do not fit",
        "max_rejected is 0.1",
        "row 1: column 'seats' is '?', wanted an integer",
    )


def test_just_as_many_rejected_rows_as_allowed_do_not(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    seats = raw["seats"].cast(pl.String).set(raw["trip"] < "00040", "?")
    production.mount("state", trained)
    production.put("data", raw.with_columns(seats))

    assert production.run("serve") == 0


def test_a_new_category_fails_nothing(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    production.mount("state", trained)
    production.put("data", raw.with_columns(carrier=pl.lit("NEW")))

    assert production.run("serve") == 0
    assert set(production.served()["column_2"]) == {"1"}


# --- States


def test_a_state_that_was_changed_is_refused(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    path = trained.output("state") / "state.json"
    path.write_text(path.read_text().replace('"scale": 1.0', '"scale": 2.0'))

    serve(production, trained, raw, DATA, "'state.json' is not the one that was written", "train again")


def test_a_state_of_an_older_format_is_refused(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    path = trained.output("state") / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 0}))

    serve(production, trained, raw, DATA, "format 0, older than the format 1")


def test_a_state_that_answers_otherwise_than_when_it_was_made_is_refused(
    production: Any, trained: Any, raw: pl.DataFrame
) -> None:
    path = trained.output("state") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["golden"]["outputs"]["seats"][0] += 1
    path.write_text(json.dumps(manifest))

    serve(production, trained, raw, DATA, "gives 'seats' = ", "train again")


def test_an_artefact_of_another_component_is_refused(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    path = trained.output("state") / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "component": "algorithm"}))

    serve(production, trained, raw, DATA, "state was made by 'algorithm', wanted one of 'processing'")


def test_a_folder_without_a_state_is_told(production: Any, trained: Any, raw: pl.DataFrame) -> None:
    (trained.output("state") / "manifest.json").unlink()

    serve(production, trained, raw, DATA, "holds no manifest.json")


# --- Settings


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"imput": "mean"}, ["'imput' is no setting", "Did you mean 'impute'?"]),
        ({"impute": "mode"}, ["impute is 'mode'", "'median', 'mean', 'zero' or 'none'"]),
        ({"min_frequency": 1.5}, ["min_frequency is 1.5", "less than 1"]),
        ({"max_rejected": -0.1}, ["max_rejected is -0.1", "greater than or equal to 0"]),
        ({"split": {"validation": 1.2}}, ["split.validation is 1.2"]),
        ({"split": {"validation": 0.6, "test": 0.4}}, ["validation 0.6 and test 0.4 leave no rows for training"]),
        ({"split": {"by": "moon"}}, ["split.by is 'moon'"]),
        ({"split": {"by": "time"}, "time": None}, ["split.by is 'time', wanted the column's name in `time` too"]),
        ({"ids": ["late"]}, ["target 'late' is among `ids`"]),
        ({"drop": ["seats", "seats"]}, ["drop names 'seats' twice"]),
        ({"features": ["trip"]}, ["features names 'trip', which `ids` or `drop` names too"]),
        ({"separator": "::"}, ["separator is '::'"]),
        ({"dates": ["century"]}, ["dates.0 is 'century'"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    place: Any, table: pl.DataFrame, settings: Any, change: Any, parts: list[str]
) -> None:
    train(place, table, settings | change, SETTINGS, *parts)


def test_every_bad_setting_is_in_one_message(place: Any, table: pl.DataFrame, settings: Any) -> None:
    train(place, table, settings | {"impute": "mode", "scale": "log"}, SETTINGS, "impute is 'mode'", "scale is 'log'")


def test_train_on_several_hosts_is_refused(place: Any, table: pl.DataFrame, settings: Any) -> None:
    place.hosts("algo-1", "algo-2", current="algo-1")

    train(place, table, settings, SETTINGS, "train runs on one host, found 2. Set the instance count to 1.")
