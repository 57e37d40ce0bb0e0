"""What jobs write for SageMaker's own tools, against the schemas that the Developer Guide describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from tests.images.containers import USERS, Jobs, Start, outputs_of
from tests.images.data import production

SCHEMAS = Path(__file__).parents[1] / "schemas"

DOCUMENTS = [
    ("monitoring train", "baseline", "statistics"),
    ("monitoring train", "baseline", "constraints"),
    ("monitoring serve", "report", "statistics"),
    ("monitoring serve", "report", "constraints"),
    ("monitoring serve", "report", "constraint_violations"),
    ("monitoring serve", "report", "drift"),
    ("explainability train", "report", "analysis"),
    ("explainability serve", "report", "analysis"),
    ("explainability serve", "report", "constraint_violations"),
]
"""Jobs, their outputs, and the documents in these."""


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def problems(name: str, path: Path) -> list[str]:
    """What a schema finds wrong with a file, which must be strict JSON: without NaN and Infinity."""
    value = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(f"{path} holds {text}"))
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(value)]


def document(run: Any, output: str, name: str) -> Path:
    (path,) = run.outputs[output].rglob(f"{name}.json")
    return Path(path)


@pytest.mark.parametrize(("job", "output", "name"), DOCUMENTS, ids=str)
def test_a_document_is_as_its_readers_want_it(runs: Mapping[str, Any], job: str, output: str, name: str) -> None:
    assert problems(name, document(runs[job], output, name)) == []


def test_violations_are_named_as_model_monitor_names_them(
    start: Start, runs: Mapping[str, Any], tmp_path: Path
) -> None:
    """A month in which all goes wrong at once: drift, a lost column, a new one, new levels, and words for numbers."""
    broken = tmp_path / "broken"
    broken.mkdir()
    production().with_columns(
        (pl.col("age") + 3).cast(pl.String).str.replace(r".*1$", "old"),
        pl.lit("ZZ").alias("carrier"),
        pl.lit(1).alias("new"),
    ).drop("income").write_csv(broken / "data.csv")
    jobs = Jobs(start, tmp_path, USERS["root"])
    given = {"data": broken, "baseline": runs["monitoring train"].outputs["baseline"]}
    done = jobs.processing("monitoring", given, outputs_of("monitoring", "serve"))
    report = done.outputs["report"]
    found = json.loads((report / "constraint_violations.json").read_text())["violations"]

    # A finding is no failure of the job: Model Monitor reads the status from the first word.
    assert done.code == 0, done.said
    assert done.message.startswith("CompletedWithViolations: ")
    assert {item["constraint_check_type"] for item in found} >= {
        "baseline_drift_check",
        "categorical_values_check",
        "data_type_check",
        "extra_column_check",
        "missing_column_check",
    }
    for name in ("constraint_violations", "statistics", "constraints", "drift"):
        assert problems(name, report / f"{name}.json") == []
    assert json.loads((report / "drift.json").read_text())["detected"] is True


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_schema_is_one_and_refuses_what_lacks_its_keys(path: Path) -> None:
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    held = Draft202012Validator(schema)

    assert not held.is_valid({})
    assert not held.is_valid([])
    assert schema["required"]
