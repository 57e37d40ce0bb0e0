"""The release step: one file that says which artefacts belong together, where they come from, and whether they may go.

    python -m components.processing release

It is a processing job, the last one of the training pipeline. Its inputs are the parts that the pipeline has made
(`model`, as model.tar.gz or as a folder, `state`, `baseline`, `explainer`) and `settings`; where the parts lie it reads
from its own job description. It checks every part against its digests and the parts against one another, holds the
model's metrics against the gates, and writes

    release.json      parts with uri and digest, metrics, gates, and the lineage: data digests, code revision, images,
                      settings digests, versions, the release before
    verdict.json      the few values that an engine branches on
    evaluation.json   the model's, for whoever looks for it beside the release

The exit code is 0 whether or not the gates are met: a model that is not good enough is no failure of the step.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.artefact import Artefact, open_artefact
from shared.contract import Contract, entries, present
from shared.errors import ArtefactError, DataError, SettingsError, unwritable
from shared.files import json_text, read_json, write_json
from shared.gates import Gate, GateResult, gate_results, metrics_of
from shared.settings import Settings, file_values, parsed, settings_file

API_VERSION: Final = "quartet/v1"
PARTS: Final[Mapping[str, str]] = {
    "model": "algorithm",
    "state": "processing",
    "baseline": "monitoring",
    "explainer": "explainability",
}
"""What a release is made of, and the component that makes each part."""
STEP: Final = "release"
"""The word that starts the step, and the name of its output."""
EVALUATION: Final = "evaluation.json"
RELEASE: Final = "release.json"
VERDICT: Final = "verdict.json"
RELEASE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""A run's id, and after drift the period's name too, which may hold dots and underscores. Never a path."""
NO_PARENT: Final = "none"
CAUSES: Final = ("command", "schedule", "drift")


class DataSettings(BaseModel):
    """The training data as the manifest names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = ""


class ReleaseSettings(Settings):
    """What the pipeline tells the step: nothing here depends on the run."""

    name: str
    gates: tuple[Gate, ...] = ()
    approve: Literal["automatic", "manual"] = "manual"
    manifest: dict[str, str | None] = Field(default_factory=dict)
    revision: str | None = None
    images: dict[str, str] = Field(default_factory=dict)
    variant: str | None = None
    data: DataSettings = DataSettings()


@dataclass(frozen=True)
class Start:
    """What the environment tells of the run."""

    run: str
    started_by: Mapping[str, str]
    parent: str | None
    data: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Start:
        """`QUARTET_RUN`, `QUARTET_STARTED_BY`, `QUARTET_PARENT` and `QUARTET_DATA`.

        Raises:
            SettingsError: there is no run's id, or what started the run is unknown.
        """
        run = environment.get("QUARTET_RUN", "")
        if not RELEASE_ID.fullmatch(run):
            raise SettingsError(
                f"QUARTET_RUN is {run!r}, wanted the run's id: letters, digits, hyphens, dots and underscores."
            )
        parent = environment.get("QUARTET_PARENT") or NO_PARENT
        return cls(
            run,
            cause_of(environment.get("QUARTET_STARTED_BY") or "command"),
            None if parent == NO_PARENT else parent,
            environment.get("QUARTET_DATA") or None,
        )


def cause_of(text: str) -> dict[str, str]:
    """`command`, `schedule` or `drift <inference run>` as a release holds it.

    Raises:
        SettingsError: the text is something else.
    """
    cause, _, run = text.partition(" ")
    if cause not in CAUSES or (cause == "drift") != bool(run.strip()):
        raise SettingsError(f"QUARTET_STARTED_BY is {text!r}, wanted 'command', 'schedule' or 'drift <inference run>'.")
    return {"cause": cause, "run": run.strip()} if run else {"cause": cause}


@dataclass(frozen=True)
class Part:
    """One part of the release: where it lies, and what it is."""

    uri: str
    artefact: Artefact


def release(contract: Contract, environment: Mapping[str, str], log: logging.Logger) -> None:
    """Do the step.

    Raises:
        SettingsError: the job's description, its settings or its environment lack something, or a gate reads a metric
            that there is not.
        ArtefactError: a part is incomplete or changed, or belongs to other parts than these.
        DataError: the model has no evaluation.
    """
    contract.clear_outcome()
    start = Start.from_environment(environment)
    inputs = contract.processing_inputs()
    settings = read_settings(inputs.get("settings"))
    places = uris(contract)
    parts = {name: opened(name, inputs[name], places) for name in PARTS if name in inputs}
    if not parts:
        raise SettingsError("the release step has no input 'model', 'state', 'baseline' or 'explainer'. Add one.")
    check_finished(parts)
    check_parents(parts)
    evaluation = evaluation_of(parts["model"].artefact) if "model" in parts else {}
    metrics = metrics_of(evaluation)
    gates = gate_results(settings.gates, metrics)
    folder, place = output(contract)
    uri = f"{place}/{RELEASE}"
    try:
        write_json(folder / EVALUATION, evaluation)
        write_json(folder / RELEASE, content(start, settings, parts, metrics, gates))
        write_json(folder / VERDICT, verdict(start, settings, parts, gates, uri))
    except OSError as error:
        raise unwritable(STEP, folder, error) from None
    said = sentence(start.run, gates)
    log.info(said)
    contract.write_message(said, log)


def read_settings(folder: Path | None) -> ReleaseSettings:
    """The settings of the step.

    Raises:
        SettingsError: there are none, or they cannot be used.
    """
    file = settings_file(folder)
    if file is None:
        raise SettingsError("the release step has no input 'settings'. Add one with a settings.json.")
    return parsed(ReleaseSettings, file_values(file))


def uris(contract: Contract) -> dict[str, str]:
    """Where the inputs lie, by name, as the job's description says.

    Raises:
        SettingsError: there is no description, so that nobody could find the parts again.
    """
    if not present(contract.processing_job_config):
        raise SettingsError(
            f"{contract.processing_job_config} does not exist, and only there stands where the parts lie. "
            "Run the step as a processing job."
        )
    inputs = entries(contract.processing_job_config, "ProcessingInputs")
    return {item["InputName"]: str(item["S3Input"].get("S3Uri")) for item in inputs if item.get("S3Input")}


def output(contract: Contract) -> tuple[Path, str]:
    """The folder of the output `release`, and its uri.

    Raises:
        SettingsError: the job has no such output.
    """
    folder = contract.processing_outputs().get(STEP)
    declared = entries(contract.processing_job_config, "Outputs")
    found = [(item.get("S3Output") or {}).get("S3Uri") for item in declared if item["OutputName"] == STEP]
    if folder is None or not found or not found[0]:
        raise SettingsError(f"the release step has no output {STEP!r} with an S3Uri. Add one.")
    return folder, str(found[0]).rstrip("/")


def opened(name: str, folder: Path, places: Mapping[str, str]) -> Part:
    """A part, its files checked against its manifest."""
    return Part(places[name], open_artefact(folder, PARTS[name], name))


def check_finished(parts: Mapping[str, Part]) -> None:
    """Make sure that no part is all that a stopped job got to.

    Raises:
        ArtefactError: one is.
    """
    for name, part in parts.items():
        if part.artefact.extra.get("stopped"):
            raise ArtefactError(f"{name} is of a job that was stopped before its end. Run the training pipeline again.")


def check_parents(parts: Mapping[str, Part]) -> None:
    """Make sure that the parts were made from one another and not from those of another run.

    Raises:
        ArtefactError: they were not.
    """
    for name, part in parts.items():
        for role, wanted in part.artefact.parents.items():
            if role in parts and parts[role].artefact.digest != wanted:
                raise ArtefactError(
                    f"{name} was made from the {role} {wanted[:16]}…, but the release's {role} is "
                    f"{parts[role].artefact.digest[:16]}…. Run the training pipeline again."
                )
    if {"model", "state"} <= set(parts) and "state" not in parts["model"].artefact.parents:
        raise ArtefactError(
            "model names no state that its features come from, but the release has a state. "
            "Give the training job the channel 'state'."
        )


def evaluation_of(model: Artefact) -> Any:
    """The model's evaluation.json.

    Raises:
        DataError: it has none.
    """
    path = model.file(EVALUATION)
    if not path.is_file():
        raise DataError(f"model holds no {EVALUATION}, which gates and people read. See the algorithm's log.")
    return read_json(path, EVALUATION)


def content(
    start: Start,
    settings: ReleaseSettings,
    parts: Mapping[str, Part],
    metrics: Mapping[str, float],
    gates: Sequence[GateResult],
) -> dict[str, Any]:
    """What release.json holds."""
    return {
        "apiVersion": API_VERSION,
        "kind": "release",
        "name": settings.name,
        "id": start.run,
        "run": start.run,
        "created": timestamp(),
        "started_by": dict(start.started_by),
        "parent": start.parent,
        "manifest": dict(settings.manifest),
        "revision": settings.revision,
        "images": dict(settings.images),
        "variant": settings.variant,
        "versions": versions(parts),
        "data": data(start, settings, parts.get("state")),
        "settings": {PARTS[name]: digest_of(part.artefact.settings) for name, part in parts.items()},
        "parts": {name: {"uri": part.uri, "digest": part.artefact.digest} for name, part in parts.items()},
        "metrics": dict(metrics),
        "gates": [gate.to_json() for gate in gates],
    }


def verdict(
    start: Start, settings: ReleaseSettings, parts: Mapping[str, Part], gates: Sequence[GateResult], uri: str
) -> dict[str, Any]:
    """What verdict.json holds: small enough for a state machine's variables."""
    met = all(gate.met for gate in gates)
    return {
        "gates_met": met,
        "approve": settings.approve,
        "promote": met and settings.approve == "automatic",
        "release": uri,
        "id": start.run,
        "parts": {name: part.uri for name, part in parts.items()},
    }


def data(start: Start, settings: ReleaseSettings, state: Part | None) -> dict[str, Any]:
    """Which data the run learnt from: where they were, which periods, and each file's digest by its name."""
    digests = dict((state.artefact.extra.get("data") or {}) if state else {})
    return {
        "uri": start.data or settings.data.uri,
        "periods": list(periods(settings.data.uri, digests)),
        "sha256": digests,
    }


def periods(uri: str, files: Mapping[str, str]) -> tuple[str, ...]:
    """The periods among the names of the files that were read, when the manifest's uri tells them apart."""
    if "{period}" not in uri:
        return ()
    before, _, after = uri.partition("{period}")
    head = re.escape(before.rpartition("/")[2])
    # A folder a period has its files below it; a file a period ends where the uri does.
    tail = re.escape(after).replace(re.escape("{period}"), "(?P=period)")
    pattern = re.compile(f"{head}(?P<period>[A-Za-z0-9][A-Za-z0-9._-]*?){tail.rstrip('/')}(?:/.*)?")
    found = (pattern.fullmatch(name) for name in sorted(files))
    return tuple(dict.fromkeys(match["period"] for match in found if match))


def versions(parts: Mapping[str, Part]) -> dict[str, str]:
    """Versions of Python and of the libraries that the artefacts say they were made with."""
    found = {"python": platform.python_version()}
    for part in parts.values():
        found.update(part.artefact.versions)
    return dict(sorted(found.items()))


def digest_of(settings: Mapping[str, Any]) -> str:
    """SHA-256 of a component's settings, as JSON with sorted keys."""
    return hashlib.sha256(json_text(dict(settings)).encode()).hexdigest()


def sentence(run: str, gates: Sequence[GateResult]) -> str:
    """How the step ends."""
    unmet = [str(gate) for gate in gates if not gate.met]
    return f"Release {run}: {'; '.join(unmet) if unmet else 'every gate is met' if gates else 'there are no gates'}."


def timestamp() -> str:
    """This moment, in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
