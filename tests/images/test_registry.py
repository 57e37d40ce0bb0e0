"""Publishing, against a real registry on this machine: what it holds, what is written down, and what goes wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest

import build
from components.spec import NAMES, Variant, specs

ROOT = Path(__file__).parents[2]
TAG = "git-0123456789ab"
CPU = build.defaults(build.images(specs()))
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
"""Whatever kind a registry holds: it answers with what was pushed."""


@dataclass(frozen=True)
class Registry:
    """A registry on a port of this machine."""

    address: str

    def get(self, path: str) -> tuple[int, str, bytes]:
        """Its own answer: status, media type and body."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request("GET", path, headers={"Accept": MANIFESTS})
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read()
        finally:
            connection.close()

    def manifest(self, image: build.Image, tag: str = TAG) -> tuple[str, bytes]:
        """The media type and the bytes of an image's manifest."""
        name = f"{tag}-{image.variant.name}-{image.architecture}"
        status, kind, body = self.get(f"/v2/quartet/{image.component}/manifests/{name}")

        assert status == 200, body
        return kind, body


@dataclass(frozen=True)
class Published:
    """What a call of build.py left."""

    code: int
    said: str
    lock: Path

    @property
    def digests(self) -> dict[str, str]:
        return dict(json.loads(self.lock.read_text()))


def command(*arguments: str, lock: Path) -> Published:
    """Call build.py as a user does."""
    done = subprocess.run(
        (sys.executable, "build.py", *arguments, "--lock", str(lock)),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    return Published(done.returncode, done.stdout + done.stderr, lock)


@contextlib.contextmanager
def serving(program: str, folder: Path, **storage: Any) -> Iterator[Registry]:
    """A registry that keeps what it is sent in a folder, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder)}, **storage},
        "http": {"addr": address},
    }
    path = folder.parent / f"{folder.name}.json"
    path.write_text(json.dumps(settings))
    registry = Registry(address)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with path.with_suffix(".log").open("w") as log:
        process = subprocess.Popen((program, "serve", str(path)), stdout=log, stderr=log, env=environment)
    try:
        until = time.monotonic() + 60
        while not answers(registry):
            assert process.poll() is None, path.with_suffix(".log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield registry
    finally:
        process.terminate()
        process.wait(30)


def answers(registry: Registry) -> bool:
    try:
        return registry.get("/v2/")[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def program(engine: Any) -> str:
    """Debian's registry; fetched where this machine has apt."""
    done = subprocess.run((ROOT / "engine/registry",), capture_output=True, text=True, check=False, timeout=300)
    if "no apt-get" in done.stderr:
        pytest.skip(done.stderr.strip())

    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def registry(program: str, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An empty registry; what the engine remembers of it goes with it."""
    with serving(program, tmp_path_factory.mktemp("registry") / "data") as started:
        yield started
        forget(engine, started.address)


def forget(engine: Any, address: str) -> None:
    """Remove the names that the engine has for images of a registry; the images stay under their own."""
    for image in engine.images.list():
        for name in (*image.tags, *image.attrs.get("RepoDigests", ())):
            if name.startswith(f"{address}/"):
                # A digest goes with the last tag of its repository.
                with contextlib.suppress(docker.errors.ImageNotFound):
                    engine.images.remove(name, noprune=True)


@pytest.fixture(scope="module")
def published(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """All CPU images, pushed once."""
    lock = tmp_path_factory.mktemp("lock") / "images.lock.json"
    done = command("push", "--registry", registry.address, "--tag", TAG, lock=lock)

    assert done.code == 0, done.said
    return done


def test_the_lock_names_each_image_by_its_repository_and_digest(published: Published, registry: Registry) -> None:
    wanted = {f"{image.component}/{image.variant.name}/{build.OWN}" for image in CPU}

    assert set(published.digests) == wanted
    for image in CPU:
        digest = hashlib.sha256(registry.manifest(image)[1]).hexdigest()
        assert published.digests[image.key] == f"{registry.address}/quartet/{image.component}@sha256:{digest}"


@pytest.mark.parametrize("component", NAMES)
def test_the_registry_holds_a_plain_manifest_and_every_part_of_it(
    published: Published, registry: Registry, component: str
) -> None:
    """SageMaker refuses OCI manifests and lists of manifests. Asked of the registry itself."""
    (image,) = (image for image in CPU if image.component == component)
    kind, body = registry.manifest(image)
    content = json.loads(body)

    assert kind == content["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert content["config"]["mediaType"] == "application/vnd.docker.container.image.v1+json"
    assert {layer["mediaType"] for layer in content["layers"]} == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
    for part in (content["config"], *content["layers"]):
        status, _, blob = registry.get(f"/v2/quartet/{component}/blobs/{part['digest']}")
        assert (status, len(blob)) == (200, part["size"])
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == part["digest"]


@pytest.mark.parametrize("component", NAMES)
def test_an_image_is_pulled_by_its_digest_and_runs(published: Published, engine: Any, component: str) -> None:
    (reference,) = (value for key, value in published.digests.items() if key.startswith(f"{component}/"))
    repository, digest = reference.split("@")
    pulled = engine.images.pull(repository, tag=digest)
    code, said = build.run(engine, reference, ["--help"])

    assert reference in pulled.attrs["RepoDigests"]
    assert code == 0
    assert said.startswith(f"quartet {component}: ")


def test_digests_reads_what_push_wrote(published: Published, registry: Registry, tmp_path: Path) -> None:
    lock = tmp_path / "images.lock.json"
    done = command("digests", "--registry", registry.address, "--tag", TAG, lock=lock)

    assert done.code == 0, done.said
    assert lock.read_bytes() == published.lock.read_bytes()


def test_pushing_again_changes_nothing(published: Published, registry: Registry, tmp_path: Path) -> None:
    """A registry with fixed tags would refuse a second push, and a run that is repeated must not fail."""
    lock = tmp_path / "images.lock.json"
    done = command("push", "--registry", registry.address, "--tag", TAG, lock=lock)

    assert done.code == 0, done.said
    assert lock.read_bytes() == published.lock.read_bytes()


def test_a_moved_tag_is_found_and_never_made(
    published: Published, registry: Registry, engine: Any, tmp_path: Path
) -> None:
    image, other = CPU[:2]
    lock = tmp_path / "images.lock.json"
    where = (image.component, "--registry", registry.address, "--tag", "moved")
    before = command("push", *where, lock=lock)
    name = image.published(registry.address, "moved")
    engine.images.get(other.local).tag(name)
    events = list(engine.api.push(name, stream=True, decode=True))
    kept = lock.read_bytes()
    checked = command("digests", *where, "--check", lock=lock)
    again = command("push", *where, lock=lock)

    assert before.code == 0, before.said
    assert not [event for event in events if "error" in event]
    assert checked.code == again.code == 1
    assert f"{image.key} is {registry.address}/quartet/{image.component}@sha256:" in checked.said
    assert "Somebody moved a tag" in checked.said
    assert "tags are not moved" in again.said
    assert lock.read_bytes() == kept


def test_the_lock_is_compared_where_nothing_moved(published: Published, registry: Registry) -> None:
    done = command("digests", "--registry", registry.address, "--tag", TAG, "--check", lock=published.lock)

    assert (done.code, done.said) == (0, "images.lock.json says the same.\n")


def test_a_bases_digest_is_the_registrys(published: Published, registry: Registry, engine: Any) -> None:
    """Any image can be a base; the official ones are where only a network reaches."""
    (known,) = (image for image in CPU if image.component == "processing")
    base = known.published(registry.address, TAG)
    wanted = build.Image("processing", Variant("toy", "toy.txt", base=base), build.OWN)
    foreign = build.Image("processing", wanted.variant, "arm64" if build.OWN == "amd64" else "amd64")

    found = build.registry_bases(engine, [wanted])

    assert found == {base: {build.OWN: published.digests[known.key].partition("@")[2]}}
    with pytest.raises(build.BuildError, match=f"and not for {foreign.architecture}"):
        build.registry_bases(engine, [foreign])


# --- What goes wrong: the engine answers 200 before it knows, and tells the rest in its stream


class Denying(BaseHTTPRequestHandler):
    """A registry that answers, has nothing, and lets nobody write."""

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/v2/" else 404, "MANIFEST_UNKNOWN", "manifest unknown")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._answer(403, "DENIED", "the repository quartet/processing does not exist")

    def _answer(self, status: int, code: str, message: str) -> None:
        body = b"{}" if status == 200 else json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the test's standard error."""


@contextlib.contextmanager
def denying() -> Iterator[Registry]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Denying)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Registry(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def nobody() -> Iterator[Registry]:
    """A port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Registry(f"127.0.0.1:{bound.getsockname()[1]}")


@pytest.fixture(params=["denied", "read-only", "absent"])
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Registry, str]]:
    """A registry that cannot be published to, and what of it has to be said."""
    read_only = {"maintenance": {"readonly": {"enabled": True}}}
    ways: dict[str, tuple[Callable[[], Any], str]] = {
        "denied": (denying, "does not exist"),
        "read-only": (
            lambda: serving(request.getfixturevalue("program"), tmp_path / "data", **read_only),
            "HTTP 405",
        ),
        "absent": (nobody, "connection refused"),
    }
    way, said = ways[request.param]
    with way() as registry:
        yield registry, said


def test_a_push_that_fails_in_its_stream_is_one_sentence_and_leaves_the_lock(
    engine: Any, failing: tuple[Registry, str], tmp_path: Path
) -> None:
    registry, reason = failing
    lock = tmp_path / "images.lock.json"
    lock.write_text('{"processing/cpu/amd64": "elsewhere/quartet/processing@sha256:ab"}\n')
    before = lock.read_bytes()
    done = command("push", "processing", "--registry", registry.address, "--tag", TAG, lock=lock)
    forget(engine, registry.address)

    assert done.code == 1
    assert done.said.startswith(f"Error: {registry.address}/quartet/processing:{TAG}-cpu-{build.OWN} was not pushed: ")
    assert reason in done.said
    assert "Traceback" not in done.said
    assert lock.read_bytes() == before
