"""The machines around SageMaker pipelines, which can neither read nor write Parameter Store.

retrain    drift → a training, or why not (see `retraining`)
promote    a model was approved → the pointer moves to its release
start      a schedule → the inference pipeline, with the release that is in use then
train      a schedule → the training pipeline, which tells its release what was in use before it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.spec import Spec
from pipelines.aws.places import Rendered, Site, site_of
from pipelines.graph import Request, inference_graph
from pipelines.manifest import Data, UseCase, for_environment
from pipelines.stepfunctions.current import choose_data, find_parent, find_release, given, released_parts, take_input
from pipelines.stepfunctions.language import (
    PATIENT,
    SUFFIX,
    States,
    as_bytes,
    choice,
    expression,
    failure,
    machine,
    put_parameter,
    quoted,
    success,
    task,
    variable,
)
from pipelines.stepfunctions.retraining import drift_windows, retrain_machine, start_pipeline

EACH_EXECUTION: Final = expression("$hash($states.context.Execution.Id, 'SHA-256')")
"""A token that an execution which asks again gives again, so that it starts one pipeline."""


def render_loop(use_case: UseCase, specs: Mapping[str, Spec], environment: str | None = None) -> Rendered:
    """The machines around the SageMaker pipelines of a use case, which are called `<title>-training` and `-inference`.

    `start` is left out where the manifest has no data to score, `train` where nothing schedules it, and `retrain` where
    there is no drift policy.

    Raises:
        SettingsError: the manifest lacks what the cloud has to know, or has a policy that the cloud cannot keep.
    """
    manifest = for_environment(use_case.manifest, environment)
    site = site_of(manifest, environment)
    machines = {"promote": promote_machine(site)}
    uploads: dict[str, bytes] = {}
    if manifest.data.score is not None:
        parts = released_parts(inference_graph(manifest, specs).jobs)
        machines["start"] = start_machine(site, f"{site.title}-inference", manifest.data, parts)
    if manifest.schedule.training is not None:
        machines["train"] = train_machine(site, f"{site.title}-training")
    if manifest.drift is not None:
        data = drift_windows(manifest, site)
        training = f"{site.title}-training"
        machines["retrain"] = retrain_machine(site, manifest.drift, data, "sagemaker-pipelines", training)
        uploads |= dict(data.listings.values())
    files = {f"{name}{SUFFIX}": as_bytes(definition) for name, definition in sorted(machines.items())}
    return Rendered(files, dict(sorted(uploads.items())))


def promote_machine(site: Site) -> Request:
    """Approval of a model package → the release that it belongs to is the one in use.

    The input is the event `SageMaker Model Package State Change`. The release's uri is a property of the package, under
    the name `release`.

    The registry sends the event at every edit of a package. One of an edit names what was changed, and one of a new
    package names nothing. So an old package whose description is edited stays as old as it was.
    Source: "SageMaker model package state change", `UpdatedModelPackageFields`, in the SageMaker Developer Guide.
    """
    package, fields = "$states.result", "$states.input.detail.UpdatedModelPackageFields"
    nothing = "' has no property release. Register it by the training pipeline.'"
    edited = f"$type({fields}) = 'array' and $count({fields}) > 0 and $not('ModelApprovalStatus' in {fields})"
    states: States = {
        "Start": choice(edited, "Not an approval", "Look at the package"),
        "Not an approval": success(
            {"Status": "not an approval", "Package": expression("$states.input.detail.ModelPackageArn")}
        ),
        "Look at the package": task(
            "aws-sdk:sagemaker:describeModelPackage",
            {"ModelPackageName": expression("$states.input.detail.ModelPackageArn")},
            Retry=PATIENT,
            Assign={
                "Package": expression(f"{package}.ModelPackageArn"),
                "Approved": expression(f"{package}.ModelApprovalStatus = 'Approved'"),
                "Release": expression(f"[{package}.CustomerMetadataProperties.release, ''][0]"),
            },
            Output={},
            Next="Is it approved?",
        ),
        # Asked again here: an event that comes late must not undo a rejection.
        "Is it approved?": choice("$Approved", "Has it a release?", "Not approved"),
        "Not approved": success({"Status": "not approved", "Package": variable("Package")}),
        "Has it a release?": choice("$Release != ''", "Move the pointer", "No release"),
        "No release": failure("NoRelease", expression(f"'model package ' & $Package & {nothing}")),
        "Move the pointer": put_parameter(site.pointer, variable("Release"), Next="Current"),
        "Current": success({"Status": "current", "Release": variable("Release"), "Package": variable("Package")}),
    }
    return machine(f"Quartet: approval of a model of {site.title} moves the pointer", "Start", states)


def start_machine(site: Site, pipeline: str, data: Data, parts: tuple[str, ...]) -> Request:
    """Schedule → the SageMaker inference pipeline, with the release that is in use now.

    The input may hold `Time` (a schedule's time; without it, that of the start), `Period`, `ScoreData` and, where the
    manifest has labels, `Labels`.

    Args:
        site: where the use case lives.
        pipeline: the pipeline's name.
        data: the manifest's data.
        parts: the parts of a release that the pipeline reads.
    """
    released = {
        "Release": variable("Release"),
        **{part.capitalize(): variable(f"Parts.{part}") for part in parts},
        "ScoreData": variable("ScoreData"),
        "Period": variable("Period"),
    }
    labelled = {**released, "Labels": variable("Given.Labels")}
    ended = {"Execution": expression("$states.result.PipelineExecutionArn"), **released}
    starting = {
        "Start without labels": task(
            *start_pipeline(pipeline, released, EACH_EXECUTION), Retry=PATIENT, Output=ended, Next="Started"
        ),
        "Started": {"Type": "Succeed"},
    }
    first = "Start without labels"
    if data.labels is not None:
        first = "Are there labels?"
        starting |= {
            first: choice("$exists($Given.Labels)", "Start with labels", "Start without labels"),
            "Start with labels": task(
                *start_pipeline(pipeline, labelled, EACH_EXECUTION), Retry=PATIENT, Output=ended, Next="Started"
            ),
        }
    states: States = {
        **take_input("Name the period", Run=expression("$states.context.Execution.Name")),
        **choose_data(site, data, "Find the release"),
        **find_release(site.pointer, parts, first, {}),
        **starting,
    }
    return machine(f"Quartet: the inference pipeline of {site.title} with the release in use", "Start", states)


def train_machine(site: Site, pipeline: str) -> Request:
    """Schedule → the SageMaker training pipeline, with the release that is in use now for the parent of the next.

    The input may hold `StartedBy`.

    Args:
        site: where the use case lives.
        pipeline: the pipeline's name.
    """
    parameters = {"StartedBy": given("StartedBy", quoted("schedule")), "Parent": variable("Parent")}
    started = {"Execution": expression("$states.result.PipelineExecutionArn"), "Parent": variable("Parent")}
    states: States = {
        **take_input("Find the release before"),
        **find_parent(site.pointer, "Start the training"),
        "Start the training": task(
            *start_pipeline(pipeline, parameters, EACH_EXECUTION), Retry=PATIENT, Output=started, Next="Started"
        ),
        "Started": {"Type": "Succeed"},
    }
    return machine(f"Quartet: the training pipeline of {site.title} after the release in use", "Start", states)
