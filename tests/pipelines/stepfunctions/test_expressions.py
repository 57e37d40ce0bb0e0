"""What the expressions are worth: in Python's JSONata, which the tests execute with, and in the original."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from pipelines.graph import ProcessingJob
from pipelines.manifest import Drift
from pipelines.periods import kind_of
from pipelines.stepfunctions import calendar
from pipelines.stepfunctions.current import period_of
from pipelines.stepfunctions.jobs import _caught, job_name
from pipelines.stepfunctions.language import expression, filled, get_object, joined, made, quoted, variable
from pipelines.stepfunctions.retraining import answer_of
from tests.aws.data import toy_use_case
from tests.aws.states import declarations, evaluated

ASL: Final = Path(__file__).parents[2] / "asl"
POLICY: Final = Drift.model_validate({"then": "retrain", "with": {"periods": 2}, "cooldown": "24h", "max_per_month": 4})
FAILURE: Final = _caught(ProcessingJob("processing", "processing", "train"))["Output"].body


def failed(cause: str, error: str = "States.TaskFailed", **given: Any) -> dict[str, Any]:
    return {"states": {"input": {"made": {}, **given}, "errorOutput": {"Error": error, "Cause": cause}}}


def loop(last: str | None, month: str, count: int) -> dict[str, Any]:
    return {"State": {"last": last, "month": month, "count": count}, "Now": "2026-11-22T04:00:00.000Z"}


def caught(reason: str, code: int | None = None, *, hope: bool, tries: int = 1) -> dict[str, Any]:
    told = {"reason": f"step processing failed: {reason}", "exit": f" (exit code: {code})" if code else ""}
    return {"made": {}, "tries": tries, "hope": hope, "error": "ProcessingFailed", **told}


PERIODS: Final = json.loads((Path(__file__).parents[1] / "periods.json").read_text(encoding="utf-8"))


def window(vector: dict[str, Any]) -> str:
    """The expression of a window whose last period is `$Last`."""
    kind = kind_of(vector["listed"])
    assert kind is not None
    return calendar.later_window(kind, vector["listed"], vector["count"], "$Last")


EXIT: Final = "AlgorithmError: See job logs for more information, exit code: "
CASES: Final[list[tuple[str, str, dict[str, Any], Any]]] = [
    (
        "a processing job's own words come first",
        FAILURE,
        failed(json.dumps({"ExitMessage": 'column "a" is missing', "FailureReason": f"{EXIT}3"})),
        caught('column "a" is missing (exit code: 3)', 3, hope=False),
    ),
    (
        "a job that failed by itself may do better",
        FAILURE,
        failed(json.dumps({"FailureReason": f"{EXIT}1"}), tries=1),
        caught(f"{EXIT}1", 1, hope=True, tries=2),
    ),
    (
        "a request that was refused would be refused again",
        FAILURE,
        failed("no such role", "SageMaker.AmazonSageMakerException"),
        caught("no such role", hope=False),
    ),
    (
        "a job of AWS Batch has an exit code",
        FAILURE,
        failed(json.dumps({"StatusReason": "Essential container exited", "Container": {"ExitCode": 2}})),
        caught("Essential container exited (exit code: 2)", 2, hope=False),
    ),
    (
        "a cause that only looks like JSON's beginning is a sentence",
        FAILURE,
        failed("{cut off"),
        caught("{cut off", hope=True),
    ),
    ("nothing was ever trained", answer_of(POLICY), loop(None, "none", 0), "started"),
    (
        "an hour is left of the cool-down",
        answer_of(POLICY),
        loop("2026-11-21T05:00:00Z", "2026-11", 1),
        "suppressed: cool-down until 2026-11-22T05:00:00.000Z",
    ),
    ("the cool-down is over to the second", answer_of(POLICY), loop("2026-11-21T04:00:00Z", "2026-11", 1), "started"),
    (
        "the month is full",
        answer_of(POLICY),
        loop("2026-11-20T05:00:00Z", "2026-11", 4),
        "suppressed: cap of 4 a month is reached",
    ),
    ("last month was full", answer_of(POLICY), loop("2026-10-31T05:00:00Z", "2026-10", 4), "started"),
    ("text around a variable", joined("s3://b/", variable("Run"), "/x").body, {"Run": "r1"}, "s3://b/r1/x"),
    (
        "a template",
        filled("s3://b/{period}.csv", {"period": "$P", "run": "$R"}).body,
        {"P": "2026-11"},
        "s3://b/2026-11.csv",
    ),
    (
        "a bucket",
        get_object(variable("Uri"))["Arguments"]["Bucket"].body,
        {"Uri": "s3://bucket/a/b.json"},
        "bucket",
    ),
    ("a key", get_object(variable("Uri"))["Arguments"]["Key"].body, {"Uri": "s3://bucket/a/b.json"}, "a/b.json"),
    (
        "a name of a job",
        job_name("flights-processing").body,
        {
            "Run": "a_b.c",
            "states": {
                "input": {},
                "context": {"Execution": {"Id": "arn"}, "State": {"Name": "processing", "RetryCount": 0}},
            },
        },
        # SHA-256 of "arn/processing/0".
        "flights-processing-a-b-c-12b53160",
    ),
    ("quotation marks in a constant", quoted('say "so" \\ so'), {}, 'say "so" \\ so'),
    *((f"window: {one['fact']}", window(one), {"Last": one["last"]}, one["window"]) for one in PERIODS["windows"]),
    *(
        (f"{one['kind']} of {one['day']}", calendar.AT[one["kind"]], {"Time": f"{one['day']}T05:06:07Z"}, one["period"])
        for one in PERIODS["days"]
    ),
]


@pytest.mark.parametrize(("body", "bindings", "value"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_expression_has_this_value(body: str, bindings: dict[str, Any], value: Any) -> None:
    assert evaluated(f"({declarations({f'${name}': item for name, item in bindings.items()})}{body})") == value


@pytest.mark.skipif(
    not (ASL / "node_modules/jsonata").is_dir(), reason="the original JSONata is not installed: make asl"
)
def test_the_original_has_the_same_values() -> None:
    asked = [{"body": body, "bindings": bindings} for _, body, bindings, _ in CASES]
    node = shutil.which("node")
    assert node is not None

    done = subprocess.run(
        [node, str(ASL / "evaluate.mjs")], input=json.dumps(asked), capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    found = {name: value for (name, *_), value in zip(CASES, json.loads(done.stdout), strict=True)}
    assert found == {name: value for name, _, _, value in CASES}


CUT: Final = [
    ("[2011, 2012]", "2013"),
    ("[2011-01, 2011-02]", "2013-03"),
    ("['2011-01-01', '2011-01-02']", "2013-03-04"),
    ("[p1, p2]", "2013-03-04"),
]


@pytest.mark.parametrize(("periods", "wanted"), CUT)
def test_a_period_is_cut_as_the_manifests_are(tmp_path: Path, periods: str, wanted: str) -> None:
    changes = [("periods: [p1, p2]", f"periods: {periods}"), ("  periods: [p3, p4]\n", "")]
    data = toy_use_case(tmp_path, *changes).manifest.data

    assert evaluated(f"($Time := '2013-03-04T05:06:07Z'; {period_of(data)})") == wanted


def test_only_what_is_marked_is_an_expression() -> None:
    given = {"a": expression("$Run"), "b": "{% $Run %}", "c": "plain", "d": ["{% x %}", 1, None]}

    once = made(given)

    assert once == {"a": "{% $Run %}", "b": '{% "{% $Run %}" %}', "c": "plain", "d": ['{% "{% x %}" %}', 1, None]}
    assert made(once) == once
