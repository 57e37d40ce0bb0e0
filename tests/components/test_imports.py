"""What a component's arithmetic brings into the process, and what it must not."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import components.algorithm.booster",
        "from components.explainability.model import read_booster\ntry: read_booster('absent')\nexcept Exception: pass",
    ],
)
def test_xgboost_comes_without_scikit_learn(code: str) -> None:
    check = "\nimport sys\nassert 'xgboost' in sys.modules and 'sklearn' not in sys.modules"

    subprocess.run([sys.executable, "-c", code + check], check=True)
