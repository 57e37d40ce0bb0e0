"""Serve: explain each scored row, and compare the global picture with training's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.explainability.analysis import analysis, column, label, violations
from components.explainability.attributions import Attributions, Explainer
from components.explainability.explainer import Picture, check_parent, open_explainer, own_model
from components.explainability.findings import Agreement, serving_report
from components.explainability.importance import Importance, ImportanceSummary
from components.explainability.model import Model, open_model
from components.explainability.ranking import normalised_discounted_cumulative_gain
from components.explainability.reading import check_one_host, input_batches
from components.explainability.reasons import reason_columns
from components.explainability.sampling import Sample
from components.explainability.settings import ExplainabilitySettings
from shared.artefact import Artefact
from shared.component import Job, Predictor
from shared.errors import DataError
from shared.files import write_json
from shared.report import write_report
from shared.settings import environment_values, parsed
from shared.single import check_request, check_rows

Array = NDArray[np.floating[Any]]

DRAWN_ROWS: Final = 300
"""Rows whose attributions the report draws."""
GOLDEN_TOLERANCE: Final = 1e-4


def serve(job: Job[ExplainabilitySettings]) -> None:
    """Read `data`, `model` and `explainer`; write `explanations` and `report`."""
    check_one_host(job)
    settings = job.settings
    parent, model = open_model(job.input("model"))
    artefact, picture = open_explainer(job.input("explainer"))
    check_parent(artefact, parent)
    check_golden(artefact, model)
    batches = input_batches(job.input("data"), model.schema, settings, header=settings.header is True)
    summary, sample, route = explain_rows(batches, model, settings, job.output("explanations"))
    if summary is None:
        raise DataError("input 'data' holds no rows. Check the job that wrote it.")
    importance = summary.result()
    agreement = compared(picture, importance, settings.ndcg_threshold)
    folder = job.output("report")
    write_json(folder / "analysis.json", analysis(importance, picture.expected, model.features))
    found = violations({item.label: item.ndcg for item in agreement}, settings.ndcg_threshold)
    write_json(folder / "constraint_violations.json", found)
    write_report(serving_report(model, picture, importance, sample, agreement, route), folder)
    job.message = message(importance.rows, agreement)


def check_golden(artefact: Artefact, model: Model) -> None:
    """Make sure that a model still has the attributions that it had when the explainer was trained.

    Raises:
        ArtefactError: one differs.
    """
    explainer = Explainer(model.booster, "contributions")
    artefact.check_golden(
        lambda table: attribution_table(explainer.attributions(model.matrix(table)), model.features), GOLDEN_TOLERANCE
    )


def explain_rows(
    batches: Iterator[pl.DataFrame], model: Model, settings: ExplainabilitySettings, folder: Path
) -> tuple[ImportanceSummary | None, Sample, str]:
    """Explain batch after batch into out.csv and reasons.csv.

    Returns:
        The importance of all rows (None when there was no row), a sample of features and attributions, and the route.

    Raises:
        DataError: a number is too large for float32, in which the model computes.
    """
    summary, sample = None, Sample(DRAWN_ROWS, settings.seed)
    explainer = Explainer(model.booster, settings.method)
    (folder / "explanations_shap").mkdir(parents=True)
    with (folder / "explanations_shap/out.csv").open("wb") as out, (folder / "reasons.csv").open("wb") as reasons:
        for table in batches:
            matrix = model.matrix(table)
            check_rows(matrix, table, model.features, "input 'data'", sample.seen)
            attributions = explainer.attributions(matrix)
            first = summary is None
            summary = summary or ImportanceSummary(*attributions.values.shape[1:])
            summary.update(attributions.values)
            sample.update(matrix, attributions.values)
            ids = [table[name] for name in model.schema.ids if name in table.columns]
            explanations = attribution_table(attributions, model.features, ids)
            explanations.write_csv(out, include_header=first)
            told = reason_table(model, matrix, attributions, settings.reasons, ids)
            told.write_csv(reasons, include_header=first)
    return summary, sample, explainer.route


def attribution_table(
    attributions: Attributions, features: tuple[str, ...], ids: Sequence[pl.Series] = ()
) -> pl.DataFrame:
    """Ids and attributions as Clarify lays them out: all features for `label0`, then all for `label1`, and so on."""
    values = attributions.values
    columns = [
        pl.Series(column(name, output), values[:, output, index])
        for output in range(values.shape[1])
        for index, name in enumerate(features)
    ]
    return pl.DataFrame([*ids, *columns])


def reason_table(
    model: Model, matrix: Array, attributions: Attributions, count: int, ids: Sequence[pl.Series] = ()
) -> pl.DataFrame:
    """Ids, score and reasons of each row; of many classes, the most probable one's, named by `predicted_label`."""
    scores = model.scores(attributions.margins)
    chosen = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    columns = [pl.Series("score", scores[rows, chosen].astype(np.float32))]
    if scores.shape[1] > 1:
        columns.insert(0, pl.Series("predicted_label", chosen))
    columns += reason_columns(attributions.values[rows, chosen], matrix, model.features, count)
    return pl.DataFrame([*ids, *columns])


def compared(picture: Picture, importance: Importance, threshold: float) -> tuple[Agreement, ...]:
    """How well the features' order in production agrees with training's, per output."""
    pairs = zip(picture.importance.mean_absolute, importance.mean_absolute, strict=True)
    return tuple(
        Agreement(label(output), normalised_discounted_cumulative_gain(*pair), threshold)
        for output, pair in enumerate(pairs)
    )


def message(rows: int, agreement: tuple[Agreement, ...]) -> str:
    """What the job tells when it has ended; the first word is what a monitoring schedule looks at."""
    lowest = min(agreement, key=lambda item: item.ndcg)
    if lowest.drifted:
        return (
            f"CompletedWithViolations: explained {rows} rows; attribution drift, nDCG {lowest.ndcg:.4f} of "
            f"{lowest.label} is below {lowest.threshold:g}."
        )
    return f"Completed: explained {rows} rows; no attribution drift, lowest nDCG {lowest.ndcg:.4f}."


def load(folder: Path, environment: Mapping[str, str]) -> Predictor:
    """Open the explainer for HTTP. It carries its model, so its folder is all that has to be mounted.

    Raises:
        ArtefactError: the explainer cannot be trusted.
        SettingsError: a setting in the environment cannot be used.
    """
    settings = parsed(ExplainabilitySettings, environment_values(environment))
    artefact, _ = open_explainer(folder)
    model = own_model(artefact)
    check_golden(artefact, model)
    return Predictor(model.schema, answering(model, settings))


def answering(model: Model, settings: ExplainabilitySettings) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The function that answers a request's rows: their ids when they were sent, then attributions or reasons."""
    # A request has few rows, and the route must not depend on how many: equal rows get equal answers.
    explainer = Explainer(model.booster, "contributions" if settings.method == "auto" else settings.method)
    lock = threading.Lock()

    def answer(table: pl.DataFrame) -> pl.DataFrame:
        matrix = model.matrix(table)
        check_request(matrix, table, model.features)
        with lock:
            attributions = explainer.attributions(matrix)
        ids = [table[name] for name in model.schema.ids if name in table.columns]
        if settings.answer == "reasons":
            return reason_table(model, matrix, attributions, settings.reasons, ids)
        return attribution_table(attributions, model.features, ids)

    return answer
