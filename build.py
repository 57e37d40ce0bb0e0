"""Builds, tries, measures and publishes the images that the four `component.toml` declare.

    python build.py list                          the images, and those that are left out, with the reason
    python build.py build [COMPONENT]             build them with BuildKit, through the docker command line
    python build.py smoke [COMPONENT]             start each one, locked down, and see that it explains itself
    python build.py size [COMPONENT]              how large they are, and what is large in them
    python build.py changed --base REF            the components whose images differ from those of REF
    python build.py matrix [--base REF]           the images as JSON, for CI
    python build.py push --registry R --tag T     publish what was built; write the digests to images.lock.json
    python build.py digests --registry R --tag T  write images.lock.json from what a registry holds, or --check it
    python build.py bases                         write base-images.lock from what the registries of the bases hold

`DOCKER` names the docker command to build with; by default the first on this machine that has BuildKit.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click
from packaging.requirements import Requirement

from components.spec import NAMES, Architecture, Spec, Variant, specs
from shared.errors import QuartetError, did_you_mean, names

if TYPE_CHECKING:
    import docker

ROOT: Final = Path(__file__).resolve().parent
NAMESPACE: Final = "quartet"
LOCK: Final = ROOT / "images.lock.json"
BASES: Final = ROOT / "base-images.lock"
WHEELHOUSE: Final = ROOT / "wheelhouse"
EPOCH: Final = 315_532_800
"""The time of each file that a build adds, and of the image where BuildKit takes one: 1980, where the time of zip files
begins. One time for all commits, so that a layer whose files stay keeps its digest; the revision is a label."""
OWN: Final[Architecture] = "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"
"""The processor of this machine."""
SCHEMA_2: Final = "application/vnd.docker.distribution.manifest.v2+json"
"""The one kind of manifest that SageMaker hosting takes (aws/amazon-sagemaker-feedback#180)."""
LOADED_BY_NAME: Final = ("gunicorn.workers.gthread", "gunicorn.glogging")
"""Modules that are loaded by a name in a string, so that no import statement tells of them."""
DEVICE: Final = {
    "none": {},
    "cuda": {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"},
}
"""What NVIDIA's container runtime reads from an image's environment, by accelerator."""
SECRET_NAMES: Final = {
    "index-url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    "timeout": ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"),
    "default-timeout": ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"),
}
"""What a setting of this machine's pip is called for pip and for uv inside a build."""
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
CERTIFICATES: Final = "/run/secrets/certificates"

EVERYWHERE: Final = re.compile(
    r"\.dockerignore|base-images\.lock|build\.py|components/[^/]+\.py|components/[^/]+/Dockerfile|packing/.+|"
    r"pyproject\.toml|requirements/uv\.txt|shared/.+",
    re.DOTALL,
)
"""What every image is made with. A Dockerfile too: the four share one skeleton, so one never changes alone. And
pyproject.toml, whose version is a label."""
NOWHERE: Final = re.compile(r".*\.(md|in)", re.DOTALL)
"""What enters no image."""
HARDENED: Final[Mapping[str, Any]] = {
    "network_mode": "none",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
"""What an image has to bear: no network, no writing but to /tmp and the mounts, no privileges."""
REGISTRY: Final = re.compile(
    r"([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(:[0-9]+)?"
    r"(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*"
)
"""A host, a port and a path, as names of images have them (distribution's reference grammar)."""
TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")


class BuildError(QuartetError):
    """An image could not be built, run or published; the text says what to do."""


@dataclass(frozen=True)
class Image:
    """One image: a component, in a variant, for a processor."""

    component: str
    variant: Variant
    architecture: Architecture

    @property
    def local(self) -> str:
        """Its name in the local engine: the processor is named where it is not this machine's."""
        foreign = "" if self.architecture == OWN else f"-{self.architecture}"
        return f"{self.name}{foreign}"

    @property
    def name(self) -> str:
        """Its name in the engine of a machine with its processor."""
        return f"{NAMESPACE}/{self.component}:{self.variant.name}"

    @property
    def key(self) -> str:
        """Its name in images.lock.json."""
        return f"{self.component}/{self.variant.name}/{self.architecture}"

    def published(self, registry: str, tag: str) -> str:
        """Its name in a registry: one tag a processor, because a list of manifests is what SageMaker refuses."""
        return f"{registry}/{NAMESPACE}/{self.component}:{tag}-{self.variant.name}-{self.architecture}"

    @property
    def dockerfile(self) -> str:
        """The Dockerfile, from the root of the repository."""
        return f"components/{self.component}/Dockerfile"


# --- Which images


def images(
    found: Mapping[str, Spec], component: str | None = None, variant: str | None = None, architecture: str | None = None
) -> list[Image]:
    """The declared images, all or those that fit.

    Raises:
        BuildError: no image fits.
    """
    if component is not None and component not in found:
        raise BuildError(
            f"there is no component {component!r}, wanted one of {names(found)}.{did_you_mean(component, found)}"
        )
    chosen = [found[component]] if component else list(found.values())
    fitting = [
        Image(spec.name, item, processor)
        for spec in chosen
        for item in spec.variants.values()
        for processor in item.architectures
        if variant in (None, item.name) and architecture in (None, processor)
    ]
    if not fitting:
        raise BuildError(_no_image(chosen, variant, architecture))
    return fitting


def _no_image(chosen: Sequence[Spec], variant: str | None, architecture: str | None) -> str:
    for spec in chosen:
        if variant and variant in spec.left_out:
            return f"{spec.name} has no variant {variant!r}: {spec.left_out[variant]}"
        if variant and variant in spec.variants:
            built_for = names(spec.variants[variant].architectures)
            return f"{spec.name}'s variant {variant!r} is built for {built_for} and not for {architecture!r}."
    known = list(dict.fromkeys(item for spec in chosen for item in spec.variants))
    wanted = " for ".join(repr(word) for word in (variant, architecture) if word)
    return f"no image fits {wanted}; the variants of {names([spec.name for spec in chosen])} are {names(known, 12)}."


def defaults(chosen: Iterable[Image], architecture: str = OWN) -> list[Image]:
    """Those that are built unless others are named: on the CPU, from indexes alone, for this machine's processor."""
    return [
        image
        for image in chosen
        if image.variant.accelerator == "none" and image.variant.wheels is None and image.architecture == architecture
    ]


def touched(paths: Iterable[str], components: Sequence[str] = NAMES) -> list[str]:
    """The components whose images a change of these files changes.

    Args:
        paths: files from the root of the repository, with `/` between folders.
        components: all components, in the order of the answer.

    Returns:
        Names in pipeline order.
    """
    hit: set[str] = set()
    for path in paths:
        if NOWHERE.fullmatch(path):
            continue
        if EVERYWHERE.fullmatch(path):
            return list(components)
        hit |= {name for name in components if path.startswith(f"components/{name}/")}
        if path == "requirements/torch-cpu.txt":
            hit.add("algorithm")
    return [name for name in components if name in hit]


def matrix(chosen: Iterable[Image]) -> dict[str, list[dict[str, Any]]]:
    """The images in the form of a GitHub Actions matrix; `image` is the name on a runner with the image's processor."""
    return {
        "include": [
            {
                "component": image.component,
                "variant": image.variant.name,
                "arch": image.architecture,
                "accelerator": image.variant.accelerator,
                "image": image.name,
            }
            for image in chosen
        ]
    }


# --- How one is built


@dataclass(frozen=True)
class How:
    """How images are built, where it is not as always.

    Attributes:
        tag: what the tag says instead of the variant's name.
        cache: whether steps that were made before are taken as they are.
        bases: digests of base images by name and processor; None takes the bases by their tags.
    """

    tag: str | None = None
    cache: bool = True
    bases: Mapping[str, Mapping[str, str]] | None = None

    def name(self, image: Image) -> str:
        """What the built image is called."""
        return f"{image.local.rpartition(':')[0]}:{self.tag}" if self.tag else image.local


def build_command(
    prefix: Sequence[str],
    image: Image,
    arguments: Mapping[str, str],
    secrets: Mapping[str, Path],
    how: How = How(),
) -> list[str]:
    """The command that builds an image, with its Dockerfile as standard input.

    BuildKit keeps what it was sent and asks only for files whose size or time has changed, under a name made of the
    context's path as it was written. Two of our Dockerfiles can have one size and, from an archive, one time: named as
    a file, one was taken for the other. Hence standard input, which is always sent, and the context's whole path.

    Args:
        prefix: how this machine's docker builds: see `build_prefix`.
        image: what to build.
        arguments: the Dockerfile's ARGs.
        secrets: files that the build may read and that enter no layer.
        how: what is asked for beside.
    """
    digest = base_digest(image, how)
    return [
        *prefix,
        *("--file", "-"),
        *("--platform", f"linux/{image.architecture}"),
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
        *(word for name, path in secrets.items() for word in ("--secret", f"id={name},src={path}")),
        *(("--label", f"org.opencontainers.image.base.digest={digest}") if digest else ()),
        *(() if how.cache else ("--no-cache",)),
        *("--tag", how.name(image)),
        str(ROOT),
    ]


def base_digest(image: Image, how: How) -> str | None:
    """The digest that an image's base has to have; None where any will do.

    Raises:
        BuildError: one is asked for, and not known.
    """
    if how.bases is None:
        return None
    digest = how.bases.get(image.variant.base, {}).get(image.architecture)
    if digest is None:
        raise BuildError(
            f"{BASES.name} holds no digest of {image.variant.base} for {image.architecture}: "
            "run `python build.py bases` where its registry answers, or build without --pinned-base."
        )
    return digest


def build_prefix(client: str, version: str, buildx: bool) -> list[str] | None:
    """How a docker command builds with BuildKit; None when it cannot.

    Args:
        client: the command.
        version: what it says of its own version, such as 20.10.24+dfsg1.
        buildx: whether it has that plugin, without which clients from 23 on have no BuildKit.
    """
    if buildx:
        # Without these two, an engine with the containerd store makes an OCI index, which SageMaker refuses.
        return [client, "buildx", "build", "--load", "--provenance=false", "--sbom=false"]
    major = re.match(r"\d+", version)
    return [client, "build"] if major and int(major[0]) < 23 else None


def build_arguments(
    image: Image,
    version: str,
    revision: str,
    imports: Sequence[str],
    wheels: str,
    how: How = How(),
) -> dict[str, str]:
    """The Dockerfile's ARGs for an image; the same inputs give the same image.

    SOURCE_DATE_EPOCH is more than an ARG to newer versions of BuildKit: the image's own time too.
    """
    digest = base_digest(image, how)
    return {
        "BASE_IMAGE": f"{image.variant.base}@{digest}" if digest else image.variant.base,
        "BASE_NAME": image.variant.base,
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "VARIANT": image.variant.name,
        "WHEELS": wheels,
        "WITHOUT": " ".join(image.variant.without),
        "IMPORTS": " ".join(imports),
        **DEVICE[image.variant.accelerator],
        "VERSION": version,
        "REVISION": revision,
    }


def imports_of(component: str, root: Path = ROOT) -> list[str]:
    """The modules of other packages that a component and `shared` import, wherever in their sources.

    Raises:
        BuildError: a source is no Python.
    """
    found: set[str] = set(LOADED_BY_NAME)
    for package in ("shared", f"components/{component}"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(_parsed(path, root)):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module)
    return sorted(name for name in found if name.partition(".")[0] not in ("__future__", "components", "shared"))


def _parsed(path: Path, root: Path) -> ast.Module:
    name = path.relative_to(root)
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise BuildError(f"{name}, line {error.lineno}, is no Python ({error.msg}): mend it, then build.") from None
    except ValueError as error:
        raise BuildError(f"{name} is no Python ({error}): mend it, then build.") from None


def index_settings(pip: Mapping[str, str], environment: Mapping[str, str], certificates: bool) -> str:
    """A shell script that gives pip and uv inside a build what this machine's pip was told.

    Args:
        pip: settings of pip by their names, without section, such as index-url.
        environment: where proxies are looked for.
        certificates: whether a bundle of certificates goes with it.

    Returns:
        One `export` a line. Indexes that are folders of this machine are left out, for a build does not see them.
    """
    values: dict[str, str] = {}
    for setting, variables in SECRET_NAMES.items():
        words = [word for word in pip.get(setting, "").split() if "://" not in word or not word.startswith("file:")]
        values |= {variable: " ".join(words) for variable in variables if words}
    if "UV_INDEX" in values:
        # As pip does: the hashes, and not the order of the indexes, say which file is right.
        values["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    values |= {name: environment[name] for name in PROXIES if environment.get(name)}
    if certificates:
        values |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), CERTIFICATES)
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(values.items()))


def pip_settings(listed: str) -> dict[str, str]:
    """The settings that `pip config list` prints, by name; what comes from the environment wins."""
    found: dict[str, str] = {}
    lines = [re.fullmatch(r"(:env:|[\w-]+)\.([\w-]+)='(.*)'", line) for line in listed.splitlines()]
    for match in sorted((match for match in lines if match), key=lambda match: match[1] == ":env:"):
        found[match[2]] = match[3].replace("\\n", " ").strip()
    return found


def wheel_of(image: Image, root: Path = ROOT) -> str:
    """The requirement that is installed from wheelhouse/, empty for most images."""
    if image.variant.wheels is None:
        return ""
    lines = (root / image.variant.wheels).read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    linux = {"sys_platform": "linux", "platform_system": "Linux"}
    (only,) = [item for item in wanted if item.marker is None or item.marker.evaluate(linux)]
    return f"{only.name}{only.specifier}"


def python_of(image: Image) -> str:
    """The version of Python that an image's base has, such as 3.13."""
    python = re.search(r":(\d+\.\d+)-", image.variant.base)
    return python[1] if python else f"{sys.version_info.major}.{sys.version_info.minor}"


def wheel_command(image: Image, requirement: str) -> list[str]:
    """The command that puts that wheel into wheelhouse/, from wherever this machine's pip finds it."""
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--python-version", python_of(image), "--dest", str(WHEELHOUSE), requirement),
    ]


# --- This machine


def builder(environment: Mapping[str, str] = os.environ) -> list[str]:
    """How to build here.

    Raises:
        BuildError: there is no docker command, or none with BuildKit.
    """
    told = environment.get("DOCKER")
    if told and not shutil.which(told):
        raise BuildError(f"DOCKER names {told!r}, and there is no such command: give another, or leave it unset.")
    candidates = [told] if told else [path for path in ("docker", "/usr/bin/docker") if shutil.which(path)]
    if not candidates:
        raise BuildError("there is no docker command on this machine: `engine/start` brings one, or set DOCKER.")
    seen = []
    for client in candidates:
        version = _output(client, "version", "--format", "{{.Client.Version}}")
        prefix = build_prefix(client, version, buildx=bool(_output(client, "buildx", "version")))
        if prefix:
            return prefix
        seen.append(f"{client!r} ({version or 'no docker'})")
    raise BuildError(
        f"{', '.join(seen)} cannot build with BuildKit: install the plugin docker-buildx, "
        "or set DOCKER to another command."
    )


def _output(*command: str) -> str:
    """What a command prints, empty when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # `docker version` prints the client's half and fails when no engine answers.
    return done.stdout.strip() if done.returncode == 0 or command[1:2] == ("version",) else ""


@contextmanager
def secrets(environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, Path]]:
    """Files with this machine's package index and certificates, for as long as a build takes."""
    pip = pip_settings(_output(sys.executable, "-m", "pip", "config", "list"))
    bundle = Path(pip.get("cert") or environment.get("SSL_CERT_FILE") or "/nonexistent")
    with tempfile.TemporaryDirectory(prefix="quartet-build-") as folder:
        index = Path(folder) / "index"
        index.touch(mode=0o600)
        index.write_text(index_settings(pip, environment, certificates=bundle.is_file()), encoding="utf-8")
        yield {"index": index} | ({"certificates": bundle} if bundle.is_file() else {})


def engine() -> docker.DockerClient:
    """The Docker engine.

    Raises:
        BuildError: none answers.
    """
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        raise BuildError(
            f"no Docker engine answers at {place}{_reason(error)}: run `engine/start`, or set DOCKER_HOST."
        ) from None
    return client


def _reason(error: BaseException | None) -> str:
    """What the operating system said, below what libraries made of it: in brackets, empty where it said nothing."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return f" ({error.strerror})"
        error = error.__cause__ or error.__context__
    return ""


def version() -> str:
    """The version that pyproject.toml declares."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def revision() -> str:
    """The commit that is checked out, marked where files differ from it; `unknown` outside of a repository."""
    commit = _output("git", "rev-parse", "HEAD")
    return f"{commit}{'-dirty' if git('status', '--porcelain') else ''}" if commit else "unknown"


def changed_files(base: str) -> list[str]:
    """Files that differ from where this work left `base`, committed or not; a file that was moved under both names.

    Raises:
        BuildError: git does not know `base`, or fails.
    """
    git("rev-parse", "--git-dir")
    commit = _output("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if not commit:
        raise BuildError(f"git knows no commit {base!r}: fetch it, or give another --base.")
    # A shallow clone may know no common ancestor: then whatever differs from `base` itself counts.
    fork = git("merge-base", commit, "HEAD", fine=(0, 1)).strip() or commit
    listed = git("diff", "--name-only", "--no-renames", "-z", fork) + git(
        "ls-files", "--others", "--exclude-standard", "-z"
    )
    return sorted({name for name in listed.split("\0") if name})


def git(*arguments: str, fine: Sequence[int] = (0,)) -> str:
    """What a git command prints.

    Args:
        arguments: the command's words.
        fine: exit codes that are no failure.

    Raises:
        BuildError: it fails, so that nothing it printed is to be trusted.
    """
    try:
        done = subprocess.run(
            ("git", *arguments),
            cwd=ROOT, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"git {arguments[0]} did not run ({error}): what has changed is not known.") from None
    if done.returncode not in fine:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise BuildError(f"git {arguments[0]} failed ({said}): what has changed is not known.")
    return done.stdout


def platforms(client: docker.DockerClient, prefix: Sequence[str]) -> set[str]:
    """The processors that images can be built for here: those that BuildKit names, or the engine's own."""
    listed = _output(prefix[0], "buildx", "inspect") if "buildx" in prefix else ""
    own = {"x86_64": "amd64", "aarch64": "arm64"}.get(client.info().get("Architecture", ""), OWN)
    return {own, *re.findall(r"\blinux/(amd64|arm64)\b(?!/)", listed)}


def refuse_foreign(chosen: Iterable[Image], there: set[str]) -> None:
    """See that every image is for a processor that is there, before minutes are spent on the first.

    Raises:
        BuildError: one is not.
    """
    foreign = sorted({image.architecture for image in chosen} - there)
    if foreign:
        raise BuildError(
            f"this engine builds for {names(sorted(there))} and not for {names(foreign)}: build on a machine with that "
            "processor, or add one to BuildKit (`docker buildx create --append`)."
        )


def read_bases(path: Path = BASES) -> dict[str, dict[str, str]]:
    """base-images.lock: digests by base image and processor.

    Raises:
        BuildError: the file is no such thing.
    """
    wanted = "wanted JSON: a base image to a processor to a digest, sha256:…"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(f"{path.name} cannot be read ({error}), {wanted}.") from None
    values = found.values() if isinstance(found, dict) else [found]
    digests = [digest for value in values for digest in (value.values() if isinstance(value, dict) else [value])]
    if not all(isinstance(digest, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests):
        raise BuildError(f"{path.name} holds something else than digests, {wanted}.")
    return dict(found)


def registry_bases(client: docker.DockerClient, wanted: Iterable[Image]) -> dict[str, dict[str, str]]:
    """The digests that registries have for the bases of images, by base and processor.

    An official image is a list of one manifest a processor; its digest is that of the list, so the processors share it.

    Raises:
        BuildError: a registry does not answer, or has no such base for the processor.
    """
    import docker

    found: dict[str, dict[str, str]] = {}
    for image in wanted:
        base = image.variant.base
        try:
            data = client.images.get_registry_data(base)
        except docker.errors.APIError as error:
            raise BuildError(f"no registry tells the digest of {base}: {_explained(error)}") from None
        if not data.has_platform(f"linux/{image.architecture}"):
            raise BuildError(f"the registry has {base}, and not for {image.architecture}.")
        found.setdefault(base, {})[image.architecture] = str(data.attrs["Descriptor"]["digest"])
    return found


def build(image: Image, prefix: Sequence[str], files: Mapping[str, Path], how: How = How()) -> None:
    """Build one image.

    Raises:
        BuildError: a wheel could not be found, or the build failed.
    """
    wheel = wheel_of(image)
    there = not wheel or any(WHEELHOUSE.glob(f"{wheel.replace('==', '-')}-*.whl"))
    if not there and subprocess.run(wheel_command(image, wheel), check=False).returncode:
        raise BuildError(f"{image.local}: pip found no {wheel} for its Python; see wheelhouse/README.md.")
    arguments = build_arguments(image, version(), revision(), imports_of(image.component), wheel, how)
    command = build_command(prefix, image, arguments, files, how)
    dockerfile = (ROOT / image.dockerfile).read_bytes()
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    if subprocess.run(command, input=dockerfile, env=environment, check=False).returncode:
        raise BuildError(
            f"{how.name(image)} was not built; docker's last lines above say why. The base comes from engine/base."
        )


def smoke(image: Image, client: docker.DockerClient) -> None:
    """Start an image, locked down, and see that it explains itself and passes its self-test.

    Raises:
        BuildError: it is not there, or answers otherwise.
    """
    expected = {
        "--help": (0, f"quartet {image.component}"),
        "schema": (0, "properties"),
        "selftest": (0, "\nok, "),
        "": (2, f"quartet {image.component}"),
    }
    for argument, (code, text) in expected.items():
        found, output = run(client, image.local, [argument] if argument else [])
        if found != code or text not in output:
            raise BuildError(
                f"{image.local} {argument}: exit code {found}, wanted {code} and {text!r}; it said: {output[-300:]}"
            )


def run(client: docker.DockerClient, image: str, command: Sequence[str], **options: Any) -> tuple[int, str]:
    """Run a container to its end, and remove it; its exit code and all that it said.

    Raises:
        BuildError: there is no such image.
    """
    import docker

    try:
        container = client.containers.create(image, list(command), **{**HARDENED, **options})
    except docker.errors.ImageNotFound:
        raise BuildError(_not_here(image)) from None
    try:
        container.start()
        code = int(container.wait(timeout=600)["StatusCode"])
        return code, container.logs().decode(errors="replace")
    finally:
        container.remove(force=True)


# --- How large


def compressed(chunks: Iterable[bytes]) -> int:
    """Bytes that chunks of a tar take with gzip -6, which is what a registry stores and a host pulls."""

    class Counter:
        total = 0

        def write(self, data: bytes) -> int:
            self.total += len(data)
            return len(data)

        def flush(self) -> None:
            """Nothing is held back."""

    counter = Counter()
    with gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6, mtime=0) as packed:
        for chunk in chunks:
            packed.write(chunk)
    return counter.total


def largest(client: docker.DockerClient, image: str, count: int = 5) -> list[tuple[str, float]]:
    """The largest folders of an image's packages, with their megabytes."""
    script = (
        'cd "$(/opt/venv/bin/python -c "import sysconfig; print(sysconfig.get_path(\'purelib\'))")" && du -sk -- */'
    )
    _, output = run(client, image, ["-c", script], entrypoint=["sh"])
    rows = [line.split("\t") for line in output.splitlines() if "\t" in line]
    sizes = sorted(((name.rstrip("/"), int(size) / 1024) for size, name in rows), key=lambda row: -row[1])
    return sizes[:count]


# --- Publishing


def push(client: docker.DockerClient, image: Image, name: str) -> str:
    """Publish a built image, unless it is there already; its digest.

    Raises:
        BuildError: the registry refused it, as it tells inside its stream, holds it as what SageMaker refuses, or holds
            another image under that name.
    """
    import docker

    found = built(client, image.local)
    held = held_digest(client, name)
    if held is not None:
        if not is_held(client, found, by_digest(name, held)):
            raise BuildError(
                f"{name} is {held} in the registry, which is not the image built here: tags are not moved. "
                "Take another --tag."
            )
        return checked_manifest(client, name, held)
    try:
        found.tag(name)
        digest = pushed_digest(client.api.push(name, stream=True, decode=True), name)
    except (BuildError, docker.errors.DockerException) as error:
        # The local engine says then, too, that there is no such image.
        with suppress(docker.errors.DockerException):
            client.images.remove(name)
        if isinstance(error, BuildError):
            raise
        raise BuildError(f"{name} was not pushed: {_explained(error)}") from None
    return checked_manifest(client, name, digest)


def is_held(client: docker.DockerClient, image: Any, reference: str) -> bool:
    """Whether what a registry holds is an image of the local engine.

    An engine knows the digests of what it has pushed or pulled itself. One that was given the image as an archive, as
    in a release, pulls the other and compares: their configurations, which name every layer, are one or they are not.

    Raises:
        BuildError: the registry does not give it.
    """
    import docker

    if reference in image.attrs["RepoDigests"]:
        return True
    try:
        pulled = client.images.pull(reference)
    except docker.errors.APIError as error:
        raise BuildError(f"{reference} cannot be compared with the image built here: {_explained(error)}") from None
    if pulled.id == image.id:
        return True
    with suppress(docker.errors.DockerException):
        client.images.remove(reference)
    return False


def built(client: docker.DockerClient, name: str) -> Any:
    """An image of the local engine.

    Raises:
        BuildError: it has none of that name.
    """
    import docker

    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        raise BuildError(_not_here(name)) from None


def _not_here(name: str) -> str:
    component, _, tag = name.rpartition("/")[2].partition(":")
    variant, *foreign = re.split(r"-(?=(?:amd64|arm64)$)", tag)
    words = " ".join([component, "--variant", variant, *(f"--arch {processor}" for processor in foreign)])
    return f"there is no image {name} here: build it first (python build.py build {words})."


def _explained(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)


def held_digest(client: docker.DockerClient, name: str) -> str | None:
    """The digest of what a registry holds under a name; None for nothing, or for a registry that does not tell."""
    import docker

    try:
        return str(client.images.get_registry_data(name).attrs["Descriptor"]["digest"])
    except docker.errors.APIError:
        return None


def pushed_digest(events: Iterable[Mapping[str, Any]], name: str) -> str:
    """The digest that a push reports.

    Raises:
        BuildError: one of the events is an error, or none names a digest.
    """
    digest = ""
    for event in events:
        if "error" in event:
            raise BuildError(
                f"{name} was not pushed: {event['error']}. See that the registry can be reached, that you are "
                "logged in there, and that it has the repository."
            )
        # With containerd's store, which is Docker's own from 29 on, it stands in a line for people alone.
        told = re.search(r"digest: (sha256:[0-9a-f]{64}) size:", event.get("status", ""))
        digest = told[1] if told else event.get("aux", {}).get("Digest", digest)
    if not digest:
        raise BuildError(f"{name}: the registry named no digest, so it is not known what it holds.")
    return digest


def checked_manifest(client: docker.DockerClient, name: str, digest: str | None = None) -> str:
    """The digest of what a registry holds under a name.

    Raises:
        BuildError: there is nothing, it is another than was pushed, or it is no schema-2 manifest.
    """
    import docker

    try:
        descriptor = client.images.get_registry_data(name).attrs["Descriptor"]
    except docker.errors.APIError as error:
        raise BuildError(f"the registry does not show {name}: {_explained(error)}") from None
    if descriptor["mediaType"] != SCHEMA_2:
        raise BuildError(f"{name} is a {descriptor['mediaType']}, which SageMaker refuses: wanted {SCHEMA_2}.")
    if digest not in (None, descriptor["digest"]):
        raise BuildError(f"{name} is {descriptor['digest']} in the registry and was {digest}: somebody moved the tag.")
    return str(descriptor["digest"])


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """images.lock.json: `component/variant/arch` to the `repository@sha256:…` that pipelines take; empty without it.

    Raises:
        BuildError: the file is no such thing, or its folder is not there.
    """
    wanted = "wanted JSON: component/variant/arch to repository@sha256:…; restore it, or delete it"
    if not path.parent.is_dir():
        raise BuildError(f"there is no folder {path.parent} for {path.name}: make it, or give another --lock.")
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(f"{path.name} cannot be read ({error}), {wanted}.") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise BuildError(f"{path.name} holds something else than digests, {wanted}.")
    return found


def write_lock(digests: Mapping[str, str], path: Path = LOCK) -> None:
    """Add digests to images.lock.json."""
    write_sorted({**read_lock(path), **digests}, path)


def write_sorted(content: Mapping[str, Any], path: Path) -> None:
    """Write JSON whose lines differ only where the content does.

    Raises:
        BuildError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise BuildError(f"{path} cannot be written ({error.strerror}): give another place.") from None


def moved(digests: Mapping[str, str], locked: Mapping[str, str]) -> list[str]:
    """The images whose digest is not the locked one, as sentences."""
    return [
        f"{key} is {digest} in the registry and {locked.get(key, 'nothing')} in {LOCK.name}."
        for key, digest in digests.items()
        if locked.get(key) != digest
    ]


def by_digest(name: str, digest: str) -> str:
    """A tagged name with the digest in the tag's place."""
    return f"{name.rpartition(':')[0]}@{digest}"


def check_names(tag: str | None, registry: str | None = None) -> None:
    """See that images can be called so, before anything is built or published.

    Raises:
        BuildError: they cannot.
    """
    if registry is not None and not REGISTRY.fullmatch(registry):
        raise BuildError(
            f"{registry!r} names no registry, wanted a host as in 'registry.example:5000/team': no scheme, no spaces, "
            "no slash at the end."
        )
    if tag is not None and not TAG.fullmatch(tag):
        raise BuildError(
            f"{tag!r} is no tag, wanted 1 to 128 letters, digits, '_', '.' and '-', and no '.' or '-' first."
        )


# --- The command line


class Commands(click.Group):
    """Says what cannot be done in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except QuartetError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Build, try, measure and publish the images that the four component.toml declare."""


def selecting(command: Any) -> Any:
    """The argument and options that choose images."""
    command = click.option("--arch", type=click.Choice(get_args(Architecture)), help="Only for this processor.")(
        command
    )
    command = click.option("--variant", help="Only this variant.")(command)
    return click.argument("component", required=False)(command)


def locking(command: Any) -> Any:
    """The option that says where digests are kept."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option(
        "--lock", type=path, default=LOCK, help="Where the digests are kept; default: images.lock.json."
    )(command)


def selected(component: str | None, variant: str | None, arch: str | None) -> list[Image]:
    """The images that the command line means: by default those of the CPU, for this machine's processor."""
    found = images(specs(), component, variant, arch)
    if not variant:
        return defaults(found, arch or OWN)
    return [image for image in found if image.architecture == (arch or OWN)] or found


@cli.command(name="list")
def list_images() -> None:
    """Name the images, and those that are left out, with the reason."""
    for spec in specs().values():
        for image in images({spec.name: spec}):
            base = image.variant.base.rpartition(":")[2]
            click.echo(f"{image.local:<36} {image.architecture:<6} {base:<20} {image.variant.purpose}".rstrip())
        for name, reason in spec.left_out.items():
            click.echo(f"{NAMESPACE}/{spec.name}:{name:<12} left out: {reason}")


@cli.command(name="build")
@selecting
@click.option("--tag", help="What the tag says instead of the variant's name.")
@click.option("--no-cache", is_flag=True, help="Make each step anew.")
@click.option("--pinned-base", is_flag=True, help="Take the base images by their digests in base-images.lock.")
def build_images(
    component: str | None, variant: str | None, arch: str | None, tag: str | None, no_cache: bool, pinned_base: bool
) -> None:
    """Build images; without --variant those of the CPU."""
    check_names(tag)
    chosen = selected(component, variant, arch)
    how = How(tag=tag, cache=not no_cache, bases=read_bases() if pinned_base else None)
    client = engine()
    prefix = builder()
    refuse_foreign(chosen, platforms(client, prefix))
    with secrets() as files:
        for image in chosen:
            build(image, prefix, files, how)
            click.echo(f"{how.name(image)} is built.")


@cli.command(name="smoke")
@selecting
def smoke_images(component: str | None, variant: str | None, arch: str | None) -> None:
    """Start images, locked down, and see that they explain themselves."""
    client = engine()
    for image in selected(component, variant, arch):
        smoke(image, client)
        click.echo(f"{image.local} explains itself.")


@cli.command()
@selecting
def size(component: str | None, variant: str | None, arch: str | None) -> None:
    """Print how large images are: in all, compressed, and their largest packages."""
    client = engine()
    there = [(image, built(client, image.local)) for image in selected(component, variant, arch)]
    click.echo(f"{'image':<36} {'MB':>6} {'gzip -6':>8}  largest packages, MB")
    for image, found in there:
        parts = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in largest(client, image.local))
        click.echo(
            f"{image.local:<36} {found.attrs['Size'] / 1e6:>6.0f} {compressed(found.save()) / 1e6:>8.1f}  {parts}"
        )


@cli.command()
@click.option("--base", required=True, help="The commit or branch to compare with.")
def changed(base: str) -> None:
    """Name the components whose images differ from those of a commit, one a line."""
    for name in touched(changed_files(base)):
        click.echo(name)


@cli.command(name="matrix")
@click.option("--base", help="Only components that differ from this commit.")
@click.option("--accelerator", type=click.Choice(list(DEVICE)), help="Only images for this device.")
@click.option("--from-index", is_flag=True, help="Only images whose packages are all on the index.")
def print_matrix(base: str | None, accelerator: str | None, from_index: bool) -> None:
    """Print the images as JSON for CI."""
    chosen = touched(changed_files(base)) if base else NAMES
    found = specs()
    listed = [image for name in chosen for image in images(found, name)]
    fitting = [
        image
        for image in listed
        if accelerator in (None, image.variant.accelerator) and not (from_index and image.variant.wheels)
    ]
    click.echo(json.dumps(matrix(fitting)))


@cli.command(name="push")
@selecting
@click.option("--registry", required=True, help="Where to, without the repository.")
@click.option("--tag", required=True, help="What a tag starts with: a version, or git-<commit>.")
@locking
def push_images(
    component: str | None, variant: str | None, arch: str | None, registry: str, tag: str, lock: Path
) -> None:
    """Publish images and write their digests to images.lock.json, which stays as it is unless all are published."""
    check_names(tag, registry)
    read_lock(lock)
    client = engine()
    pushed: dict[str, str] = {}
    for image in selected(component, variant, arch):
        name = image.published(registry, tag)
        digest = push(client, image, name)
        pushed[image.key] = by_digest(name, digest)
        click.echo(f"{name} is {digest}.")
    write_lock(pushed, lock)


@cli.command()
@selecting
@click.option("--registry", required=True, help="Where from, without the repository.")
@click.option("--tag", required=True, help="What the tags start with.")
@click.option("--check", is_flag=True, help="Write nothing, and fail where the file says otherwise.")
@locking
def digests(
    component: str | None, variant: str | None, arch: str | None, registry: str, tag: str, check: bool, lock: Path
) -> None:
    """Write images.lock.json from what a registry holds."""
    check_names(tag, registry)
    held = read_lock(lock)
    client = engine()
    chosen = {image: image.published(registry, tag) for image in selected(component, variant, arch)}
    found = {image.key: by_digest(name, checked_manifest(client, name)) for image, name in chosen.items()}
    if not check:
        write_lock(found, lock)
        click.echo(f"{lock.name} is written.")
    elif differing := moved(found, held):
        raise BuildError("\n".join([*differing, "Somebody moved a tag, or the lock is of another one."]))
    else:
        click.echo(f"{lock.name} says the same.")


@cli.command()
def bases() -> None:
    """Write base-images.lock from what the registries of the base images hold."""
    write_sorted(registry_bases(engine(), images(specs())), BASES)
    click.echo(f"{BASES.name} is written.")


if __name__ == "__main__":
    cli()
