"""How the four programs start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from components.spec import NAMES
from shared.component import Component
from shared.entrypoint import run

ROOT = Path(__file__).parents[2]


def component_of(name: str) -> Component:
    found = import_module(f"components.{name}.component").COMPONENT
    assert isinstance(found, Component)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_four_differ_by_the_components_name_alone(name: str) -> None:
    first, other = ((ROOT / "components" / item / "__main__.py").read_text() for item in (NAMES[0], name))

    assert other == first.replace(NAMES[0], name)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_heeds_signals_before_it_imports_its_component(name: str) -> None:
    """What is imported until then is all that a signal has to wait for."""
    code = (
        "import signal, sys\n"
        "signal.signal = lambda *_: sys.exit(str(sorted(n for n in sys.modules if n.split('.')[0] in wanted)))\n"
        f"wanted = ('components', 'shared', 'polars', 'pydantic')\n"
        f"sys.argv = ['x']\n"
        f"from components.{name}.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr.strip() == str(
        ["components", f"components.{name}", f"components.{name}.__main__", "shared", "shared.signals"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_its_sample_is_the_same_each_time_and_fits_its_inputs(name: str, tmp_path: Path) -> None:
    component = component_of(name)
    one, other = component.sample(tmp_path / "one"), component.sample(tmp_path / "other")

    assert files(tmp_path / "one") == files(tmp_path / "other")
    assert one.request == other.request
    ports = component.train_ports
    assert set(ports.inputs) <= set(one.train) <= {*ports.inputs, *ports.optional_inputs}
    wanted = set(component.serve_ports.inputs) - {component.artefact} if component.serve else set()
    assert set(one.serve) == wanted


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_it_tries_itself_from_a_bare_checkout(name: str) -> None:
    command = [sys.executable, "-m", f"components.{name}", "selftest", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    told = json.loads(done.stdout)

    assert (done.returncode, told["error"]) == (0, "")
    assert (told["component"], told["notes"]) == (name, [])
    assert done.stderr == ""


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_name_an_image_that_is_built(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first variant of component.toml, in `--help` as in the README."""
    variants = tomllib.loads((ROOT / "components" / name / "component.toml").read_text())["variants"]
    image = f"quartet/{name}:{next(iter(variants))}"

    assert "left_out" not in variants[next(iter(variants))]
    assert run(component_of(name), ["--help"], {}) == 0
    for text in (capsys.readouterr().out, (ROOT / "components" / name / "README.md").read_text()):
        assert set(re.findall(r"quartet/[a-z]+(?::[a-z-]+)?(?= )", text)) == {image}
