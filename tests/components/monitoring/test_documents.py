"""What is written down about the component agrees with what it is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from components.monitoring.component import COMPONENT
from components.monitoring.settings import LEARNT, MonitoringSettings

FOLDER = Path(__file__).parents[3] / "components/monitoring"


def test_the_readme_lists_every_setting_as_it_is_declared() -> None:
    section = (FOLDER / "README.md").read_text().split("## Settings")[1].split("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \|(.*?)\| (.*) \|$", section, flags=re.MULTILINE)
    declared = MonitoringSettings.model_fields

    assert [row[0] for row in found] == list(declared)
    for name, shown, description in found:
        assert shown.strip() == default(name)
        assert description == declared[name].description


def default(name: str) -> str:
    """A default as the table shows it: JSON in backquotes, text without quotes, nothing for none."""
    value = MonitoringSettings.model_validate({}).model_dump(mode="json")[name]
    if value is None:
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def test_the_specification_names_the_ports_of_the_component() -> None:
    found = tomllib.loads((FOLDER / "component.toml").read_text())

    assert found["summary"] == COMPONENT.summary
    for mode, ports in (("train", COMPONENT.train_ports), ("serve", COMPONENT.serve_ports)):
        for kind in ("inputs", "optional_inputs", "outputs", "optional_outputs"):
            assert tuple(found[mode].get(kind, ())) == getattr(ports, kind)


def test_what_is_learnt_are_settings_that_exist() -> None:
    assert set(MonitoringSettings.model_fields) >= set(LEARNT)
