"""Serve as a job and over HTTP: the same features as in train, bad rows set aside."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from components.processing.component import COMPONENT
from shared import payload
from shared.contract import Contract
from shared.server import Holder, Serving, application


@pytest.fixture
def raw(table: pl.DataFrame) -> pl.DataFrame:
    """Production rows: what train saw, less what only the target uses."""
    return table.drop("delay", "day")


def served(production: Any, trained: Any, data: Any, file: str = "data.csv", **settings: Any) -> int:
    production.mount("state", trained)
    production.put("data", data, file)
    code: int = production.run("serve", **settings)
    return code


def test_rows_of_training_get_the_features_that_train_gave_them(
    trained: Any, production: Any, raw: pl.DataFrame
) -> None:
    assert served(production, trained, raw) == 0

    both = pl.concat([trained.table("train"), trained.table("validation")])
    columns = both.drop("late").columns
    found = production.served().rename(lambda name: columns[int(name.removeprefix("column_")) - 1])
    found = found.cast(dict(both.drop("late").schema))
    assert found.filter(pl.col("trip").is_in(both["trip"].implode())).equals(both.drop("late"))


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "frequency"])
@pytest.mark.parametrize(("impute", "scale"), [("mean", "standard"), ("none", "robust"), ("zero", "minmax")])
def test_train_and_serve_agree_to_the_last_bit(
    place: Any, production: Any, table: pl.DataFrame, settings: Any, impute: str, scale: str, encode: str
) -> None:
    settings |= {"impute": impute, "scale": scale, "encode": encode, "split": {"validation": 0}, "min_frequency": 0.01}
    settings["derive"] = {**settings["derive"], "per_seat": "distance / seats", "kind": "SUBSTR(carrier, 1, 1)"}
    place.put("data", table)
    assert place.run("train", **settings) == 0
    both = place.table("train").drop("late")

    assert served(production, place, table.filter(pl.col("delay").is_not_null()).drop("delay", "day")) == 0

    found = production.served()
    found.columns = both.columns
    assert found.cast(dict(both.schema)).equals(both)


def test_order_and_number_of_rows_are_kept(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    shuffled = raw.sample(fraction=1.0, shuffle=True, seed=3)

    assert served(production, trained, shuffled) == 0

    assert production.served()["column_1"].to_list() == shuffled["trip"].to_list()
    assert not (production.output("rejected") / "part-0000-of-0001.csv").exists()
    assert production.message == "400 rows, none rejected."
    assert production.report()["rows"] == 400


def test_a_single_row_is_served(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    assert served(production, trained, raw[:1]) == 0
    assert production.served().height == 1


def test_columns_in_another_order_and_extra_columns_do_not_matter(
    trained: Any, production: Any, raw: pl.DataFrame
) -> None:
    assert served(production, trained, raw.select(*reversed(raw.columns), pl.lit("x").alias("more"))) == 0
    first = (production.output("data") / "part-0000-of-0001.csv").read_bytes()
    assert served(production, trained, raw) == 0

    assert (production.output("data") / "part-0000-of-0001.csv").read_bytes() == first


def test_rows_that_do_not_fit_are_set_aside_with_number_and_reason(
    trained: Any, production: Any, raw: pl.DataFrame
) -> None:
    bad = raw.with_columns(pl.col("distance", "seats").cast(pl.String))
    bad = bad.with_row_index().with_columns(
        pl.when(pl.col("index") == 4).then(pl.lit("far")).otherwise("distance").alias("distance"),
        pl.when(pl.col("index") == 9).then(pl.lit("inf")).otherwise("seats").alias("seats"),
    )

    assert served(production, trained, bad.drop("index")) == 0

    rejected = pl.read_csv(production.output("rejected") / "part-0000-of-0001.csv", infer_schema=False)
    assert rejected.columns == ["row", "reason", "trip", "carrier", "distance", "seats", "private"]
    assert rejected["row"].to_list() == ["5", "10"]
    assert rejected["reason"][0] == "column 'distance' is 'far', wanted a finite number"
    assert rejected["trip"].to_list() == ["00004", "00009"]
    assert production.served().height == 398
    assert production.message.startswith("400 rows, 2 rejected; the first is row 5: column 'distance' is 'far'")


@pytest.mark.parametrize(
    ("scale", "cells", "rejected"),
    [
        ("none", [1e39, -1.7e308, 3.4028235e38], ["1", "2"]),
        # A deviation of about 0.6: what is just below float32's greatest number becomes a feature beyond it.
        ("standard", [3.4028235e38, 1e38, 1e39], ["1", "3"]),
    ],
)
def test_rows_whose_features_float32_cannot_hold_are_rejected(
    place: Any, production: Any, table: pl.DataFrame, settings: Any, scale: str, cells: list[float], rejected: list[str]
) -> None:
    """The algorithm refuses such a row, and would all others of its request with it."""
    small = table.with_columns(pl.col("distance") / 1000)
    place.put("data", small)
    assert place.run("train", **settings, scale=scale) == 0
    raw = small.drop("delay", "day").with_columns(distance=pl.Series([*cells, *small["distance"][3:]]))

    assert served(production, place, raw, max_rejected=1) == 0

    found = pl.read_csv(production.output("rejected") / "part-0000-of-0001.csv", infer_schema=False)
    assert found["row"].to_list() == rejected
    assert found["reason"][0].startswith("column 'distance' is '")
    assert found["reason"][0].endswith("', wanted a number whose feature is from -3.4028235e+38 to 3.4028235e+38")
    assert production.served().height == 398
    answer = COMPONENT.load(place.output("state"), {}).answer
    fitting = answer(raw[3:])
    assert isinstance(fitting, pl.DataFrame)
    assert fitting.height == 397
    with pytest.raises(payload.RefusedRequest, match=f"^row {rejected[0]}: column 'distance' is"):
        answer(raw)


def test_all_rows_in_are_either_written_or_rejected(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    worse = raw.with_columns(pl.when(pl.col("seats") % 3 == 0).then(pl.lit("?")).otherwise("seats").alias("seats"))

    assert served(production, trained, worse, max_rejected=1) == 0

    rejected = pl.read_csv(production.output("rejected") / "part-0000-of-0001.csv", infer_schema=False)
    trips = [*production.served()["column_1"], *rejected["trip"]]
    assert sorted(trips) == raw["trip"].to_list()


def test_a_derived_number_that_is_infinite_rejects_its_row(
    place: Any, production: Any, table: pl.DataFrame, settings: Any
) -> None:
    settings["derive"] = {**settings["derive"], "per_seat": "distance / seats"}
    place.put("data", table)
    assert place.run("train", **settings) == 0
    none = table.drop("delay", "day").with_columns(seats=pl.when(pl.col("trip") == "00008").then(0).otherwise("seats"))

    assert served(production, place, none) == 0

    rejected = pl.read_csv(production.output("rejected") / "part-0000-of-0001.csv", infer_schema=False)
    assert rejected["trip"].to_list() == ["00008"]
    assert rejected["reason"].to_list() == [
        "derived column 'per_seat' (distance / seats) is infinite, wanted a finite number"
    ]


def test_a_value_that_an_expression_fails_on_rejects_its_row_alone(
    place: Any, production: Any, table: pl.DataFrame, settings: Any
) -> None:
    settings["derive"] = {**settings["derive"], "number": "CAST(code AS INTEGER)"}
    codes = table.with_columns(pl.Series("code", [f"{row:03d}" for row in range(400)]))
    place.put("data", codes, "data.parquet")
    assert place.run("train", **settings, drop=["code"]) == 0
    broken = codes.drop("delay", "day").with_columns(
        pl.when(pl.col("trip") == "00333").then(pl.lit("x3")).otherwise("code").alias("code")
    )

    assert served(production, place, broken, "data.parquet") == 0

    rejected = pl.read_csv(production.output("rejected") / "part-0000-of-0001.csv", infer_schema=False)
    assert rejected["row"].to_list() == ["334"]
    assert "derive 'number'" in rejected["reason"][0]
    assert production.served().height == 399


def test_unseen_levels_are_other_and_are_counted(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    new = raw.with_columns(pl.when(pl.col("trip") < "00003").then(pl.lit("NEW")).otherwise("carrier").alias("carrier"))

    assert served(production, trained, new) == 0

    assert production.served()["column_2"].to_list()[:3] == ["1", "1", "1"]
    report = json.dumps(production.report())
    assert '["carrier", "NEW", 3]' in report
    assert "3 unseen levels" in production.report()["verdict"]


def test_missing_cells_are_filled_as_in_train(trained: Any, production: Any) -> None:
    assert served(production, trained, "trip,carrier,distance,seats,private\n7,,,,\n") == 0

    fills = [item["fill"] for item in trained.state()["features"] if item["kind"] == "number"]
    assert production.served().row(0)[:2] == ("7", "0")
    assert [float(cell) for cell in production.served().row(0)[2:]] == fills


def test_the_file_format_is_that_of_training_unless_said_otherwise(
    place: Any, production: Any, table: pl.DataFrame, raw: pl.DataFrame, settings: Any
) -> None:
    place.put("data", table.write_csv(separator=";"))
    assert place.run("train", **settings, separator=";") == 0

    assert served(production, place, raw.write_csv(separator=";")) == 0
    assert served(production, place, raw.write_csv(separator="|"), separator="|") == 0


def test_settings_of_train_are_without_effect_and_that_is_said(
    trained: Any, production: Any, raw: pl.DataFrame, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served(production, trained, raw, **settings, impute="mean") == 0
    assert "settings 'impute' have no effect in serve" in capsys.readouterr().out


def test_the_same_rows_twice_give_the_same_bytes(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    contents = []
    for _ in range(2):
        assert served(production, trained, raw) == 0
        contents.append(
            {name: (production.root / "processing/output" / name).read_bytes() for name in production.written()}
        )

    assert contents[0] == contents[1]


def test_files_are_served_in_the_order_of_their_names(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    production.mount("state", trained)
    production.put("data", raw[200:], "b.csv")
    production.put("data", raw[:200], "a.csv")

    assert production.run("serve") == 0

    assert production.served()["column_1"].to_list() == raw["trip"].to_list()


def test_each_host_serves_its_own_files(trained: Any, production: Any, raw: pl.DataFrame) -> None:
    production.hosts("algo-1", "algo-2", current="algo-2")

    assert served(production, trained, raw[:10]) == 0

    assert production.written() == ["data/part-0001-of-0002.csv"]


def test_a_host_without_files_writes_nothing_and_ends_well(trained: Any, production: Any) -> None:
    production.hosts("algo-1", "algo-2", current="algo-2")
    production.mount("state", trained)
    (production.root / "processing/input/data").mkdir(parents=True)

    assert production.run("serve") == 0

    assert production.written() == []
    assert production.message == "0 rows, none rejected."


# --- Over HTTP


@pytest.fixture
def client(trained: Any) -> Any:
    """A client of the server that holds the trained state."""
    contract = Contract(trained.root)
    contract.model.parent.mkdir(exist_ok=True)
    trained.output("state").rename(contract.model)
    holder = Holder(COMPONENT, contract, {})
    holder.load()
    return application(holder, Serving.from_environment({})).test_client()


def test_rows_over_http_get_the_features_of_train(trained: Any, client: Any, raw: pl.DataFrame) -> None:
    expected = trained.table("train").drop("late")
    rows = raw.filter(pl.col("trip").is_in(expected["trip"].implode()))

    answer = client.post("/invocations", data=rows.write_csv(), content_type="text/csv; header=present")

    assert answer.status_code == 200
    found = pl.read_csv(answer.data, infer_schema=False, null_values=[""])
    assert found.cast(dict(expected.schema)).equals(expected)


def test_json_rows_without_ids_are_answered_without_ids(client: Any, raw: pl.DataFrame) -> None:
    row = raw.drop("trip").row(1, named=True)

    answer = client.post("/invocations", json={"instances": [row]})

    assert answer.status_code == 200
    assert list(answer.get_json()["predictions"][0]) == ["carrier", "distance", "seats", "private"]


def test_a_row_that_does_not_fit_is_refused_over_http(client: Any) -> None:
    answer = client.post("/invocations", data="A,far,3,true\n", content_type=payload.CSV)

    assert answer.status_code == 400
    assert answer.text == "row 1: column 'distance' is 'far', wanted a finite number.\n"
