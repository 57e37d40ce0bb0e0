"""Limits of AWS: the greatest that passes, and what is said of the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipelines import limits
from shared.errors import SettingsError

LONGEST: list[tuple[Callable[[str], Any], int, str]] = [
    (limits.check_job_name, 63, "has 64 characters, wanted at most 63"),
    (lambda text: limits.check_environment({"QUARTET_DATA": text}, "release"), 256, "has 257 characters"),
    (lambda text: limits.check_hyperparameters({"derive": text}, "train"), 2500, "has 2,501 characters"),
    (lambda text: limits.check_parameter("/flights/releases/current", text), 4096, "has 4,097 bytes"),
    (lambda text: limits.check_payload(text, "start"), 262_144, "has 262,145 bytes"),
    (lambda text: limits.check_state_machine(text, "training"), 1_048_576, "has 1,048,577 bytes"),
    (lambda text: limits.check_overrides(text, "train"), 8192, "of 8,193 characters"),
    (lambda text: limits.check_template(text, "flights"), 51_200, "has 51,201 bytes"),
]


@pytest.mark.parametrize(("check", "most", "said"), LONGEST)
def test_what_is_one_character_too_long_is_refused_and_nothing_shorter(
    check: Callable[[str], Any], most: int, said: str
) -> None:
    check("x" * most)

    with pytest.raises(SettingsError, match=said):
        check("x" * (most + 1))


@pytest.mark.parametrize("name", ["a_b", "-a", "a-", "", "a.b"])
def test_a_job_name_has_letters_digits_and_hyphens_between_them(name: str) -> None:
    with pytest.raises(SettingsError, match="wanted letters, digits"):
        limits.check_job_name(name)


def test_bytes_are_counted_and_not_characters() -> None:
    with pytest.raises(SettingsError, match="has 4,098 bytes"):
        limits.check_parameter("p", "é" * 2049)


def test_a_job_has_at_most_a_hundred_variables() -> None:
    with pytest.raises(SettingsError, match="has 101 variables, wanted at most 100"):
        limits.check_environment({f"v{number}": "" for number in range(101)}, "release")
