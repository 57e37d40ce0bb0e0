"""Train: channels in, a verified model folder and its evaluation out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from components.algorithm.evaluation import best_f1, ranking
from components.algorithm.golden import batch
from components.algorithm.model import Fitted, framework
from components.algorithm.outputs import DEFAULTS, KNOWN, column_names
from components.algorithm.quality import Evaluation, document, evaluated
from components.algorithm.rows import Rows, Tables, tables
from components.algorithm.scores import distribution
from components.algorithm.settings import AlgorithmSettings
from shared.artefact import write_artefact
from shared.component import Job
from shared.errors import SettingsError, names
from shared.files import write_json

CHANNELS: Final = ("train", "validation", "state", "settings")


def train(job: Job[AlgorithmSettings]) -> None:
    """Learn a model from the channels and write it with everything that tells what it is worth."""
    settings = job.settings
    learner = framework(settings.framework)
    announce(job)
    data = tables(job.input("train"), job.optional("validation"), job.optional("state"), settings)
    announce_data(job, data)
    fitted = learner.fit(data, settings, job.log, job.checkpoints)
    job.stopped = fitted.stopped
    evaluation = measured(fitted, data, settings)
    training = story(fitted, data, settings)
    content = document(evaluation, training)
    write_model(job.output("model"), fitted, data, evaluation, settings, content)
    write_report_files(job.output("report"), fitted, data, evaluation, settings, content)
    announce_quality(job, fitted, evaluation)
    job.message = summary(evaluation, fitted, settings)


def announce(job: Job[AlgorithmSettings]) -> None:
    """Say what will not be heeded, before time is spent.

    Raises:
        SettingsError: the job has more than one host.
    """
    if len(job.hosts.all) > 1:
        raise SettingsError(f"training runs on one host, and the job has {len(job.hosts.all)}. Ask for one instance.")
    foreign = job.settings.without_effect
    if foreign:
        job.log.warning("framework %s has no use for %s.", job.settings.framework, names(foreign))
    unread = [name for name in job.inputs if name not in CHANNELS]
    if unread:
        job.log.warning("channels %s are not read.", names(unread))


def announce_data(job: Job[AlgorithmSettings], data: Tables) -> None:
    """Say what was read, and what of it is strange though usable."""
    checked = f"{len(data.validation)} to validate" if data.validation is not None else "none to validate"
    job.log.info("%d rows to learn from, %s, %d features.", len(data.train), checked, len(data.schema.features))
    if data.constant:
        job.log.warning("nothing can be learned from %s: one value in all training rows.", names(data.constant))
    if data.validation is None:
        job.log.warning("no channel 'validation': no early stopping, and quality is measured on rows already seen.")


def announce_quality(job: Job[AlgorithmSettings], fitted: Fitted, evaluation: Evaluation) -> None:
    """Say what the model that is kept is worth, last of all: a tuning job compares trainings by the last value.

    The lines of the rounds end some rounds after the one that is kept, wherever training stopped early.
    """
    curves = fitted.curves.get(evaluation.rows_of, {})
    at_best = {metric: values[fitted.best_round] for metric, values in curves.items()}
    for metric, value in {**at_best, **evaluation.figures}.items():
        job.log.info("%s:%s=%.6g;", evaluation.rows_of, metric, value)


def measured(fitted: Fitted, data: Tables, settings: AlgorithmSettings) -> Evaluation:
    """The model's quality on the validation rows, or, when there are none, on the training rows."""
    rows: Rows = data.train if data.validation is None else data.validation
    predicted = fitted.model.predictions(rows.features)
    threshold = (
        best_f1(ranking(rows.target, predicted)) if settings.threshold == "best_f1" else float(settings.threshold)
    )
    return evaluated(
        settings.task,
        "train" if data.validation is None else "validation",
        rows.target,
        predicted,
        threshold,
        data.train.target,
    )


def story(fitted: Fitted, data: Tables, settings: AlgorithmSettings) -> dict[str, Any]:
    """What `evaluation.json` tells of the training."""
    return {
        "framework": settings.framework,
        "objective": settings.objective,
        "rows": {"train": len(data.train), "validation": 0 if data.validation is None else len(data.validation)},
        "rounds": fitted.rounds,
        "best_round": fitted.best_round,
        "stopped": fitted.stopped is not None,
        "decided_by": settings.metrics[-1],
        "threshold_from": "best F1 on the rows of this evaluation" if settings.threshold == "best_f1" else "settings",
        "curves": fitted.curves,
    }


def write_model(
    folder: Path,
    fitted: Fitted,
    data: Tables,
    evaluation: Evaluation,
    settings: AlgorithmSettings,
    content: dict[str, Any],
) -> None:
    """Fill the model folder and seal it."""
    fitted.save(folder)
    scored = evaluation.predicted.max(axis=1) if settings.task == "multiclass" else evaluation.predicted
    write_json(folder / "evaluation.json", content)
    write_json(folder / "scores.json", {**distribution(scored), "channel": evaluation.rows_of})
    wanted = settings.outputs or DEFAULTS[settings.task]
    write_artefact(
        folder,
        component="algorithm",
        schema=data.schema,
        settings=settings.model_dump(mode="json"),
        libraries=fitted.libraries,
        parents={} if data.state is None else {"state": data.state},
        extra={
            "framework": settings.framework,
            "objective": settings.objective,
            "task": settings.task,
            "classes": data.classes,
            "threshold": evaluation.threshold,
            "outputs": list(column_names(wanted, settings.task, data.classes)),
            "known_outputs": list(KNOWN[settings.task]),
            "stopped": fitted.stopped is not None,
        },
        golden=batch(fitted.model, data.train.features, data.schema, settings.task, evaluation.threshold),
    )


def write_report_files(
    folder: Path,
    fitted: Fitted,
    data: Tables,
    evaluation: Evaluation,
    settings: AlgorithmSettings,
    content: dict[str, Any],
) -> None:
    """Write the evaluation again, beside the report on it."""
    from components.algorithm.document import report
    from shared.report import write_report

    write_json(folder / "evaluation.json", content)
    write_report(report(fitted, data, evaluation, settings), folder)


def summary(evaluation: Evaluation, fitted: Fitted, settings: AlgorithmSettings) -> str:
    """How it went, in a sentence."""
    name = {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}[settings.task]
    return (
        f"{settings.framework} kept round {fitted.best_round + 1} of {fitted.rounds}: {evaluation.rows_of} {name} "
        f"{evaluation.figures[name]:.4f} on {len(evaluation.target)} rows, baseline {evaluation.baseline[name]:.4f}."
    )
