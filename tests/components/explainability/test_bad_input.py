"""What cannot be used is refused: one sentence, the right exit code, the message written, and no output left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import xgboost

from components.explainability.component import COMPONENT
from shared.entrypoint import run
from tests.components.explainability.models import Tree, features, labels, packed, table_of, trained, write_model

CSV = "part-0000-of-0001.csv"
ROWS = table_of(features(5))


def data(text: str) -> Callable[[Tree], None]:
    """Put this text in the place of the data."""

    def spoil(tree: Tree) -> None:
        for path in tree.input("data").iterdir():
            path.unlink()
        (tree.input("data") / CSV).write_text(text)

    return spoil


def manifest(name: str, **values: object) -> Callable[[Tree], None]:
    """Change an artefact's manifest."""

    def spoil(tree: Tree) -> None:
        path = tree.input(name) / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def appended(name: str) -> Callable[[Tree], None]:
    """Change a file by one byte at its end."""

    def spoil(tree: Tree) -> None:
        path = tree.root / "processing/input" / name
        path.write_bytes(path.read_bytes() + b" ")

    return spoil


def removed(name: str) -> Callable[[Tree], None]:
    def spoil(tree: Tree) -> None:
        (tree.root / "processing/input" / name).unlink()

    return spoil


def of_another_model(tree: Tree) -> None:
    matrix = features(200, seed=8)
    (tree.input("model") / "model.tar.gz").unlink()
    write_model(tree.input("model"), trained({"objective": "binary:logistic"}, matrix, labels(matrix)))


def of_torch(tree: Tree) -> None:
    matrix = features(200, seed=8)
    (tree.input("model") / "model.tar.gz").unlink()
    booster = trained({"objective": "binary:logistic"}, matrix, labels(matrix))
    write_model(tree.input("model"), booster, framework="torch")


def two_hosts(tree: Tree) -> None:
    path = tree.root / "config/resourceconfig.json"
    path.parent.mkdir()
    path.write_text('{"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}')


def not_a_number(column: int, cell: str = "far") -> str:
    lines = ROWS.write_csv(include_header=False).splitlines()
    cells = lines[2].split(",")
    cells[column] = cell
    return "\n".join([*lines[:2], ",".join(cells), *lines[3:]])


SERVE = [
    (data(""), (), 3, "is empty (0 bytes)"),
    (data(ROWS.drop("seats", "wind").write_csv(include_header=False)), (), 3, "has 3 columns, wanted 5"),
    (data(ROWS.write_csv()), (), 3, "has a header line where none was said"),
    (data(ROWS.write_csv(include_header=False)), ("--header",), 3, "lacks columns 'distance'"),
    (data(ROWS.rename({"wind": "wnd"}).write_csv()), ("--header",), 3, "lacks column 'wind'"),
    (data(ROWS.write_csv().splitlines()[0] + "\n"), ("--header",), 3, "holds no rows"),
    (data(ROWS.write_csv(separator=";")), ("--header",), 3, "has one column, 'flight_id;distance"),
    (data(ROWS.write_csv(separator=";", include_header=False)), (), 3, "has 1 columns, wanted 5"),
    (data(not_a_number(1)), (), 3, "row 3: column 'distance' is 'far', wanted a finite number"),
    (data(not_a_number(1, "1e39")), (), 3, "input 'data', row 3: column 'distance' is '1e+39', wanted a number from"),
    (data(not_a_number(1, "1e39")), ("--batch-rows", "2", "--method", "woodelf"), 3, "row 3: column 'distance' is"),
    (data("\x00\x01\x02\xff" * 100), (), 3, CSV),
    (removed(f"data/{CSV}"), (), 3, "input 'data' is empty"),
    (lambda tree: (tree.input("data") / "notes.txt").write_text("x") and None, (), 3, "holds 'notes.txt'"),
    (appended("explainer/explainer.json"), (), 3, "explainer file 'explainer.json' is not the one that was written"),
    (appended("explainer/model.ubj"), (), 3, "explainer file 'model.ubj' is not the one that was written"),
    (removed("explainer/explainer.json"), (), 3, "explainer lacks its file 'explainer.json'"),
    (removed("explainer/manifest.json"), (), 3, "holds no manifest.json"),
    (manifest("explainer", format=0), (), 3, "explainer has format 0, older than"),
    (manifest("explainer", component="monitoring"), (), 3, "explainer was made by 'monitoring'"),
    (lambda tree: (tree.input("model") / "model.tar.gz").write_bytes(b"no tar") and None, (), 3, "cannot be unpacked"),
    (of_another_model, (), 3, "the explainer was trained on model "),
    (of_torch, (), 2, "the model's framework is 'torch', and exact attributions exist for 'xgboost'"),
    (two_hosts, (), 2, "runs on one host, found 2"),
    (lambda tree: None, ("--reason", "3"), 2, "'reason' is no setting. Did you mean 'reasons'?"),
    (lambda tree: None, ("--reasons", "0"), 2, "reasons is 0, wanted greater than or equal to 1"),
    (lambda tree: None, ("--ndcg-threshold", "1.5"), 2, "ndcg_threshold is 1.5, wanted less than or equal to 1"),
    (lambda tree: None, ("--method", "lime"), 2, "method is 'lime', wanted 'auto', 'contributions' or 'woodelf'"),
]


@pytest.mark.parametrize(("spoil", "arguments", "code", "said"), SERVE, ids=[case[-1][:40] for case in SERVE])
def test_serve_refuses(
    servable: Tree, spoil: Callable[[Tree], None], arguments: tuple[str, ...], code: int, said: str
) -> None:
    spoil(servable)

    assert servable.run("serve", *arguments) == code
    assert said in servable.message
    assert servable.message.count("\n") == 0
    assert servable.written() == []


TRAIN = [
    (data(ROWS.drop("wind").write_csv()), 3, "lacks column 'wind'"),
    (data(ROWS.write_csv(include_header=False)), 3, "If its first line is data, say that there is no header"),
    (data(ROWS.write_csv().splitlines()[0] + "\n"), 3, "input 'data' holds no rows"),
    (data(ROWS.write_csv(separator=";")), 3, "wanted columns with commas between them. Write it with commas"),
    (
        data(ROWS.write_csv().splitlines()[0] + "\n" + not_a_number(4, "-1e39")),
        3,
        "input 'data', row 3: column 'wind' is '-1e+39', wanted a number from -3.4028235e+38",
    ),
    (of_torch, 2, "the model's framework is 'torch'"),
    (two_hosts, 2, "runs on one host, found 2"),
]


@pytest.mark.parametrize(("spoil", "code", "said"), TRAIN, ids=[case[-1][:40] for case in TRAIN])
def test_train_refuses(trainable: Tree, spoil: Callable[[Tree], None], code: int, said: str) -> None:
    spoil(trainable)

    assert trainable.run("train") == code
    assert said in trainable.message
    assert trainable.message.count("\n") == 0
    assert trainable.written() == []


def test_a_model_file_that_is_no_booster_is_refused(tmp_path: Path, booster: xgboost.Booster) -> None:
    """Even when its manifest was written for it."""
    tree = Tree(tmp_path / "train")
    folder = write_model(tmp_path / "model", booster)
    (folder / "model.ubj").write_bytes(b"{no booster")
    files = json.loads((folder / "manifest.json").read_text())
    files["files"]["model.ubj"] = hashlib.sha256(b"{no booster").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(files))
    packed(folder, tree.root / "processing/input/model")
    ROWS.write_parquet(tree.input("data") / "part.parquet")

    assert tree.run("train") == 3
    assert "model.ubj cannot be read by XGBoost" in tree.message


def test_attributions_that_do_not_add_up_end_the_job(servable: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours to answer for (1), and nothing of what was explained before is left."""
    monkeypatch.setattr("components.explainability.attributions.TOLERANCE", 0)

    assert servable.run("serve", "--batch-rows", "50") == 1
    assert "attributions do not add up" in servable.message
    assert servable.written() == []


def test_a_missing_input_is_named(trainable: Tree) -> None:
    (trainable.input("model") / "model.tar.gz").unlink()
    trainable.input("model").rmdir()

    assert trainable.run("train") == 2
    assert "has no input 'model'" in trainable.message


def test_help_and_schema_need_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMPONENT, ["--help"], {}) == 0
    assert run(COMPONENT, ["schema"], {}) == 0
    assert "ndcg_threshold" in capsys.readouterr().out
