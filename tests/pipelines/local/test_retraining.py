"""How often drift may train again."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import reports
from pipelines.local.retraining import State, claim, duration, hindrance
from pipelines.manifest import Drift
from pipelines.storage import Storage
from shared.errors import ArtefactError

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
POLICY = Drift.model_validate({"then": "retrain", "with": {"periods": 2}, "cooldown": "24h", "max_per_month": 2})


def claimed(storage: Storage, *hours: int) -> list[str]:
    """What is said at each of some hours after noon."""
    return [claim(storage, POLICY, NOON + timedelta(hours=hour)) for hour in hours]


def test_drift_trains_again_after_the_cooldown_and_not_before(tmp_path: Path) -> None:
    first, second, third = claimed(Storage(tmp_path), 0, 23, 24)

    assert first == third == ""
    assert second == "the last retraining was 23 hours ago, and drift.cooldown is 1 day"


def test_a_month_has_its_cap_and_the_next_month_begins_anew(tmp_path: Path) -> None:
    said = claimed(Storage(tmp_path), 0, 48, 96, 24 * 10)

    assert said == ["", "", "drift has trained 2 times this month, and drift.max_per_month is 2", ""]


def test_the_state_has_the_form_that_the_cloud_keeps(tmp_path: Path) -> None:
    claimed(Storage(tmp_path), 0, 24)

    state = json.loads((tmp_path / "drift.json").read_text())
    assert state == {"last": "2026-11-23T12:00:00Z", "month": "2026-11", "count": 2}


@pytest.mark.parametrize("content", ["[]", '{"last": "yesterday", "month": "2026-11", "count": 1}', '{"last": null}'])
def test_a_state_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "drift.json").write_text(content)

    with pytest.raises(ArtefactError, match=r"wanted JSON with last, month and count. Remove the file"):
        claimed(Storage(tmp_path), 0)


def test_without_a_retraining_nothing_hinders() -> None:
    assert hindrance(State(), POLICY, NOON) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (90, "90 seconds"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (86400, "1 day"),
        (129600, "36 hours"),
    ],
)
def test_a_duration_is_told_in_the_greatest_unit_that_it_fills(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_second_run_within_the_cooldown_does_not_train_again_and_says_so(toy: Any) -> None:
    asyncio.run(toy.runner(run="one").both(()))
    outcome = asyncio.run(toy.runner(run="two").both(()))

    assert outcome.retrained is None
    assert outcome.suppressed.cause.period == "p4"
    said = next(sentence for sentence in toy.told.sentences if "nothing is trained" in sentence)
    assert said.startswith("p4 has drifted, but nothing is trained: the last retraining was ")
    assert not (toy.storage.root / "training/two-drift-p4").exists()


def test_the_report_shows_a_retraining_that_did_not_happen(toy: Any) -> None:
    asyncio.run(toy.runner(run="one").both(()))
    document = reports.run_report(asyncio.run(toy.runner(run="two").both(())), toy.storage, "toy")

    said = {section.title: section.text for section in document.sections}
    assert said["Retraining"].startswith("p4 drifted, but nothing was trained: the last retraining was ")
    assert document.verdict.endswith("not retrained after p4")
