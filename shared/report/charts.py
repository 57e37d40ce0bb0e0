"""Charts as SVG text: each a pure function of its block. Sizes are px at the size drawn first; the page may scale them.

Colour is never alone in carrying a meaning: the two distributions differ in form (area and outline, broad and narrow
bar), lines in their dashes, points of a swarm also in size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from shared.report import scales
from shared.report.document import Bars, Beeswarm, Categories, Histograms, Lines, Matrix, Number, Series, Swarm
from shared.report.scales import Scale, compact, extent, number, percentage, roomy, tick_labels, ticks
from shared.report.svg import (
    bottom_axis,
    box,
    coordinate,
    drawing,
    element,
    escape,
    label,
    left_axis,
    line,
    polyline,
    width_of,
)

SMALL = 256
"""Width of one of many charts side by side: four fit a page of 1,100 px, two one of 600."""

LEVELS = 12
"""Most levels of a category drawn; the rarest beyond that are drawn as one."""

MARKED = 25
"""Most points of a line drawn as dots too: these were measured one by one, a denser line is a curve."""

SHADES = 7
"""Steps of colour and size for a feature's value in a beeswarm; more are not told apart."""


def nothing(title: str, width: float = SMALL) -> str:
    """A small drawing that says that there is nothing to draw."""
    return drawing(width, 40, f"{title}: no data", label(0, 24, "no data", class_="mark"))


def bars(block: Bars, width: float = 720) -> str:
    """Horizontal bars from zero, the value at the end of each."""
    if not block.labels:
        return nothing(block.title, width)
    left = min(260.0, 12 + max(width_of(text) for text in block.labels))
    texts = tuple(text + short_unit(block.unit) for text in scales.measured(block.values))
    room = 10 + max(width_of(text) for text in texts)
    low, high = extent(block.values)
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    scale = Scale(low, high, left + (room if low < 0 else 0), width - (room if high > 0 else 4))
    rows = (
        _bar(index * 22.0, name, value, text, scale, left)
        for index, (name, value, text) in enumerate(zip(block.labels, block.values, texts, strict=True))
    )
    height = 22.0 * len(block.labels)
    zero = line(scale(0), 0, scale(0), height, "axis")
    return drawing(width, height + 2, f"Bars: {block.title}", *rows, zero)


def short_unit(unit: str) -> str:
    """A unit of one or two letters as it follows each number; a longer one stands once, beside the title."""
    return f"\u00a0{unit}" if 0 < len(unit) <= 2 else ""


def _bar(top: float, name: str, value: Number, text: str, scale: Scale, left: float) -> str:
    zero, end = scale(0), scale(value or 0.0)
    sign, away, anchor = ("bar below", -5, "end") if end < zero else ("bar", 5, "start")
    beyond = label(end + away, top + 15, text, anchor=anchor, class_="value")
    return (
        label(left - 8, top + 15, name, room=left - 8, anchor="end", class_="name")
        + box(min(zero, end), top + 4, abs(end - zero), 14, sign, f"{name}: {text}")
        + beyond
    )


def shares(values: Sequence[Number]) -> tuple[float, ...]:
    """The values divided by their sum; all zero when nothing was counted."""
    counted = [max(value or 0.0, 0.0) for value in values]
    total = math.fsum(counted)
    return tuple(value / total if total > 0 else 0.0 for value in counted)


def closed(edges: Sequence[Number]) -> tuple[float, ...]:
    """The edges with open ends closed: an open bin becomes as wide as the widest closed one."""
    known = [float(edge) for edge in edges if edge is not None]
    if not known:
        return tuple(float(index) for index in range(len(edges)))
    widest = max((after - before for before, after in pairwise(known)), default=0.0) or 1.0
    first = [known[0] - widest] if edges[0] is None else []
    last = [known[-1] + widest] if edges[-1] is None else []
    return tuple(first + known + last)


def crowded(edges: Sequence[float], *masses: Sequence[float]) -> bool:
    """Whether a bin with a tenth of a distribution is narrower than a hundredth of the axis: a spike in a density."""
    span = edges[-1] - edges[0]
    return (
        any(
            mass >= 0.1 and (after - before) < 0.01 * span
            for masses_of_one in masses
            for (before, after), mass in zip(pairwise(edges), masses_of_one, strict=True)
        )
        or not span > 0
    )


def histograms(block: Histograms, width: float = SMALL, height: float = 118) -> str:
    """Two distributions over the same bins: the expected as an area, the actual as an outline over it.

    Drift is judged on quantile bins, which hold equal shares and so differ in width. Drawn as bars of equal width they
    are flat by construction, and no one recognises the column. So shares are divided by width (a density over the
    column's own scale, areas equal shares): the shape is the column's, and a shift is seen as a shift. Only where that
    would be a spike and an empty axis (zero-inflated columns, long tails: see `crowded`) are bins drawn equally wide,
    with gaps, and labelled by their edges.
    """
    if not block.expected:
        return nothing(block.title, width)
    edges, expected, actual = closed(block.edges), shares(block.expected), shares(block.actual)
    equal = crowded(edges, expected, actual)
    places = tuple(float(index) for index in range(len(edges))) if equal else edges
    heights = [_densities(places, masses) for masses in (expected, actual)]
    top = max(*heights[0], *heights[1]) or 1.0
    across, up = Scale(places[0], places[-1], 8, width - 8), Scale(0, top, height - 22, 6)
    gap = min(0.12 * (across(places[1]) - across(places[0])), 4.0) if equal else 0.0
    parts = [
        element("path", d=_steps(places, heights[0], across, up, gap), class_="expected area"),
        element("path", d=_steps(places, heights[1], across, up, gap), class_="actual outline"),
        line(8, up(0), width - 8, up(0), "axis"),
        _edge_marks(block.edges, across, up(0)) if equal else _scale_marks(block.edges, across, up(0)),
        *_bin_titles(block, places, expected, actual, across, up),
    ]
    drawn = "bins drawn equally wide" if equal else "density"
    return drawing(width, height, f"{block.title}: {_compared(block)}, {len(expected)} bins, {drawn}", *parts)


def _compared(block: Histograms | Categories) -> str:
    return f"{block.names[0]} and {block.names[1]}"


def _densities(edges: Sequence[float], masses: Sequence[float]) -> tuple[float, ...]:
    return tuple(
        mass / (after - before) if after > before else 0.0
        for (before, after), mass in zip(pairwise(edges), masses, strict=True)
    )


def _steps(edges: Sequence[float], heights: Sequence[float], across: Scale, up: Scale, gap: float) -> str:
    """The outline of all bins, closed along the baseline; with a gap, of each bin for itself."""
    if gap:
        return "".join(
            f"M{coordinate(across(before) + gap)} {coordinate(up(0))}V{coordinate(up(height))}"
            f"H{coordinate(across(after) - gap)}V{coordinate(up(0))}"
            for (before, after), height in zip(pairwise(edges), heights, strict=True)
        )
    risers = "".join(
        f"V{coordinate(up(height))}H{coordinate(across(after))}"
        for height, after in zip(heights, edges[1:], strict=True)
    )
    return f"M{coordinate(across(edges[0]))} {coordinate(up(0))}{risers}V{coordinate(up(0))}"


def _scale_marks(edges: Sequence[Number], across: Scale, y: float) -> str:
    """Round marks between the known edges: how far an open bin reaches is not known."""
    low, high = extent(edges) if len(edges) > 2 else (across.low, across.high)
    marks = next((marks for count in (4, 3, 2) if _apart(marks := ticks(low, high, count), across)), (low,))
    return _inside(across, marks, tick_labels(marks), y)


def _apart(marks: Sequence[float], across: Scale) -> bool:
    """Whether the labels of the marks leave room between each other."""
    widest = max((width_of(text) for text in tick_labels(marks)), default=0.0)
    return all(across(after) - across(before) > widest + 4 for before, after in pairwise(marks))


def _edge_marks(edges: Sequence[Number], across: Scale, y: float) -> str:
    """Edges as labels, as many as fit; an open end has none."""
    texts = ["" if edge is None else compact(edge) for edge in edges]
    room = 10 + max(width_of(text) for text in texts)
    every = max(1, math.ceil(room / (across(1) - across(0))))
    chosen = [index for index in range(0, len(edges), every) if texts[index]]
    return _inside(across, [float(index) for index in chosen], [texts[index] for index in chosen], y)


def _inside(across: Scale, marks: Sequence[float], texts: Sequence[str], y: float) -> str:
    """Axis labels that do not leave the drawing: those at its rim move inwards."""
    parts = []
    for mark, text in zip(marks, texts, strict=True):
        x, half = across(mark), width_of(text) / 2
        inner = min(max(x, across.start + half - 7), across.end - half + 7)
        parts.append(line(x, y, x, y + 3, "axis") + label(inner, y + 15, text, anchor="middle", class_="mark"))
    return "".join(parts)


def _bin_titles(
    block: Histograms,
    places: Sequence[float],
    expected: Sequence[float],
    actual: Sequence[float],
    across: Scale,
    up: Scale,
) -> list[str]:
    """Unseen boxes that say a bin's range and shares when pointed at."""
    bounds = [number(edge) if edge is not None else "\u2026" for edge in block.edges]
    return [
        box(
            across(places[index]),
            up.end,
            across(places[index + 1]) - across(places[index]),
            up(0) - up.end,
            "hit",
            f"{bounds[index]} to {bounds[index + 1]}: {block.names[0]} {percentage(expected[index])}, "
            f"{block.names[1]} {percentage(actual[index])}",
        )
        for index in range(len(expected))
    ]


def pooled(
    labels: Sequence[str], expected: Sequence[float], actual: Sequence[float], limit: int = LEVELS
) -> list[tuple[str, float, float]]:
    """Levels with both shares, in the order given; beyond `limit` the rarest in both together become one."""
    rows = list(zip(labels, expected, actual, strict=True))
    if len(rows) <= limit:
        return rows
    ranked = sorted(range(len(rows)), key=lambda index: (-(rows[index][1] + rows[index][2]), index))
    kept = sorted(ranked[: limit - 1])
    rest = [rows[index] for index in ranked[limit - 1 :]]
    other = (f"{len(rest)} others", math.fsum(row[1] for row in rest), math.fsum(row[2] for row in rest))
    return [rows[index] for index in kept] + [other]


def categories(block: Categories, width: float = SMALL) -> str:
    """Two distributions over levels: the expected as a broad pale bar, the actual as a narrow one within it."""
    if not block.labels:
        return nothing(block.title, width)
    rows = pooled(block.labels, shares(block.expected), shares(block.actual))
    left = min(0.36 * width, 10 + max(width_of(name) for name, _, _ in rows))
    top = max(max(before, after) for _, before, after in rows) or 1.0
    scale = Scale(0, top, left, width - 46)
    parts = [_level(index * 17.0, row, scale, block.names, width) for index, row in enumerate(rows)]
    axis = line(left, 0, left, 17.0 * len(rows), "axis")
    return drawing(
        width, 17.0 * len(rows) + 4, f"{block.title}: {_compared(block)}, {len(block.labels)} levels", *parts, axis
    )


def _level(top: float, row: tuple[str, float, float], scale: Scale, names: tuple[str, str], width: float) -> str:
    name, expected, actual = row
    said = f"{name}: {names[0]} {percentage(expected)}, {names[1]} {percentage(actual)}"
    left = scale(0)
    return (
        label(left - 6, top + 12, name, room=left - 6, anchor="end", class_="name")
        + box(left, top + 2, scale(expected) - left, 13, "expected")
        + box(left, top + 6, scale(actual) - left, 5, "actual")
        + label(width, top + 12, percentage(actual), anchor="end", class_="mark")
        + box(0, top, width, 17, "hit", said)
    )


def lines(block: Lines, width: float = 340, height: float = 300) -> str:
    """Lines over common axes, named at their ends where these lie apart and in a legend elsewhere."""
    known = [series for series in block.series if points(series)]
    if not known:
        return nothing(block.title, width)
    (x_low, x_high), (y_low, y_high) = _domains(block, known)
    y_marks = ticks(y_low, y_high, 5)
    top, bottom = 8.0, height - 38
    down = Scale(y_low, y_high, bottom, top)
    ends = _end_labels(known, x_low, x_high, down)
    if ends is None and len(known[0].name) > 0:
        top += 15.0 * len(known) + 4
    down = Scale(y_low, y_high, bottom, top)
    left = 22 + max(width_of(text) for text in tick_labels(y_marks))
    half_name = max((width_of(name) for name in block.names), default=0.0) / 2 + 2
    ending = 8.0 if ends is None else min(110.0, 10 + max(width_of(series.name) for series in known))
    right = width - max(ending, half_name)
    across = Scale(x_low, x_high, left, right)
    x_marks, x_texts = _bottom_marks(block, across)
    parts = [
        left_axis(down, y_marks, left, right),
        bottom_axis(across, x_marks, bottom, x_texts),
        _axis_titles(block, across, down),
    ]
    if block.diagonal:
        parts.append(line(across(x_low), down(x_low), across(x_high), down(x_high), "reference"))
    for index, series in enumerate(known):
        parts.append(_line(series, index, across, down))
        if ends is None:
            parts.append(_legend_row(series, index, left, 15.0 * index + 12, right - left))
        else:
            parts.append(
                label(right + 6, ends[index] + 4, series.name, room=width - right - 6, class_=f"s{index % 6} end")
            )
    named = ", ".join(series.name for series in known if series.name)
    title = f"{block.title}: {block.y_label} by {block.x_label}" + (f", {named}" if named else "")
    return drawing(width, height, title, *parts)


def _bottom_marks(block: Lines, across: Scale) -> tuple[Sequence[float], Sequence[str]]:
    """Where the x axis is marked, and how: round numbers, or as many of the names as have room."""
    if not block.names:
        marks = ticks(across.low, across.high, 5)
        return marks, tick_labels(marks)
    room = (across.end - across.start) / max(across.high - across.low, 1)
    apart = math.ceil((max(map(width_of, block.names)) + 8) / room)
    first, last = math.ceil(across.low), math.floor(across.high)
    places = range(first, last + 1, apart)
    return places, [block.names[place - 1] if 0 < place <= len(block.names) else "" for place in places]


def _domains(block: Lines, known: Sequence[Series]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of both axes: whole 0..1 for shares that fill most of it, the same for both with a diagonal."""
    x = extent(value for series in known for value in series.x)
    y = extent(value for series in known for value in series.y)
    if block.diagonal:
        both = _domain(min(x[0], y[0], 0.0), max(x[1], y[1]))
        return both, both
    # Lines run from end to end, so only the heights are rounded outwards.
    return (x if x[1] > x[0] else _domain(*x)), _domain(*y)


def points(series: Series) -> list[tuple[float, float]]:
    """The points of which both x and y are known."""
    return [(x, y) for x, y in zip(series.x, series.y, strict=True) if x is not None and y is not None]


def _domain(low: float, high: float) -> tuple[float, float]:
    if low >= 0 and high <= 1 and high - low > 0.5:
        return 0.0, 1.0
    return roomy(low, high)


def _end_labels(known: Sequence[Series], x_low: float, x_high: float, down: Scale) -> list[float] | None:
    """Heights for names at the lines' ends, or None where the ends lie too close or too far inside."""
    if len(known) < 2 or len(known) > 6:
        return None
    ends = [points(series)[-1] for series in known]
    heights = sorted(down(y) for _, y in ends)
    near = any(after - before < 13 for before, after in pairwise(heights))
    inside = any(x < x_low + 0.75 * (x_high - x_low) for x, _ in ends)
    return None if near or inside else [down(y) for _, y in ends]


def _axis_titles(block: Lines, across: Scale, down: Scale) -> str:
    middle, bottom = (down.start + down.end) / 2, down.start
    y_title = element(
        "text",
        escape(block.y_label),
        transform=f"translate(10 {coordinate(middle)}) rotate(-90)",
        text_anchor="middle",
        class_="mark",
    )
    return y_title + label((across.start + across.end) / 2, bottom + 32, block.x_label, anchor="middle", class_="mark")


def _line(series: Series, index: int, across: Scale, down: Scale) -> str:
    """One path, and a dot a point where they are few enough to be told apart."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if x is None or y is None:
            pieces.append([])
        else:
            pieces[-1].append((across(x), down(y)))
    path = element("path", d="".join(polyline(piece) for piece in pieces), class_=_series_class(series, index))
    placed = [point for piece in pieces for point in piece]
    if len(placed) > MARKED and min(map(len, pieces)) != 1:
        return path
    dots = "".join(f"M{coordinate(x)} {coordinate(y)}h0" for x, y in placed)
    return path + element("path", d=dots, class_=f"points s{index % 6}")


def _series_class(series: Series, index: int) -> str:
    return f"series s{index % 6}" + (" dashed" if series.dashed else "")


def _legend_row(series: Series, index: int, left: float, y: float, room: float) -> str:
    if not series.name:
        return ""
    sample = element("path", d=f"M{coordinate(left)} {coordinate(y - 4)}h26", class_=_series_class(series, index))
    return sample + label(left + 32, y, series.name, room=room - 32, class_="name")


def matrix(block: Matrix, width: float = 340) -> str:
    """A grid of counts, each with its share of the row, which also sets its shade."""
    if not block.row_labels or not block.column_labels:
        return nothing(block.title, width)
    left = min(0.4 * width, 28 + max(width_of(name) for name in block.row_labels))
    wide = min(110.0, (width - left) / len(block.column_labels))
    high = min(64.0, max(20.0, wide * 0.62))
    parts = [
        label(left + wide * len(block.column_labels) / 2, 12, block.column_title, anchor="middle", class_="mark"),
        element(
            "text",
            escape(block.row_title),
            transform=f"translate(10 {coordinate(36 + high * len(block.row_labels) / 2)}) rotate(-90)",
            text_anchor="middle",
            class_="mark",
        ),
    ]
    for column, name in enumerate(block.column_labels):
        parts.append(label(left + wide * (column + 0.5), 29, name, room=wide, anchor="middle", class_="name"))
    for row, (name, values) in enumerate(zip(block.row_labels, block.values, strict=True)):
        parts.append(label(left - 8, 40 + high * row + high / 2, name, room=left - 26, anchor="end", class_="name"))
        for column, (value, share) in enumerate(zip(values, shares(values), strict=True)):
            said = f"{block.row_title} {name}, {block.column_title} {block.column_labels[column]}"
            parts.append(_count(left + wide * column, 36 + high * row, wide, high, value, share, said))
    return drawing(width, 42 + high * len(block.row_labels), f"Matrix: {block.title}", *parts)


def _count(x: float, y: float, wide: float, high: float, value: Number, share: float, said: str) -> str:
    shade = element(
        "rect",
        element("title", escape(f"{said}: {number(value)}, {percentage(share)} of the row")),
        x=x + 1,
        y=y + 1,
        width=wide - 2,
        height=high - 2,
        class_="heat",
        fill_opacity=f"{0.06 + 0.5 * share:.2f}",
    )
    text = number(value) if wide >= 44 else compact(value or 0.0)
    if high < 34:
        return shade + label(x + wide / 2, y + high / 2 + 4, text, anchor="middle", class_="value")
    return (
        shade
        + label(x + wide / 2, y + high / 2, text, anchor="middle", class_="count")
        + label(x + wide / 2, y + high / 2 + 15, percentage(share), anchor="middle", class_="value")
    )


def beeswarm(block: Beeswarm, width: float = 860) -> str:
    """Points a feature: attribution across, spread up and down where they are dense, the feature's value as shade."""
    features = [feature for feature in block.features if feature.values]
    if not features:
        return nothing(block.title, width)
    row = 30.0
    left = min(240.0, 14 + max(width_of(feature.name) for feature in features))
    low, high = extent(value for feature in features for value in feature.values)
    low, high = roomy(min(low, 0.0), max(high, 0.0), 8)
    scale = Scale(low, high, left, width - 10)
    bottom = row * len(features) + 4
    marks = ticks(low, high, 7)
    parts = [
        *(line(left, row * (index + 0.5), width - 10, row * (index + 0.5), "hair") for index in range(len(features))),
        line(scale(0), 0, scale(0), bottom, "axis"),
        bottom_axis(scale, marks, bottom),
        label((left + width - 10) / 2, bottom + 32, block.x_label, anchor="middle", class_="mark"),
        _swarm_legend(width, bottom + 52),
    ]
    for index, feature in enumerate(features):
        middle = row * (index + 0.5)
        parts.append(label(left - 8, middle + 4, feature.name, room=left - 8, anchor="end", class_="name"))
        parts.append(_swarm(feature, scale, middle, row / 2 - 3))
    return drawing(width, bottom + 60, f"Beeswarm: {block.title}, {len(features)} features", *parts)


def offsets(places: Sequence[float], reach: float, apart: float = 2.6, cell: float = 3.0) -> tuple[float, ...]:
    """How far each point moves from the middle of its row so that a dense place looks broad, within -reach..reach px.

    Points in the same cell of `cell` px stack alternately below and above the middle, `apart` px from each other or
    closer when they would leave the row.
    """
    cells = [math.floor(place / cell) for place in places]
    crowd: dict[int, int] = {}
    for key in cells:
        crowd[key] = crowd.get(key, 0) + 1
    seen: dict[int, int] = {}
    moved = []
    for key in cells:
        rank = seen.get(key, 0)
        seen[key] = rank + 1
        closer = min(apart, reach / max(1, math.ceil((crowd[key] - 1) / 2)))
        moved.append(closer * math.ceil(rank / 2) * (1 if rank % 2 else -1))
    return tuple(moved)


def shade(colour: Number) -> str:
    """The class of a feature value scaled to 0..1; values outside count as the nearest end."""
    if colour is None:
        return "v"
    return f"v{min(SHADES - 1, max(0, math.floor(colour * SHADES)))}"


def _swarm(feature: Swarm, scale: Scale, middle: float, reach: float) -> str:
    """One path a shade: a line without length and with round ends is a dot, in a fifth of a circle's bytes."""
    places = [scale(value) for value in feature.values if value is not None]
    dots: dict[str, list[str]] = {}
    for place, offset, colour in zip(places, offsets(places, reach), feature.colours, strict=True):
        dots.setdefault(shade(colour), []).append(f"M{coordinate(place)} {coordinate(middle + offset)}h0")
    paths = (element("path", d="".join(dots[name]), class_=f"dots {name}") for name in sorted(dots))
    low, high = extent(feature.values)
    said = f"{feature.name}: {number(low)} to {number(high)}, {len(places)} points drawn"
    return element("g", element("title", escape(said)), *paths)


def _swarm_legend(width: float, y: float) -> str:
    """Low to high in shade and size, and the shade of a value that is not known."""
    start = width - 230
    dots = (
        element("path", d=f"M{coordinate(start + 30 + 10 * index)} {coordinate(y - 4)}h0", class_=f"dots v{index}")
        for index in range(SHADES)
    )
    return (
        label(start + 22, y, "feature value low", anchor="end", class_="mark")
        + "".join(dots)
        + label(start + 30 + 10 * SHADES, y, "high", class_="mark")
        + element("path", d=f"M{coordinate(start + 145)} {coordinate(y - 4)}h0", class_="dots v")
        + label(start + 153, y, "not known", class_="mark")
    )
