"""The baseline to beat: the share of late flights per carrier and scheduled hour, from the training months.

    python -m pipelines.flights.rate_table .quartet/flights/data

prints its AUC on each later month, which stands in the README beside the model's.
"""

from __future__ import annotations

from pathlib import Path

import click
import polars as pl

from pipelines.flights.prepare import LATE_MINUTES, MONTHS, SCORED

CELL = ("carrier", "hour")


def flights(folder: Path, month: str) -> pl.DataFrame:
    """Flights of a month that arrived: carrier, scheduled hour, and whether they were late."""
    known = pl.read_csv(folder / "train" / f"{month}.csv", columns=["carrier", "sched_dep_time", "arr_delay"])
    return known.drop_nulls("arr_delay").select(
        "carrier", hour=pl.col("sched_dep_time") // 100, late=pl.col("arr_delay") >= LATE_MINUTES
    )


def rates(training: pl.DataFrame) -> pl.DataFrame:
    """Share of late flights per cell; a cell nobody flew then is scored with the share of all."""
    return training.group_by(CELL).agg(rate=pl.col("late").mean())


def auc(scores: pl.Series, late: pl.Series) -> float:
    """Area under the ROC curve, in [0, 1]: the chance that a late flight scores above one on time, ties counting half.

    Source: Hanley and McNeil (1982), from the rank sum.
    """
    positives = int(late.sum())
    negatives = len(late) - positives
    ranks = float(scores.rank("average").filter(late).sum())
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def monthly_auc(folder: Path, training_months: int = 4) -> dict[str, float]:
    """AUC of the rate table on each month after the training months."""
    training = pl.concat(flights(folder, month) for month in MONTHS[:training_months])
    table, overall = rates(training), training["late"].mean()
    found = {}
    for month in SCORED:
        scored = flights(folder, month).join(table, on=CELL, how="left", maintain_order="left")
        found[month] = auc(scored["rate"].fill_null(overall), scored["late"])
    return found


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Print the rate table's AUC on each later month."""
    for month, value in monthly_auc(folder).items():
        click.echo(f"{month} {value:.4f}")


if __name__ == "__main__":
    main()
