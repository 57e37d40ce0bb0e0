"""Importing a library without the optional packages that it would import only because they are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Imports in this block do not see `packages`; those that are imported already stay.

    XGBoost imports scikit-learn wherever it is installed: 3 CPU-seconds and 130 MB in every process, for classes that
    we do not use. https://github.com/dmlc/xgboost/blob/master/python-package/xgboost/compat.py
    """
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # None is how `import` is told that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
