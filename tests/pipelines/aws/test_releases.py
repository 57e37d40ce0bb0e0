"""Releases in S3, and the pointer in Parameter Store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from pipelines.aws.calls import CloudError
from pipelines.aws.places import Site
from pipelines.aws.releases import CloudRelease, Releases, before
from pipelines.releases import GateError
from shared.errors import ArtefactError, DataError, SettingsError
from tests.aws.cloud import BUCKET, CREDENTIALS, REGION, ROLE

SITE = Site("flights", "prod", f"s3://{BUCKET}/flights", REGION, ROLE)


@pytest.fixture
def connect() -> Iterator[Callable[[str], Any]]:
    with mock_aws():
        session = boto3.Session(**CREDENTIALS)
        session.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield session.client


@pytest.fixture
def releases(connect: Callable[[str], Any]) -> Releases:
    return Releases(connect, SITE)


def write(releases: Releases, name: str, created: str, *, met: bool = True, use_case: str = "flights") -> None:
    """A release file as the release step leaves it."""
    gate = {"metric": "validation:auc", "met": met, "value": 0.7}
    content = {"name": use_case, "created": created, "gates": [gate], "parts": {"model": {"uri": "s3://b/m"}}}
    key = f"flights/releases/{name}/release.json"
    releases.connect("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(content).encode())


def test_releases_are_listed_oldest_first_whatever_they_are_called(releases: Releases) -> None:
    write(releases, "a", "2026-02-01T00:00:00Z")
    write(releases, "b", "2026-01-01T00:00:00Z")

    assert [release.id for release in releases.all()] == ["b", "a"]


def test_what_a_failed_run_left_is_no_release(releases: Releases) -> None:
    releases.connect("s3").put_object(Bucket=BUCKET, Key="flights/releases/x/verdict.json", Body=b"{}")

    assert releases.all() == []


def test_the_pointer_is_a_parameter_with_the_uri_of_the_release(releases: Releases) -> None:
    write(releases, "a", "2026-01-01T00:00:00Z")

    assert releases.promote(releases.read("a")) is None
    found = releases.connect("ssm").get_parameter(Name="/flights/prod/releases/current")["Parameter"]
    assert found["Value"] == f"s3://{BUCKET}/flights/releases/a/release.json"
    assert releases.current().id == "a"


def test_promoting_what_is_current_makes_no_second_entry_in_the_history(releases: Releases) -> None:
    write(releases, "a", "2026-01-01T00:00:00Z")
    releases.promote(releases.read("a"))

    assert releases.promote(releases.read("a")) == "a"
    assert [move.to for move in releases.history()] == ["a"]


def test_rollback_goes_back_one_release_at_a_time_and_not_forth_again(releases: Releases) -> None:
    for number, name in enumerate("abc", start=1):
        write(releases, name, f"2026-01-0{number}T00:00:00Z")
        releases.promote(releases.read(name))

    assert releases.rollback() == ("c", "b")
    assert releases.rollback() == ("b", "a")
    with pytest.raises(SettingsError, match="no release before"):
        releases.rollback()
    assert [move.to for move in releases.history()] == ["a", "b", "c", "b", "a"]


class Overtaken(Releases):
    """A mover before whom another moves, between his look at the pointer and his own move."""

    overtaking: Callable[[], object]

    def read(self, release: str) -> CloudRelease:
        self.overtaking()
        return super().read(release)


def test_of_two_rollbacks_at_once_one_is_told_of_the_other(releases: Releases) -> None:
    for number, name in enumerate("abc", start=1):
        write(releases, name, f"2026-01-0{number}T00:00:00Z")
        releases.promote(releases.read(name))
    late = Overtaken(releases.connect, SITE)
    object.__setattr__(late, "overtaking", releases.rollback)

    with pytest.raises(CloudError, match=r"another has moved /flights/prod/releases/current .*/releases/b/release"):
        late.rollback()
    assert releases.current().id == "b"
    assert releases.rollback() == ("b", "a")


def test_of_two_first_promotions_at_once_one_holds_and_the_other_is_told(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate("ab", start=1):
        write(releases, name, f"2026-01-0{number}T00:00:00Z")
    first, second = releases.read("a"), releases.read("b")
    looked = releases._pointer()
    releases.promote(first)
    monkeypatch.setattr(Releases, "_pointer", lambda _: looked)

    with pytest.raises(CloudError, match="another has moved"):
        releases.promote(second)
    monkeypatch.undo()
    assert [move.to for move in releases.history()] == ["a"]


@pytest.mark.parametrize(
    ("places", "place"),
    [
        ((), None),
        (("a",), None),
        (("a", "b"), "a"),
        (("a", "b", "a"), None),
        (("a", "b", "a", "c"), "a"),
        (("a", "b", "b", "c", "b"), "a"),
    ],
)
def test_the_place_to_go_back_to(places: tuple[str, ...], place: str | None) -> None:
    assert before(places) == place


def test_a_release_whose_gate_is_not_met_is_promoted_by_force_alone(releases: Releases) -> None:
    write(releases, "a", "2026-01-01T00:00:00Z", met=False)

    with pytest.raises(GateError, match=r"does not meet its gates \(validation:auc\)"):
        releases.promote(releases.read("a"))
    assert releases.pointer() is None
    releases.promote(releases.read("a"), force=True)
    assert releases.current().id == "a"


def test_a_release_that_is_not_there_is_named_with_the_nearest_one(releases: Releases) -> None:
    write(releases, "run-20260101", "2026-01-01T00:00:00Z")

    with pytest.raises(SettingsError, match=r"release 'run-20260102' does not exist .* Did you mean 'run-20260101'"):
        releases.read("run-20260102")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "."])
def test_a_release_s_name_is_never_a_path(releases: Releases, name: str) -> None:
    with pytest.raises(SettingsError, match="wanted letters, digits"):
        releases.read(name)


def test_a_pointer_that_leads_nowhere_says_so(releases: Releases) -> None:
    write(releases, "a", "2026-01-01T00:00:00Z")
    releases.promote(releases.read("a"))
    releases.connect("s3").delete_object(Bucket=BUCKET, Key="flights/releases/a/release.json")

    with pytest.raises(DataError, match="where nothing lies"):
        releases.current()


def test_another_use_case_s_release_is_refused(releases: Releases) -> None:
    write(releases, "a", "2026-01-01T00:00:00Z", use_case="houses")

    with pytest.raises(ArtefactError, match="a release of 'houses', wanted one of 'flights'"):
        releases.read("a")


def test_nothing_released_yet_says_what_to_do(releases: Releases) -> None:
    with pytest.raises(DataError, match="Run the training pipeline, or promote"):
        releases.current()
