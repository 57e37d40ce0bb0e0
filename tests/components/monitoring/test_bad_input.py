"""Bad input: one sentence, the right exit code, the message file written, and no output left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.components.monitoring.places import IDS, Place, Places, rows

SETTINGS, DATA = 2, 3
PRODUCTION = rows(300, seed=1).drop("y")
SCORES = PRODUCTION.select("id", score=pl.lit(0.5))


def refused(place: Place, mode: str, code: int, *words: str, **settings: Any) -> None:
    """Make sure that a run fails with the code, says the words in one sentence, and leaves no output."""
    assert place.run(mode, **settings) == code

    for word in words:
        assert word in place.message
    assert "\n" not in place.message
    assert place.message.endswith((".", "?"))
    assert place.written() == []


def serving(places: Places, trained: Place, data: pl.DataFrame | str = PRODUCTION, **inputs: str | bytes) -> Place:
    """A place that is ready to serve; inputs are files named like `scores` and `labels`."""
    place = places()
    place.put("data", data)
    place.mount("baseline", trained)
    for name, content in inputs.items():
        place.put(name, content, "part-0000-of-0001.csv.out" if name == "scores" else "data.csv")
    return place


@pytest.mark.parametrize("mode", ["train", "serve"])
@pytest.mark.parametrize(
    ("content", "file", "words"),
    [
        (b"", "data.csv", ["data.csv is empty (0 bytes)"]),
        (b"\xff\xfe\x00\x01\x02", "data.parquet", ["data.parquet cannot be read as Parquet"]),
        (b"\x00\x01", "data.xlsx", ["data.xlsx", ".csv"]),
        (b"id,amount,amount\n1,2,3\n", "data.csv", ["names column 'amount' twice"]),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    places: Places, trained: Place, mode: str, content: bytes, file: str, words: list[str]
) -> None:
    place = places()
    place.mount("baseline", trained)
    place.put("data", content, file)

    refused(place, mode, DATA, *words)


@pytest.mark.parametrize("mode", ["train", "serve"])
@pytest.mark.parametrize("settings", [{}, IDS], ids=["no settings", "ids and target"])
def test_semicolons_without_their_setting_are_refused(
    places: Places, trained: Place, mode: str, settings: dict[str, Any]
) -> None:
    place = places()
    place.mount("baseline", trained)
    place.put("data", PRODUCTION.write_csv(separator=";"))

    refused(place, mode, DATA, "data.csv has one column, 'id;", "set `separator` to ';'", **settings)


def test_semicolons_with_their_setting_are_read(places: Places) -> None:
    trained = places.trained(rows(300, seed=1).write_csv(separator=";"), separator=";")

    assert trained.written() != []


@pytest.mark.parametrize("mode", ["train", "serve"])
def test_a_header_without_rows_is_refused(places: Places, trained: Place, mode: str) -> None:
    place = places()
    place.mount("baseline", trained)
    place.put("data", "id,day,amount,wait,size,city,note\n")

    refused(place, mode, DATA, "rows")


@pytest.mark.parametrize("mode", ["train", "serve"])
def test_an_empty_folder_is_refused(places: Places, trained: Place, mode: str) -> None:
    place = places()
    place.mount("baseline", trained)
    (place.root / "processing/input/data").mkdir(parents=True)

    refused(place, mode, DATA, "input 'data' is empty")


def test_a_header_where_none_was_said_is_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained, rows(300, seed=1))

    refused(place, "serve", DATA, "has a header line where none was said", header=False)


def test_no_header_where_one_was_said_is_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained, PRODUCTION.write_csv(include_header=False))

    refused(place, "serve", DATA, "has none of the baseline's columns", "say that there is no header")


def test_a_headerless_table_of_another_width_is_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained, "1,2,3\n")

    refused(place, "serve", DATA, "data.csv has 3 columns, wanted 7 or 8", header=False)


def test_data_without_a_common_column_are_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained, pl.DataFrame({"colour": ["red"], "length": [3]}))

    refused(place, "serve", DATA, "data.csv has none of the baseline's columns 'amount'", "it has 'colour', 'length'")


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"time": "dya"}, DATA, ["lack the time column 'dya'", "Did you mean 'day'?"]),
        ({"ids": ["idd"]}, DATA, ["lacks column 'idd'", "Did you mean 'id'?"]),
        ({"drop": ["day", "amount", "wait", "size", "city", "note"]}, DATA, ["no column is left to monitor"]),
        ({"blocks": "3d"}, SETTINGS, ["'blocks' is no setting", "Did you mean 'block'?"]),
        ({"bins": 5000}, SETTINGS, ["bins is 5000, wanted less than or equal to 64"]),
        ({"false_discovery_rate": 0}, SETTINGS, ["false_discovery_rate is 0", "greater than 0"]),
        ({"block": "3y"}, SETTINGS, ["block is '3y', wanted auto"]),
        ({"block": "3d"}, SETTINGS, ["block is '3d', but no time column is set"]),
        ({"block": "3d", "time": "city"}, SETTINGS, ["time is 'city', which holds no dates"]),
        ({"block": "100d", "time": "day"}, SETTINGS, ["cuts the data into 1 blocks", "Choose a shorter one"]),
        ({"block": "1min", "time": "day"}, SETTINGS, ["Choose a longer one"]),
        ({"target": "id"}, SETTINGS, ["target 'id' is among `ids`"]),
        ({"drop": ["city", "city"]}, SETTINGS, ["drop names 'city' twice"]),
        ({"minimum_effect": 0.1, "bins": "many", "min_rows": 1}, SETTINGS, ["bins is 'many'", "min_rows is 1"]),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    places: Places, settings: dict[str, Any], code: int, words: list[str]
) -> None:
    place = places()
    place.put("data", rows(300))

    refused(place, "train", code, *words, **{**IDS, **settings})


def test_a_column_that_begins_as_numbers_and_goes_on_as_text_is_refused(places: Places) -> None:
    place = places()
    place.put("data", rows(300).write_ndjson(), "a.jsonl")
    place.put("data", rows(300).with_columns(wait=pl.lit("soon")).write_ndjson(), "b.jsonl")

    refused(place, "train", DATA, "column 'wait' begins as integer, but 300 of its 600 values are none", **IDS)


def test_a_file_that_lacks_a_column_is_refused_in_train(places: Places) -> None:
    place = places()
    place.put("data", rows(300), "a.csv")
    place.put("data", rows(300).drop("city"), "b.csv")

    refused(place, "train", DATA, "b.csv lacks column 'city'", **IDS)


def test_a_baseline_that_was_changed_is_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained)
    path = place.root / "processing/input/baseline/baseline.json"
    path.write_text(path.read_text().replace('"rows":4000', '"rows":4001'))

    refused(place, "serve", DATA, "baseline file 'baseline.json' is not the one that was written")


def test_an_older_baseline_is_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained)
    path = place.root / "processing/input/baseline/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))

    refused(place, "serve", DATA, "baseline has format 0, older than the format 1")


def test_an_artefact_of_another_component_is_no_baseline(places: Places, trained: Place, model: Path) -> None:
    place = serving(places, trained)
    shutil.rmtree(place.root / "processing/input/baseline")
    shutil.copytree(model, place.root / "processing/input/baseline")

    refused(place, "serve", DATA, "baseline was made by 'algorithm', wanted one of 'monitoring'")


def test_a_folder_without_manifest_is_no_baseline(places: Places) -> None:
    place = places()
    place.put("data", PRODUCTION)
    place.put("baseline", "{}", "baseline.json")

    refused(place, "serve", DATA, "holds no manifest.json")


def test_what_was_learnt_cannot_be_set_anew(places: Places, trained: Place) -> None:
    refused(serving(places, trained), "serve", SETTINGS, "bins is 32, but the baseline was made with 64", bins=32)


def test_a_model_folder_without_model_is_refused(places: Places) -> None:
    place = places()
    place.put("data", rows(300))
    place.put("model", "{}", "scores.json")

    refused(place, "train", DATA, "model", "holds no manifest.json", **IDS)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ("r1-0,0.5\nnobody,0.5\n", ["1 of 2 scores have ids that the data do not have", "'nobody'"]),
        ("a,b,c,0.5\n", ["has 4 columns, wanted 2: 'id', 'score'"]),
        ("r1-0,high\n", ["scores row 1 is 'high', wanted a finite number"]),
        ("r1-0,0.5\nr1-1,nan\n", ["scores row 2 is None, wanted a finite number"]),
        ("0.5\n" * 301, ["there are 301 scores for 300 rows"]),
        ("", ["is empty (0 bytes)"]),
    ],
)
def test_scores_that_are_not_those_of_the_rows_are_refused(
    places: Places, trained: Place, scores: str, words: list[str]
) -> None:
    refused(serving(places, trained, scores=scores), "serve", DATA, *words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("y\n1\n", ["labels data.csv lack column 'id'", "they have 'y'"]),
        ("id,late\nr1-0,1\n", ["labels data.csv lack column 'y'"]),
        ("id,y\nr1-0,1\nr1-0,0\n", ["labels name 'r1-0' more than once"]),
        ("id,y\nr1-0,perhaps\n", ["labels hold 'y' = 'perhaps', wanted a finite number, true or false"]),
        ("id,y\nr1-0,1\nr1-1,-inf\n", ["labels hold 'y' = '-inf', wanted a finite number, true or false"]),
        ("id,y\nr1-0,1\nr1-1,1e999\n", ["labels hold 'y' = '1e999', wanted a finite number"]),
        ("id,y\nr1-0,1\nr1-1,1e200\n", ["labels hold 'y' = '1e200', wanted a finite number", "up to 1e+150"]),
        ("id,y\nnobody,1\n", ["none of the 1 labels has the ids of a score"]),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(
    places: Places, trained: Place, labels: str, words: list[str]
) -> None:
    place = serving(places, trained, scores=SCORES.write_csv(include_header=False), labels=labels)

    refused(place, "serve", DATA, *words)


def test_labels_without_scores_are_refused(places: Places, trained: Place) -> None:
    refused(serving(places, trained, labels="id,y\nr1-0,1\n"), "serve", SETTINGS, "labels are given without scores")


def test_labels_for_a_baseline_without_ids_are_refused(places: Places) -> None:
    trained = places.trained(rows(300).drop("id"), ids=[])
    place = serving(places, trained, PRODUCTION.drop("id"), scores="0.5\n", labels="y\n1\n")

    refused(place, "serve", SETTINGS, "labels need `target` and `ids`")


def test_labels_need_scores_with_ids(places: Places, trained: Place) -> None:
    place = serving(places, trained, scores="0.5\n" * 300, labels="id,y\nr1-0,1\n")

    refused(place, "serve", DATA, "the scores hold no ids")


def test_labels_that_are_not_binary_though_said_are_refused(places: Places, trained: Place) -> None:
    place = serving(places, trained, scores=SCORES.write_csv(include_header=False), labels="id,y\nr1-0,7\n")

    refused(place, "serve", DATA, "labels hold 'y' = '7', wanted 0, 1, true or false", problem="binary")


@pytest.mark.parametrize("dirty", ["2", "-1", "0.5", "inf", "perhaps"])
def test_one_dirty_label_of_a_binary_model_is_refused(places: Places, model: Path, dirty: str) -> None:
    trained = places.trained(rows(300), model=model)
    labels = f"id,y\nr1-0,1\nr1-1,TRUE\nr1-2,\nr1-3,0.0\nr1-4,{dirty}\n"
    place = serving(places, trained, scores=SCORES.write_csv(include_header=False), labels=labels)

    refused(place, "serve", DATA, f"labels hold 'y' = '{dirty}', wanted 0, 1, true or false")


@pytest.mark.parametrize("mode", ["train", "serve"])
def test_more_than_one_machine_is_refused(places: Places, trained: Place, mode: str) -> None:
    place = serving(places, trained)
    place.hosts("algo-1", "algo-2", current="algo-1")

    refused(place, mode, SETTINGS, "monitoring runs on one machine, the job has 2")
