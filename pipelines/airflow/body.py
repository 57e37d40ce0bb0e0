"""What every DAG file does beside starting jobs: name a run, resolve and move the pointer, judge a drift.

No DAG file imports this module: what stands below the first line `# --- …` is copied into it, section by section, so
that it stands alone. What stands above is what a rendered file says of its use case, in the form of an example. Airflow
is imported where a task runs, as its users are advised to: the scheduler reads a DAG file over and over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.periods import later_window, period_at

AWS: dict[str, Any] = {"aws_conn_id": "aws_default"}
CHECK_INTERVAL = 30.0
USE_CASE = "example"
POINTER = "/example/releases/current"
DRIFT_STATE = "/example/drift/state"
PARTS = ["model", "state", "baseline", "explainer"]
CALENDAR: str | None = "month"
COOLDOWN = timedelta(hours=24)
MAX_PER_MONTH = 4
DRIFTS_IN_A_ROW = 1
STORAGE = "s3://example"
TRAIN_FILE = "s3://example/train/{period}.csv"
WINDOW = 2
WINDOWS = {"2026-10": "s3://example/config/0123456789abcdef/train.manifest"}

# --- Runs and releases

log = logging.getLogger(__name__)


def run_name(dag_run: Any) -> str:
    """A run's name in S3 and in the names of its jobs: when it was due, and four characters of its id's digest."""
    digest = hashlib.sha256(f"{dag_run.dag_id}/{dag_run.run_id}".encode()).hexdigest()
    return f"{dag_run.run_after:%Y%m%dT%H%M%S}-{digest[:4]}"


def polls(seconds: int) -> int:
    """How often a deferred task may ask for the state of a job of so many seconds, with an hour to get machines."""
    return int((seconds + 3600) // CHECK_INTERVAL) + 1


def completed(context: Any, result: Mapping[str, Any]) -> None:
    """Fail the task unless its job has completed: the operators take a job that was stopped for one that ended well.

    A job that ran past its longest time is stopped, and so is one that somebody stopped in the console.
    """
    for kind in ("Processing", "Training", "Transform", "Tuning"):
        job = result.get(kind, {})
        words = f"HyperParameter{kind}Job" if kind == "Tuning" else f"{kind}Job"
        status = job.get(f"{words}Status", "Completed")
        if status != "Completed":
            reason = job.get("FailureReason") or job.get("ExitMessage") or "no reason given"
            raise RuntimeError(f"{kind} job {job[f'{words}Name']} is {status}, wanted Completed: {reason}.")


def hopeless(reason: str) -> bool:
    """Whether a job would fail again: it has ended with 2 or 3, so settings or data are wrong."""
    return re.search(r"exit code: [23]\b", reason) is not None


def retry_policy() -> dict[str, Any]:
    """What keeps a job that would fail again from being tried again; nothing before Airflow 3.3, which has no such."""
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:
        return {}

    class WhileThereIsHope(RetryPolicy):  # type: ignore[misc, unused-ignore]
        def evaluate(self, exception: BaseException, *_more: Any, **_named: Any) -> Any:
            if hopeless(str(exception)):
                return RetryDecision.fail("settings and data do not get better by trying again")
            return RetryDecision.default()

    return {"retry_policy": WhileThereIsHope()}


JOB = {
    **AWS,
    "check_interval": CHECK_INTERVAL,
    "action_if_job_exists": "timestamp",
    "post_execute": completed,
    **retry_policy(),
}
# The operator of tuning jobs keeps its worker: the triggerer would give up after 480 looks, which may be too soon.
TUNING = {**AWS, "check_interval": CHECK_INTERVAL, "post_execute": completed, "deferrable": False}


def processing_input(name: str, uri: str, kind: str = "S3Prefix") -> dict[str, Any]:
    """One of a processing job's inputs, of which every host gets all files."""
    source = {
        "S3Uri": uri,
        "LocalPath": f"/opt/ml/processing/input/{name}",
        "S3DataType": kind,
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": name, "S3Input": source, "AppManaged": False}


def processing_output(name: str, uri: str) -> dict[str, Any]:
    """One of a processing job's outputs, stored when the job ends."""
    target = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": target, "AppManaged": False}


def channel(name: str, uri: str, kind: str = "S3Prefix") -> dict[str, Any]:
    """One of a training job's inputs, of which every host gets all files."""
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def read_json(uri: str) -> dict[str, Any]:
    """The JSON object at an S3 uri."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    bucket, key = S3Hook.parse_s3_url(uri)
    found: dict[str, Any] = json.loads(S3Hook(**AWS).read_key(key, bucket))
    return found


def parameter(name: str) -> str | None:
    """A value of Parameter Store; None where there is none yet."""
    from airflow.providers.amazon.aws.hooks.ssm import SsmHook

    value: str | None = SsmHook(**AWS).get_parameter_value(name, default=None)
    return value


def put_parameter(name: str, value: str) -> None:
    """Set a value in Parameter Store, which keeps the earlier ones as versions."""
    from airflow.providers.amazon.aws.hooks.ssm import SsmHook

    SsmHook(**AWS).conn.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def release_before() -> str:
    """The uri of the release that is current while a new one is made, or `none`."""
    return parameter(POINTER) or "none"


def judge_release(verdict_uri: str) -> str:
    """Which task comes after the release step: the pointer moves only when gates and policy say so."""
    verdict = read_json(verdict_uri)
    if verdict["promote"]:
        return "promote"
    why = "waits for approval" if verdict["gates_met"] else "does not meet its gates"
    log.warning("Release %s %s, so %s stays as it is.", verdict["release"], why, POINTER)
    return "candidate"


def promote(verdict_uri: str) -> str:
    """Make the new release the current one."""
    release: str = read_json(verdict_uri)["release"]
    put_parameter(POINTER, release)
    log.info("%s is %s now.", POINTER, release)
    return release


# --- The release in use


def release_in_use() -> dict[str, str]:
    """The current release: its uri, and that of each part which inference reads."""
    from airflow.sdk.exceptions import AirflowFailException

    uri = parameter(POINTER)
    if uri is None:
        raise AirflowFailException(f"No release is current at {POINTER}. Run the training DAG, or promote a release.")
    release = read_json(uri)
    if release.get("name") != USE_CASE:
        raise AirflowFailException(f"{uri} is a release of {release.get('name')!r}, wanted one of {USE_CASE!r}.")
    absent = [part for part in PARTS if part not in release["parts"]]
    if absent:
        raise AirflowFailException(f"{uri} has no {', '.join(absent)}. Train again with the steps that make them.")
    return {"release": uri} | {part: release["parts"][part]["uri"] for part in PARTS}


# --- Periods


def period(params: Mapping[str, Any], dag_run: Any) -> str:
    """The period that a run scores: the parameter's, else the one that it is due in, where the data have periods."""
    given: str = params["Period"]
    if given == "none" and CALENDAR and "{period}" in params["ScoreData"]:
        due: datetime = dag_run.run_after
        return period_at(CALENDAR, due.date())
    return given


def score_data(params: Mapping[str, Any], dag_run: Any) -> str:
    """The uri of the data to score, with the period filled in."""
    wanted = period(params, dag_run)
    uri: str = params["ScoreData"]
    if "{period}" in uri and wanted == "none":
        raise ValueError(f"ScoreData is {uri!r} and there is no Period to fill in. Start the DAG with Period.")
    return uri.replace("{period}", wanted)


# --- Drift


def judge_drift(verdict_uri: str) -> str:
    """Which task comes after monitoring."""
    drifted = bool(read_json(verdict_uri)["detected"])
    if DRIFTS_IN_A_ROW > 1:
        drifted = in_a_row(drifted) >= DRIFTS_IN_A_ROW
    return "announce_drift" if drifted else "no_drift"


def in_a_row(drifted: bool) -> int:
    """How many runs one after the other have drifted, this one included; kept in Parameter Store."""
    state = drift_state()
    count = state.get("in_a_row", 0) + 1 if drifted else 0
    put_parameter(DRIFT_STATE, json.dumps(state | {"in_a_row": count}))
    return count


def drift_state() -> dict[str, Any]:
    """When the last retraining was, and how many there were in its month."""
    state: dict[str, Any] = json.loads(parameter(DRIFT_STATE) or "{}")
    return {"last": None, "month": None, "count": 0} | state


# --- Retraining


def may_retrain(allowed: str, last: str = "") -> str:
    """Which task comes after the announcement, where cool-down and monthly cap allow it.

    `last` is the period with which a window of training data would end, where there are windows: "none" starts nothing.
    """
    if last == "none":
        log.warning("No retraining: the data that were scored have no period with which a window could end.")
        return "no_retraining"
    from airflow.sdk import timezone

    reason = hindrance(drift_state(), timezone.utcnow())
    if reason is None:
        return allowed
    log.warning("No retraining: %s.", reason)
    return "no_retraining"


def hindrance(state: Mapping[str, Any], now: datetime) -> str | None:
    """What keeps the policy from another retraining; None when nothing does."""
    if state["last"]:
        next_one = datetime.fromisoformat(state["last"].replace("Z", "+00:00")) + COOLDOWN
        if now < next_one:
            return f"the last one was at {state['last']}, and the cool-down ends at {next_one:%Y-%m-%dT%H:%M:%SZ}"
    if state["month"] == f"{now:%Y-%m}" and state["count"] >= MAX_PER_MONTH:
        return f"there were {state['count']} in {state['month']}, and {MAX_PER_MONTH} a month are allowed"
    return None


def note_retraining() -> None:
    """Remember that a retraining was started now."""
    from airflow.sdk import timezone

    put_parameter(DRIFT_STATE, json.dumps(after_retraining(drift_state(), timezone.utcnow())))


def after_retraining(state: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The state with one retraining more."""
    month = f"{now:%Y-%m}"
    count = state["count"] + 1 if state["month"] == month else 1
    return {**state, "last": f"{now:%Y-%m-%dT%H:%M:%SZ}", "month": month, "count": count}


# --- Windows


def training_window(last: str) -> str:
    """The uri of the list of files to train on after a drift in the period `last`, stored where it was not before."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk.exceptions import AirflowFailException

    periods = later_window(CALENDAR, list(WINDOWS), WINDOW, last) if CALENDAR else ()
    if not periods and last not in WINDOWS:
        wanted = f"a {CALENDAR} from {min(WINDOWS)} on" if CALENDAR else f"one of {', '.join(WINDOWS)}"
        raise AirflowFailException(f"No window of training data ends with period {last!r}, wanted {wanted}.")
    files = [TRAIN_FILE.replace("{period}", period) for period in periods]
    absent = [file for file in files if not S3Hook(**AWS).check_for_key(file)]
    if absent:
        raise AirflowFailException(f"No training data at {', '.join(absent)}. Store them, and clear this task.")
    return WINDOWS.get(last) or stored_list(files)


def stored_list(files: list[str]) -> str:
    """The uri of a list of files as SageMaker reads it, named by what it holds."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    prefix = TRAIN_FILE[: TRAIN_FILE.index("{period}")].rpartition("/")[0] + "/"
    content = json.dumps([{"prefix": prefix}, *(file.removeprefix(prefix) for file in files)]) + "\n"
    uri = f"{STORAGE}/config/{hashlib.sha256(content.encode()).hexdigest()[:16]}/train.manifest"
    S3Hook(**AWS).load_string(content, uri, replace=True)
    return uri
