"""Synthetic tables with a seed: `python -m benchmarks.data KIND ROWS SEED FILE`.

The file's ending says what is written: `.csv`, `.parquet`, or a folder of CSV without header and target, `.bodies` in
request bodies and `.body` in one file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from benchmarks.drift import SHIFT, SHIFTED

FEATURES: Final = 30
MISSING: Final = 0.02
LEVELS: Final = (4, 5, 8, 10, 12, 16, 20, 24, 30, 40)
BODY_ROWS: Final = 16_000
"""Rows of one request body: below 5 MB, of the 6 that Batch Transform sends by default."""
CHUNK: Final = 250_000
"""Rows made at a time: the same rows for the same seed, however many are asked for."""


def numbers(rows: int, random: np.random.Generator, columns: int = FEATURES) -> pl.DataFrame:
    """Float32 features `f00`, `f01`, …, some missing, and a binary `target` that depends on six of them."""
    values = random.standard_normal((rows, columns), dtype=np.float32)
    one, two, three, four, five, six = values[:, :6].T
    score = one * two + np.sin(2 * three) + np.abs(four) - five * (six > 0)
    target = (score + random.standard_normal(rows) > 0.8).astype(np.int8)
    values[random.random(values.shape, dtype=np.float32) < MISSING] = np.nan
    table = pl.DataFrame({f"f{index:02d}": values[:, index] for index in range(columns)}).fill_nan(None)
    return table.with_columns(pl.Series("target", target))


def higgs(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """The shape of the HIGGS table that boosted trees are usually timed on: 28 features."""
    return numbers(rows, random, 28)


def mixed(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """20 numbers and 10 columns of text, some missing, and a binary `target`: raw rows."""
    columns: dict[str, pl.Series] = {}
    for index in range(20):
        values = np.round(random.lognormal(1, 0.5, rows) if index % 4 == 3 else random.normal(50, 10, rows), 4)
        values[random.random(rows) < 0.05] = np.nan
        columns[f"n{index:02d}"] = pl.Series(values).fill_nan(None)
    for index, levels in enumerate(LEVELS):
        columns[f"t{index:02d}"] = text(rows, levels, random)
    return pl.DataFrame(columns).with_columns(pl.Series("target", (random.random(rows) < 0.3).astype(np.int8)))


def text(rows: int, levels: int, random: np.random.Generator, missing: float = 0.02) -> pl.Series:
    """`level 00`, `level 01`, …, the first the most frequent, some missing."""
    share = 1 / np.arange(2, levels + 2)
    codes = random.choice(levels, rows, p=share / share.sum())
    names = pl.Series([f"level {level:02d}" for level in range(levels)])
    present = pl.Series(random.random(rows) >= missing)
    return names.gather(pl.Series(codes)).zip_with(present, pl.Series([None], dtype=pl.String))


def monitored(rows: int, random: np.random.Generator, shift: float = 0.0) -> pl.DataFrame:
    """40 numbers of four kinds and 10 columns of text; the first three numbers moved by `shift` standard deviations."""
    columns: dict[str, pl.Series] = {}
    for index in range(40):
        kinds: tuple[Callable[[], np.ndarray[tuple[int], np.dtype[np.float64]]], ...] = (
            lambda: random.standard_normal(rows),
            lambda: random.lognormal(0, 0.6, rows),
            lambda: random.gamma(2, 2, rows),
            lambda: random.standard_normal(rows) * (random.random(rows) > 0.4),
        )
        name = f"n{index:02d}"
        values = random.standard_normal(rows) + shift if name in SHIFTED else kinds[index % 4]()
        columns[name] = pl.Series(values)
    for index, levels in enumerate(LEVELS):
        columns[f"t{index:02d}"] = text(rows, levels, random, missing=0.0)
    return pl.DataFrame(columns)


def drifted(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """`monitored` after a change."""
    return monitored(rows, random, SHIFT)


KINDS: Final[dict[str, Callable[[int, np.random.Generator], pl.DataFrame]]] = {
    "numbers": numbers,
    "higgs": higgs,
    "mixed": mixed,
    "monitored": monitored,
    "drifted": drifted,
}


def table(kind: str, rows: int, seed: int) -> pl.DataFrame:
    """A table of a kind, made in chunks with seeds of their own."""
    sizes = [min(CHUNK, rows - start) for start in range(0, rows, CHUNK)]
    return pl.concat([KINDS[kind](size, np.random.default_rng((seed, chunk))) for chunk, size in enumerate(sizes)])


def main(kind: str, rows: str, seed: str, file: str) -> None:
    """Write the table."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = table(kind, int(rows), int(seed))
    if path.suffix in {".bodies", ".body"}:
        path.mkdir()
        slices = made.drop("target").iter_slices(BODY_ROWS if path.suffix == ".bodies" else made.height)
        for number, part in enumerate(slices):
            part.write_csv(path / f"{number:03d}.csv", include_header=False)
    elif path.suffix == ".csv":
        made.write_csv(path)
    else:
        made.write_parquet(path, row_group_size=131_072)


if __name__ == "__main__":
    main(*sys.argv[1:])
