"""Commands about releases: which there are, which one is in use, and where one comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pipelines.commands.common import (
    STACKS,
    environment_option,
    manifest_argument,
    release_argument,
    spoken,
    storage_option,
)
from pipelines.ledger import CloudLedger, Ledger
from pipelines.manifest import for_environment, read_manifest
from pipelines.storage import storage_of
from shared.errors import SettingsError


@click.command()
@manifest_argument
@release_argument
@click.option("--latest", is_flag=True, help="The latest release.")
@click.option("--force", is_flag=True, help="Even if a gate is not met; the history says so.")
@environment_option
@storage_option
@spoken
def promote(
    manifest: Path, release: str | None, latest: bool, force: bool, environment: str | None, storage: Path | None
) -> None:
    r"""Make a release the one that inference reads.

    \b
    Examples:
      python -m pipelines promote use-case.yaml 20240131-040000-a1b2
      python -m pipelines promote use-case.yaml --latest --environment prod
    """
    _, ledger = kept(manifest, environment, storage)
    if (release is None) == (not latest):
        raise SettingsError("name one release, or give --latest. `status` lists the releases.")
    found = ledger.all() if release is None else [ledger.read(release)]
    if not found:
        raise SettingsError(f"there is no release in {ledger.place}. Run the training pipeline first.")
    chosen = found[-1]
    before = ledger.promote(chosen, "by hand, forced" if force else "by hand", force=force)
    click.echo(f"current: {chosen.id} (before: {before or 'none'})")


@click.command()
@manifest_argument
@environment_option
@storage_option
@spoken
def rollback(manifest: Path, environment: str | None, storage: Path | None) -> None:
    r"""Go back to the release before the current one.

    \b
    Example:
      python -m pipelines rollback use-case.yaml
    """
    _, ledger = kept(manifest, environment, storage)
    before, now = ledger.rollback()
    click.echo(f"current: {now} (before: {before})")


@click.command()
@manifest_argument
@environment_option
@storage_option
@spoken
def status(manifest: Path, environment: str | None, storage: Path | None) -> None:
    r"""List the releases, which one is current, and the latest moves of the pointer; in the cloud also stack and runs.

    \b
    Example:
      python -m pipelines status use-case.yaml
    """
    name, ledger = kept(manifest, environment, storage)
    current = ledger.current_id()
    click.echo(f"{name} in {ledger.place}")
    for release in ledger.all():
        mark = "*" if release.id == current else " "
        gates = "gates met" if release.approved else "gates not met"
        click.echo(f"{mark} {release.id}  {release.content['created']}  {gates}  {_metrics(release.content)}".rstrip())
    if current is None:
        click.echo("no release is current.")
    for move in ledger.moves():
        click.echo(f"  {move}")
    if isinstance(ledger, CloudLedger):
        for line in deployment(ledger, for_environment(read_manifest(manifest).manifest, environment).engine):
            click.echo(line)


def deployment(ledger: CloudLedger, engine: str) -> Iterator[str]:
    """The state of the stack, and the latest runs. What the caller may not see is said, and ends nothing."""
    from pipelines.aws.calls import CloudError
    from pipelines.aws.executions import latest
    from pipelines.cloudformation.stack import Stack, stack_name

    connect, site = ledger.found.connect, ledger.found.site
    if engine in STACKS:
        name = stack_name(site)
        try:
            found = Stack(connect, name).status()
            yield f"stack {name}: {found}" if found else f"there is no stack {name}: deploy the use case."
        except CloudError as error:
            yield f"not shown: {error}"
    try:
        yield from latest(connect, site, engine)
    except CloudError as error:
        yield f"not shown: {error}"


def kept(manifest: Path, environment: str | None, storage: Path | None) -> tuple[str, Ledger]:
    """The use case's name, and its releases: where its engine keeps them.

    Raises:
        SettingsError: the manifest lacks what the cloud has to know.
    """
    from pipelines.ledger import LocalLedger

    use_case = read_manifest(manifest)
    found = for_environment(use_case.manifest, environment)
    if found.engine == "local" or storage is not None:
        return found.name, LocalLedger(storage_of(found.name, found.storage, storage))
    import boto3

    from pipelines.aws.places import site_of
    from pipelines.aws.releases import Releases

    site = site_of(found, environment)
    return site.title, CloudLedger(Releases(boto3.Session(region_name=site.region).client, site))


def _metrics(content: Any) -> str:
    """The metrics that the gates of a release read, in a few words."""
    return ", ".join(f"{gate['metric']} {gate['value']:.4f}" for gate in content["gates"] if gate["value"] is not None)


@click.command()
@manifest_argument
@release_argument
@click.option("--json", "as_json", is_flag=True, help="As JSON, with whole digests.")
@environment_option
@storage_option
@spoken
def lineage(manifest: Path, release: str | None, as_json: bool, environment: str | None, storage: Path | None) -> None:
    r"""Show where a release comes from: data, code, images, settings, and the releases before it.

    \b
    Examples:
      python -m pipelines lineage use-case.yaml
      python -m pipelines lineage use-case.yaml 20240131-040000-a1b2 --json
    """
    from pipelines.lineage import ancestry, origin, tree

    _, ledger = kept(manifest, environment, storage)
    line = ancestry(ledger, ledger.read(release) if release else ledger.current())
    if as_json:
        click.echo(json.dumps([origin(one) for one in line], indent=2, sort_keys=True))
        return
    for text in tree(line):
        click.echo(text)
