"""Commands that put a use case into the cloud and set it to work there."""

from __future__ import annotations

import importlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from pipelines.aws.places import NO_PERIOD, Rendered, Site, site_of, window_ending
from pipelines.commands.common import (
    STACKS,
    check_periods,
    check_run_id,
    environment_option,
    judged,
    manifest_argument,
    spoken,
    warn_of_one_file,
)
from pipelines.graph import PARTS
from pipelines.limits import ENVIRONMENT_VALUE, check_payload
from pipelines.manifest import UseCase, for_environment
from shared.errors import SettingsError, did_you_mean, names

PRINTERS: Final[Mapping[str, str]] = {
    "sagemaker-pipelines": "pipelines.sagemaker",
    "step-functions": "pipelines.stepfunctions",
    "airflow": "pipelines.airflow",
    "batch": "pipelines.batch",
    "cloudformation": "pipelines.cloudformation",
}
"""The package that prints for each engine; each has a function `render`."""
PIPELINES: Final = ("training", "inference")
PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "training": ("TrainData", "StartedBy"),
    "inference": ("ScoreData", "Labels", "Period"),
}
"""What every engine can be given."""
OF_MACHINES: Final[Mapping[str, tuple[str, ...]]] = {"training": (), "inference": ("Time",)}
"""What a state machine can be given besides. It ignores what it does not know; other engines refuse it."""
OF_OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "training": ("Parent",),
    "inference": ("Release", *(part.capitalize() for part in PARTS)),
}
"""What an engine is given besides that cannot read Parameter Store."""
OF_DATA: Final = frozenset({"TrainData", "ScoreData", "Labels"})
"""Parameters that say where data lie."""
OF_RELEASES: Final = frozenset({"TrainData", "StartedBy", "Parent"})
"""Parameters that a release tells of: variables of a processing job, but on AWS Batch."""
IN_S3: Final = re.compile(r"s3://[a-z0-9.-]+/\S.*")
Connect = Callable[[str], Any]


@dataclass(frozen=True)
class Deployed:
    """A use case in one of its environments, and how AWS is reached."""

    use_case: UseCase
    environment: str | None
    site: Site
    connect: Connect

    @property
    def engine(self) -> str:
        """What runs its pipelines."""
        return for_environment(self.use_case.manifest, self.environment).engine

    def rendered(self, engine: str) -> Rendered:
        """The use case as an engine reads it."""
        return rendered(self.use_case, engine, self.environment)


def in_the_cloud(manifest: Path, environment: str | None) -> Deployed:
    """The use case of a manifest whose engine is in the cloud.

    Raises:
        SettingsError: its engine is the local one, or the manifest lacks what the cloud has to know.
    """
    import boto3

    use_case = judged(manifest)
    found = for_environment(use_case.manifest, environment)
    if found.engine == "local":
        raise SettingsError(
            f"{manifest} has engine: local, and this works in the cloud: wanted one of {names(STACKS)} under engine."
        )
    with use_case.document.locating():
        site = site_of(found, environment)
    return Deployed(use_case, environment, site, boto3.Session(region_name=site.region).client)


def rendered(use_case: UseCase, engine: str, environment: str | None) -> Rendered:
    """What the printer of an engine makes of a use case.

    Raises:
        SettingsError: the manifest does not fit the engine.
    """
    import components
    from components.spec import specs
    from pipelines.local.runs import code_revision

    revision = code_revision(Path(components.__file__).parents[1])
    with use_case.document.locating():
        result = importlib.import_module(PRINTERS[engine]).render(use_case, specs(), {}, environment, revision)
    assert isinstance(result, Rendered)
    return result


@click.command()
@manifest_argument
@click.option("--engine", type=click.Choice(list(PRINTERS)), help="For which engine (default: the manifest's).")
@environment_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("rendered"), show_default=True,
    help="The folder to write into.",
)  # fmt: skip
@spoken
def render(manifest: Path, engine: str | None, environment: str | None, out: Path) -> None:
    r"""Write what an engine reads: definitions, a DAG, a template. The same manifest gives the same bytes.

    What jobs read from S3 is written below `uploads/`, at its key: copy it there before anything starts.

    \b
    Examples:
      python -m pipelines render use-case.yaml --engine cloudformation --environment prod
      aws s3 cp rendered/uploads s3://bucket --recursive
    """
    use_case = judged(manifest)
    chosen = engine or for_environment(use_case.manifest, environment).engine
    if chosen not in PRINTERS:
        raise SettingsError(f"engine {chosen!r} reads the manifest itself. Give --engine, one of {names(PRINTERS)}.")
    found = rendered(use_case, chosen, environment)
    for name, content in found.files.items():
        click.echo(_written(out / name, content))
    for uri, content in found.uploads.items():
        _written(out / "uploads" / urlsplit(uri).path.removeprefix("/"), content)
    if found.uploads:
        buckets = sorted({urlsplit(uri).netloc for uri in found.uploads})
        click.echo(f"{out / 'uploads'}: {len(found.uploads)} files for s3://{names(buckets)}")


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


role_option = click.option("--role-arn", help="The role that CloudFormation works under (default: yours).")
boundary_option = click.option("--boundary-arn", help="The permissions boundary of the stack's roles.")
parameters_option = click.option(
    "--set", "chosen", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the stack, such as MakeJobsRole=false or Schedules=DISABLED (default: as it is).",
)  # fmt: skip
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def planned(
    deployed: Deployed, role: str | None, boundary: str | None, chosen: tuple[str, ...] = ()
) -> tuple[Any, str, list[Any]]:
    """The stack, and the change set that would deploy the use case: its name and its changes."""
    from pipelines.aws.uploads import store
    from pipelines.cloudformation.stack import Stack, stack_name

    found = deployed.rendered("cloudformation")
    store(deployed.connect, found.uploads)  # CloudFormation reads the definitions when it makes the change set
    stack = Stack(deployed.connect, stack_name(deployed.site), role, tags=deployed.site.tags)
    stack.check_owner(deployed.site)
    parameters = {**({"BoundaryArn": boundary} if boundary else {}), **dict(map(_parameter, chosen))}
    if deployed.engine == "sagemaker-pipelines" and stack.status() is None and models_left(deployed):
        parameters.setdefault("MakeModelGroup", "false")
    return stack, *stack.planned(found, parameters)


def models_left(deployed: Deployed) -> bool:
    """Whether an earlier stack has left the group of its models, which outlives it."""
    from pipelines.aws.calls import asking

    client, name = deployed.connect("sagemaker"), deployed.site.title
    with asking(f"model package group {name}"):
        found = client.list_model_package_groups(NameContains=name)["ModelPackageGroupSummaryList"]
    return any(item["ModelPackageGroupName"] == name for item in found)


def tell_plan(deployed: Deployed, role: str | None = None, boundary: str | None = None) -> None:
    """Say what a deployment would change, and change nothing."""
    stack, change_set, changes = planned(deployed, role, boundary)
    _tell(stack.name, changes)
    _leave(stack, change_set)


def _leave(stack: Any, change_set: str) -> None:
    """Remove a change set that is not carried out, and the empty stack that it may have made."""
    if change_set:
        stack.discard(change_set)
    stack.forget()


def _tell(stack: str, changes: list[Any]) -> None:
    click.echo(f"stack {stack}: {len(changes)} changes" if changes else f"stack {stack}: nothing to change")
    for change in changes:
        click.echo(f"  {change}")


@click.command()
@manifest_argument
@environment_option
@role_option
@boundary_option
@parameters_option
@click.option("--start/--no-start", default=True, help="Start the training where nothing was released yet.")
@yes_option
@spoken
def deploy(
    manifest: Path,
    environment: str | None,
    role_arn: str | None,
    boundary_arn: str | None,
    chosen: tuple[str, ...],
    start: bool,
    yes: bool,
) -> None:
    r"""Make the cloud what the manifest says: stored files, one stack, and a first training when nothing is released.

    Schedules and drift keep it running from then on. Deploying the same again changes nothing.

    \b
    Example:
      python -m pipelines deploy use-case.yaml --environment prod
    """
    from pipelines.aws.releases import Releases

    deployed = in_the_cloud(manifest, environment)
    if deployed.engine == "airflow":
        raise SettingsError(
            "Airflow is deployed by its own means: `render --engine airflow` writes the DAG file for its dags folder."
        )
    stack, change_set, changes = planned(deployed, role_arn, boundary_arn, chosen)
    _tell(stack.name, changes)
    if change_set:
        try:
            if not yes:
                click.confirm("Carry this out?", abort=True)
        except click.Abort:
            _leave(stack, change_set)
            raise
        stack.execute(change_set)
        click.echo(f"stack {stack.name} is deployed.")
    if not start or Releases(deployed.connect, deployed.site).pointer() is not None:
        return
    if deployed.engine == "batch":
        click.echo("nothing is released yet: `start --wait` trains, and moves the pointer when the gates are met.")
        return
    click.echo(f"nothing is released yet, so the training starts: {begin(deployed, 'training', {}, None)}")


@click.command()
@manifest_argument
@environment_option
@role_option
@yes_option
@spoken
def destroy(manifest: Path, environment: str | None, role_arn: str | None, yes: bool) -> None:
    r"""Remove the use case's stack. Data, releases, registered models and images stay.

    \b
    Example:
      python -m pipelines destroy use-case.yaml --environment dev
    """
    from pipelines.cloudformation.stack import Stack, stack_name

    deployed = in_the_cloud(manifest, environment)
    if deployed.engine == "airflow":
        raise SettingsError("Airflow has no stack: remove the DAG file from its dags folder.")
    stack = Stack(deployed.connect, stack_name(deployed.site), role_arn)
    stack.check_owner(deployed.site)
    if not yes:
        click.confirm(f"Remove stack {stack.name} and all that it runs?", abort=True)
    click.echo(f"stack {stack.name} is removed." if stack.destroy() else f"there is no stack {stack.name}.")


@click.command()
@manifest_argument
@environment_option
@click.option("--pipeline", type=click.Choice(PIPELINES), default="training", show_default=True)
@click.option("--period", help="What to score, or the last period to train on: fills {period} in the manifest's uris.")
@click.option("--parameter", "-p", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--run-id", help="The run's name (default: the time).")
@click.option("--wait", is_flag=True, help="Wait for its end; the exit code is that of the job that failed.")
@spoken
def start(
    manifest: Path,
    environment: str | None,
    pipeline: str,
    period: str | None,
    given: tuple[str, ...],
    run_id: str | None,
    wait: bool,
) -> None:
    r"""Start a pipeline in the cloud.

    With --period a training learns from the window that ends with it: as many periods as drift.with.periods says, else
    as data.train.periods lists.

    \b
    Examples:
      python -m pipelines start use-case.yaml --environment prod
      python -m pipelines start use-case.yaml --pipeline training --period 2014-02
      python -m pipelines start use-case.yaml --pipeline inference --period 2013-05 --wait
    """
    check_run_id(run_id)
    deployed = in_the_cloud(manifest, environment)
    parameters = dict(map(_parameter, given))
    _check_parameters(deployed.engine, pipeline, parameters)
    check_periods([one for one in (period, parameters.get("Period")) if one is not None])
    period = period if period is not None else parameters.get("Period")
    parameters = {**(learning if pipeline == "training" else scoring)(deployed, period, parameters), **parameters}
    execution = begin(deployed, pipeline, parameters, run_id)
    click.echo(named(execution))
    if wait:
        click.echo(awaited(deployed, execution))
        if pipeline == "training":
            tracked(deployed, execution)
    elif deployed.engine == "batch":
        click.echo("nobody waits for it: promote its release, or look at its drift.json, by hand.", err=True)


def _parameter(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise SettingsError(f"--parameter is {text!r}, wanted NAME=VALUE, such as StartedBy=command.")
    return name, value


def _check_parameters(engine: str, pipeline: str, parameters: Mapping[str, str]) -> None:
    """Make sure that an engine's pipeline has these parameters.

    Raises:
        SettingsError: it has not, or they are too long.
    """
    known = (*PARAMETERS[pipeline], *(OF_MACHINES if engine == "step-functions" else OF_OTHERS)[pipeline])
    for name in parameters:
        if name not in known:
            hint = did_you_mean(name, known) or f" It has {names(known)}."
            raise SettingsError(f"the {pipeline} pipeline has no parameter {name!r}.{hint}")
    for name in OF_DATA & parameters.keys():
        if not IN_S3.fullmatch(parameters[name]):
            raise SettingsError(f"--parameter {name} is {parameters[name]!r}, wanted a uri in S3: s3://bucket/….")
    check_payload(json.dumps(parameters), f"the input of the {pipeline} pipeline")
    for name in OF_RELEASES & parameters.keys() if engine != "batch" else ():
        if len(parameters[name]) > ENVIRONMENT_VALUE:
            raise SettingsError(
                f"--parameter {name} has {len(parameters[name])} characters, wanted at most {ENVIRONMENT_VALUE}: "
                "the release job takes no longer one. Shorten it."
            )


def scoring(deployed: Deployed, period: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an inference on one period, or on the data that were given.

    Raises:
        SettingsError: the manifest's uri wants a period and there is none.
    """
    data = deployed.use_case.manifest.data
    if data.score is None:
        raise SettingsError("the manifest has no data.score, which the inference pipeline reads. Add its uri.")
    if period is not None and given.get("Period", period) != period:
        raise SettingsError(f"--period is {period!r} and Period {given['Period']!r}. Give one of them.")
    if period is not None:
        if "ScoreData" not in given:
            warn_of_one_file(deployed.use_case.manifest, [period])
        return {"Period": period, "ScoreData": deployed.site.path(data.score.uri).replace("{period}", period)}
    if "{period}" not in data.score.uri or "Time" in given:
        return {}
    if "ScoreData" not in given:
        raise SettingsError(f"uri {data.score.uri!r} wants a period. Give --period, or -p ScoreData=<uri>.")
    # Nobody has named them, and they need not be those of the period at hand.
    return {"Period": NO_PERIOD}


def learning(deployed: Deployed, period: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a training on the window that ends with a period; the list of its files is stored.

    Raises:
        SettingsError: the training reads no periods, or no window ends with this one.
        CloudError: S3 refuses.
    """
    from pipelines.aws.uploads import store

    manifest, site = deployed.use_case.manifest, deployed.site
    if period is None:
        return {}
    if "TrainData" in given:
        raise SettingsError("both --period and TrainData say what to train on. Give one of them.")
    declared = manifest.drift.with_ if manifest.drift else None
    if declared and declared.uri and "{period}" in declared.uri:
        return {"TrainData": site.path(declared.uri).replace("{period}", period)}
    if not manifest.data.train.periods:
        raise SettingsError(
            f"the training learns from all of {manifest.data.train.uri}, which has no {{period}}. Leave --period out."
        )
    count = (declared and declared.periods) or len(manifest.data.train.periods)
    uri, content = window_ending(site, manifest.data, count, period)
    store(deployed.connect, {uri: content})
    return {"TrainData": uri}


def begin(deployed: Deployed, pipeline: str, parameters: Mapping[str, str], run: str | None) -> Any:
    """Start a pipeline on the use case's engine; what `awaited` takes."""
    run_id = run or time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    match deployed.engine:
        case "sagemaker-pipelines":
            from pipelines.sagemaker import client as sagemaker

            return sagemaker.start(deployed.connect, deployed.site, pipeline, parameters, run)
        case "step-functions":
            from pipelines.stepfunctions import client as machines

            return machines.start(deployed.connect, deployed.site, pipeline, parameters, run_id)
        case "batch":
            from pipelines.batch import client as jobs

            found = deployed.rendered("batch")
            return jobs.start(deployed.connect, deployed.site, found, pipeline, run_id, parameters)
    raise SettingsError(f"engine {deployed.engine!r} is started by its own means: see pipelines/README.md.")


def named(execution: Any) -> str:
    """What people call a run: its ARN, or the run's id."""
    return execution if isinstance(execution, str) else str(execution.run)


def awaited(deployed: Deployed, execution: Any) -> str:
    """Wait for the end of a run, and say how it ended."""
    match deployed.engine:
        case "sagemaker-pipelines":
            from pipelines.sagemaker import client as sagemaker

            ended = sagemaker.wait(deployed.connect, execution, tell=lambda step: _tell_step(step.name, step.status))
            return f"{ended.run} has succeeded."
        case "batch":
            from pipelines.batch import client as jobs

            jobs.wait(deployed.connect, deployed.site, execution, tell=_tell_step)
            outcome = jobs.finish(deployed.connect, deployed.site, execution)
            if outcome.drifted:
                click.echo(_answered(deployed, outcome))
            what = "is current" if outcome.promoted else "has drifted" if outcome.drifted else "has succeeded"
            return f"{execution.run} {what}."
        case _:
            from pipelines.stepfunctions import client as machines

            said = machines.wait(deployed.connect, execution)
            return ", ".join(f"{name}: {value}" for name, value in sorted(said.items()))


def tracked(deployed: Deployed, execution: Any) -> None:
    """Make the release of a training that has ended a run of MLflow, where the manifest has `tracking`."""
    from pipelines.aws.releases import Releases
    from pipelines.commands.tracking import track_awaited
    from pipelines.ledger import CloudLedger

    ledger = CloudLedger(Releases(deployed.connect, deployed.site))
    # A run's id is the last word of its execution's ARN, which has slashes on SageMaker and colons on Step Functions.
    run = named(execution).replace("/", ":").rpartition(":")[2]
    track_awaited(deployed.use_case.manifest, deployed.environment, ledger, run)


def _answered(deployed: Deployed, outcome: Any) -> str:
    """What drift has led to on AWS Batch, where no state machine answers it: whoever waits does."""
    from datetime import UTC, datetime

    from pipelines.batch import retraining

    manifest = for_environment(deployed.use_case.manifest, deployed.environment)
    run = f"{outcome.submitted.run}-drift"[-40:].lstrip("-")
    found = retraining.retrain(
        deployed.connect, deployed.site, deployed.rendered("batch"), manifest, outcome, run, datetime.now(UTC)
    )
    if found.submitted is None:
        return f"no retraining: {found.why}."
    return f"training again: {found.submitted.run}. Nobody waits for it: promote its release by hand."


def _tell_step(step: str, status: str) -> None:
    click.echo(f"{step:<28} {status.lower()}")
