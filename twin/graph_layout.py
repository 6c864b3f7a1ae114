"""Where every twin stands in the picture of the graph: boxes within boxes, by what contains what; the same at every start.

Opening or closing a box moves nothing else, so that a place can be remembered. Must not know values, screens or files.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import networkx as nx

from twin.graph import PART_OF
from twin.plant import Plant

VERSION = 1  # of the rules below: another one lays out anew
LEAF = (3.0, 1.0)  # width and height of a twin without parts; a unit is a line of text and its room
GAP_X, GAP_Y = 1.2, 0.5
PADDING, TITLE = 0.6, 1.0  # of a box around its parts
BAND = 24.0  # a row of columns is no narrower: what flows through few twins is one row
SWEEPS = 3  # over the layers, each to uncross lines; more change little
ASPECT = 3.0  # what comes out is as wide as a screen: the last column of a band is seldom full

Size = tuple[float, float]
Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """Left, top, width and height of a twin, and the row of what contains it, -1 for nothing."""

    parent: int
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class GraphLayout:
    """`boxes` in the order of the plant's twins; `digest` tells of which graph."""

    digest: str
    width: float
    height: float
    boxes: tuple[Box, ...]


def digest(plant: Plant) -> str:
    """Of everything that the layout depends on."""
    said = hashlib.sha256(str(VERSION).encode())
    for twin in plant.twins:
        said.update(b"\n" + twin.id.encode())
    for r in plant.relationships:
        said.update(f"\n{r.source} {r.name} {r.target}".encode())
    return said.hexdigest()


def nested(plant: Plant) -> GraphLayout:
    """Each box is laid out by what flows between its parts, from left to right. 10,000 twins take about a second."""
    if not plant.twins:
        return GraphLayout(digest(plant), 0.0, 0.0, ())
    row = {t.id: n for n, t in enumerate(plant.twins)}
    parent = [-1] * len(row)
    for r in plant.relationships:
        if r.name in PART_OF and parent[row[r.target]] == -1:
            parent[row[r.target]] = row[r.source]
    members: dict[int, list[int]] = defaultdict(list)
    for n, of in enumerate(parent):
        members[of].append(n)
    flows = _flows(((row[r.source], row[r.target]) for r in plant.relationships if r.name not in PART_OF), parent)
    sizes: dict[int, Size] = dict.fromkeys(range(len(parent)), LEAF)
    places: dict[int, Size] = {}
    for group in _deepest_first(members):
        within, (width, height) = _arranged(members[group], sizes, flows.get(group, ()))
        edge, top = (PADDING, PADDING + TITLE) if group >= 0 else (0.0, 0.0)
        places |= {n: (x + edge, y + top) for n, (x, y) in within.items()}
        sizes[group] = (max(LEAF[0], width + 2 * edge), height + edge + top)
    corner: dict[int, Size] = {-1: (0.0, 0.0)}
    for group in reversed(_deepest_first(members)):
        left, top = corner[group]
        corner |= {n: (left + places[n][0], top + places[n][1]) for n in members[group]}
    boxes = tuple(Box(of, *corner[n], *sizes[n]) for n, of in enumerate(parent))
    return GraphLayout(digest(plant), *sizes.get(-1, (0.0, 0.0)), boxes)


def _deepest_first(members: Mapping[int, Sequence[int]]) -> list[int]:
    """Every group after the groups within it."""
    found, front = [], [-1]
    while front:
        found += front
        front = [n for group in front for n in members[group] if n in members]
    return found[::-1]


def _flows(edges: Iterable[Edge], parent: Sequence[int]) -> dict[int, list[Edge]]:
    """By group what flows between its members, or between what they contain."""
    found: dict[int, dict[Edge, None]] = defaultdict(dict)
    for edge in edges:
        ways = [_way_up(n, parent) for n in edge]
        above = {group: n for n, group in ways[0]}
        for target, group in ways[1]:
            source = above.get(group)
            if source is not None:
                if source != target:
                    found[group][source, target] = None
                break
    return {group: list(of) for group, of in found.items()}


def _way_up(n: int, parent: Sequence[int]) -> list[Edge]:
    """(member, its group) from a twin up to the whole."""
    way = []
    while n >= 0:
        way.append((n, parent[n]))
        n = parent[n]
    return way


def _arranged(members: Sequence[int], sizes: Mapping[int, Size], flows: Sequence[Edge]) -> tuple[dict[int, Size], Size]:
    """Places of the members, and the room that they take: columns in the order of flow, in bands as wide as a screen."""
    columns = _columns(members, flows)
    area = sum((sizes[n][0] + GAP_X) * (sizes[n][1] + GAP_Y) for n in members)
    wide = max(sqrt(area * ASPECT), BAND, *(sizes[n][0] for n in members))
    tall = max(wide / ASPECT, *(sizes[n][1] for n in members))
    places: dict[int, Size] = {}
    left = top = bottom = right = 0.0
    for column in [piece for c in columns for piece in _pieces(c, sizes, tall)]:
        width = max(sizes[n][0] for n in column)
        if left > 0 and left + width > wide:
            left, top = 0.0, bottom + GAP_Y
        y = top
        for n in column:
            places[n] = (left, y)
            y += sizes[n][1] + GAP_Y
        bottom, right = max(bottom, y - GAP_Y), max(right, left + width)
        left += width + GAP_X
    return places, (right, bottom)


def _pieces(column: Sequence[int], sizes: Mapping[int, Size], tall: float) -> list[list[int]]:
    """A column that is taller than its band is several beside each other."""
    height = sum(sizes[n][1] + GAP_Y for n in column)
    count = max(1, ceil(height / (tall + GAP_Y)))
    most = ceil(len(column) / count)
    return [list(column[i : i + most]) for i in range(0, len(column), most)]


def _columns(members: Sequence[int], flows: Sequence[Edge]) -> list[list[int]]:
    """Longest-path layers of what flows (circles are one layer), and those apart from it last."""
    if not flows:
        return [list(members)]
    graph = nx.DiGraph(flows)
    whole = nx.condensation(graph)
    layers = [
        sorted(n for part in layer for n in whole.nodes[part]["members"]) for layer in nx.topological_generations(whole)
    ]
    for _ in range(SWEEPS):
        for before, layer in pairwise(layers):
            at = {n: i / len(before) for i, n in enumerate(before)}
            layer.sort(key=lambda n: _middle([at[p] for p in graph.pred[n] if p in at]))
    apart = [n for n in members if n not in graph]
    return [*layers, apart] if apart else layers


def _middle(places: Sequence[float]) -> float:
    return sum(places) / len(places) if places else 0.5
