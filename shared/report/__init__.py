"""What a job found, as a document, and one or several such documents as a self-contained HTML page."""

from __future__ import annotations

from shared.report.document import (
    Bars,
    Beeswarm,
    Block,
    Categories,
    Cell,
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
from shared.report.page import read_report, render, write_report

__all__ = [
    "Bars",
    "Beeswarm",
    "Block",
    "Categories",
    "Cell",
    "Fact",
    "Facts",
    "Graph",
    "Histograms",
    "Lines",
    "Matrix",
    "Node",
    "Report",
    "Section",
    "Series",
    "Swarm",
    "Table",
    "Text",
    "read_report",
    "render",
    "write_report",
]
