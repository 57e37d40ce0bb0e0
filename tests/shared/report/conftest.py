"""A report of every kind of block over made-up flights, always the same."""

from __future__ import annotations

import math
import random

import pytest

from shared.report import (
    Bars,
    Beeswarm,
    Categories,
    Fact,
    Facts,
    Graph,
    Histograms,
    Lines,
    Matrix,
    Node,
    Report,
    Section,
    Series,
    Swarm,
    Table,
    Text,
)


def quantile_bins(values: list[float], count: int) -> tuple[float, ...]:
    ranked = sorted(values)
    return tuple(ranked[round(index * (len(ranked) - 1) / count)] for index in range(count + 1))


def counted(values: list[float], edges: tuple[float, ...]) -> tuple[int, ...]:
    last = len(edges) - 2
    counts = [0] * (last + 1)
    for value in values:
        counts[min(last, max(0, sum(edge <= value for edge in edges) - 1))] += 1
    return tuple(counts)


def shifted_normal(
    name: str, shift: float, spread: float = 1.0, centre: float = 40.0, width: float = 12.0
) -> Histograms:
    draw = random.Random(name)
    before = [draw.gauss(centre, width) for _ in range(1500)]
    after = [draw.gauss(centre + shift * width, width * spread) for _ in range(1500)]
    edges = quantile_bins(before, 20)
    drifted = abs(shift) > 0.3
    return Histograms(
        name,
        edges,
        counted(before, edges),
        counted(after, edges),
        note=f"effect {abs(shift):.2f} sd, q {0.0001 if drifted else 0.42}",
        badge="drift" if drifted else "",
        state="attention" if drifted else "",
    )


def graph() -> Graph:
    return Graph(
        (
            Node("processing", "processing", "done", 3.214, 105_312, "train"),
            Node("baseline", "monitoring", "done", 1.9, 105_312, "train"),
            Node("algorithm", "algorithm", "done", 21.7, 84_250),
            Node("explainer", "explainability", "running", 64.2, 21_062),
            Node("gate", "gate: auc at least 0.65", "reused"),
            Node("release", "release", "waiting"),
        ),
        (
            ("processing", "algorithm"),
            ("processing", "explainer"),
            ("algorithm", "explainer"),
            ("algorithm", "gate"),
            ("baseline", "release"),
            ("explainer", "release"),
            ("gate", "release"),
        ),
        title="Jobs",
    )


def run_report() -> Report:
    facts = Facts(
        (
            Fact("AUC on June", 0.70312, "trivial baseline 0.602"),
            Fact("flights scored", 28_243),
            Fact("columns drifted", 4, "of 17"),
            Fact("release", "sha256:9f2c41d0"),
            Fact("retrained AUC", math.nan),
        )
    )
    return Report(
        "Run",
        "pipelines",
        "both",
        336_776,
        (Section("Graph", (graph(), facts), "Six jobs, two cores."),),
        "Four of five jobs done",
        "good",
    )


def profile_report() -> Report:
    table = Table(
        ("column", "type", "missing", "distinct", "mean", "least", "greatest", "constant"),
        (
            ("dep_delay", "float", 0.0213, 512, 12.639, -43.0, 1301.0, False),
            ("carrier", "text", 0.0, 16, None, None, None, False),
            ("distance", "int", 0.0, 214, 1039.91, 17, 4983, False),
            ("precip", "float", 0.0007, 55, 0.0045, 0.0, 1.21, False),
            (
                "a_column_with_a_very_long_name_that_nobody_would_type_by_hand_but_joins_produce",
                "text",
                0.5,
                1,
                None,
                None,
                None,
                True,
            ),
        ),
        note="Over the training rows.",
        title="Columns",
    )
    return Report(
        "Processing",
        "processing",
        "train",
        105_312,
        (Section("Profile", (table, Text("Cancelled flights have no arrival and were left out."))),),
        "105,312 rows kept, 3,120 rejected",
        "attention",
    )


def quality_report() -> Report:
    grid = [index / 400 for index in range(401)]
    roc = Lines(
        "ROC",
        "false positive rate",
        "true positive rate",
        (
            Series("model, AUC 0.703", tuple(grid), tuple(value**0.45 for value in grid)),
            Series("carrier and hour, AUC 0.602", tuple(grid), tuple(value**0.66 for value in grid)),
        ),
        diagonal=True,
    )
    recall = Lines(
        "Precision and recall",
        "recall",
        "precision",
        (Series("model", tuple(grid), tuple(0.22 + 0.6 * math.exp(-5 * value) for value in grid)),),
    )
    calibration = Lines(
        "Calibration",
        "predicted share late",
        "observed share late",
        (
            Series(
                "deciles",
                (0.05, 0.09, 0.13, 0.17, 0.21, 0.26, 0.33, 0.47),
                (0.06, 0.08, 0.14, 0.16, 0.2, 0.28, 0.36, 0.44),
            ),
        ),
        diagonal=True,
        note="Ten bins of equal count.",
    )
    confusion = Matrix("Confusion at 0.30", ("on time", "late"), ("on time", "late"), ((61_204, 9_871), (8_432, 7_115)))
    training = Lines(
        "Log loss while training",
        "round",
        "log loss",
        (
            Series("training", tuple(range(120)), tuple(0.42 + 0.25 * math.exp(-index / 18) for index in range(120))),
            Series(
                "validation", tuple(range(120)), tuple(0.47 + 0.2 * math.exp(-index / 15) for index in range(120)), True
            ),
        ),
    )
    return Report(
        "Algorithm",
        "algorithm",
        "train",
        84_250,
        (Section("Quality", (roc, recall, calibration, confusion, training)),),
        "AUC 0.703 on 21,062 validation rows",
        "good",
    )


def drift_report() -> Report:
    columns = tuple(
        shifted_normal(name, shift)
        for name, shift in (
            ("temp", 1.4),
            ("wind_speed", -0.1),
            ("pressure", 0.02),
            ("visib", 0.45),
            ("seats", 0.0),
            ("plane_year", 0.07),
        )
    )
    draw = random.Random(1)
    rain = [0.0] * 1900 + [draw.expovariate(8) for _ in range(100)]
    edges = (0.0, 0.001, 0.05, 0.1, 0.2, 1.3)
    zero_inflated = Histograms(
        "precip", edges, counted(rain, edges), (1700, 60, 40, 90, 110), badge="drift", state="attention"
    )
    opened = Histograms(
        "distance",
        (-math.inf, 200, 500, 700, 1000, 1500, 2500, math.inf),
        (1, 20, 18, 22, 20, 17, 2),
        (1, 18, 20, 20, 22, 17, 2),
    )
    carriers = Categories(
        "carrier",
        ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS", "F9", "YV", "HA", "OO"),
        (5860, 5460, 5417, 4810, 3270, 2640, 2053, 1846, 1227, 516, 326, 71, 68, 60, 34, 3),
        (5900, 5700, 4400, 4900, 3300, 2300, 1990, 1500, 1300, 610, 250, 60, 55, 40, 28, 12),
        note="q 0.03, no material effect",
    )
    origin = Categories("origin", ("EWR", "JFK", "LGA"), (0.36, 0.33, 0.31), (0.34, 0.35, 0.31))
    table = Table(
        ("column", "statistic", "q", "effect", "verdict"),
        (
            ("temp", "chi-square", 1.2e-11, 1.402, "drift"),
            ("visib", "chi-square", 0.0003, 0.451, "drift"),
            ("carrier", "chi-square", 0.031, 0.044, "same"),
        ),
    )
    return Report(
        "Monitoring of July",
        "monitoring",
        "serve",
        29_425,
        (
            Section("Verdict", (table,)),
            Section("Drift per column", (*columns, zero_inflated, opened, carriers, origin)),
        ),
        "3 of 17 columns have drifted: temp, visib, precip",
        "bad",
    )


def attribution_report(features: int = 12) -> Report:
    draw = random.Random(2)
    names = [
        "sched_dep_minute",
        "temp",
        "pressure",
        "dest",
        "carrier",
        "wind_speed",
        "visib",
        "precip",
        "distance",
        "seats",
    ]
    names += [f"feature_{index}" for index in range(features - len(names))]
    swarms = []
    for index, name in enumerate(names[:features]):
        colours = [draw.random() for _ in range(800)]
        values = [(colour - 0.5) * 1.6 / (1 + index) + draw.gauss(0, 0.25 / (1 + index)) for colour in colours]
        swarms.append(Swarm(name, tuple(values), tuple(None if name == "dest" else colour for colour in colours)))
    bars = Bars(
        "Mean absolute attribution",
        tuple(names[:features]),
        tuple(0.4 / (1 + index) for index in range(features)),
        unit="log-odds",
        note="Over 20,000 validation rows.",
    )
    change = Bars("Change in attribution", ("temp", "dest", "precip"), (0.12, -0.034, None), unit="log-odds")
    swarm = Beeswarm("Attributions", tuple(swarms), "attribution to the log-odds of a late arrival")
    return Report(
        "Explainability",
        "explainability",
        "train",
        21_062,
        (Section("Attributions", (bars, swarm, change)),),
        "sched_dep_minute matters most",
    )


@pytest.fixture(scope="session")
def reports() -> tuple[Report, ...]:
    """One report a component, every kind of block among them."""
    return (run_report(), profile_report(), quality_report(), drift_report(), attribution_report())
