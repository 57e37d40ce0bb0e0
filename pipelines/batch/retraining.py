"""The drift loop for who runs pipelines by the client: drift → training, with the cool-down and the monthly cap.

The state is the one that every engine keeps in Parameter Store. Where a state machine answers the event `Drift`, nobody
calls this: two answers to one event would be two trainings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.aws.calls import Connect, asking
from pipelines.aws.places import NO_PERIOD, Rendered, Site, window_ending
from pipelines.aws.uploads import store
from pipelines.batch.client import Outcome, Submitted, start
from pipelines.local.retraining import TIME, State, hindrance
from pipelines.manifest import Drift, Manifest
from pipelines.stepfunctions.retraining import PERIODLESS, drift_windows
from shared.errors import ArtefactError


@dataclass(frozen=True)
class Retraining:
    """What became of drift: a training was started, or why none was."""

    submitted: Submitted | None
    why: str = ""


def retrain(
    connect: Connect, site: Site, rendered: Rendered, manifest: Manifest, outcome: Outcome, run: str, now: datetime
) -> Retraining:
    """Start a training on the window that the drift policy declares, unless the policy has had enough.

    Args:
        connect: gives clients.
        site: where the use case lives.
        rendered: what was deployed.
        manifest: declares the policy.
        outcome: an inference whose data have drifted.
        run: the id of the training.
        now: in UTC.

    Raises:
        SettingsError: the policy is one that the cloud cannot keep, or no window ends with the period.
        ArtefactError: the parameter with the loop's state holds something else.
        CloudError: AWS refuses.
    """
    policy = manifest.drift
    if policy is None or policy.then != "retrain":
        return Retraining(None, "the manifest does not say drift.then: retrain")
    period = outcome.submitted.parameters.get("Period", NO_PERIOD)
    if period == NO_PERIOD and policy.with_ is not None and policy.with_.periods is not None:
        return Retraining(None, PERIODLESS)
    data = window(connect, site, manifest, period)
    why = claim(connect, site, policy, now)
    if why:
        return Retraining(None, why)
    given = {"TrainData": data, "StartedBy": f"drift {outcome.submitted.run}"}
    return Retraining(start(connect, site, rendered, "training", run, given))


def window(connect: Connect, site: Site, manifest: Manifest, period: str) -> str:
    """The uri of what a training after the drift of a period learns from, which lies there then.

    Raises:
        SettingsError: no window ends with the period.
        CloudError: S3 refuses.
    """
    given = drift_windows(manifest, site)
    if given.uri is not None:
        return given.uri.replace("{period}", period)
    assert manifest.drift is not None
    assert manifest.drift.with_ is not None
    uri, content = window_ending(site, manifest.data, manifest.drift.with_.periods or 1, period)
    store(connect, {uri: content})
    return uri


def claim(connect: Connect, site: Site, policy: Drift, now: datetime) -> str:
    """Take the right to train again now and note it; why there is none otherwise.

    Of two that ask at once one gets it: the version that a write gives tells whether another came in between.

    Raises:
        ArtefactError: the parameter holds something else.
        CloudError: Parameter Store refuses.
    """
    ssm = connect("ssm")
    with asking(f"parameter {site.drift_state}"):
        try:
            found = ssm.get_parameter(Name=site.drift_state)["Parameter"]
        except ssm.exceptions.ParameterNotFound:
            found = {"Version": 0, "Value": json.dumps(asdict(State()))}
        state = state_of(found, site.drift_state)
        why = hindrance(state, policy, now)
        if why:
            return why
        value = json.dumps(asdict(state.after(now)), sort_keys=True)
        try:
            written = ssm.put_parameter(
                Name=site.drift_state, Value=value, Type="String", Overwrite=found["Version"] > 0
            )
        except ssm.exceptions.ParameterAlreadyExists:
            written = {"Version": 0}
    return "" if written["Version"] == found["Version"] + 1 else "another run has just started a training"


def state_of(found: Mapping[str, Any], name: str) -> State:
    """The state in a parameter, whichever engine wrote it: some write fractions of seconds.

    Raises:
        ArtefactError: it holds something else.
    """
    try:
        value = json.loads(found["Value"])
        last = value["last"]
        if last is not None:
            last = datetime.fromisoformat(last).astimezone(UTC).strftime(TIME)
        return State(last, str(value["month"]), int(value["count"]))
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(
            f"parameter {name} holds no state of the drift loop, wanted JSON with last, month and count. "
            "Delete it to begin anew."
        ) from None
