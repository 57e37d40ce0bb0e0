"""States that find the release in use and the data to score, in the inference pipeline or before it is started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipelines.aws.places import NO_PERIOD, Site
from pipelines.graph import Job, Released
from pipelines.manifest import Data
from pipelines.periods import kind_of
from pipelines.stepfunctions.calendar import AT
from pipelines.stepfunctions.language import (
    NOT_FOUND,
    Expression,
    States,
    choice,
    expression,
    failure,
    filled,
    get_object,
    get_parameter,
    made,
    quoted,
)
from shared.release import NO_PARENT, VERDICT


def given(name: str, default: str) -> Expression:
    """A parameter of the execution, or its default: an expression's body."""
    return expression(f"$exists($Given.{name}) ? $Given.{name} : {default}")


def take_input(following: str, **assigned: Any) -> States:
    """The first state: the execution's input, and the time, into variables.

    `Time` is the input's, which a schedule puts there, or that of the start.
    """
    state = {
        "Type": "Pass",
        "Assign": made(
            {
                "Given": expression("$states.input"),
                "Time": expression("$exists($states.input.Time) ? $states.input.Time : $now()"),
                **assigned,
            }
        ),
        "Next": following,
    }
    return {"Start": state}


def choose_data(site: Site, data: Data, following: str, **assigned: Any) -> States:
    """`$Period` and `$ScoreData`: as given, or the manifest's uri filled with the period that `$Time` is in.

    Two states, because what one state assigns, its own fields do not see yet.
    """
    assert data.score is not None
    return {
        "Name the period": {
            "Type": "Pass",
            "Assign": made({"Period": given("Period", period_of(data)), **assigned}),
            "Next": "Choose the data",
        },
        "Choose the data": {
            "Type": "Pass",
            "Assign": made(
                {
                    "ScoreData": given(
                        "ScoreData", filled(site.path(data.score.uri), {"period": "$Period", "run": "$Run"}).body
                    )
                }
            ),
            "Next": following,
        },
    }


def period_of(data: Data) -> str:
    """The period that `$Time` is in, of the kind that the manifest's own are; a day where they are names."""
    assert data.score is not None
    if "{period}" not in data.score.uri:
        return quoted(NO_PERIOD)
    return AT[kind_of(data.known_periods) or "day"]


def released_parts(jobs: Iterable[Job]) -> tuple[str, ...]:
    """The parts of a release that some jobs read, sorted."""
    found: set[str] = set()
    for job in jobs:
        places = [*getattr(job, "inputs", {}).values(), getattr(job, "model", None)]
        found.update(place.part for place in places if isinstance(place, Released))
    return tuple(sorted(found))


def find_parent(pointer: str, following: str, caught: Iterable[Any] = (), **fields: Any) -> States:
    """`$Parent`: the uri of the release that is in use before a training, or `none`.

    Args:
        pointer: the parameter that holds the uri.
        following: the state to go on with.
        caught: what else is caught.
        fields: of the state, and of what it does when nothing was released yet.
    """
    nothing = {"ErrorEquals": [NOT_FOUND], "Assign": {"Parent": NO_PARENT}, "Next": following, **fields}
    return {
        "Find the release before": get_parameter(
            pointer,
            Assign={"Parent": expression("$states.result.Parameter.Value")},
            Catch=[nothing, *caught],
            Next=following,
            **fields,
        )
    }


def find_release(pointer: str, parts: tuple[str, ...], following: str, output: Any) -> States:
    """`$Release`, the uri of the release in use, and `$Parts`, the uris of its parts; ends when one is missing.

    Args:
        pointer: the parameter that holds the uri.
        parts: what has to be there.
        following: the state to go on with.
        output: what that state gets as its input.
    """
    there = " and ".join(f"$exists($Parts.{part})" for part in parts) or "true"
    lacks = (
        f" lacks one of {', '.join(parts)}. Train again with the step that makes it, or switch off the inference step "
        "that reads it."
    )
    return {
        "Find the release": get_parameter(
            pointer,
            Assign={"Release": expression("$states.result.Parameter.Value")},
            Catch=[{"ErrorEquals": [NOT_FOUND], "Next": "No release"}],
            Next="Read the release",
        ),
        "No release": failure(
            "NoRelease",
            f"parameter {pointer} does not exist, so no release is in use. Run the training pipeline, or promote one.",
        ),
        # The verdict beside release.json is small, whatever the release has grown to.
        "Read the release": get_object(
            expression(f"$replace($Release, /[^\\/]+$/, {quoted(VERDICT)})"),
            Assign={"Parts": expression("$parse($states.result.Body).parts")},
            Output=output,
            Next="Is it whole?",
        ),
        "Is it whole?": choice(there, following, "Incomplete release"),
        "Incomplete release": failure("IncompleteRelease", expression(f"'release ' & $Release & {quoted(lacks)}")),
    }
