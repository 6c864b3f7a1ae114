"""The twins and their relationships as a graph: what is reached from where; must not know values or screens.

Adjacency as arrays: 100,000 twins and 200,000 relationships take 8 MB and 0.1 ms a hop, in networkx 135 MB and 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twin.errors import NotFound
from twin.nearest import nearest

if TYPE_CHECKING:
    from twin.plant import Plant, Relationship

# Relationships by which a twin is made of others: they must form a forest.
PART_OF = frozenset({"contains", "hasPart", "parts"})
ONE_WHOLE = "a twin is a part of one other: remove one of the two, or call this relationship otherwise"


@dataclass(frozen=True, slots=True)
class _Adjacency:
    """Neighbours of row i: `to[start[i] : start[i + 1]]`, each by the relationship `name`, a number."""

    start: NDArray[np.int64]
    to: NDArray[np.int32]
    name: NDArray[np.int16]

    @classmethod
    def of(cls, source: NDArray[np.int32], target: NDArray[np.int32], name: NDArray[np.int16], size: int) -> _Adjacency:
        order = np.argsort(source, kind="stable")
        return cls(np.searchsorted(source[order], np.arange(size + 1)), target[order], name[order])

    def neighbours(self, rows: NDArray[np.int32], wanted: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Every neighbour of the rows by a wanted relationship, ascending, each once."""
        begin, count = self.start[rows], self.start[rows + 1] - self.start[rows]
        edges = np.arange(count.sum()) + np.repeat(begin - np.cumsum(count) + count, count)
        return np.unique(self.to[edges[wanted[self.name[edges]]]])


class TwinGraph:
    """Directed multigraph: node = twin, edge = relationship, both as rows of arrays.

    `row_of`: of every twin its row, in the plant's order.
    """

    def __init__(self, plant: Plant) -> None:
        self._ids: Sequence[str] = [t.id for t in plant.twins]
        self.row_of = {identity: row for row, identity in enumerate(self._ids)}
        self._names = sorted({r.name for r in plant.relationships})
        number = {name: n for n, name in enumerate(self._names)}
        count = len(plant.relationships)
        source = np.fromiter((self.row_of[r.source] for r in plant.relationships), np.int32, count)
        target = np.fromiter((self.row_of[r.target] for r in plant.relationships), np.int32, count)
        name = np.fromiter((number[r.name] for r in plant.relationships), np.int16, count)
        of_part = np.array([n in PART_OF for n in self._names], np.bool_)[name]
        self._part_and_whole = target[of_part], source[of_part]
        self._forwards = _Adjacency.of(source, target, name, len(self._ids))
        self._backwards = _Adjacency.of(target, source, name, len(self._ids))

    def downstream(self, twin_id: str, names: Iterable[str] | None = None, hops: int | None = None) -> dict[str, int]:
        """Twins reached by following relationships forwards -> in how many hops, nearest first.

        Args:
            names: of these relationships only; all but those of parts when None.
            hops: no further than this.

        Raises:
            NotFound: no twin has that id; the message offers the nearest ones.
        """
        return self._reach(self._forwards, (twin_id,), self._flow(names), hops)

    def upstream(self, twin_id: str, names: Iterable[str] | None = None, hops: int | None = None) -> dict[str, int]:
        """As `downstream`, backwards."""
        return self._reach(self._backwards, (twin_id,), self._flow(names), hops)

    def parts(self, twin_id: str, hops: int | None = None) -> dict[str, int]:
        """Twins that `twin_id` is made of -> at which depth."""
        return self._reach(self._forwards, (twin_id,), PART_OF, hops)

    def with_parts(self, twin_ids: Iterable[str]) -> frozenset[str]:
        """The twins and all that they are made of.

        Raises:
            NotFound: no twin has one of the ids.
        """
        wholes = tuple(twin_ids)
        return frozenset(wholes) | self._reach(self._forwards, wholes, PART_OF, None).keys()

    @cached_property
    def upwards(self) -> Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Rows of parts and of what each is part of, the deepest ones first: added up in this order nothing is missed."""
        part, whole = self._part_and_whole
        depth = np.zeros(len(self._ids), np.int32)
        for _ in self._ids:  # parts form no circle, so as often as the deepest lies deep
            deeper = depth.copy()
            np.maximum.at(deeper, part, depth[whole] + 1)
            if np.array_equal(deeper, depth):
                break
            depth = deeper
        levels = [depth[part] == level for level in range(int(depth.max(initial=0)), 0, -1)]
        return [(part[at], whole[at]) for at in levels]

    def _flow(self, names: Iterable[str] | None) -> frozenset[str]:
        return frozenset(self._names) - PART_OF if names is None else frozenset(names)

    def _reach(
        self, ways: _Adjacency, twin_ids: Sequence[str], names: frozenset[str], hops: int | None
    ) -> dict[str, int]:
        for twin_id in twin_ids:
            if twin_id not in self.row_of:
                raise NotFound(f"no twin is called {twin_id!r}", nearest(twin_id, self.row_of))
        wanted = np.array([name in names for name in self._names], np.bool_)
        seen = np.zeros(len(self._ids), np.bool_)
        front = np.array([self.row_of[twin_id] for twin_id in twin_ids], np.int32)
        seen[front] = True
        found: dict[str, int] = {}
        hop = 0
        while len(front) and (hops is None or hop < hops):
            hop += 1
            front = ways.neighbours(front, wanted)
            front = front[~seen[front]]
            seen[front] = True
            found |= {self._ids[row]: hop for row in front.tolist()}
        return found


def second_wholes(relationships: Iterable[Relationship]) -> list[tuple[Relationship, Relationship]]:
    """(another, first) for each relationship by which a part is in another whole than by the first."""
    first: dict[str, Relationship] = {}
    parts = (r for r in relationships if r.name in PART_OF)
    return [(r, first[r.target]) for r in parts if first.setdefault(r.target, r).source != r.source]


def circle_of_parts(relationships: Iterable[Relationship]) -> list[Relationship]:
    """The relationships of one circle among parts, in order; empty when parts form no circle."""
    import networkx as nx  # a tenth of a second that only who loads a plant pays

    graph = nx.MultiDiGraph()
    by_edge: dict[tuple[str, str], Relationship] = {}
    for relationship in relationships:
        if relationship.name in PART_OF:
            graph.add_edge(relationship.source, relationship.target)
            by_edge[relationship.source, relationship.target] = relationship
    try:
        return [by_edge[source, target] for source, target, *_ in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return []
