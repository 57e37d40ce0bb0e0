"""A Parquet file decoded, column by column, and nothing else: `FILE`."""

from __future__ import annotations

import sys

import polars as pl


def main(file: str) -> None:
    """Decode batch by batch, so that memory is no excuse."""
    for batch in pl.scan_parquet(file).collect_batches():
        assert batch.height


if __name__ == "__main__":
    main(*sys.argv[1:])
