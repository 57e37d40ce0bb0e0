"""Where a release comes from: parts, data, code, images, settings, and the releases before it up to the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipelines.aws.releases import release_id
from pipelines.ledger import Entry, Ledger
from pipelines.releases import absent
from shared.errors import ArtefactError, SettingsError

SHORT: Final = 16
"""Digits of a digest that are shown; --json has all of them."""


def ancestry(ledger: Ledger, release: Entry) -> list[Entry]:
    """The release and those before it, each the one that was current when the next was made, up to the first.

    Raises:
        SettingsError: one of them is not there.
        ArtefactError: one is no release.
    """
    found = [_whole(release)]
    while (parent := found[-1].content["parent"]) is not None:
        name = release_id(parent) if "://" in parent else parent  # in the cloud a parent is named by its uri
        if any(name == one.id for one in found):
            break
        try:
            found.append(_whole(ledger.read(name)))
        except SettingsError as error:
            raise SettingsError(f"release {found[-1].id!r} names its parent, but {error}") from None
    return found


def _whole(release: Entry) -> Entry:
    """A release with all that its lineage tells."""
    lacking = next(absent(release.content), None)
    if lacking is not None:
        raise ArtefactError(
            f"release {release.id!r} has no usable {lacking}. Restore its release.json, or train again."
        )
    return release


def origin(release: Entry) -> dict[str, Any]:
    """What a release traces to, as JSON."""
    content = release.content
    facts = ("created", "started_by", "parent", "revision", "manifest", "data", "parts", "versions", "metrics", "gates")
    return {
        "release": release.id,
        "name": content["name"],
        **{name: content[name] for name in facts if name in content},
        "images": content.get("images", {}),
        "settings": content.get("settings", {}),
    }


def tree(releases: list[Entry]) -> Iterator[str]:
    """The lineage as lines of text, the parent below its child."""
    for depth, release in enumerate(releases):
        last = depth == len(releases) - 1
        indent = "   " * depth
        yield f"{indent}{'└─ ' if depth else ''}{release.id}  {release.content['created']}  {_cause(release)}"
        body = indent + ("   " if depth else "") + ("   " if last else "│  ")
        yield from (f"{body}{line}" for line in _facts(release.content))


def _facts(content: Mapping[str, Any]) -> Iterator[str]:
    for name, part in content["parts"].items():
        yield f"{name:<10} {_short(part.get('digest'))}  {part['uri']}"
    periods = content["data"]["periods"]
    yield f"{'data':<10} {content['data']['uri']}{'  ' + ', '.join(periods) if periods else ''}"
    for file, digest in content["data"].get("sha256", {}).items():
        yield f"{'':<10} {_short(digest)}  {file}"
    yield f"{'code':<10} {content['revision'] or 'not from a checkout'}"
    for component, image in content.get("images", {}).items():
        yield f"{'image':<10} {component}: {image}"
    for component, digest in content.get("settings", {}).items():
        yield f"{'settings':<10} {_short(digest)}  {component}"
    yield f"{'manifest':<10} {_short(content['manifest'].get('sha256'))}"


def _cause(release: Entry) -> str:
    started = release.content.get("started_by", {})
    if started.get("cause") == "drift":
        return f"after drift of {started.get('period') or started.get('run')}"
    return f"by {started.get('cause', 'unknown')}"


def _short(digest: Any) -> str:
    return str(digest)[:SHORT] if digest else "no digest"
