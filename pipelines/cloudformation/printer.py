"""Renders a use case as one CloudFormation template around the engine that its manifest names.

    template.json    the stack

The definitions of pipelines and machines lie in S3, under names made of their content, beside the settings and lists
of files that jobs read: a template has 51,200 bytes at most. They have to be there before the stack: `quartet deploy`
stores them first, and `quartet render` writes them beside the template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from components.spec import Spec
from pipelines.aws.deployment import deployment_of
from pipelines.aws.places import Rendered
from pipelines.batch import printer as jobs
from pipelines.cloudformation import batch
from pipelines.cloudformation.resources import Resources, compact
from pipelines.cloudformation.template import Engine, template
from pipelines.limits import TEMPLATE_BYTES, check_template
from pipelines.manifest import Manifest, UseCase, for_environment
from pipelines.sagemaker import printer as sagemaker
from pipelines.stepfunctions import loop
from pipelines.stepfunctions import printer as stepfunctions
from shared.errors import SettingsError, names

TEMPLATE: Final = "template.json"


def render(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None = None,
    revision: str | None = None,
) -> Rendered:
    """The stack's template, and what has to lie in S3 before it is made.

    Args:
        use_case: what to print; its `engine` says what the stack is made around.
        specs: the components.
        images: image by component, by digest, where the manifest names none.
        environment: one of the manifest's environments.
        revision: the code's git revision, for the releases.

    Raises:
        SettingsError: there is no stack around the engine, the manifest does not fit it, or the template is too large.
    """
    manifest = for_environment(use_case.manifest, environment)
    if manifest.engine not in PRINTERS:
        raise SettingsError(
            f"engine is {manifest.engine!r}, and stacks are made around {names(PRINTERS)}. Change engine."
        )
    _check_schedule(manifest)
    deployment = deployment_of(use_case, specs, images, environment, revision)
    site, uris = deployment.site, deployment.images
    printed = PRINTERS[manifest.engine](use_case, specs, images, environment, revision)
    definitions, uploads = dict(printed.files), dict(printed.uploads)
    if manifest.engine == "sagemaker-pipelines":
        around = loop.render_loop(use_case, specs, environment)
        definitions |= around.files
        uploads |= around.uploads
    on_batch = manifest.engine == "batch" or manifest.platform == "batch"
    described = {name: json.loads(definitions[f"{name}.json"]) for name in BATCH if f"{name}.json" in definitions}
    made: Resources = {}
    if on_batch:
        every = [job for graph in deployment.graphs().values() for job in graph.jobs]
        made = batch.resources(site, manifest, every, described, uris.values())
        definitions = {
            name: batch.with_revisions(site, content) for name, content in definitions.items() if name.endswith(MACHINE)
        }
    stored = {name: site.config(name, content) for name, content in definitions.items()}
    engine = Engine(
        machines={name.removesuffix(MACHINE): uri for name, (uri, _) in stored.items() if name.endswith(MACHINE)},
        pipelines={name.removesuffix(".json"): uri for name, (uri, _) in stored.items() if not name.endswith(MACHINE)},
        images=uris,
        digest=use_case.document.digest,
        graphs=deployment.graphs(tunes=not on_batch),
        platform="batch" if on_batch else "sagemaker",
        resources=made,
    )
    uploads |= dict(stored.values())
    return Rendered({TEMPLATE: _sized(template(site, manifest, engine))}, dict(sorted(uploads.items())))


def _sized(value: Mapping[str, Any]) -> bytes:
    """A template as people read it, or where it is too long for that, without spaces.

    Raises:
        SettingsError: it is too long for CloudFormation.
    """
    content = (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
    if len(content) > TEMPLATE_BYTES:
        content = (compact(value) + "\n").encode()
    return check_template(content.decode(), TEMPLATE).encode()


def _check_schedule(manifest: Manifest) -> None:
    """On AWS Batch alone, who starts the jobs waits for them too: nothing there acts by itself."""
    if manifest.engine == "batch" and (manifest.schedule.training or manifest.schedule.inference):
        raise SettingsError(
            "engine: batch has a schedule, and nothing that starts by it: wanted engine: step-functions with "
            "platform: batch. Change engine, or leave out schedule."
        )


MACHINE: Final = ".asl.json"
PRINTERS: Final[Mapping[str, Callable[..., Rendered]]] = {
    "sagemaker-pipelines": sagemaker.render,
    "step-functions": stepfunctions.render,
    "batch": jobs.render,
}
"""The engines that stacks are made around."""
BATCH: Final = ("queues", "training", "inference")
