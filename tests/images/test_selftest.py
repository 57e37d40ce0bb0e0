"""`IMAGE selftest`, with nothing mounted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.spec import NAMES
from tests.images.containers import USERS, Start


@pytest.mark.parametrize("component", NAMES)
def test_each_image_passes_its_own_test(start: Start, component: str) -> None:
    """Without network, privileges or a writable root, as a user without a name or a home."""
    with start(component, ["selftest", "--json"], user=USERS["anybody"]) as container:
        done = container.ended(300)
    told: dict[str, Any] = json.loads(done.said)

    assert (done.code, told["error"], told["notes"]) == (0, "", [])
    steps = ["train", "serve", "serve over HTTP"]
    assert [step["name"] for step in told["steps"]] == [
        step for step in steps if component != "algorithm" or step != "serve"
    ]
    assert (told["component"], told["device"]) == (component, "cpu")


def test_an_image_whose_library_cannot_be_loaded_fails_in_one_sentence(start: Start, tmp_path: Path) -> None:
    """An empty file stands for a library that does not fit the machine."""
    (tmp_path / "empty").touch()
    library = "/opt/venv/lib/python3.13/site-packages/xgboost/lib/libxgboost.so"
    with start(
        "algorithm", ["selftest"], volumes={str(tmp_path / "empty"): {"bind": library, "mode": "ro"}}
    ) as container:
        done = container.ended(300)
    head, _, failure = done.said.partition("failed: ")

    assert done.code == 1
    assert "libxgboost.so" in failure
    assert failure.count("\n") == 1
    assert "Traceback" not in head
