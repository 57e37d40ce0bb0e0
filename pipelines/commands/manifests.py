"""Commands about manifests: a first one, whether one is right, and what it would do."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.cloud import boundary_option, role_option
from pipelines.commands.common import STACKS, environment_option, judged, manifest_argument, spoken, storage_option
from pipelines.storage import storage_of
from shared.errors import SettingsError


@click.command()
@click.argument("data", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), default=Path("use-case.yaml"), show_default=True
)
@click.option("--name", help="The use case's name (default: the file's).")
@click.option("--target", help="The column to predict (default: guessed, and said).")
@click.option("--id", "ids", multiple=True, help="A column that identifies a row; repeatable (default: found).")
@click.option("--time", help="The column by which rows are ordered (default: the first with dates).")
@click.option("--force", is_flag=True, help="Replace the manifest that is there.")
@spoken
def init(
    data: Path, output: Path, name: str | None, target: str | None, ids: tuple[str, ...], time: str | None, force: bool
) -> None:
    r"""Write a first manifest for a CSV, Parquet or JSON lines file.

    What to predict, the objective, ids, time column, split, gate and sizes are taken from the data; comments say why.

    \b
    Examples:
      python -m pipelines init customers.csv
      python -m pipelines init sales.parquet --target revenue --output sales/use-case.yaml
    """
    from pipelines import draft as drafts
    from shared.files import write_text

    if output.exists() and not force:
        raise SettingsError(f"{output} exists already. Take another --output, or --force to replace it.")
    look = drafts.looked_at(data, drafts.relative(data, output.parent))
    draft = drafts.drafted(drafts.name_of(name or data.name.partition(".")[0]), look, target, ids, time)
    write_text(output, drafts.text_of(draft))
    judged(output)
    for line in drafts.described(draft):
        click.echo(line)
    click.echo(f"{output} is written. See what it would do: python -m pipelines plan {output}")


@click.command()
@manifest_argument
@environment_option
@spoken
def validate(manifest: Path, environment: str | None) -> None:
    r"""Check a manifest and the settings in it; every problem is told with its line.

    With an engine in the cloud it is also rendered, so that what the engine lacks or cannot do is told here.

    \b
    Examples:
      python -m pipelines validate pipelines/flights/use-case.yaml
      python -m pipelines validate use-case.yaml --environment prod
    """
    from components.spec import specs
    from pipelines import choices
    from pipelines.commands.cloud import rendered
    from pipelines.graph import inference_graph, training_graph

    use_case = judged(manifest, environment)
    graphs = [training_graph(use_case.manifest, specs())]
    if use_case.manifest.data.score:
        graphs.append(inference_graph(use_case.manifest, specs()))
    for graph in graphs:
        click.echo(f"{graph.pipeline}: {' → '.join(', '.join(layer) for layer in graph.layers())}")
    if untuned := choices.untuned(use_case.manifest):
        click.echo(untuned)
    engine = use_case.manifest.engine
    if engine != "local":
        rendered(use_case, engine, environment)
    if engine in STACKS:
        rendered(use_case, "cloudformation", environment)
    click.echo(f"{manifest} is fine.")


@click.command()
@manifest_argument
@environment_option
@storage_option
@role_option
@boundary_option
@spoken
def plan(
    manifest: Path, environment: str | None, storage: Path | None, role_arn: str | None, boundary_arn: str | None
) -> None:
    r"""Tell what would be done, and what is chosen where the manifest is silent; in the cloud, what deploying changes.

    \b
    Examples:
      python -m pipelines plan pipelines/flights/use-case.yaml
      python -m pipelines plan use-case.yaml --environment prod
    """
    from components.spec import specs
    from pipelines.local.plan import left_out
    from pipelines.local.plan import plan as planned
    from pipelines.local.runs import utc_now

    use_case = judged(manifest, environment)
    if use_case.manifest.engine == "local":
        place = storage_of(use_case.manifest.name, use_case.manifest.storage, storage)
        for line in planned(use_case, specs(), place, utc_now()):
            click.echo(line.rstrip())
        return
    from pipelines.commands.cloud import in_the_cloud, tell_plan

    tell_plan(in_the_cloud(manifest, environment), role_arn, boundary_arn)
    for line in left_out(use_case.manifest, "left out of the manifest, and chosen:"):
        click.echo(line)
