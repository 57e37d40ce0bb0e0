"""What every printer of an engine in the cloud begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.spec import Spec
from pipelines.aws.images import image_uris
from pipelines.aws.places import NO_PERIOD, Site, site_of
from pipelines.graph import RELEASE_STEP, Graph, Origin, inference_graph, training_graph
from pipelines.limits import check_environment
from pipelines.manifest import Manifest, UseCase, for_environment
from shared.errors import SettingsError


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

    def graphs(self, *, tunes: bool = False, tagged: bool = False) -> dict[str, Graph]:
        """The graph of each pipeline by its name; of training alone where the manifest names no data to score.

        Args:
            tunes: whether the engine has tuning jobs.
            tagged: whether SageMaker's jobs say whose they are. It wants a role that may add tags, as the stack's may.

        Raises:
            SettingsError: a step that another one needs is switched off.
        """
        manifest = self._tagged() if tagged else self.manifest
        graphs = {"training": training_graph(manifest, self.specs, self.origin, tunes=tunes)}
        if manifest.data.score is not None:
            graphs["inference"] = inference_graph(manifest, self.specs)
        return graphs

    def _tagged(self) -> Manifest:
        """The manifest with the site's tags among those of all jobs; a tag of the same key that it has itself wins."""
        defaults = self.manifest.defaults
        tags = {**self.site.tags, **defaults.tags}
        return self.manifest.model_copy(update={"defaults": defaults.model_copy(update={"tags": tags})})

    def check_drift(self) -> None:
        """Make sure that the policy is one that an engine can keep which judges each run by itself.

        Raises:
            SettingsError: it is not.
        """
        policy = self.manifest.drift
        if policy is None:
            return
        if policy.when.runs > 1:
            raise SettingsError(
                f"drift.when.runs is {policy.when.runs}, but on this engine every run that drifts is judged by itself. "
                "Leave it at 1; drift.cooldown keeps retrainings apart."
            )
        if policy.with_ is not None and policy.with_.uri is not None and self.manifest.data.train.periods:
            raise SettingsError(
                "drift.with.data.train is one uri, but the training reads a list of the files of data.train.periods. "
                "Give drift.with.periods, how many of the latest."
            )

    def check_data(self, uri: str) -> None:
        """Make sure that the release job, a processing job, can be told what a training has read.

        Args:
            uri: of the training data where nobody says otherwise.

        Raises:
            SettingsError: this uri is too long for one of its variables, or that of a retraining is.
        """
        policy, data = self.manifest.drift, self.manifest.data
        uris = [uri]
        if policy is not None and policy.with_ is not None and policy.with_.uri is not None:
            period = max(data.known_periods, key=len, default=NO_PERIOD)
            uris.append(self.site.path(policy.with_.uri).replace("{period}", period))
        for one in uris:
            check_environment({"QUARTET_DATA": one}, RELEASE_STEP)


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
