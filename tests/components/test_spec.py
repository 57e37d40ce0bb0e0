"""What `component.toml` may say, and what is told when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.spec import BASE, NAMES, ModeSpec, Variant, read_spec, specs
from shared.errors import SettingsError

GOOD = """\
name = "toy"
summary = "one line"
[train]
job = "training"
inputs = ["train"]
optional_inputs = ["validation"]
outputs = ["model"]
[serve]
job = "transform"
[variants.cpu]
requirements = "requirements/cpu.txt"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "toy/component.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_four_components_declare_themselves() -> None:
    found = specs()

    assert tuple(found) == NAMES
    assert all(spec.summary for spec in found.values())


def test_each_variants_requirements_exist() -> None:
    for name, spec in specs().items():
        for variant in spec.variants.values():
            assert (Path(__file__).parents[2] / "components" / name / variant.requirements).is_file()


def test_a_file_becomes_a_frozen_record(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, GOOD))

    assert spec.train == ModeSpec("training", ("train",), ("validation",), ("model",))
    assert spec.train.all_inputs == ("train", "validation")
    assert spec.mode("serve").job == "transform"
    assert spec.variants["cpu"] == Variant("cpu", "requirements/cpu.txt", BASE, "none", ("amd64",))


def test_a_variant_that_does_not_exist_says_why(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, GOOD + '[variants.cuda]\nleft_out = "nothing to speed up"\n'))

    assert set(spec.variants) == {"cpu"}
    assert spec.left_out == {"cuda": "nothing to speed up"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "toy"', 'name = "other"', "name is 'other', wanted the folder's name 'toy'"),
        ('summary = "one line"', "", "summary is None, wanted text"),
        ('job = "training"', 'job = "trainning"', "[train] job is 'trainning', wanted one of 'processing', 'training'"),
        ("optional_inputs", "optional_input", "'optional_input' is no known key. Did you mean 'optional_inputs'?"),
        ('inputs = ["train"]', 'inputs = "train"', "[train] inputs is 'train', wanted a list of names"),
        ('["validation"]', '["train"]', "[train] names inputs 'train' more than once"),
        ('[serve]\njob = "transform"\n', "", "[serve] is missing, wanted a table"),
        ('[variants.cpu]\nrequirements = "requirements/cpu.txt"', "[variants]\ncpu = 1", "wanted one table a variant"),
        ("requirements = ", "require = ", "'require' is no known key. Did you mean 'requirements'?"),
        ('requirements = "requirements/cpu.txt"', "", "names no requirements, wanted the variant's lock file"),
        (
            '"requirements/cpu.txt"',
            '"r.txt"\naccelerator = "gpu"',
            "accelerator is 'gpu', wanted one of 'none', 'cuda'",
        ),
        ('"requirements/cpu.txt"', '"r.txt"\narchitectures = ["x86"]', "wanted a list of 'amd64', 'arm64'"),
        ('"requirements/cpu.txt"', '"r.txt"\nbase = 3', "base is 3, wanted text"),
        ('name = "toy"', "name = ", "is no TOML"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        read_spec(write(tmp_path, GOOD.replace(old, new)))

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"component\.toml does not exist"):
        read_spec(tmp_path / "component.toml")
