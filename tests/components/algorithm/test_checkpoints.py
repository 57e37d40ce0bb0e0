"""Training that is stopped, killed or started anew ends in the model of a training that was left alone."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import xgboost as xgb

from components.algorithm import checkpoints
from components.algorithm.booster import inexact
from components.algorithm.model import Progress
from components.algorithm.serve import load
from components.algorithm.stop import Stop
from shared.artefact import open_artefact
from shared.errors import ArtefactError
from shared.report import read_report

ROOT = Path(__file__).parents[3]
EACH_ROUND = (
    "import sys; from components.algorithm import __main__, checkpoints; "
    "checkpoints.SECONDS, checkpoints.SHARE = 0, float('inf'); sys.exit(__main__.main())"
)
"""The program, with a checkpoint after each round instead of each half minute."""
TORCH = {"framework": "torch", "hidden": "[8]", "dropout": "0.3", "eta": "0.01", "batch_size": "64"}
FRAMEWORKS = ["xgboost", pytest.param("torch", marks=pytest.mark.torch)]
SAMPLED = pytest.mark.skipif(
    inexact({"device": "cpu", "subsample": 0.6, "colsample_bytree": 0.5}) is not None,
    reason="this XGBoost forgets where its random numbers were",
)


def settings_of(framework: str, **own: str) -> dict[str, str]:
    return {"num_round": "24", "early_stopping_rounds": "0", **(TORCH if framework == "torch" else {}), **own}


def written(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def outputs(job: Any) -> dict[str, str]:
    """Digests of the model and of all that is told of it."""
    return {**written(job.root / "model"), **written(job.root / "output/data")}


@pytest.fixture
def each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after each round."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sends SIGTERM to this process in the middle of a round; 0: in none."""
    at = [0]
    ended = Progress.ended

    def interrupted(self: Progress, values: Any) -> bool:
        over = ended(self, values)
        if self.rounds == at[0]:
            os.kill(os.getpid(), signal.SIGTERM)
        return over

    monkeypatch.setattr(Progress, "ended", interrupted)
    return lambda rounds: at.__setitem__(0, rounds)


@pytest.fixture
def place(ready: Any) -> Path:
    """The folder that SageMaker makes where a job asks for checkpoints."""
    folder = Path(ready.root, "checkpoints")
    folder.mkdir()
    return folder


def kept(place: Path) -> list[int]:
    """Rounds of the checkpoints in a folder; nothing else is there."""
    return sorted(int(path.name.split("-")[1]) for path in place.iterdir())


@contextmanager
def training(job: Any) -> Iterator[subprocess.Popen[str]]:
    """The program as a process, with a checkpoint after each round; it cannot run far ahead of its reader."""
    job.write()
    with subprocess.Popen(
        [sys.executable, "-c", EACH_ROUND, "train"], cwd=ROOT, env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.root)},
        stdout=subprocess.PIPE, text=True, pipesize=4096,
    ) as process:  # fmt: skip
        yield process


def killed_after(job: Any, rounds: int) -> str:
    """Kill the program once it has told of so many rounds; what it said."""
    said = []
    with training(job) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            rounds -= "validation-logloss=" in line
            if rounds == 0:
                process.kill()
    assert process.returncode == -signal.SIGKILL, "".join(said)
    return "".join(said)


@pytest.mark.parametrize(
    ("framework", "kills", "rounds"),
    [("xgboost", (3, 20, 9), 250), pytest.param("torch", (3, 20), 150, marks=pytest.mark.torch)],
)
def test_a_training_that_is_killed_again_and_again_ends_in_the_same_bytes(
    ready: Any, place: Path, framework: str, kills: tuple[int, ...], rounds: int
) -> None:
    ready.hyperparameters |= settings_of(framework, num_round=str(rounds))
    said = [killed_after(ready, after) for after in kills]
    with training(ready) as process:
        last, _ = process.communicate()
    resumed = outputs(ready)
    for path in place.iterdir():
        path.unlink()
    place.rmdir()

    assert process.returncode == 0, last
    assert "goes on" not in said[0]
    assert all("training goes on after round" in text for text in (*said[1:], last))
    assert sum(text.count("validation-logloss=") for text in (*said, last)) >= rounds
    assert ready.run().code == 0
    assert resumed == outputs(ready)
    assert "model.ubj" in resumed or "model.safetensors" in resumed


CASES: Mapping[str, Any] = {
    "trees": ("xgboost", {}, None),
    "stopping early": ("xgboost", {"eta": "1", "max_depth": "6", "early_stopping_rounds": "9"}, None),
    "balanced": ("xgboost", {"class_weights": "balanced", "eval_metric": '["error", "aucpr"]'}, None),
    "classes": ("xgboost", {"objective": "multi:softprob"}, (pl.col("age") > 0).cast(pl.Int64) + pl.col("late")),
    "medians": ("xgboost", {"objective": "reg:absoluteerror"}, pl.col("income") * 3),
    "rows and features by chance": ("xgboost", {"subsample": "0.6", "colsample_bytree": "0.5", "seed": "7"}, None),
    "network": ("torch", {}, None),
    "network, stopping early": (
        "torch", {"eta": "0.1", "early_stopping_rounds": "9", "class_weights": "balanced"}, None
    ),
    "network of classes": (
        "torch", {"objective": "multi:softprob"}, (pl.col("age") > 0).cast(pl.Int64) + pl.col("late")
    ),
    "network of numbers": ("torch", {"objective": "reg:squarederror"}, pl.col("income") * 3),
}  # fmt: skip
MARKS = {"rows and features by chance": SAMPLED}


@pytest.mark.parametrize("rounds", [1, 10])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=[MARKS[name]] if name in MARKS else [pytest.mark.torch] * (case[0] == "torch"))
        for name, case in CASES.items()
    ],
)
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(
    job: Any, known_table: Callable[..., pl.DataFrame], stop_after: Callable[[int], None], case: str, rounds: int
) -> None:
    framework, own, derive = CASES[case]
    for name, seed in (("train", 1), ("validation", 2)):
        table = known_table(300, seed, missing=0.05 if derive is None else 0)
        job.channel(name, table if derive is None else table.with_columns(late=derive))
    settings = settings_of(framework, **own)
    assert job.run(**settings).code == 0
    alone = outputs(job)
    Path(job.root, "checkpoints").mkdir()
    stop_after(rounds)

    assert job.run().code == 143
    stop_after(0)
    assert job.run().code == 0
    assert outputs(job) == alone


def test_a_training_whose_patience_was_at_its_end_trains_no_more(
    ready: Any, place: Path, stop_after: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"num_round": "200", "eta": "1", "max_depth": "6", "early_stopping_rounds": "5"}
    rounds = ready.run(**settings).read("model/evaluation.json")["training"]["rounds"]
    alone = outputs(ready)
    stop_after(rounds)
    assert ready.run().code == 143
    stop_after(0)
    capsys.readouterr()

    assert ready.run().code == 0
    assert "validation-logloss" not in capsys.readouterr().out
    assert outputs(ready) == alone
    assert kept(place) == [rounds]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sigterm_leaves_a_checkpoint_and_no_model(
    ready: Any, place: Path, stop_after: Callable[[int], None], framework: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(5)
    outcome = ready.run(**settings_of(framework))
    (path,) = place.iterdir()

    assert outcome.code == 143
    assert f"stopped by SIGTERM after round 5: the checkpoint is {path}." in capsys.readouterr().out
    assert outcome.failure == "stopped by SIGTERM."
    assert outputs(ready) == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sigterm_where_nobody_asked_for_checkpoints_leaves_the_model_of_the_rounds_so_far(
    ready: Any,
    known_table: Callable[..., pl.DataFrame],
    stop_after: Callable[[int], None],
    framework: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_after(5)
    outcome = ready.run(**settings_of(framework))
    said = capsys.readouterr().out
    story = outcome.read("model/evaluation.json")["training"]
    (told,) = (part.text for part in read_report(outcome.root / "output/data").sections if part.title == "Training")
    answer = load(outcome.model, {}).answer(known_table(10, 3).drop("late"))

    assert outcome.code == 143
    assert "stopped by SIGTERM after round 5: no checkpoint, so the model of these rounds is kept." in said
    assert outcome.failure == "stopped by SIGTERM."
    assert (story["rounds"], story["stopped"]) == (5, True)
    assert "The job was stopped" in told
    assert open_artefact(outcome.model, "algorithm", "model").extra["stopped"] is True
    assert isinstance(answer, pl.DataFrame)
    assert answer.height == 10
    assert "validation:auc=" in said
    assert not Path(ready.root, "checkpoints").exists()


def test_a_model_whose_training_ended_by_itself_is_not_called_stopped(trained: Any) -> None:
    assert trained.read("model/evaluation.json")["training"]["stopped"] is False
    assert open_artefact(trained.model, "algorithm", "model").extra["stopped"] is False


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"eta": "0.2"}, "'setting eta'"),
        ({"seed": "4", "num_round": "25"}, "'setting num_round', 'setting seed'"),
        ({"nthread": "2"}, "'setting nthread', 'threads'"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_and_training_starts_anew(
    ready: Any,
    place: Path,
    stop_after: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
    each_round: None,
    other: dict[str, str],
    told: str,
) -> None:
    stop_after(20)
    ready.run(**settings_of("xgboost"))
    stop_after(0)
    (_, path) = sorted(place.iterdir())
    outcome = ready.run(**other)
    said = capsys.readouterr().out

    assert outcome.code == 0
    assert f"checkpoint {path} is of another training (other {told}): starting anew." in said
    assert outcome.read("model/evaluation.json")["training"]["rounds"] == int(other.get("num_round", 24))
    assert "goes on" not in said
    assert path not in place.iterdir()
    assert kept(place) == [outcome.read("model/evaluation.json")["training"]["rounds"] - back for back in (1, 0)]


@pytest.mark.parametrize("channel", ["train", "validation"])
def test_a_checkpoint_of_other_rows_is_refused(
    ready: Any,
    place: Path,
    known_table: Callable[..., pl.DataFrame],
    stop_after: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
    channel: str,
) -> None:
    """One value in one row."""
    table = known_table(300, 3, missing=0)
    changed = table.with_columns(noise=pl.when(pl.int_range(pl.len()) == 299).then(0).otherwise("noise"))
    ready.channel(channel, table)
    stop_after(5)
    ready.run(**settings_of("xgboost"))
    stop_after(0)
    ready.channel(channel, changed)

    assert ready.run().code == 0
    assert "is of another training (other 'data'): starting anew." in capsys.readouterr().out


def test_a_checkpoint_of_another_version_is_refused(
    ready: Any,
    place: Path,
    stop_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_after(5)
    ready.run(**settings_of("xgboost"))
    stop_after(0)
    monkeypatch.setattr(checkpoints, "VERSION", "0.0.1")

    assert ready.run().code == 0
    assert "is of another training (other 'quartet'): starting anew." in capsys.readouterr().out


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def changed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def emptied(_content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut_off, changed, emptied])
@pytest.mark.parametrize("both", [False, True])
def test_a_damaged_checkpoint_is_passed_over(
    ready: Any,
    place: Path,
    stop_after: Callable[[int], None],
    each_round: None,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    both: bool,
) -> None:
    """The one before is used; where that is damaged too, training starts anew."""
    ready.run(**settings_of("xgboost"))
    alone = outputs(ready)
    for path in place.iterdir():
        path.unlink()
    stop_after(12)
    ready.run()
    stop_after(0)
    before, newest = sorted(place.iterdir())
    for path in (newest, before)[: 1 + both]:
        path.write_bytes(damage(path.read_bytes()))
    capsys.readouterr()

    assert ready.run().code == 0
    said = capsys.readouterr().out
    assert said.count("is damaged") == 1 + both
    assert ("training goes on after round 11, from" in said) == (not both)
    assert outputs(ready) == alone


def test_a_file_that_is_no_checkpoint_is_passed_over(ready: Any, place: Path) -> None:
    """Whatever its digest is, and whatever is in it."""
    for content in (b"no archive", checkpoints.packed({"other": b""}), checkpoints.packed({"checkpoint.json": b"[]"})):
        (place / f"checkpoint-000009-{checkpoints.digest_of(content)}.zip").write_bytes(content)

    assert ready.run(num_round="3").code == 0


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail instead of waiting for ever."""

    def late(*_: object) -> None:
        pytest.fail(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["copy", "pipe", "folder", "renamed"])
def test_what_is_called_almost_as_a_checkpoint_is_passed_over(
    ready: Any,
    place: Path,
    stop_after: Callable[[int], None],
    each_round: None,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """One line says so, and training goes on from the one that nobody touched."""
    stop_after(12)
    ready.run(**settings_of("xgboost"))
    stop_after(0)
    newest = max(place.iterdir())
    digest = newest.stem.rpartition("-")[2]
    match kind:
        case "copy":
            shutil.copy(newest, place / f"checkpoint-backup-000012-{digest}.zip")
        case "pipe":
            os.mkfifo(place / f"checkpoint-000099-{digest}.zip")
        case "folder":
            (place / f"checkpoint-000099-{digest}.zip").mkdir()
        case "renamed":
            shutil.copy(newest, place / f"checkpoint-999999-{digest}.zip")
    capsys.readouterr()

    with at_most(60):
        assert ready.run().code == 0
    said = capsys.readouterr().out
    assert said.lower().count("it is not used") == 1
    assert f"training goes on after round 12, from checkpoint {newest}." in said


def encrypted(archive: bytes) -> bytes:
    """The archive with the flag that says so, in both of its headers."""
    content = bytearray(archive)
    content[6] |= 1
    content[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def compressed_oddly(archive: bytes) -> bytes:
    """The archive with a way of compression that nobody knows, in both of its headers."""
    content = bytearray(archive)
    content[8] = content[archive.index(b"PK\x01\x02") + 10] = 77
    return bytes(content)


def deflated_wrongly(archive: bytes) -> bytes:
    """The archive, said to be compressed by zlib, which it is not."""
    content = bytearray(archive)
    content[8] = content[archive.index(b"PK\x01\x02") + 10] = 8
    return bytes(content)


@pytest.mark.parametrize("change", [encrypted, compressed_oddly, deflated_wrongly])
def test_an_archive_that_cannot_be_unpacked_is_no_checkpoint(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    content = change(checkpoints.packed({"checkpoint.json": b"\xff" * 40}))
    path = tmp_path / f"checkpoint-000009-{checkpoints.digest_of(content)}.zip"
    path.write_bytes(content)

    with pytest.raises(ArtefactError, match=r"cannot be read: .* It is not used"):
        checkpoints.opened(path)


def test_the_two_newest_checkpoints_are_kept(ready: Any, place: Path, each_round: None) -> None:
    half_written = place / ".checkpoint-000003-0123456789abcdef.zip.0011aabb"
    half_written.write_bytes(b"PK")

    assert ready.run(num_round="7", early_stopping_rounds="0").code == 0
    assert kept(place) == [6, 7]


def test_a_checkpoint_holds_trees_and_json(ready: Any, place: Path, each_round: None) -> None:
    ready.run(num_round="2", early_stopping_rounds="0")
    files = checkpoints.opened(max(place.iterdir())).files

    assert set(files) == {"model.ubj", "state.json"}
    assert xgb.Booster(model_file=bytearray(files["model.ubj"])).num_boosted_rounds() == 2
    assert "learner" in json.loads(files["state.json"])


def test_a_short_training_writes_none(ready: Any, place: Path) -> None:
    """Less is lost than a checkpoint costs."""
    assert ready.run().code == 0
    assert kept(place) == []


def test_a_slow_folder_gets_fewer_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write of 3 s, 2 % of the time at most: one in 150 s."""
    now = [0.0]

    def slow(path: Path, content: bytes) -> None:
        now[0] += 3
        path.write_bytes(content)

    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(checkpoints, "write_bytes", slow)
    progress = Progress(("auc",), 0, logging.getLogger("test"))
    found = checkpoints.Checkpoints(tmp_path, {}, logging.getLogger("test"))
    times = []
    for _ in range(400):
        now[0] += 1
        progress.ended({"train": {"auc": 0.5}})
        before = now[0]
        found.after_round(progress, Stop(), dict)
        times += [before] if now[0] > before else []

    assert times[:3] == [30, 183, 336]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_folder_that_cannot_be_written_costs_a_line_and_no_training(
    ready: Any, stop_after: Callable[[int], None], each_round: None, capsys: pytest.CaptureFixture[str], stopped: bool
) -> None:
    """Not even root writes there."""
    Path(ready.root, "checkpoints").symlink_to("/proc/self/fdinfo")
    stop_after(5 if stopped else 0)
    outcome = ready.run(**settings_of("xgboost"))
    said = capsys.readouterr().out

    assert outcome.code == (143 if stopped else 0)
    assert said.count("no checkpoints: ") == 1
    assert "cannot be written" in said
    assert outcome.read("model/evaluation.json")["training"]["rounds"] == (5 if stopped else 24)


def test_a_disk_that_is_full_is_told_and_a_stopped_training_leaves_its_model(
    ready: Any,
    place: Path,
    stop_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_bytes", full)
    stop_after(5)
    outcome = ready.run(**settings_of("xgboost"))

    assert outcome.code == 143
    assert "No space left on device" in capsys.readouterr().out
    assert outcome.read("model/evaluation.json")["training"]["stopped"] is True


def test_what_a_killed_job_left_is_gone_after_the_next(ready: Any) -> None:
    """And what another host of a job has under way is not."""
    for folder in ("model", "output/data"):
        Path(ready.root, folder, ".staging-part-0000-of-0001-abc", "below").mkdir(parents=True)
        Path(ready.root, folder, ".staging-part-0000-of-0001-abc", "model.ubj").write_bytes(b"half")
    Path(ready.root, "model/.staging-part-0001-of-0002-abc").mkdir()

    assert ready.run(num_round="2").code == 0
    assert [path.name for path in ready.root.rglob(".staging-*")] == [".staging-part-0001-of-0002-abc"]


def test_checkpoints_go_where_the_job_wants_them(
    ready: Any, stop_after: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """LocalPath of CheckpointConfig, as the service writes it down."""
    ready.write()
    config = {"LocalPath": "/opt/ml/elsewhere/", "S3Uri": "s3://bucket/prefix"}
    Path(ready.root, "input/config/checkpointconfig.json").write_text(json.dumps(config))
    place = Path(ready.root, "elsewhere")
    place.mkdir()
    stop_after(3)

    assert ready.run().code == 143
    assert kept(place) == [3]


def test_where_training_cannot_go_on_exactly_it_says_so_and_writes_none(
    ready: Any,
    place: Path,
    stop_after: Callable[[int], None],
    each_round: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(xgb, "__version__", "3.2.0")
    stop_after(5)
    outcome = ready.run(**settings_of("xgboost"), subsample="0.5")

    assert outcome.code == 143
    assert "no checkpoints: training could not go on exactly" in capsys.readouterr().out
    assert kept(place) == []
    assert outcome.read("model/evaluation.json")["training"]["stopped"] is True
