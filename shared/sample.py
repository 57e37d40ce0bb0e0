"""The small known problem of `selftest`: flights, late the more often the farther they go and the more it blows.

Made on the spot and the same each time, so that no image has to carry a file of data.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

TRAINING: Final = 400
"""Rows to learn from."""
PRODUCTION: Final = 200
"""Rows to serve: enough for monitoring to test for drift, few enough for every answer to come at once."""

Row = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Sample:
    """What a component is tried on.

    Attributes:
        hyperparameters: settings of train.
        train: folders by channel.
        serve: folders by input, but for the artefact; empty when files are not served.
        request: CSV without a header, as it is sent to `/invocations`.
        answers: lines that must come back; None where the answer is one JSON object about all rows.
    """

    hyperparameters: Mapping[str, str]
    train: Mapping[str, Path]
    serve: Mapping[str, Path]
    request: bytes
    answers: int | None


def flights(rows: int, seed: int) -> list[Row]:
    """Flights: an id, a day, a distance in kilometres, wind in metres a second, a carrier, and whether late (0, 1)."""
    draws = random.Random(seed)
    return [_flight(number, draws) for number in range(rows)]


def _flight(number: int, draws: random.Random) -> Row:
    distance, wind = draws.uniform(100, 4000), draws.expovariate(1 / 8)
    odds = (distance - 2000) / 500 + (wind - 8) / 4
    return {
        "flight": f"Q{number:04d}",
        "day": (date(2013, 1, 1) + timedelta(days=number % 90)).isoformat(),
        "distance": round(distance, 1),
        "wind": round(wind, 2),
        "carrier": draws.choice(("AA", "B6", "UA")),
        "late": int(draws.random() < 1 / (1 + math.exp(-odds))),
    }


def csv_of(rows: Sequence[Row], columns: Sequence[str], *, header: bool) -> bytes:
    """Some columns of rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def written(folder: Path, content: bytes) -> Path:
    """A folder with one CSV file."""
    folder.mkdir(parents=True)
    (folder / "data.csv").write_bytes(content)
    return folder
