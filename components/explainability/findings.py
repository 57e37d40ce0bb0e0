"""What train and serve found, as report documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.explainability.analysis import label
from components.explainability.attributions import Attributions
from components.explainability.explainer import Picture
from components.explainability.importance import Importance
from components.explainability.model import Model
from components.explainability.sampling import Sample
from shared.report import Bars, Beeswarm, Fact, Facts, Lines, Report, Section, Series, Swarm, Table

Array = NDArray[np.floating[Any]]

SHOWN_BARS: Final = 20
SHOWN_SWARMS: Final = 12
SHOWN_OUTPUTS: Final = 10
SWARM_ROWS: Final = 300
DEPENDENCES: Final = 4
DEPENDENCE_BINS: Final = 20


@dataclass(frozen=True)
class Agreement:
    """How well the ranking of features in production agrees with training's, for one output."""

    label: str
    ndcg: float
    threshold: float

    @property
    def drifted(self) -> bool:
        """Whether it agrees less than the threshold wants."""
        return self.ndcg < self.threshold


def unit(objective: str) -> str:
    """What a margin is measured in."""
    return "log-odds" if objective in ("binary:logistic", "reg:logistic") else "margin"


def training_report(
    model: Model, picture: Picture, matrix: Array, attributions: Attributions, route: str, rows: int
) -> Report:
    """The report of train."""
    facts = Facts(
        (
            Fact("rows explained", len(matrix), note=f"of {rows}" if rows > len(matrix) else ""),
            Fact("features", len(model.features)),
            *expected_facts(model, picture),
            Fact("method", route, note="exact, additive in every row"),
        )
    )
    drawn = np.linspace(0, len(matrix) - 1, min(len(matrix), SWARM_ROWS)).round().astype(int)
    sections = [Section("Overview", (facts,), text=meaning(model))]
    for output in range(min(attributions.values.shape[1], SHOWN_OUTPUTS)):
        values = attributions.values[:, output]
        order = strongest_first(picture.importance.mean_absolute[output])
        sections.append(
            Section(
                heading("Attributions", output, picture),
                (
                    importance_bars(model, picture.importance.mean_absolute[output], order),
                    beeswarm(model, matrix[drawn], values[drawn], picture.ranges, order),
                    *dependences(model, matrix, values, order),
                ),
            )
        )
    strongest = strongest_first(picture.importance.mean_absolute.sum(axis=0))[0]
    return Report(
        title="Explanation of the model",
        component="explainability",
        mode="train",
        rows=rows,
        sections=tuple(sections),
        verdict=f"Strongest feature: {model.features[strongest]}",
    )


def serving_report(
    model: Model,
    picture: Picture,
    importance: Importance,
    sample: Sample,
    agreement: tuple[Agreement, ...],
    route: str,
) -> Report:
    """The report of serve."""
    drifted = [item for item in agreement if item.drifted]
    lowest = min(item.ndcg for item in agreement)
    facts = Facts(
        (
            Fact("rows explained", importance.rows),
            Fact("lowest nDCG", lowest, note=f"violation below {agreement[0].threshold:g}"),
            *expected_facts(model, picture),
            Fact("method", route, note="exact, additive in every row"),
        )
    )
    matrix, values = sample.arrays
    sections = [Section("Overview", (facts,), text=meaning(model))]
    for output, item in enumerate(agreement[:SHOWN_OUTPUTS]):
        order = strongest_first(importance.mean_absolute[output])
        sections.append(
            Section(
                heading("Attributions", output, picture),
                (
                    importance_bars(model, importance.mean_absolute[output], order),
                    comparison(model, picture.importance, importance, output),
                    beeswarm(model, matrix, values[:, output], picture.ranges, order),
                ),
                text=f"The ranking of features agrees with training's by nDCG {item.ndcg:.4f}.",
            )
        )
    return Report(
        title="Explanation of the scores",
        component="explainability",
        mode="serve",
        rows=importance.rows,
        sections=tuple(sections),
        verdict=f"Attribution drift, nDCG {lowest:.3f}" if drifted else f"No attribution drift, nDCG {lowest:.3f}",
        state="attention" if drifted else "good",
    )


def meaning(model: Model) -> str:
    """The sentence that says what the figures are."""
    return (
        f"An attribution is how much a feature's value moved a row's {unit(model.objective)}, before the link to a "
        "score, away from the expected value. In every row all attributions and the expected value sum to the model's "
        "margin."
    )


def expected_facts(model: Model, picture: Picture) -> tuple[Fact, ...]:
    """The expected margin, when there is one output only."""
    if picture.expected.size > 1:
        return ()
    score = float(model.scores(picture.expected[None, :])[0, 0])
    expected = float(picture.expected[0])
    note = unit(model.objective) + ("" if score == expected else f", a score of {score:.3f}")
    return (Fact("expected value", round(expected, 4), note=note),)


def heading(text: str, output: int, picture: Picture) -> str:
    """A section's heading, with the output's label when there are several."""
    return text if picture.expected.size == 1 else f"{text}: {label(output)}"


def strongest_first(importance: Array) -> list[int]:
    """Positions of features by falling importance, of equal ones the first."""
    return [int(index) for index in np.argsort(-importance, kind="stable")]


def importance_bars(model: Model, means: Array, order: list[int]) -> Bars:
    """Global importance as bars."""
    shown = order[:SHOWN_BARS]
    left = len(order) - len(shown)
    return Bars(
        "Global importance",
        tuple(model.features[index] for index in shown),
        tuple(float(means[index]) for index in shown),
        unit=unit(model.objective),
        note="mean |attribution| over the explained rows" + (f"; {left} weaker features are not shown" if left else ""),
    )


def beeswarm(model: Model, matrix: Array, values: Array, ranges: Array, order: list[int]) -> Beeswarm:
    """Attributions of single rows, coloured by the feature's value between its training quantiles."""
    shown = order[:SHOWN_SWARMS]
    colours = scaled(matrix, ranges)
    return Beeswarm(
        "Attributions of single rows",
        tuple(Swarm(model.features[index], tuple(values[:, index]), tuple(colours[:, index])) for index in shown),
        x_label=f"attribution ({unit(model.objective)})",
        note="a sample of the rows",
    )


def scaled(matrix: Array, ranges: Array) -> Array:
    """Values as a share of their range, cut to 0..1; 0.5 where the range is a point, NaN where the value is missing."""
    low, width = ranges[:, 0], ranges[:, 1] - ranges[:, 0]
    share = (matrix - low) / np.where(width > 0, width, 1)
    return np.where(np.isnan(matrix), np.nan, np.where(width > 0, np.clip(share, 0, 1), 0.5))


def dependences(model: Model, matrix: Array, values: Array, order: list[int]) -> tuple[Lines, ...]:
    """For the strongest features, how the mean attribution follows the feature's value."""
    charts = []
    for index in order[:DEPENDENCES]:
        x, y = dependence(matrix[:, index], values[:, index])
        if x.size > 1:
            name = model.features[index]
            series = Series("mean attribution", tuple(x), tuple(y))
            charts.append(Lines(f"{name}: what its values do", name, unit(model.objective), (series,)))
    return tuple(charts)


def dependence(column: Array, values: Array) -> tuple[Array, Array]:
    """Mean value and mean attribution within bins of a feature that hold about equally many rows.

    Args:
        column: the feature's values, NaN where missing, shape (rows,).
        values: its attributions, shape (rows,).

    Returns:
        One point a bin that holds a row, by rising value; at most `DEPENDENCE_BINS`. A feature of few distinct values
        has one point for each.
    """
    present = ~np.isnan(column)
    column, values = column[present], values[present]
    levels = np.unique(column)
    if levels.size > DEPENDENCE_BINS:
        levels = np.unique(np.quantile(column, np.linspace(0, 1, DEPENDENCE_BINS, endpoint=False)))
    bins = np.searchsorted(levels, column, side="right") - 1
    counts = np.bincount(bins, minlength=levels.size)
    filled = counts > 0
    x = np.bincount(bins, weights=column, minlength=levels.size)[filled] / counts[filled]
    y = np.bincount(bins, weights=values, minlength=levels.size)[filled] / counts[filled]
    return x, y


def comparison(model: Model, training: Importance, production: Importance, output: int) -> Table:
    """Importance and rank of the strongest features, training beside production."""
    before, now = training.mean_absolute[output], production.mean_absolute[output]
    order_before, order_now = strongest_first(before), strongest_first(now)
    shown = [index for index in order_now if index in {*order_now[:SHOWN_SWARMS], *order_before[:SHOWN_SWARMS]}]
    return Table(
        ("feature", "training", "production", "rank in training", "rank in production"),
        tuple(
            (
                model.features[index],
                float(f"{before[index]:.4g}"),
                float(f"{now[index]:.4g}"),
                order_before.index(index) + 1,
                order_now.index(index) + 1,
            )
            for index in shown
        ),
        title="Training and production",
        note=f"mean |attribution| in {unit(model.objective)}",
    )
