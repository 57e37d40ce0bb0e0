"""Whole runs on toy components."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.local.engine import StepFailedError
from pipelines.releases import current_id, current_release, read_release
from shared.errors import DataError, QuartetError


def outputs(folder: Path) -> dict[str, str]:
    """Digests of everything below a folder but logs and what the release step writes, which holds times and places."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in ("log.txt", "train.manifest")
        and path.relative_to(folder).parts[:2] != ("release", "release")
    }


def test_training_ends_in_a_release_that_is_current(toy: Any) -> None:
    outcome = asyncio.run(toy.runner().training())

    release = current_release(toy.storage)
    assert outcome.trained.promoted
    assert release.id == "r1"
    assert set(release.content["parts"]) == {"model", "state", "baseline", "explainer"}
    assert release.content["metrics"] == {"validation:auc": 0.7}
    assert release.content["gates"][0]["met"] is True
    assert release.content["started_by"] == {"cause": "command"}
    assert release.content["versions"]["fake"] == "1"
    assert release.content["parent"] is None


def test_a_releases_digest_is_that_of_the_artefacts_manifest(toy: Any) -> None:
    asyncio.run(toy.runner().training())

    state = current_release(toy.storage).content["parts"]["state"]
    manifest = (toy.storage.root / state["uri"] / "manifest.json").read_bytes()
    assert state["digest"] == hashlib.sha256(manifest).hexdigest()


def test_a_release_names_the_digest_of_each_file_it_learnt_from(toy: Any) -> None:
    asyncio.run(toy.runner().training())

    data = current_release(toy.storage).content["data"]
    raw = {f"{name}.csv": hashlib.sha256((toy.folder / f"raw/train/{name}.csv").read_bytes()) for name in ("p1", "p2")}
    assert data["periods"] == ["p1", "p2"]
    assert data["sha256"] == {name: digest.hexdigest() for name, digest in raw.items()}


def test_rows_come_from_each_jobs_report_and_from_the_records_of_the_transform(toy: Any) -> None:
    runner = toy.runner(("periods: [p3, p4, p5]", "periods: [p3]"))
    outcome = asyncio.run(runner.both(()))

    rows = {name: result.rows for name, result in outcome.trained.results.items()}
    assert rows == {**dict.fromkeys(("processing", "algorithm", "monitoring", "explainability"), 10), "release": None}
    assert outcome.scored[0].results["algorithm"].rows == 5


def test_a_job_gets_the_inputs_that_it_declares_and_that_exist(toy: Any) -> None:
    asyncio.run(toy.runner(("periods: [p3, p4, p5]", "periods: [p3]")).both(()))

    seen = json.loads((toy.storage.root / "inference/r1-p3/monitoring/report/seen.json").read_text())
    assert seen["inputs"] == ["baseline", "data", "labels", "scores", "settings"]
    assert seen["settings"] == {"ids": ["id"], "target": "late"}


def test_outcomes_that_have_not_arrived_are_left_out(toy: Any) -> None:
    (toy.folder / "raw/labels/p3.csv").unlink()
    asyncio.run(toy.runner(("periods: [p3, p4, p5]", "periods: [p3]")).both(()))

    seen = json.loads((toy.storage.root / "inference/r1-p3/monitoring/report/seen.json").read_text())
    assert "labels" not in seen["inputs"]


def test_the_tree_of_a_job_that_ended_well_is_removed_and_its_log_stays(toy: Any) -> None:
    asyncio.run(toy.runner().training())

    step = toy.storage.root / "training/r1/processing"
    assert sorted(path.name for path in step.iterdir()) == [
        "log.txt",
        "report",
        "settings",
        "state",
        "train",
        "validation",
    ]


def test_keep_keeps_every_tree(toy: Any) -> None:
    asyncio.run(toy.runner(keep=True).training())

    assert (toy.storage.root / "training/r1/algorithm/ml/input/config/hyperparameters.json").is_file()


def test_the_same_run_twice_gives_the_same_bytes(toy: Any) -> None:
    asyncio.run(toy.runner(run="a").both(("p3",)))
    asyncio.run(toy.runner(run="b").both(("p3",)))

    root = toy.storage.root
    assert outputs(root / "training/a") == outputs(root / "training/b")
    assert outputs(root / "inference/a-p3") == outputs(root / "inference/b-p3")


def test_releases_of_the_same_run_differ_in_times_ids_and_places_only(toy: Any) -> None:
    asyncio.run(toy.runner(run="a").training())
    asyncio.run(toy.runner(run="b").training())

    one, two = (dict(read_release(toy.storage, name).content) for name in "ab")
    for content in (one, two):
        for field in ("id", "run", "created", "parent"):
            del content[field]
        for part in content["parts"].values():
            del part["uri"]
    assert one == two


def test_the_first_drift_trains_again_on_the_latest_periods_and_scores_the_next_one(toy: Any) -> None:
    outcome = asyncio.run(toy.runner().both(()))

    assert [scored.drifted for scored in outcome.scored] == [False, True, False]
    retrained = outcome.retrained
    assert retrained.cause.period == "p4"
    assert retrained.following.period == "p5"
    assert retrained.following.release.id == "r1-drift-p4"
    content = retrained.trained.release.content
    assert content["data"]["periods"] == ["p3", "p4"]
    assert content["parent"] == "r1"
    assert content["started_by"] == {
        "cause": "drift",
        "period": "p4",
        "run": "r1-p4",
        "release": "r1",
        "columns": ["value"],
    }
    assert current_id(toy.storage) == "r1-drift-p4"


def test_drift_of_a_month_that_is_not_listed_trains_on_the_months_that_end_with_it(toy: Any) -> None:
    months = {"p1": "2013-10", "p2": "2013-11", "p3": "2013-12", "p4": "2014-01"}
    changes = [("[p1, p2]", "[2013-10, 2013-11]"), ("[p3, p4, p5]", "[2013-12]")]
    for kind in ("train", "score", "labels"):
        for period, month in months.items():
            path = toy.folder / f"raw/{kind}/{period}.csv"
            if path.exists():
                path.rename(path.with_name(f"{month}.csv"))
    outcome = asyncio.run(toy.runner(*changes).both(("2013-12", "2014-01")))

    assert outcome.retrained.trained.release.content["data"]["periods"] == ["2013-12", "2014-01"]


def test_drift_that_must_show_twice_does_not_retrain_when_it_shows_once(toy: Any) -> None:
    outcome = asyncio.run(toy.runner(("{then: retrain,", "{when: {runs: 2}, then: retrain,")).both(()))

    assert outcome.retrained is None


def test_drift_in_the_last_period_leaves_nothing_to_compare_on(toy: Any) -> None:
    outcome = asyncio.run(toy.runner().both(("p3", "p4")))

    assert outcome.retrained.following is None


def test_a_gate_that_is_not_met_leaves_the_pointer_and_says_so(toy: Any) -> None:
    asyncio.run(toy.runner(run="good").training())
    outcome = asyncio.run(toy.runner(("auc: 0.7", "auc: 0.55"), run="poor").training())

    assert not outcome.trained.promoted
    assert current_id(toy.storage) == "good"
    assert toy.told.sentences[-1] == (
        "release poor: validation:auc is 0.5500, wanted at least 0.6. The current release stays good."
    )


def test_a_gate_on_a_metric_that_does_not_exist_names_the_nearest(toy: Any) -> None:
    with pytest.raises(StepFailedError, match=r"no such metric\. Did you mean 'validation:auc'\?") as caught:
        asyncio.run(toy.runner(('"validation:auc"', '"validation:acu"')).training())
    assert caught.value.exit_code == 2


def test_manual_approval_leaves_the_pointer(toy: Any) -> None:
    outcome = asyncio.run(toy.runner(("automatic", "manual")).training())

    assert not outcome.trained.promoted
    assert current_id(toy.storage) is None


def test_inference_without_a_release_says_what_to_run(toy: Any) -> None:
    with pytest.raises(DataError, match=r"no release is current in .* Run the training pipeline first"):
        asyncio.run(toy.runner().inference(()))


def test_inference_reads_the_pointer_and_nothing_else(toy: Any) -> None:
    asyncio.run(toy.runner(run="one").training())
    asyncio.run(toy.runner(("automatic", "manual"), run="two").training())
    outcome = asyncio.run(toy.runner(run="three").inference(("p3",)))

    assert outcome.scored[0].release.id == "one"


def test_a_failing_processing_job_stops_the_run_and_tells_its_message(toy: Any) -> None:
    with pytest.raises(StepFailedError) as caught:
        asyncio.run(toy.runner(("processing: {settings: {}}", "processing: {settings: {fail: 3}}")).training())

    error = caught.value
    assert error.exit_code == 3
    assert str(error).startswith("step training processing failed (exit code 3): processing cannot go on: told so.")
    assert (toy.storage.root / "training/r1/processing/ml/config/processingjobconfig.json").is_file()
    assert "a line of the log" in (toy.storage.root / "training/r1/processing/log.txt").read_text()
    assert not (toy.storage.root / "training/r1/algorithm").exists()
    assert current_id(toy.storage) is None


def test_a_failing_training_job_tells_its_failure_file(toy: Any) -> None:
    with pytest.raises(StepFailedError, match=r"\(exit code 2\): algorithm cannot go on") as caught:
        asyncio.run(toy.runner(("auc: 0.7", "auc: 0.7, fail: 2")).training())

    assert caught.value.exit_code == 2


def test_a_program_that_does_not_exist_is_told_by_its_last_lines(toy: Any, tmp_path: Path) -> None:
    toy.programs = type(toy.programs)(tmp_path)
    with pytest.raises(StepFailedError, match="No module named"):
        asyncio.run(toy.runner().training())


def test_a_missing_input_is_named_with_the_exit_code_of_data(toy: Any) -> None:
    (toy.folder / "raw/train/p2.csv").unlink()

    with pytest.raises(QuartetError, match=r"raw/train/p2\.csv does not exist") as caught:
        asyncio.run(toy.runner().training())
    assert caught.value.exit_code == 3


def test_a_server_that_never_gets_healthy_is_given_up(toy: Any) -> None:
    asyncio.run(toy.runner().training())
    sick = ("serve: {settings: {}}", "serve: {settings: {sick: 1}}")

    with pytest.raises(StepFailedError, match=r"did not answer /ping with 200 within 1 s") as caught:
        asyncio.run(toy.runner(sick, run="r2", healthy_seconds=1.0).inference(("p3",)))
    assert caught.value.exit_code == 1


def test_a_server_that_dies_is_reported_with_its_reason_and_exit_code(toy: Any) -> None:
    asyncio.run(toy.runner().training())
    dying = ("serve: {settings: {}}", "serve: {settings: {dies: 1}}")

    with pytest.raises(StepFailedError, match="the server ended: the model cannot be loaded") as caught:
        asyncio.run(toy.runner(dying, run="r2").inference(("p3",)))
    assert caught.value.exit_code == 3


def test_a_refused_record_fails_the_step_and_leaves_no_output(toy: Any) -> None:
    asyncio.run(toy.runner().training())
    toy.score("p3", "a,1", "bad,2")

    with pytest.raises(StepFailedError, match="400: record 'bad' holds no number") as caught:
        asyncio.run(toy.runner(run="r2").inference(("p3",)))
    assert caught.value.exit_code == 3
    assert not list((toy.storage.root / "inference/r2-p3/algorithm").rglob("*.out"))


def test_an_answer_of_500_is_asked_again(toy: Any) -> None:
    asyncio.run(toy.runner().training())
    toy.score("p3", "flaky,1", "b,2")
    asyncio.run(toy.runner(run="r2").inference(("p3",)))

    scores = toy.storage.root / "inference/r2-p3/algorithm/scores/part-0000-of-0001.csv.out"
    assert scores.read_text() == "flaky,0.5\nb,0.5\n"


def test_an_answer_that_lost_a_record_is_refused(toy: Any) -> None:
    asyncio.run(toy.runner().training())
    losing = ("serve: {settings: {}}", "serve: {settings: {loses: 1}}")

    with pytest.raises(StepFailedError, match="5 records were sent and 4 came back"):
        asyncio.run(toy.runner(losing, run="r2").inference(("p3",)))


def test_a_failure_in_one_period_stops_the_others(toy: Any) -> None:
    asyncio.run(toy.runner().training())
    toy.score("p3", "bad,1")
    toy.score("p4", "slow,1")

    with pytest.raises(StepFailedError, match="p3 algorithm"):
        asyncio.run(toy.runner(run="r2").inference(("p3", "p4")))
    states = {label: state for label, state, _ in toy.told.ended}
    assert states["p3 algorithm"] == "failed"
    assert "done" not in (states.get("p4 algorithm"), states.get("p4 monitoring"))


def test_steps_that_are_switched_off_do_not_run(toy: Any) -> None:
    fewer = ("training: {", "training: {steps: [processing, algorithm], ")
    less = ("drift:", "  inference: {steps: [processing, algorithm]}\ndrift:")
    outcome = asyncio.run(toy.runner(fewer, less).both(("p3",)))

    assert list(outcome.trained.results) == ["processing", "algorithm", "release"]
    assert set(outcome.trained.release.content["parts"]) == {"model", "state"}
    assert not outcome.scored[0].drifted


def test_a_first_release_that_misses_its_gate_scores_nothing_and_advises_no_promotion(toy: Any) -> None:
    outcome = asyncio.run(toy.runner(("auc: 0.7", "auc: 0.55")).both(()))

    assert outcome.scored == ()
    assert "The only one, 'r1', does not meet its gates: change settings or data and train again" in outcome.unscored
    assert "Promote one" not in outcome.unscored


def test_a_first_release_that_waits_for_approval_scores_nothing_and_is_the_one_to_promote(toy: Any) -> None:
    outcome = asyncio.run(toy.runner(("automatic", "manual")).both(()))

    assert outcome.scored == ()
    assert outcome.unscored.endswith("Promote one: 'r1' is the latest.")


RETRIED = ("name: toy\n", "name: toy\ndefaults: {retries: 2}\n")


def test_a_job_that_fails_for_a_reason_of_ours_is_tried_again(toy: Any) -> None:
    failing = ("processing: {settings: {}}", "processing: {settings: {fail: 1, fail_times: 2}}")
    outcome = asyncio.run(toy.runner(RETRIED, failing).training())

    assert outcome.trained.promoted
    assert [said for said in toy.told.sentences if "cannot go on" in said] == [
        "training processing: processing cannot go on: told so. 1/2",
        "training processing: processing cannot go on: told so. 2/2",
    ]


def test_a_job_that_a_signal_ended_is_tried_again(toy: Any) -> None:
    failing = ("processing: {settings: {}}", "processing: {settings: {fail: 137, fail_times: 1}}")

    assert asyncio.run(toy.runner(RETRIED, failing).training()).trained.promoted


def test_retries_come_to_an_end(toy: Any) -> None:
    failing = ("processing: {settings: {}}", "processing: {settings: {fail: 1, fail_times: 3}}")

    with pytest.raises(StepFailedError):
        asyncio.run(toy.runner(RETRIED, failing).training())
    assert (toy.storage.root / "training/r1/processing/log.txt").read_text().count("a line of the log") == 3


@pytest.mark.parametrize("code", [2, 3])
def test_settings_and_data_do_not_get_better_by_trying_again(toy: Any, code: int) -> None:
    failing = ("processing: {settings: {}}", f"processing: {{settings: {{fail: {code}, fail_times: 1}}}}")

    with pytest.raises(StepFailedError):
        asyncio.run(toy.runner(RETRIED, failing).training())
    assert (toy.storage.root / "training/r1/processing/log.txt").read_text().count("a line of the log") == 1
