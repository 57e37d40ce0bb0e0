"""What `selftest` tries monitoring on: raw flights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.sample import PRODUCTION, TRAINING, Sample, csv_of, flights, written

RAW: Final = ("flight", "day", "distance", "wind", "carrier")


def sample(folder: Path) -> Sample:
    """Raw flights for the baseline, and others to hold against it."""
    known, new = flights(TRAINING, seed=1), flights(PRODUCTION, seed=2)
    return Sample(
        hyperparameters={"target": "late", "ids": '["flight"]', "time": "day"},
        train={"data": written(folder / "train", csv_of(known, (*RAW, "late"), header=True))},
        serve={"data": written(folder / "serve", csv_of(new, RAW, header=True))},
        request=csv_of(new, RAW, header=False),
        # One verdict on all rows, as JSON.
        answers=None,
    )
