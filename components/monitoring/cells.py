"""What a column's values are counted in: bins of numbers, levels of text, or only present and missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.monitoring.distributions import FloatArray, bin_numbers

Kind = Literal["numbers", "levels", "presence"]


@dataclass(frozen=True)
class Cells:
    """The cells of one column.

    Attributes:
        kind: numbers are counted in bins, levels one by one; of a column of presence only whether a value is there.
        edges: of the bins, as `distributions.quantile_edges` gives them; empty for other kinds.
        levels: that are told apart, as text; all others fall into one further cell.
    """

    kind: Kind
    edges: FloatArray
    levels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many cells there are."""
        return {"numbers": len(self.edges) + 1, "levels": len(self.levels) + 1, "presence": 1}[self.kind]

    @property
    def ordered(self) -> bool:
        """Whether a cell's neighbours are near it."""
        return self.kind == "numbers"

    def numbers(self, values: pl.Series) -> NDArray[np.intp]:
        """Which cell each value lies in, shape (rows,); `size` where it is missing."""
        absent = values.is_null().to_numpy()
        if self.kind == "numbers":
            found = bin_numbers(values.cast(pl.Float64).fill_null(0.0).to_numpy(), self.edges)
        elif self.kind == "levels":
            found = self._level_numbers(values.cast(pl.String))
        else:
            found = np.zeros(len(values), dtype=np.intp)
        return np.where(absent, self.size, found)

    def _level_numbers(self, values: pl.Series) -> NDArray[np.intp]:
        places = {level: place for place, level in enumerate(self.levels)}
        found = values.replace_strict(places, default=len(self.levels), return_dtype=pl.Int64)
        return found.fill_null(len(self.levels)).to_numpy().astype(np.intp)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return {"kind": self.kind, "edges": self.edges.tolist(), "levels": list(self.levels)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cells:
        """The cells that `to_json` wrote."""
        return cls(value["kind"], np.array(value["edges"], dtype=np.float64), tuple(value["levels"]))


def of_numbers(edges: FloatArray) -> Cells:
    """Bins between edges."""
    return Cells("numbers", edges)


def of_levels(levels: tuple[str, ...]) -> Cells:
    """Levels, and one cell for all others."""
    return Cells("levels", np.empty(0), levels)


PRESENCE = Cells("presence", np.empty(0))
