"""Training in a container that is stopped, killed and started again with the same mounts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.images.containers import USERS, Start
from tests.images.variants import NUMBERS, Training, prepared, scored

TREES: Final[Mapping[str, str]] = {
    "target": "late", "ids": '["flight"]', "num_round": "600", "early_stopping_rounds": "0", "max_depth": "3",
    "nthread": "1", "subsample": "0.7", "colsample_bytree": "0.7",
}  # fmt: skip
"""Rows and features by chance, so that the state of the random numbers counts."""
SLOW: Final = {"nano_cpus": 500_000_000}
"""Half a processor, so that training lasts until somebody stops it."""
EACH_ROUND: Final = (
    "import sys; from components.algorithm import __main__, checkpoints; "
    "checkpoints.SECONDS, checkpoints.SHARE = 0, float('inf'); sys.exit(__main__.main())"
)
"""The program, with a checkpoint after each round instead of each half minute."""
A_ROUND: Final = "validation-logloss="
FULL: Final = {"evaluation.json", "manifest.json", "model.ubj", "scores.json"}


@pytest.fixture(scope="module")
def alone(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The model of a training that nobody disturbed."""
    job = Training(start, tmp_path_factory.mktemp("alone"), TREES, checkpoints=None)
    done = job.run()

    assert done.code == 0, done.said
    return job.made()


def rounds(folder: Path | None) -> list[int]:
    """Rounds of the checkpoints in a folder; nothing else is there."""
    assert folder is not None
    return sorted(int(path.name.split("-")[1]) for path in folder.iterdir())


@pytest.mark.parametrize("user", USERS)
def test_after_sigterm_another_container_goes_on_to_the_same_model(
    start: Start, alone: Mapping[str, bytes], tmp_path: Path, user: str
) -> None:
    job = Training(start, tmp_path, TREES)
    stopped = job.run("SIGTERM", A_ROUND, user=USERS[user], **SLOW)
    left = job.made()
    (reached,) = rounds(job.checkpoints)
    done = job.run(user=USERS[user])

    assert stopped.code == 143, stopped.said
    assert f"stopped by SIGTERM after round {reached}: the checkpoint is /opt/ml/checkpoints/" in stopped.said
    assert "Traceback" not in stopped.said
    assert left == {}
    assert done.code == 0, done.said
    assert f"training goes on after round {reached}," in done.said
    assert done.said.count(A_ROUND) == int(TREES["num_round"]) - reached > 0
    assert job.made() == alone


def test_after_sigkill_another_container_goes_on_to_the_same_model(
    start: Start, alone: Mapping[str, bytes], tmp_path: Path
) -> None:
    """And what the killed one had half made is gone."""
    job = Training(start, tmp_path, TREES)
    often: dict[str, Any] = {"entrypoint": ["python", "-c", EACH_ROUND], **SLOW}
    killed = [job.run("SIGKILL", A_ROUND, **often) for _ in range(2)]
    left = list(job.model.glob(".staging-*"))
    done = job.run()

    assert [one.code for one in killed] == [137, 137], killed[-1].said
    assert "training goes on after round" in killed[1].said
    assert left
    assert done.code == 0, done.said
    assert "training goes on after round" in done.said
    assert job.made() == alone
    assert not list(job.model.glob(".staging-*"))
    assert not list(job.output.rglob(".staging-*"))


def test_sigterm_where_nobody_asked_for_checkpoints_leaves_a_model_that_serves(start: Start, tmp_path: Path) -> None:
    job = Training(start, tmp_path, TREES, checkpoints=None)
    done = job.run("SIGTERM", A_ROUND, **SLOW)
    evaluation = json.loads(job.made()["evaluation.json"])
    rows = prepared(50).select("flight", *NUMBERS).write_csv(include_header=False).encode()

    assert done.code == 143, done.said
    assert (job.output / "failure").read_text() == "stopped by SIGTERM."
    assert set(job.made()) == FULL
    assert evaluation["training"]["stopped"] is True
    assert f"stopped by SIGTERM after round {evaluation['training']['rounds']}: no checkpoint" in done.said
    assert len(scored(start, job.model, rows)) == 50


def test_a_folder_for_checkpoints_that_cannot_be_written_costs_a_line(
    start: Start, alone: Mapping[str, bytes], tmp_path: Path
) -> None:
    job = Training(start, tmp_path, TREES, checkpoints="ro")
    done = job.run()

    assert done.code == 0, done.said
    assert "no checkpoints: /opt/ml/checkpoints cannot be written: Read-only file system." in done.said
    assert job.made() == alone


def test_a_checkpoint_of_other_settings_is_refused(start: Start, alone: Mapping[str, bytes], tmp_path: Path) -> None:
    job = Training(start, tmp_path, {**TREES, "seed": "8"})
    stopped = job.run("SIGTERM", A_ROUND, **SLOW)
    (tmp_path / "mounts/input-config/hyperparameters.json").write_text(json.dumps(TREES))
    done = job.run()

    assert stopped.code == 143, stopped.said
    assert done.code == 0, done.said
    assert "is of another training (other 'setting seed'): starting anew." in done.said
    assert job.made() == alone
