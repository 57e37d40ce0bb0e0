"""A typed table on disk between two passes: written once while the raw files are read, then read as often as needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shared.tables import BATCH_ROWS


@dataclass(frozen=True)
class Spool:
    """A table as numbered Arrow files of `BATCH_ROWS` rows each, the last one shorter."""

    folder: Path
    rows: int
    files: int

    @classmethod
    def written(cls, folder: Path, tables: Iterable[pl.DataFrame]) -> Spool:
        """Write batches of any size.

        They become batches of one size: sums of floating-point numbers depend on where batches end, and the size that a
        reader yields may depend on the machine.
        """
        folder.mkdir(parents=True)
        rows = files = 0
        for files, batch in enumerate(resized(tables, BATCH_ROWS), start=1):
            batch.write_ipc(folder / f"{files - 1:08d}.arrow", compression="uncompressed")
            rows += batch.height
        return cls(folder, rows, files)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The table again, batch by batch, only with these columns."""
        for number in range(self.files):
            path = self.folder / f"{number:08d}.arrow"
            yield pl.read_ipc(path, columns=list(columns) if columns is not None else None)


def resized(tables: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in batches of exactly `rows`, the last one shorter, none empty."""
    waiting: list[pl.DataFrame] = []
    held = 0
    for table in tables:
        waiting.append(table)
        held += table.height
        if held < rows:
            continue
        whole = pl.concat(waiting)
        end = held - held % rows
        for start in range(0, end, rows):
            yield whole[start : start + rows].rechunk()
        waiting, held = [whole[end:]], held - end
    if held:
        yield pl.concat(waiting).rechunk()
