"""What every printer of an engine in the cloud begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.spec import Spec
from pipelines.aws.images import image_uris
from pipelines.aws.places import Site, site_of
from pipelines.graph import Graph, Origin, inference_graph, training_graph
from pipelines.manifest import Manifest, UseCase, for_environment


@dataclass(frozen=True)
class Deployment:
    """A use case in one of its environments.

    Attributes:
        manifest: as it is in the environment.
        site: where the use case lives there.
        specs: the components.
        images: the image of each component that runs, by digest.
        origin: what a release says of where it comes from.
    """

    manifest: Manifest
    site: Site
    specs: Mapping[str, Spec]
    images: Mapping[str, str]
    origin: Origin

    def graphs(self, *, tunes: bool = False) -> dict[str, Graph]:
        """The graph of each pipeline by its name; of training alone where the manifest names no data to score.

        Args:
            tunes: whether the engine has tuning jobs.

        Raises:
            SettingsError: a step that another one needs is switched off.
        """
        graphs = {"training": training_graph(self.manifest, self.specs, self.origin, tunes=tunes)}
        if self.manifest.data.score is not None:
            graphs["inference"] = inference_graph(self.manifest, self.specs)
        return graphs


def deployment_of(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None,
    revision: str | None,
) -> Deployment:
    """A use case in an environment.

    Args:
        use_case: the manifest that was read.
        specs: the components.
        images: locked images by component, for those that the manifest does not name.
        environment: one of the manifest's.
        revision: the code's git revision.

    Raises:
        SettingsError: the manifest lacks what the cloud has to know, or an image has no digest.
    """
    manifest = for_environment(use_case.manifest, environment)
    site = site_of(manifest, environment)
    # The release step runs in processing's image, whether or not the step processing does. Inference has no step that
    # training lacks.
    uris = image_uris(manifest, images, sorted({*manifest.pipelines.training.steps, "processing"}))
    return Deployment(manifest, site, specs, uris, Origin(use_case.document.digest, revision, uris))
