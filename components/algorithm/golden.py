"""A few training rows and the model's answers: what a loaded model must reproduce before it may serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from components.algorithm.model import Model
from components.algorithm.outputs import Columns, answers
from components.algorithm.rows import Floats, typed_cells
from components.algorithm.settings import Output, Task
from shared.artefact import Golden
from shared.schema import Schema

ROWS: Final = 16
OUTPUTS: Final[tuple[Output, ...]] = ("score", "raw_score")


def batch(model: Model, features: Floats, schema: Schema, task: Task, threshold: float) -> Golden:
    """Some of the rows, evenly spaced, with the model's scores; one with a missing value if there is any such row."""
    chosen = features[positions(features)]
    inputs = {name: typed_cells(chosen[:, index], schema.column(name)) for index, name in enumerate(schema.features)}
    given: Columns = answers(model, chosen, OUTPUTS, task, threshold)
    return Golden(inputs, {name: values.astype(np.float64).tolist() for name, values in given.items()})


def positions(features: Floats) -> Sequence[int]:
    """Row numbers, rising, at most 16."""
    rows = len(features)
    chosen = set(np.linspace(0, rows - 1, min(rows, ROWS)).round().astype(int).tolist())
    partial = np.flatnonzero(np.isnan(features).any(axis=1))
    if len(partial) and not chosen & set(partial.tolist()):
        chosen = (chosen - {max(chosen)}) | {int(partial[0])}
    return sorted(chosen)
