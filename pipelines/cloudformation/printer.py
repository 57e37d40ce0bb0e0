"""Renders a use case as one CloudFormation template around the engine that its manifest names.

    template.json    the stack

The definitions of pipelines and machines lie in S3, under names made of their content, beside the settings and lists
of files that jobs read: a template has 51,200 bytes at most. They have to be there before the stack: `quartet deploy`
stores them first, and `quartet render` writes them beside the template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from components.spec import Spec
from pipelines.aws.images import image_uris
from pipelines.aws.places import Rendered, Site, site_of
from pipelines.batch import printer as jobs
from pipelines.cloudformation import batch
from pipelines.cloudformation.template import (
    Engine,
    batch_statements,
    sagemaker_statements,
    state_machine_statements,
    template,
)
from pipelines.manifest import Manifest, UseCase, for_environment
from pipelines.sagemaker import printer as sagemaker
from pipelines.stepfunctions import loop
from pipelines.stepfunctions import printer as stepfunctions
from shared.errors import SettingsError, names

TEMPLATE: Final = "template.json"
LARGEST: Final = 51_200
"""Most bytes of a template that is sent with the request."""


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
    if manifest.engine not in ENGINES:
        raise SettingsError(
            f"engine is {manifest.engine!r}, and stacks are made around {names(ENGINES)}. Change engine."
        )
    site = site_of(manifest, environment)
    definitions, uploads = ENGINES[manifest.engine](use_case, specs, images, environment, revision)
    uris = image_uris(manifest, images, components(manifest))
    on_batch = manifest.engine == "batch" or manifest.platform == "batch"
    described = {name: json.loads(definitions[f"{name}.json"]) for name in BATCH if f"{name}.json" in definitions}
    if on_batch:
        definitions = {name: content for name, content in definitions.items() if name.endswith(MACHINE)}
    stored = {name: site.config(name, content) for name, content in definitions.items()}
    engine = Engine(
        machines={name.removesuffix(MACHINE): uri for name, (uri, _) in stored.items() if name.endswith(MACHINE)},
        pipelines={name.removesuffix(".json"): uri for name, (uri, _) in stored.items() if not name.endswith(MACHINE)},
        images=uris,
        digest=use_case.document.digest,
        statements=batch_statements(site) if on_batch else STATEMENTS[manifest.engine](site),
        resources=batch.resources(site, manifest, described, uris.values()) if on_batch else {},
    )
    content = (json.dumps(template(site, manifest, engine), indent=1, ensure_ascii=False) + "\n").encode()
    return Rendered({TEMPLATE: _sized(content)}, dict(sorted({**uploads, **dict(stored.values())}.items())))


def _sized(content: bytes) -> bytes:
    if len(content) > LARGEST:
        raise SettingsError(f"the template has {len(content):,} bytes, wanted at most {LARGEST:,}. Name fewer alarms.")
    return content


def components(manifest: Manifest) -> list[str]:
    """Whose images the stack's jobs run: the processing image also writes the release."""
    return sorted({*manifest.pipelines.training.steps, *manifest.pipelines.inference.steps, "processing"})


# --- The engines that stacks are made around: definitions by file name, and what their jobs read

Files = Mapping[str, bytes]
MACHINE: Final = ".asl.json"


def _sagemaker(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None,
    revision: str | None,
) -> tuple[Files, Files]:
    pipelines = sagemaker.render(use_case, specs, images, environment, revision)
    around = loop.render_loop(use_case, specs, environment)
    return {**pipelines.files, **around.files}, {**pipelines.uploads, **around.uploads}


def _step_functions(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None,
    revision: str | None,
) -> tuple[Files, Files]:
    machines = stepfunctions.render(use_case, specs, images, environment, revision)
    return machines.files, machines.uploads


def _batch(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None,
    revision: str | None,
) -> tuple[Files, Files]:
    """The jobs alone: who starts them waits for them too. A stack that acts by itself has the engine step-functions."""
    manifest = for_environment(use_case.manifest, environment)
    if manifest.schedule.training or manifest.schedule.inference:
        raise SettingsError(
            "engine: batch has a schedule, and nothing that starts by it: wanted engine: step-functions with "
            "platform: batch. Change engine, or leave out schedule."
        )
    described = jobs.render(use_case, specs, images, environment, revision)
    return described.files, described.uploads


ENGINES: Final[Mapping[str, Callable[..., tuple[Files, Files]]]] = {
    "sagemaker-pipelines": _sagemaker,
    "step-functions": _step_functions,
    "batch": _batch,
}
BATCH: Final = ("queues", "training", "inference")
STATEMENTS: Final[Mapping[str, Callable[[Site], list[dict[str, object]]]]] = {
    "sagemaker-pipelines": sagemaker_statements,
    "step-functions": state_machine_statements,
}
