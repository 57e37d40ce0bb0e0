"""What a component's arithmetic brings into the process, and what it must not."""

from __future__ import annotations

import os
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
def test_xgboost_comes_without_scikit_learn_and_its_own_interface_to_it(code: str) -> None:
    check = (
        "\nimport sys"
        "\nassert 'xgboost' in sys.modules"
        "\nassert not {'sklearn', 'xgboost.sklearn', 'xgboost.plotting', 'scipy.special'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code + check], check=True)


@pytest.mark.parametrize(("told", "found"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_threads_that_wait_cost_nothing_unless_told_otherwise(told: dict[str, str], found: str) -> None:
    """The library reads the variable when it is loaded, with XGBoost: before that it must be there."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from components.explainability.model import read_booster\n"
        "assert 'xgboost' not in sys.modules\n"
        "try: read_booster(Path('absent'))\n"
        "except Exception: pass\n"
        f"assert os.environ['OMP_WAIT_POLICY'] == {found!r}"
    )

    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | told
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
