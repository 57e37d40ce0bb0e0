"""Train: explain a sample of the training data, and keep the global picture with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.explainability.analysis import analysis
from components.explainability.attributions import Attributions, Explainer
from components.explainability.explainer import Picture, feature_ranges, write_explainer
from components.explainability.findings import training_report
from components.explainability.importance import ImportanceSummary
from components.explainability.model import Model, open_model
from components.explainability.reading import check_one_host, input_batches
from components.explainability.sampling import Sample
from components.explainability.settings import ExplainabilitySettings
from shared.component import Job
from shared.errors import DataError
from shared.files import write_json
from shared.report import write_report
from shared.single import check_rows

Array = NDArray[np.floating[Any]]


def train(job: Job[ExplainabilitySettings]) -> None:
    """Read `data` and `model`; write `explainer` and `report`."""
    check_one_host(job)
    settings = job.settings
    artefact, model = open_model(job.input("model"))
    matrix, rows = sampled_matrix(job.input("data"), model, settings)
    explainer = Explainer(model.booster, settings.method)
    job.log.info("explaining %d of %d rows", len(matrix), rows)
    attributions = explained(explainer, matrix, settings.batch_rows)
    summary = ImportanceSummary(*attributions.values.shape[1:])
    summary.update(attributions.values)
    picture = Picture(summary.result(), attributions.expected, feature_ranges(matrix))
    write_explainer(
        job.output("explainer"),
        model=model,
        parent=artefact,
        settings=settings,
        picture=picture,
        golden=(matrix, attributions),
    )
    report = training_report(model, picture, matrix, attributions, explainer.route, rows)
    write_json(job.output("report") / "analysis.json", analysis(picture.importance, picture.expected, model.features))
    write_report(report, job.output("report"))
    job.message = (
        f"Completed: explained {len(matrix)} of {rows} rows by {len(model.features)} features, all of them additive."
    )


def sampled_matrix(folder: Path, model: Model, settings: ExplainabilitySettings) -> tuple[Array, int]:
    """The features of a uniform sample of the data, in the data's order, and how many rows the data has.

    Raises:
        DataError: the data cannot be read, a number is too large for float32, or there is no row.
    """
    sample = Sample(settings.rows, settings.seed)
    wanted = model.schema.select(model.features)
    for table in input_batches(folder, wanted, settings, header=settings.header is not False):
        matrix = model.matrix(table)
        check_rows(matrix, table, wanted.features, "input 'data'", sample.seen)
        sample.update(matrix)
    if not sample.seen:
        raise DataError("input 'data' holds no rows. Check the job that wrote it.")
    (matrix,) = sample.arrays
    return matrix, sample.seen


def explained(explainer: Explainer, matrix: Array, batch_rows: int) -> Attributions:
    """Attributions of a matrix, computed in batches."""
    parts = [explainer.attributions(matrix[start : start + batch_rows]) for start in range(0, len(matrix), batch_rows)]
    return Attributions(
        np.concatenate([part.values for part in parts]),
        parts[0].expected,
        np.concatenate([part.margins for part in parts]),
    )
