"""A uniform sample of a stream whose length nobody knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Sample:
    """The rows with the smallest of independent uniform keys: each set of `size` rows is as likely as any other.

    The keys follow the rows' positions, so that the same stream and seed give the same rows however it is cut into
    batches; rows keep their order.

    Source: "bottom-k" sampling; Efraimidis and Spirakis, Information Processing Letters 97 (2006), equal weights.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.seen = 0
        self._size = size
        self._draws = np.random.default_rng(seed)
        self._keys: Array = np.empty(0)
        self._kept: tuple[Array, ...] = ()

    def update(self, *arrays: Array) -> None:
        """Add a batch: arrays with one row a row of the stream, the same kinds each time."""
        rows = arrays[0].shape[0]
        self.seen += rows
        keys = np.concatenate([self._keys, self._draws.random(rows)])
        joined = [np.concatenate(pair) for pair in zip(self._kept, arrays, strict=True)] if self._kept else list(arrays)
        if keys.size > self._size:
            chosen = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, joined = keys[chosen], [array[chosen] for array in joined]
        self._keys, self._kept = keys, tuple(joined)

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The sampled rows of each array, in the stream's order; nothing when the stream was empty."""
        return self._kept
