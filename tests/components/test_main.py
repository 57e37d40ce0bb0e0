"""How the four programs start."""

from __future__ import annotations

import json
import os
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


def refusal(mounted: Path, denied: Path, *mode: str, component: str = "processing") -> tuple[int, str]:
    """How a program ends, and what it says, whose user may not enter a folder; root may enter any but for this."""
    dac_override, dac_read_search, drop = 1, 2, 24
    code = (
        "import ctypes, os, sys; "
        f"[ctypes.CDLL(None).prctl({drop}, kind) for kind in ({dac_override}, {dac_read_search})]; "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    denied.chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, "-m", f"components.{component}", *mode],
            cwd=ROOT,
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(mounted)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    finally:
        denied.chmod(0o755)
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("inside", ["", "2026"])
def test_an_input_that_may_not_be_entered_is_one_sentence(tmp_path: Path, inside: str) -> None:
    """`Path.rglob` would find nothing there, and the rest would be taken for all."""
    data = tmp_path / "processing/input/data"
    (data / "2026").mkdir(parents=True)
    for folder in (data, data / "2026"):
        (folder / "a.csv").write_text("x,y\n1,0\n2,1\n")

    code, said = refusal(tmp_path, data / inside, "train", "--target", "y")

    assert code == 3
    assert said.endswith(
        f"input 'data' {data / inside} cannot be read: Permission denied. Let the container's user read it."
    )


def test_a_volumes_own_folder_is_no_data(tmp_path: Path) -> None:
    data = tmp_path / "processing/input/data"
    (data / "lost+found").mkdir(parents=True)
    (data / "a.csv").write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(40)))

    assert refusal(tmp_path, data / "lost+found", "train", "--target", "y")[0] == 0


def test_a_channel_that_is_not_read_need_not_be_readable(tmp_path: Path) -> None:
    """Clients add channels of their own, such as `code`."""
    for channel in ("data", "code"):
        (tmp_path / "input/data" / channel).mkdir(parents=True)
    (tmp_path / "input/data/data/a.csv").write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(40)))
    (tmp_path / "input/config").mkdir()
    (tmp_path / "input/config/inputdataconfig.json").write_text('{"data": {}, "code": {}}')

    assert refusal(tmp_path, tmp_path / "input/data/code", "train", "--target", "y")[0] == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_artefact_that_may_not_be_entered_is_one_sentence_over_http(tmp_path: Path, name: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    code, said = refusal(tmp_path, model, "serve", component=name)

    assert code == 3
    assert "Traceback" not in said
    assert f"{model}/manifest.json cannot be read: Permission denied. Let the container's user read it." in said
