"""What the documents say is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from components.explainability.component import COMPONENT
from components.explainability.settings import ExplainabilitySettings
from components.spec import read_spec

FOLDER = Path(__file__).parents[3] / "components/explainability"


def test_the_readme_lists_each_setting_with_its_default() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", (FOLDER / "README.md").read_text(), flags=re.MULTILINE))

    assert table == {
        name: "by mode" if field.default is None else str(field.default)
        for name, field in ExplainabilitySettings.model_fields.items()
    }


def test_the_specification_names_the_ports_that_the_code_has() -> None:
    spec = read_spec(FOLDER / "component.toml")

    for mode, ports in ((spec.train, COMPONENT.train_ports), (spec.serve, COMPONENT.serve_ports)):
        assert (mode.inputs, mode.optional_inputs) == (ports.inputs, ports.optional_inputs)
        assert (mode.outputs, mode.optional_outputs) == (ports.outputs, ports.optional_outputs)
    assert spec.summary == COMPONENT.summary
