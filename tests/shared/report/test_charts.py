"""Charts: well-formed whatever the data, and right where a position can be said in advance."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.report import Bars, Beeswarm, Block, Categories, Graph, Histograms, Lines, Matrix, Node, Series, Swarm
from shared.report import graph as graphs
from shared.report.charts import beeswarm, crowded, histograms, offsets, pooled, shade, shares
from shared.report.page import drawn
from shared.report.svg import LETTER, shortened, width_of

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<script>alert('x')</script> & \"quotes\" \x01\u00e9\u4e2d"

number = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**18), 10**18))


def parsed(block: Block) -> ElementTree.Element:
    return ElementTree.fromstring(drawn(block, small=True))


def boxes(root: ElementTree.Element, name: str) -> list[tuple[float, float]]:
    """Left and width of each rectangle of one class."""
    found = [item for item in root.iter(f"{SVG}rect") if item.get("class") == name]
    return [(float(item.get("x", "")), float(item.get("width", ""))) for item in found]


EMPTY: tuple[Block, ...] = (
    Bars("b", (), ()),
    Lines("l", "x", "y", ()),
    Lines("l", "x", "y", (Series("s", (), ()),)),
    Lines("l", "x", "y", (Series("s", (None,), (1,)),)),
    Histograms("h", (), (), ()),
    Categories("c", (), (), ()),
    Matrix("m", (), (), ()),
    Matrix("m", ("a",), (), ((),)),
    Beeswarm("s", (), "x"),
    Beeswarm("s", (Swarm("f", ()),), "x"),
    Graph((), ()),
)

SINGLE: tuple[Block, ...] = (
    Bars("b", ("a",), (3,)),
    Bars("b", ("a", "b"), (0, 0)),
    Bars("b", ("a",), (None,)),
    Bars("b", ("a", "b"), (-1.5, -3)),
    Lines("l", "x", "y", (Series("s", (1,), (2,)),)),
    Lines("l", "x", "y", (Series("s", (1, 1), (2, 2)),), diagonal=True),
    Lines("l", "x", "y", (Series("s", (0, 1, None, 3), (5, 5, 5, 5)),)),
    Histograms("h", (5, 5), (10,), (10,)),
    Histograms("h", (5, 5, 6), (10, 0), (0, 0)),
    Histograms("h", (None, None), (1,), (2,)),
    Histograms("h", (None, 3, None), (1, 2), (2, 1)),
    Histograms("h", (0, 1), (None,), (0,)),
    Categories("c", ("a",), (1,), (0,)),
    Categories("c", ("a", "b"), (0, 0), (None, 0)),
    Matrix("m", ("a",), ("a",), ((0,),)),
    Matrix("m", tuple("abcdefghij"), tuple("abcdefghij"), tuple(tuple(range(10)) for _ in range(10))),
    Beeswarm("s", (Swarm("f", (0.5,), (0.5,)),), "x"),
    Beeswarm("s", (Swarm("f", (0.0,) * 50),), "x"),
    Graph((Node("a", "a"),), ()),
)


@pytest.mark.parametrize("block", EMPTY, ids=lambda block: block.KIND)
def test_a_block_without_data_says_so(block: Block) -> None:
    words = " ".join(parsed(block).itertext())

    assert "no data" in words or "no jobs" in words


@pytest.mark.parametrize("block", SINGLE, ids=lambda block: block.KIND)
def test_single_constant_and_missing_values_are_drawn(block: Block) -> None:
    root = parsed(block)

    assert len(list(root.iter())) > 3
    assert not re.search(r"\bnan\b|\binf\b", ElementTree.tostring(root, encoding="unicode"))


@pytest.mark.parametrize("block", EMPTY + SINGLE, ids=lambda block: block.KIND)
def test_every_drawing_is_an_image_with_a_title(block: Block) -> None:
    root = parsed(block)

    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text


@pytest.mark.parametrize(
    "block",
    [
        Bars(NASTY, (NASTY,), (1,), NASTY),
        Lines(NASTY, NASTY, NASTY, (Series(NASTY, (0, 1), (0, 1)), Series(NASTY, (0, 1), (0, 9)))),
        Histograms(NASTY, (0, 1), (1,), (1,), (NASTY, NASTY)),
        Categories(NASTY, (NASTY,), (1,), (1,), (NASTY, NASTY)),
        Matrix(NASTY, (NASTY,), (NASTY,), ((1,),), NASTY, NASTY),
        Beeswarm(NASTY, (Swarm(NASTY, (1,)),), NASTY),
        Graph((Node(NASTY, NASTY, NASTY, 1, 2, NASTY),), ()),
    ],
    ids=lambda block: block.KIND,
)
def test_markup_in_any_text_of_a_chart_stays_text(block: Block) -> None:
    root = parsed(block)

    assert {item.tag.removeprefix(SVG) for item in root.iter()} <= {"svg", "title", "text", "rect", "path", "g"}
    assert "<script>" in "".join(root.itertext())


def test_shares_sum_to_one_whether_counts_or_shares_were_given() -> None:
    assert shares((2, 6)) == shares((0.25, 0.75)) == (0.25, 0.75)
    assert shares((0, None)) == (0.0, 0.0)


def test_equal_density_is_drawn_at_equal_height_over_bins_of_unequal_width() -> None:
    root = parsed(Histograms("h", (0, 1, 4), (10, 30), (10, 30)))

    area = next(item.get("d", "") for item in root.iter(f"{SVG}path") if item.get("class") == "expected area")
    heights = re.findall(r"V([\d.]+)", area)[:2]
    assert heights[0] == heights[1]


def test_a_column_that_is_nearly_always_zero_is_drawn_with_bins_of_equal_width() -> None:
    edges = (0.0, 0.001, 0.5, 1.3)

    assert crowded(edges, (0.95, 0.03, 0.02))
    assert "equally wide" in histograms(Histograms("precip", edges, (95, 3, 2), (80, 10, 10)))
    assert not crowded((0.0, 1.0, 2.0, 5.0), (0.3, 0.3, 0.4))


def test_a_histogram_tells_the_range_and_both_shares_of_each_bin() -> None:
    titles = [item.text for item in parsed(Histograms("h", (None, 1, 4), (1, 3), (1, 1))).iter(f"{SVG}title")]

    assert titles[1:] == [
        "\u2026 to 1: training 25.0 %, production 50.0 %",
        "1 to 4: training 75.0 %, production 50.0 %",
    ]


def test_axis_labels_of_a_histogram_do_not_touch() -> None:
    edges = (None, 200, 500, 700, 1000, 1500, 2500, None)
    root = parsed(Histograms("distance", edges, (1, 20, 18, 22, 20, 17, 2), (1, 18, 20, 20, 22, 17, 2)))

    marks = [item for item in root.iter(f"{SVG}text") if item.get("class") == "mark"]
    places = [float(item.get("x", "")) for item in marks]
    assert len(marks) >= 2
    assert all(after - before > width_of("1,000") for before, after in pairwise(places))


def test_bars_are_as_long_as_their_values() -> None:
    (_, one), (_, three) = boxes(parsed(Bars("b", ("a", "b"), (1, 3))), "bar")

    assert three == pytest.approx(3 * one, abs=0.2)


def test_a_negative_bar_ends_where_a_positive_one_begins() -> None:
    root = parsed(Bars("b", ("a", "b"), (2, -1)))

    (zero, _), (left, width) = boxes(root, "bar")[0], boxes(root, "bar below")[0]
    assert left + width == pytest.approx(zero, abs=0.11)


def test_rare_levels_are_pooled_and_keep_their_sum() -> None:
    labels = tuple(f"level {index}" for index in range(40))
    counts = shares(tuple(range(40)))

    rows = pooled(labels, counts, counts, limit=12)

    assert len(rows) == 12
    assert [name for name, _, _ in rows[:2]] == ["level 29", "level 30"]
    assert rows[-1][0] == "29 others"
    assert math.fsum(row[1] for row in rows) == pytest.approx(1)


def test_lines_whose_ends_lie_apart_are_named_there_and_others_in_a_legend() -> None:
    apart = parsed(Lines("l", "x", "y", (Series("one", (0, 1), (0, 1)), Series("two", (0, 1), (0, 9)))))
    together = parsed(Lines("l", "x", "y", (Series("one", (0, 1), (0, 9)), Series("two", (0, 1), (3, 9)))))

    assert {item.text for item in apart.iter(f"{SVG}text") if "end" in item.get("class", "").split()} == {"one", "two"}
    assert {item.text for item in together.iter(f"{SVG}text") if item.get("class") == "name"} == {"one", "two"}


def marks_below(root: ElementTree.Element) -> list[tuple[str, float]]:
    """Labels of the axis at the bottom, and where their middles are."""
    marks = [item for item in root.iter(f"{SVG}text") if item.get("class") == "mark" and item.get("x")]
    lowest = sorted({float(item.get("y", "")) for item in marks})[-2]
    return [
        ("".join(item.itertext()), float(item.get("x", ""))) for item in marks if float(item.get("y", "")) == lowest
    ]


def test_years_on_an_axis_are_years() -> None:
    root = parsed(Lines("sales", "year", "", (Series("s", (2010, 2014), (0, 1)),)))

    assert [text for text, _ in marks_below(root)] == ["2010", "2011", "2012", "2013", "2014"]


def test_named_places_are_marked_by_their_names() -> None:
    months = ("2013-05", "2013-06", "2013-07")
    root = parsed(Lines("AUC", "month", "AUC", (Series("s", (1, 2, 3), (0.7, 0.6, 0.7)),), names=months))

    marks = marks_below(root)
    assert tuple(text for text, _ in marks) == months
    assert marks[-1][1] + width_of(months[-1]) / 2 <= 340


def test_names_that_would_touch_are_left_out_at_equal_distances() -> None:
    months = tuple(f"2013-{month:02d}" for month in range(1, 13))
    places = tuple(range(1, 13))
    root = parsed(Lines("AUC", "month", "AUC", (Series("s", places, places),), names=months))

    marks = marks_below(root)
    found = [months.index(text) for text, _ in marks]
    assert 2 <= len(marks) < 12
    assert len({after - before for before, after in pairwise(found)}) == 1
    assert all(after - before > width_of(months[0]) for (_, before), (_, after) in pairwise(marks))


def test_points_of_a_swarm_stay_in_their_row_and_do_not_coincide_where_sparse() -> None:
    moved = offsets([10.0] * 5, reach=12)

    assert sorted(moved) == pytest.approx([-5.2, -2.6, 0, 2.6, 5.2])
    assert max(map(abs, offsets([10.0] * 500, reach=12))) <= 12


def test_a_shade_is_chosen_by_the_scaled_value() -> None:
    assert [shade(value) for value in (0, 0.5, 1, -3, 7, None)] == ["v0", "v3", "v6", "v0", "v6", "v"]


def test_a_swarm_draws_each_of_its_points_once() -> None:
    block = Beeswarm("s", (Swarm("f", tuple(index / 100 for index in range(100)), (0.5,) * 100),), "x")

    dots = "".join(re.findall(r"<g>.*?</g>", beeswarm(block)))
    assert dots.count("h0") == 100


def test_a_job_stands_behind_all_that_it_waits_for() -> None:
    depth = graphs.layer_of(("a", "b", "c", "d"), (("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")))

    assert depth == {"a": 0, "b": 1, "c": 2, "d": 1}


def test_a_long_edge_has_a_lane_in_each_layer_it_passes() -> None:
    plan = graphs.layout(("a", "b", "c"), (("a", "b"), ("b", "c"), ("a", "c")))

    assert [len(layer) for layer in plan.layers] == [1, 2, 1]
    assert [len(chain) for chain in plan.chains] == [2, 2, 3]


def test_two_crossed_pairs_are_untangled() -> None:
    plan = graphs.layout(("a", "b", "x", "y"), (("a", "y"), ("b", "x")))

    first, second = plan.layers
    assert first.index("a") == second.index("y")


def test_a_circle_of_jobs_is_refused() -> None:
    with pytest.raises(ValueError, match="form a circle"):
        drawn(Graph((Node("a", "a"), Node("b", "b")), (("a", "b"), ("b", "a"))), small=False)


def test_a_long_label_is_cut_to_its_room_and_kept_in_a_title() -> None:
    name = "a_column_with_a_very_long_name_that_nobody_would_type_by_hand_but_joins_produce"
    root = parsed(Bars("b", (name,), (1,)))

    cut = shortened(name, 100)
    assert cut.endswith("\u2026")
    assert width_of(cut) <= 100 + LETTER
    assert name in [item.text for item in root.iter(f"{SVG}title")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(number, number), max_size=12), st.booleans())
def test_any_numbers_give_well_formed_drawings(
    pairs: Sequence[tuple[float | None, float | None]], diagonal: bool
) -> None:
    x, y = tuple(first for first, _ in pairs), tuple(second for _, second in pairs)
    names = tuple(str(index) for index in range(len(pairs)))
    edges = sorted(value for value in x if value is not None and math.isfinite(value))
    bins = max(0, len(edges) - 1)
    blocks: tuple[Block, ...] = (
        Bars("b", names, x),
        Lines("l", "x", "y", (Series("s", x, y), Series("t", y, x)), diagonal),
        Categories("c", names, x, y),
        Matrix("m", names, ("a", "b"), tuple(pairs)),
        Beeswarm("s", (Swarm("f", x, y),), "x"),
        Histograms("h", tuple(edges) if bins else (), (1,) * bins, tuple(range(bins))),
    )

    for block in blocks:
        text = drawn(block, small=True)
        ElementTree.fromstring(text)
        assert not re.search(r'="[^"]*(?<![a-z])(nan|inf)(?![a-z])', text)


def test_a_long_graph_is_drawn_downwards_and_a_broad_one_to_the_right() -> None:
    """Neither is wider than a phone's 390 px."""
    row = tuple(Node(str(number), str(number), "done") for number in range(9))
    chain = tuple((str(number), str(number + 1)) for number in range(8))

    for edges in (chain, ()):
        width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', graphs.graph(Graph(row, edges)))[0])
        assert width <= 390 < height
