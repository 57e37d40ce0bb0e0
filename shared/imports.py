"""Importing a library without the optional packages that it would import only because they are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

XGBOOST_EXTRAS: Final = ("sklearn", "xgboost.sklearn", "xgboost.plotting")
"""What XGBoost imports if it can and no component uses: scikit-learn, its interface to it, and its drawings.

Scikit-learn costs 3 CPU-seconds and 130 MB in every process where it is installed; XGBoost's own two modules cost
0.16 CPU-seconds where it is not, for the part of SciPy that they bring.
https://github.com/dmlc/xgboost/blob/master/python-package/xgboost/compat.py
"""


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Imports in this block do not see `packages`; those that are imported already stay."""
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # None is how `import` is told that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
