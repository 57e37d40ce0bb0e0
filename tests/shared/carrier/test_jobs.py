"""Where a job finds itself: its place in an array, its tree, and what it must not import elsewhere."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared import carrier
from shared.carrier.jobs import base_folder, hosts_of
from shared.contract import Contract, Hosts
from shared.errors import SettingsError
from tests.shared.carrier.conftest import ROOT


@pytest.fixture
def signals() -> Iterator[None]:
    """A carrier that has ended ignores signals, which belong to the test run."""
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in old.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("size", [2, 12, 10_000])
def test_the_rank_of_a_child_is_its_index_however_many_there_are(size: int) -> None:
    """SageMaker's hosts are sorted as text, where algo-10 comes before algo-2."""
    for index in (0, 1, size - 1):
        told = {"AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": str(size)}
        hosts = hosts_of(told)

        assert hosts.rank == index
        assert len(hosts.all) == size
        assert list(hosts.all) == sorted(hosts.all)


def test_a_job_of_no_array_is_one_host() -> None:
    assert hosts_of({"AWS_BATCH_JOB_ID": "1"}) == Hosts()


@pytest.mark.parametrize(("index", "size"), [("2", "2"), ("1", ""), ("-1", "3"), ("one", "3")])
def test_a_place_that_is_none_is_refused(index: str, size: str) -> None:
    with pytest.raises(SettingsError, match="wanted a number below the size"):
        hosts_of({"AWS_BATCH_JOB_ARRAY_INDEX": index, "AWS_BATCH_JOB_ARRAY_SIZE": size})


def test_the_tree_is_made_where_it_is_told(tmp_path: Path) -> None:
    assert base_folder({"SAGEMAKER_BASE_DIR": str(tmp_path / "deep/ml")}) == tmp_path / "deep/ml"


def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match="cannot be written, and a job needs room"):
        base_folder({"SAGEMAKER_BASE_DIR": str(tmp_path / "file/ml")})


@pytest.mark.usefixtures("signals")
def test_inputs_without_room_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[bytes] = []

    def down() -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    job = SimpleNamespace(
        contract=Contract(tmp_path),
        description=SimpleNamespace(failure="s3://bucket/failure"),
        hosts=Hosts(),
        store=SimpleNamespace(write=lambda _place, content: written.append(content)),
        down=down,
        up=lambda: None,
    )
    monkeypatch.setattr(carrier, "opened", lambda *_: job)

    assert carrier.carried_out("processing", [], {}, logging.getLogger("carrier")) == 2

    assert written[0].decode().startswith(f"what the job carries cannot be written to {tmp_path}: no space left, ")
    assert "internal error" not in caplog.text


def test_nothing_of_it_is_imported_where_no_job_is_described() -> None:
    """On SageMaker and on a laptop, where every start would wait for it."""
    names = {"shared.carrier", "botocore", "s3transfer"}
    script = (
        f"import sys, components.processing.component, shared.entrypoint; print(sorted({names} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
