"""The raw files of the flights use case, on a sample."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from pipelines.flights.prepare import KNOWN, MONTHS, flights, package_data, prepare, raw_files, sample


@pytest.fixture(scope="module")
def everything() -> pl.DataFrame:
    return flights(package_data())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    prepare(folder, rows=200)
    return folder


def test_all_336_776_flights_are_there_and_each_has_its_own_id(everything: pl.DataFrame) -> None:
    assert everything.height == 336_776
    assert everything["flight_id"].n_unique() == 336_776


def test_9_430_flights_never_arrived(everything: pl.DataFrame) -> None:
    assert everything["arr_delay"].null_count() == 9_430


def test_the_weather_is_that_of_the_hour_before_departure(everything: pl.DataFrame) -> None:
    """UA1545 left Newark at 5:15; the weather table has 39.92 °F there at 4:00 and 39.02 °F at 5:00."""
    row = everything.row(by_predicate=pl.col("flight_id") == "2013-01-01 UA1545 EWR", named=True)

    weather = pl.read_csv(package_data() / "weather.csv", null_values=["NA", ""], infer_schema_length=None)
    at_four = weather.filter(origin="EWR", month=1, day=1, hour=4)
    assert row["temp"] == at_four["temp"].item()
    assert row["pressure"] == at_four["pressure"].item()


def test_what_is_scored_does_not_hold_the_outcome(prepared: Path) -> None:
    assert tuple(pl.read_csv(prepared / "score/2013-05.csv").columns) == KNOWN
    assert pl.read_csv(prepared / "train/2013-05.csv").columns == [*KNOWN, "arr_delay"]


def test_late_is_fifteen_minutes_or_more_and_cancelled_flights_have_no_label(prepared: Path) -> None:
    outcomes = pl.read_csv(prepared / "train/2013-06.csv", infer_schema_length=None)
    labels = pl.read_csv(prepared / "labels/2013-06.csv")

    arrived = outcomes.filter(pl.col("arr_delay").is_not_null())
    assert labels["flight_id"].to_list() == arrived["flight_id"].to_list()
    assert labels["late"].to_list() == [int(delay >= 15) for delay in arrived["arr_delay"]]


def test_every_flight_is_scored_cancelled_or_not(prepared: Path) -> None:
    for period in MONTHS[4:]:
        scored = pl.read_csv(prepared / f"score/{period}.csv", infer_schema_length=None)
        assert scored["flight_id"].to_list() == pl.read_csv(prepared / f"train/{period}.csv")["flight_id"].to_list()


def test_a_sample_has_so_many_flights_of_each_month_and_the_same_ones_again(everything: pl.DataFrame) -> None:
    found = sample(everything, 50)

    assert found.group_by("period").len()["len"].to_list() == [50] * 12
    assert found.equals(sample(everything, 50))


def test_preparing_again_writes_nothing(prepared: Path) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in raw_files(prepared)}

    assert prepare(prepared, rows=10) is False
    assert before == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in raw_files(prepared)}
