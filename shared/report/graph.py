"""A job graph: layers by longest path, few crossings, smooth edges. For about 20 nodes.

Layers follow one another downwards or to the right, whichever is narrower: a page scrolls down, and a phone is narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.report.document import Graph, Node
from shared.report.scales import duration, number
from shared.report.svg import coordinate, drawing, element, escape, label

WIDE, HIGH = 182.0, 62.0
BETWEEN, APART = 40.0, 22.0
BOLD = 1.25
"""How much wider a job's name is set than the other text."""

SWEEPS = 6
"""Passes over the layers to lower crossings; the order no longer changes after fewer in graphs of this size."""

SIGNS = {
    "done": "\u2713",
    "failed": "\u2715",
    "running": "\u25b6",
    "waiting": "\u2026",
    "skipped": "\u2013",
    "reused": "\u21ba",
}


@dataclass(frozen=True)
class Layout:
    """Where nodes stand: per layer the ids from top to bottom; an id that is no node keeps a lane for a long edge."""

    layers: tuple[tuple[str, ...], ...]
    chains: tuple[tuple[str, ...], ...]  # each edge as the ids it passes, layer by layer


def layer_of(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest path that leads to each node, in edges.

    Raises:
        ValueError: the edges form a circle.
    """
    depth = dict.fromkeys(nodes, 0)
    for _ in range(len(nodes) + 1):
        deeper = {after: depth[before] + 1 for before, after in edges if depth[after] < depth[before] + 1}
        if not deeper:
            return depth
        depth |= deeper
    raise ValueError("graph: the edges form a circle, wanted jobs that wait only for earlier ones.")


def layout(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Layers in which each edge goes right, long ones through lanes of their own, ordered for few crossings.

    Source: Sugiyama, Tagawa and Toda (1981), with barycentres for the order.
    """
    depth = layer_of(nodes, edges)
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        layers[depth[node]].append(node)
    chains = []
    for index, (before, after) in enumerate(edges):
        lanes = [f"\0{index}.{level}" for level in range(depth[before] + 1, depth[after])]
        for level, lane in enumerate(lanes, start=depth[before] + 1):
            layers[level].append(lane)
        chains.append((before, *lanes, after))
    return Layout(tuple(tuple(layer) for layer in _untangled(layers, chains)), tuple(chains))


def _untangled(layers: list[list[str]], chains: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """The layers, each ordered by the mean place of its neighbours in the layer before, then after, and so on."""
    links = [(before, after) for chain in chains for before, after in pairwise(chain)]
    into: dict[str, list[str]] = {}
    out: dict[str, list[str]] = {}
    for before, after in links:
        into.setdefault(after, []).append(before)
        out.setdefault(before, []).append(after)
    for sweep in range(SWEEPS):
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        neighbours = into if sweep % 2 == 0 else out
        for level in order:
            beside = layers[level - 1] if sweep % 2 == 0 else layers[level + 1]
            layers[level] = _ordered(layers[level], beside, neighbours)
    return layers


def _ordered(layer: Sequence[str], beside: Sequence[str], neighbours: Mapping[str, Sequence[str]]) -> list[str]:
    """One layer by the mean relative place of each item's neighbours; an item without any keeps its own."""
    place = {item: (index + 0.5) / len(beside) for index, item in enumerate(beside)}

    def mean(index: int) -> float:
        found = [place[item] for item in neighbours.get(layer[index], ()) if item in place]
        return sum(found) / len(found) if found else (index + 0.5) / len(layer)

    return [layer[index] for index in sorted(range(len(layer)), key=lambda index: (round(mean(index), 9), index))]


def graph(block: Graph) -> str:
    """The drawing: a box a job with its state, time and rows, and an arrow from each job to those that wait for it."""
    if not block.nodes:
        return drawing(200, 40, "Graph: no jobs", label(0, 24, "no jobs", class_="mark"))
    plan = layout([node.id for node in block.nodes], block.edges)
    ways = (Way(WIDE, HIGH), Way(HIGH, WIDE, down=True))
    way = min(ways, key=lambda way: way.turned(*way.extent(plan))[0])
    width, height = way.turned(*way.extent(plan))
    centres = _centres(plan, way)
    parts = [_edge(chain, centres, way) for chain in plan.chains]
    parts += [_node(node, *way.turned(*centres[node.id])) for node in block.nodes]
    named = ", ".join(f"{node.label} {node.state}".strip() for node in block.nodes)
    title = f"Graph of {len(block.nodes)} jobs: {named}"
    return drawing(width + 4, height + 4, title, *parts, class_="chart graph")


def _is_lane(item: str) -> bool:
    return item.startswith("\0")


@dataclass(frozen=True)
class Way:
    """Where layers follow one another: how much a node takes along the edges and across them, in px."""

    along: float
    across: float
    down: bool = False

    def turned(self, along: float, across: float) -> tuple[float, float]:
        """A place on the drawing: x and y."""
        return (across, along) if self.down else (along, across)

    def room(self, item: str) -> float:
        """What an item takes of its layer: lanes are narrow."""
        return 10.0 if _is_lane(item) else self.across

    def breadth(self, layer: Sequence[str]) -> float:
        """What a layer takes across."""
        return sum(map(self.room, layer)) + APART * (len(layer) - 1)

    def extent(self, plan: Layout) -> tuple[float, float]:
        """What all layers take along and across."""
        return len(plan.layers) * (self.along + BETWEEN) - BETWEEN, max(map(self.breadth, plan.layers))


def _centres(plan: Layout, way: Way) -> dict[str, tuple[float, float]]:
    """The centre of each item, along and across, every layer centred on the drawing."""
    centres = {}
    for level, layer in enumerate(plan.layers):
        across = 2 + (way.extent(plan)[1] - way.breadth(layer)) / 2
        for item in layer:
            centres[item] = (2 + way.along / 2 + level * (way.along + BETWEEN), across + way.room(item) / 2)
            across += way.room(item) + APART
    return centres


def _edge(chain: Sequence[str], centres: Mapping[str, tuple[float, float]], way: Way) -> str:
    """A curve through the lanes to the near side of the last node, ending in an arrow head."""

    def at(along: float, across: float) -> str:
        return " ".join(map(coordinate, way.turned(along, across)))

    bend, half = BETWEEN / 2, way.along / 2
    along, across = centres[chain[0]]
    along += half
    data = f"M{at(along, across)}"
    for item in chain[1:]:
        centre, to = centres[item]
        near = centre - half
        data += f"C{at(along + bend, across)} {at(near - bend, to)} {at(near, to)}"
        along, across = centre + half, to
        if _is_lane(item):
            data += f"L{at(along, across)}"
    tip = along - way.along
    head = f"M{at(tip - 6, across - 4)}L{at(tip, across)}L{at(tip - 6, across + 4)}"
    return element("path", d=data, class_="edge") + element("path", d=head, class_="edge")


def joined(*texts: str) -> str:
    """The texts that are not empty, a raised dot between them."""
    return " \u00b7 ".join(text for text in texts if text)


def _node(node: Node, x: float, y: float) -> str:
    left, top = x - WIDE / 2, y - HIGH / 2
    kind = node.state if node.state in SIGNS else "other"
    state = f"{SIGNS.get(node.state, '')} {node.state}".strip()
    time = duration(node.seconds) if node.seconds is not None else ""
    rows = f"{number(node.rows)} rows" if node.rows is not None else ""
    said = ", ".join(text for text in (node.label, node.state, time, rows, node.note) if text)
    return element(
        "g",
        element("title", escape(said)),
        element("rect", x=left, y=top, width=WIDE, height=HIGH, rx=6, class_="node"),
        label(left + 12, top + 20, node.label, room=(WIDE - 20) / BOLD, class_="job"),
        label(left + 12, top + 37, joined(state, time), room=WIDE - 20, class_="state"),
        label(left + 12, top + 52, joined(rows, node.note), room=WIDE - 20, class_="mark"),
        class_=kind,
    )
