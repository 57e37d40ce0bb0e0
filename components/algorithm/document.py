"""The report on a trained model, as a document of charts and tables."""

from __future__ import annotations

from components.algorithm.evaluation import precision_recall, ranking, roc_curve, thinned
from components.algorithm.model import Fitted
from components.algorithm.quality import BASELINES, Evaluation
from components.algorithm.rows import Tables
from components.algorithm.settings import AlgorithmSettings
from shared.report import Bars, Block, Fact, Facts, Lines, Matrix, Report, Section, Series, Table, Text

BARS = 20
"""Most features in the chart of gains."""
HEADLINES = {
    "binary": ("auc", "aucpr", "logloss", "brier"),
    "multiclass": ("accuracy", "weighted_f1", "logloss"),
    "regression": ("rmse", "mae", "r2"),
}
TITLES = {
    "auc": "ROC AUC",
    "aucpr": "PR AUC",
    "logloss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "error": "share of errors",
    "merror": "share of errors",
    "mlogloss": "log loss",
    "weighted_f1": "weighted F1",
    "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall",
    "rmse": "RMSE",
    "mae": "MAE",
    "mse": "MSE",
    "r2": "R²",
}


def report(fitted: Fitted, data: Tables, evaluation: Evaluation, settings: AlgorithmSettings) -> Report:
    """What the training found, with the picture that belongs to each figure."""
    sections = [quality_section(fitted, evaluation), training_section(fitted, settings)]
    if settings.task == "binary":
        sections.insert(1, ranking_section(evaluation))
    if settings.task != "multiclass":
        sections.insert(-1, calibration_section(evaluation))
    if evaluation.confusion is not None:
        sections.insert(-1, confusion_section(evaluation))
    if any(fitted.gain.values()):
        sections.append(gain_section(fitted))
    return Report(
        title="Model quality",
        component="algorithm",
        mode="train",
        rows=len(data.train) + (0 if data.validation is None else len(data.validation)),
        sections=tuple(sections),
        verdict=verdict(evaluation),
        state=state(evaluation),
    )


def verdict(evaluation: Evaluation) -> str:
    """The figure that counts, beside the baseline's."""
    name = HEADLINES[evaluation.task][0]
    seen = ", on rows already seen in training" if evaluation.rows_of == "train" else ""
    return f"{TITLES[name]} {evaluation.figures[name]:.3f}, baseline {evaluation.baseline[name]:.3f}{seen}"


def state(evaluation: Evaluation) -> str:
    """Whether the model is better than its baseline, and measured on rows that it had not seen."""
    name = "rmse" if evaluation.task == "regression" else "logloss"
    if evaluation.figures[name] >= evaluation.baseline[name]:
        return "bad"
    return "attention" if evaluation.rows_of == "train" else "good"


def quality_section(fitted: Fitted, evaluation: Evaluation) -> Section:
    """Figures on top, and all of them beside the baseline's."""
    facts = [
        Fact(TITLES[name], round(evaluation.figures[name], 4), f"baseline {evaluation.baseline[name]:.4f}")
        for name in HEADLINES[evaluation.task]
    ]
    facts.append(Fact("rounds kept", fitted.best_round + 1, f"of {fitted.rounds}"))
    rows = tuple(
        (TITLES[name], round(value, 4), round(evaluation.baseline[name], 4))
        for name, value in evaluation.figures.items()
        if name in TITLES
    )
    seen = evaluation.rows_of == "train"
    where = "the training rows, which the model has seen" if seen else "the validation rows"
    return Section(
        "Quality",
        (
            Facts(tuple(facts)),
            Table(("metric", "model", "baseline"), rows, note=f"The baseline answers {BASELINES[evaluation.task]}."),
        ),
        text=f"Measured on {where}: {len(evaluation.target):,} of them.",
    )


def ranking_section(evaluation: Evaluation) -> Section:
    """ROC and precision-recall curves."""
    ranked = ranking(evaluation.target, evaluation.predicted)
    false_rates, true_rates = roc_curve(ranked)
    precisions, recalls = precision_recall(ranked)
    share = float(evaluation.target.mean())
    return Section(
        "Ranking",
        (
            Lines(
                "Receiver operating characteristic",
                "false positive rate",
                "true positive rate",
                (Series("model", tuple(thinned(false_rates)), tuple(thinned(true_rates))),),
                diagonal=True,
                note=f"Area under the curve {evaluation.figures['auc']:.4f}.",
            ),
            Lines(
                "Precision and recall",
                "recall",
                "precision",
                (
                    Series("model", tuple(thinned(recalls)), tuple(thinned(precisions))),
                    Series("share of label 1", (0.0, 1.0), (share, share), dashed=True),
                ),
                note=f"Average precision {evaluation.figures['aucpr']:.4f}.",
            ),
        ),
        text="How well the score sorts the rows, at every threshold.",
    )


def calibration_section(evaluation: Evaluation) -> Section:
    """Predictions against outcomes."""
    binned = evaluation.calibration
    if binned is None:
        return Section("Calibration", ())
    binary = evaluation.task == "binary"
    return Section(
        "Calibration",
        (
            Lines(
                "Predicted and observed",
                "mean score" if binary else "mean prediction",
                "share of label 1" if binary else "mean outcome",
                (Series("model", tuple(binned.predicted.tolist()), tuple(binned.observed.tolist())),),
                diagonal=True,
                note=f"Mean distance from the diagonal {binned.error:.4f}; each point is a bin of like predictions.",
            ),
        ),
        text="Whether a prediction means what it says.",
    )


def confusion_section(evaluation: Evaluation) -> Section:
    """Actual against predicted classes."""
    labels = tuple(str(label) for label in range(len(evaluation.confusion)))
    cut = f"The answer is 1 from a score of {evaluation.threshold:.3g} on."
    told = cut if evaluation.task == "binary" else "The answer is the likeliest class."
    return Section("Decisions", (Matrix("Confusion", labels, labels, evaluation.confusion, note=told),))


def training_section(fitted: Fitted, settings: AlgorithmSettings) -> Section:
    """Each metric by round, the deciding one first."""
    blocks: list[Block] = []
    deciding = TITLES.get(settings.metrics[-1], settings.metrics[-1])
    for metric in reversed(settings.metrics):
        lines = []
        for rows in ("validation", "train"):
            values = fitted.curves.get(rows, {}).get(metric)
            if values is not None:
                lines.append(Series(rows, tuple(range(1, len(values) + 1)), tuple(values), dashed=rows == "train"))
        title = TITLES.get(metric, metric)
        blocks.append(Lines(title, "round", title, tuple(lines)))
    if "validation" not in fitted.curves:
        blocks.append(Text("There was no validation channel, so nothing tells when more rounds began to harm."))
    ending = " The job was stopped then, before the training's own end." if fitted.stopped is not None else ""
    return Section(
        "Training",
        tuple(blocks),
        text=f"Round {fitted.best_round + 1} of {fitted.rounds} was kept, by {deciding}.{ending}",
    )


def gain_section(fitted: Fitted) -> Section:
    """Features by what their splits gave."""
    ordered = sorted(fitted.gain.items(), key=lambda item: (-item[1], item[0]))[:BARS]
    left_out = len(fitted.gain) - len(ordered)
    return Section(
        "Features",
        (
            Bars(
                "Mean gain of a feature's splits",
                tuple(name for name, _ in ordered),
                tuple(value for _, value in ordered),
                note=f"{left_out} more features are not shown." if left_out else "",
            ),
        ),
        text="What the trees used. The explainability report tells what moved the scores.",
    )
