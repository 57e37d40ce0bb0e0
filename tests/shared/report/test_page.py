"""The page: one file, safe, complete, always the same."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from shared.report import (
    Bars,
    Beeswarm,
    Fact,
    Facts,
    Graph,
    Histograms,
    Lines,
    Node,
    Report,
    Section,
    Series,
    Swarm,
    Table,
    Text,
    render,
    write_report,
)
from shared.report.page import alignment, cells, groups

NASTY = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Tags with their attributes, headings in order, and whether every element is closed in turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def named(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def page(reports: tuple[Report, ...]) -> str:
    return render(reports, title="Flights", subtitle="July")


def with_blocks(*blocks: object) -> Report:
    return Report("R", "monitoring", "serve", 1, (Section("S", blocks),))  # type: ignore[arg-type]


def test_every_element_is_closed_in_turn(page: str) -> None:
    assert Outline(page).open == []


def test_each_drawing_is_well_formed_xml(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)

    assert len(drawings) > 20
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    outline = Outline(page)

    for _, attributes in outline.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert outline.named("script", "link", "iframe", "img", "object") == []
    assert "@import" not in page
    assert "url(" not in page
    assert set(re.findall(r"\w+://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}


def test_links_lead_to_places_on_the_page(page: str) -> None:
    outline = Outline(page)

    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    targets = {(attributes["href"] or "").removeprefix("#") for attributes in outline.named("a")}
    assert len(ids) == len(set(ids))
    assert targets
    assert targets <= set(ids)


def test_headings_nest_without_a_gap(page: str) -> None:
    levels = [int(tag[1]) for tag, _ in Outline(page).tags if re.fullmatch(r"h\d", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_header_cells_of_tables_have_a_scope_and_drawings_a_role(page: str) -> None:
    outline = Outline(page)

    assert all(attributes.get("scope") in {"col", "row"} for attributes in outline.named("th"))
    assert all("img" in (item.get("role"), item.get("aria-hidden") and "img") for item in outline.named("svg"))


def test_the_overview_shows_every_job_with_its_verdict(reports: tuple[Report, ...], page: str) -> None:
    overview = page[: page.index("<article")]

    for report in reports:
        assert report.verdict in overview
        assert f"{report.rows:,}" in overview


def test_one_report_has_no_overview(reports: tuple[Report, ...]) -> None:
    assert "overview" not in render(reports[:1], title="t").partition("</style>")[2]


def test_no_report_at_all_is_a_page_too() -> None:
    assert Outline(render((), title="Nothing ran")).open == []


def test_a_verdict_has_a_sign_that_says_its_state_in_words(page: str) -> None:
    labels = {attributes.get("aria-label") for attributes in Outline(page).named("span")}

    assert {"good", "attention", "bad"} <= labels


def test_markup_in_any_text_stays_text() -> None:
    blocks = (
        Facts((Fact(NASTY, NASTY, NASTY),)),
        Table((NASTY,), ((NASTY,),), NASTY, title=NASTY),
        Text(NASTY),
        Bars(NASTY, (NASTY,), (1,), NASTY, NASTY),
        Histograms(NASTY, (0, 1), (1,), (1,), (NASTY, NASTY), NASTY, NASTY),
        Lines(NASTY, NASTY, NASTY, (Series(NASTY, (0, 1), (0, 1)),), note=NASTY),
        Graph((Node(NASTY, NASTY, NASTY, 1, 1, NASTY),), (), NASTY, NASTY),
    )
    report = Report(NASTY, NASTY, NASTY, 1, (Section(NASTY, blocks, NASTY),), NASTY)

    page = render([report, report], title=NASTY, subtitle=NASTY, created=NASTY)

    outline = Outline(page)
    assert outline.named("script") == []
    assert outline.open == []
    assert "<script" not in page
    assert "{{ 7 * 7 }}" in page


def test_a_style_that_a_text_closes_early_is_not_possible(page: str) -> None:
    assert page.count("</style>") == 1


def test_forty_columns_of_two_histograms_and_a_broad_beeswarm_stay_under_one_megabyte() -> None:
    edges = tuple(index / 21 + 1000 for index in range(21))
    counts = tuple(1000 + index * 37 % 91 for index in range(20))
    columns = tuple(Histograms(f"column_{index}", edges, counts, counts[::-1], note="q 0.2") for index in range(80))
    features = tuple(
        Swarm(
            f"feature_{index}",
            tuple(row * 7919 % 1000 / 1000 for row in range(1000)),
            tuple(row / 999 for row in range(1000)),
        )
        for index in range(20)
    )

    page = render([with_blocks(*columns, Beeswarm("swarm", features, "log-odds"))], title="t")

    assert len(page.encode()) < 600_000


def test_the_same_reports_give_the_same_bytes_and_a_time_only_when_given(reports: tuple[Report, ...]) -> None:
    first, second = (render(reports, title="t") for _ in range(2))

    assert first == second
    assert "Created" not in first
    assert "Created 2013-07-01 12:00" in render(reports, title="t", created="2013-07-01 12:00")


def test_the_same_report_gives_the_same_files(reports: tuple[Report, ...], tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_report(reports[3], tmp_path / folder)

    for name in ("report.json", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_writing_replaces_an_older_report_and_leaves_nothing_else(reports: tuple[Report, ...], tmp_path: Path) -> None:
    write_report(reports[0], tmp_path)
    write_report(replace(reports[0], verdict="All jobs done"), tmp_path)

    assert "All jobs done" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_distributions_that_follow_each_other_stand_side_by_side() -> None:
    histogram = Histograms("h", (0, 1), (1,), (1,))
    other_names = replace(histogram, names=("before", "after"))

    found = groups((Text("t"), Text("u"), histogram, histogram, other_names, Bars("b", (), ())))

    assert [(kind, len(blocks)) for kind, blocks in found] == [
        ("text", 1),
        ("text", 1),
        ("distributions", 2),
        ("distributions", 1),
        ("bars", 1),
    ]


def test_columns_of_numbers_stand_right_unless_the_table_says_otherwise() -> None:
    table = Table(("name", "n", "share", "flag"), (("a", 1, None, True), ("b", 2, 0.5, False)))

    assert alignment(table) == ("l", "r", "r", "l")
    assert alignment(replace(table, align="rlcc")) == ("r", "l", "c", "c")
    assert cells(table) == [("a", "1", "\u2013", "yes"), ("b", "2", "0.5", "no")]


def test_a_table_without_rows_or_columns_is_drawn() -> None:
    page = render([with_blocks(Table(("a",), ()), Table((), ()))], title="t")

    assert page.count("no rows") == 2


def test_importing_the_package_does_not_import_jinja() -> None:
    code = "import sys, shared.report; sys.exit(any(name in sys.modules for name in ('jinja2', 'numpy', 'polars')))"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
