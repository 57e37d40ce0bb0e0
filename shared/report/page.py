"""Documents as one HTML page that needs nothing else: no network, no files beside it, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import DataError
from shared.files import read_json, write_json, write_text
from shared.report import charts, scales
from shared.report.document import (
    Bars,
    Beeswarm,
    Block,
    Categories,
    Graph,
    Histograms,
    Lines,
    Matrix,
    Report,
    Table,
    printable,
)
from shared.report.graph import graph
from shared.report.svg import element

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

SIGNS = {"good": "\u2713", "attention": "\u25b2", "bad": "\u2715"}
"""What stands before a verdict or in a badge, so that colour is not alone in saying it."""

FAMILIES = {
    "histograms": "distributions",
    "categories": "distributions",
    "lines": "figures",
    "matrix": "figures",
}
"""Kinds of blocks that stand side by side when they follow each other; all others have the page's width."""

HERE = Path(__file__).parent


def render(reports: Sequence[Report], *, title: str, subtitle: str = "", created: str = "") -> str:
    """One page with all reports; the same reports and words give the same bytes.

    Args:
        reports: what the jobs found, in the order to show them; the overview has one line for each.
        title: the page's heading.
        subtitle: a sentence under it.
        created: when the page was made, as it should read; left out, the page holds no time.
    """
    return _template().render(
        reports=reports,
        contents=sum(1 + len(report.sections) for report in reports) > 3,
        title=printable(title),
        subtitle=printable(subtitle),
        created=printable(created),
    )


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.html` into the folder, each whole or not at all."""
    write_json(folder / "report.json", report.to_json())
    write_text(folder / "report.html", render([report], title=report.title))


def read_report(path: Path) -> Report:
    """The document in a `report.json`, or in the folder that holds one.

    Raises:
        DataError: the file does not exist, is no JSON, or holds no report of this version.
    """
    file = path / "report.json" if path.is_dir() else path
    document = read_json(file, "report")
    try:
        return Report.from_json(document)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


@cache
def _template() -> Template:
    """The page's template; Jinja2 is imported here, because most processes write no page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # Every template is HTML whatever its name ends with, so escaping is on for all of them.
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        alignment=alignment,
        cell=scales.cell,
        cells=cells,
        draw=_draw,
        groups=groups,
        key=_key,
        long_unit=long_unit,
        shares=lambda blocks: any(isinstance(block, Categories) for block in blocks),
        signs=SIGNS,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # our own file  # nosec B704
    )
    return environment.get_template("page.html")


def groups(blocks: Iterable[Block]) -> list[tuple[str, list[Block]]]:
    """Neighbouring blocks that stand side by side, as (family, blocks); two sets of names do not share a legend."""

    def family(block: Block) -> tuple[str, object]:
        name = FAMILIES.get(block.KIND, block.KIND)
        return name, block.names if isinstance(block, Histograms | Categories) else None

    together: list[tuple[str, list[Block]]] = []
    for (name, _), found in groupby(blocks, key=family):
        members = list(found)
        together += [(name, members)] if name in FAMILIES.values() else [(name, [block]) for block in members]
    return together


def long_unit(block: Block) -> str:
    """The unit that stands beside a block's title because it is too long to follow every number."""
    return block.unit if isinstance(block, Bars) and not charts.short_unit(block.unit) else ""


def alignment(block: Table) -> tuple[str, ...]:
    """`l`, `r` or `c` for each column: as the table says, otherwise right for columns of numbers."""
    if block.align:
        return tuple(block.align)
    return tuple("r" if _numeric([row[index] for row in block.rows]) else "l" for index in range(len(block.columns)))


def _numeric(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def cells(block: Table) -> list[tuple[str, ...]]:
    """The rows of a table as text."""
    columns = [scales.column([row[index] for row in block.rows]) for index in range(len(block.columns))]
    return list(zip(*columns, strict=True))


def _draw(block: Block, small: bool) -> Markup:
    """The block's drawing. Only here is text marked as safe: what `charts` makes has escaped every string in it."""
    from markupsafe import Markup

    return Markup(drawn(block, small))  # nosec B704


def drawn(block: Block, small: bool) -> str:
    """The SVG of a block that is a chart.

    Raises:
        TypeError: the block is none.
    """
    match block:
        case Histograms():
            return charts.histograms(block)
        case Categories():
            return charts.categories(block)
        case Lines():
            return charts.lines(block)
        case Matrix():
            return charts.matrix(block)
        case Bars():
            return charts.bars(block)
        case Beeswarm():
            return charts.beeswarm(block)
        case Graph():
            return graph(block)
    raise TypeError(f"a {block.KIND} block is no chart.")


def _key(which: str) -> Markup:
    """The sample in a legend: both forms a distribution takes, area or broad bar, outline or narrow bar."""
    from markupsafe import Markup

    if which == "expected":
        shape = element("rect", x=0, y=2, width=22, height=12, class_="expected")
    else:
        shape = element("path", d="M1 13V4H11V9H21V13", class_="actual outline")
    return Markup(f'<svg width="22" height="16" aria-hidden="true">{shape}</svg>')  # nosec B704
