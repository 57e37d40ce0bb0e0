"""What `selftest` tries the algorithm on: prepared flights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from components.algorithm.settings import Framework
from shared.imports import XGBOOST_EXTRAS, without
from shared.sample import PRODUCTION, TRAINING, Sample, csv_of, flights, written

FEATURES: Final = ("distance", "wind")
PREPARED: Final = ("flight", *FEATURES, "late")


def sample(folder: Path) -> Sample:
    """Prepared flights to learn from, others to measure on, and rows to score."""
    known, checked, new = flights(TRAINING, seed=1), flights(PRODUCTION, seed=2), flights(PRODUCTION, seed=3)
    framework: Framework = "xgboost" if find_spec("xgboost") else "torch"
    return Sample(
        hyperparameters={
            "framework": framework,
            "device": "cuda" if made_for_cuda(framework) else "cpu",
            "target": "late",
            "ids": '["flight"]',
            "num_round": "10",
        },
        train={
            "train": written(folder / "train", csv_of(known, PREPARED, header=True)),
            "validation": written(folder / "validation", csv_of(checked, PREPARED, header=True)),
        },
        serve={},
        request=csv_of(new, FEATURES, header=False),
        answers=len(new),
    )


def made_for_cuda(framework: Framework) -> bool:
    """Whether the framework that is installed was built for NVIDIA devices, be there one or not."""
    if framework == "xgboost":
        with without(*XGBOOST_EXTRAS):
            import xgboost

        return bool(xgboost.build_info().get("USE_CUDA"))
    import torch

    return bool(torch.version.cuda)
