"""Serve: a model folder in, a function from rows to scores out; `shared.server` speaks HTTP around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.algorithm.model import Model, framework
from components.algorithm.outputs import answers, chosen
from components.algorithm.rows import matrix
from components.algorithm.settings import Output, Task
from shared.artefact import Artefact, open_artefact
from shared.component import Predictor
from shared.errors import ArtefactError
from shared.single import check_request

if TYPE_CHECKING:
    import polars as pl


def load(folder: Path, environment: Mapping[str, str]) -> Predictor:
    """The model in a folder, after it has reproduced its golden batch.

    Args:
        folder: what train wrote, or its model.tar.gz.
        environment: SAGEMAKER_INFERENCE_OUTPUT, or QUARTET_OUTPUTS, names the outputs.

    Raises:
        ArtefactError: the model is not what train wrote, or does not answer as it did then.
        SettingsError: the wanted outputs are none that this model has, or its framework is not installed.
    """
    artefact = open_artefact(folder, "algorithm", "model")
    try:
        task: Task = artefact.extra["task"]
        threshold = float(artefact.extra["threshold"])
        trained: tuple[Output, ...] = tuple(artefact.settings["outputs"])
        model = framework(artefact.extra["framework"]).load(artefact)
    except KeyError as error:
        raise ArtefactError(f"model manifest lacks {error}. Train again.") from None
    wanted = chosen(environment.get("SAGEMAKER_INFERENCE_OUTPUT") or environment.get("QUARTET_OUTPUTS"), trained, task)
    check_golden(artefact, model, task, threshold)
    features, ids = artefact.schema.features, artefact.schema.ids

    def answer(table: pl.DataFrame) -> pl.DataFrame:
        """The ids that were sent, then the outputs."""
        import polars as pl

        rows = matrix(table, features)
        check_request(rows, table, features)
        columns = answers(model, rows, wanted, task, threshold)
        sent = [table[name] for name in ids if name in table.columns]
        return pl.DataFrame([*sent, *(pl.Series(name, values) for name, values in columns.items())])

    return Predictor(artefact.schema.without_target(), answer)


def check_golden(artefact: Artefact, model: Model, task: Task, threshold: float) -> None:
    """Make sure that the model answers its golden batch as it did when it was trained, all rows at once and one by one.

    Raises:
        ArtefactError: it does not.
    """
    import polars as pl

    from components.algorithm.golden import OUTPUTS

    def together(table: pl.DataFrame) -> pl.DataFrame:
        features = matrix(table, artefact.schema.features)
        return pl.DataFrame(answers(model, features, OUTPUTS, task, threshold))

    def one_by_one(table: pl.DataFrame) -> pl.DataFrame:
        return pl.concat(together(table[row]) for row in range(table.height))

    artefact.check_golden(together)
    artefact.check_golden(one_by_one)
