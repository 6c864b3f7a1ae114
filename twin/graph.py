"""The twins and their relationships as a graph, with a stored layout for drawing; must not know values or screens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx

from twin.errors import NotFound
from twin.plant import Plant, Relationship, nearest

# Relationships by which a twin is made of others: they must form a forest.
PART_OF = frozenset({"contains", "hasPart", "parts"})


class TwinGraph:
    """Directed multigraph: node = twin id, edge key = relationship name."""

    def __init__(self, plant: Plant) -> None:
        self.graph = nx.MultiDiGraph()
        self.graph.add_nodes_from(t.id for t in plant.twins)
        self.graph.add_edges_from((r.source, r.target, r.name) for r in plant.relationships)
        self._given = {t.id: t.at for t in plant.twins}

    def downstream(self, twin_id: str, names: Iterable[str] | None = None) -> set[str]:
        """Twins reached by following relationships forwards (of the given names; all but parts when None)."""
        return set(nx.descendants(self._flow(names), self._known(twin_id)))

    def upstream(self, twin_id: str, names: Iterable[str] | None = None) -> set[str]:
        return set(nx.ancestors(self._flow(names), self._known(twin_id)))

    def parts(self, twin_id: str) -> set[str]:
        """Twins that `twin_id` is made of, at any depth."""
        return set(nx.descendants(self._only(PART_OF), self._known(twin_id)))

    def layout(self) -> dict[str, tuple[float, float]]:
        """A place for every twin in [0, 1]², y downwards: the plant's own coordinates where given, else beside kin.

        Deterministic, so that the drawing is the same at every start.
        """
        given = {t: at for t, at in self._given.items() if at is not None}
        places = _normalised(given)
        missing = [t for t in self._given if t not in places]
        if missing and not places:
            return _normalised(dict(nx.kamada_kawai_layout(nx.Graph(self.graph))))
        placed: dict[str, tuple[float, float]] = dict(places)
        for rank, twin in enumerate(missing):
            kin = [places[n] for n in nx.all_neighbors(self.graph, twin) if n in places]
            if 0 < len(kin) <= 4:
                placed[twin] = (sum(x for x, _ in kin) / len(kin), sum(y for _, y in kin) / len(kin))
            else:  # no single place suits it: a row along the upper edge
                placed[twin] = ((rank + 0.5) / max(1, len(missing)), 0.0)
        return placed

    def _known(self, twin_id: str) -> str:
        if twin_id not in self.graph:
            raise NotFound(f"no twin is called {twin_id!r}", nearest(twin_id, list(self.graph)))
        return twin_id

    def _flow(self, names: Iterable[str] | None) -> nx.MultiDiGraph:
        every = {name for _, _, name in self.graph.edges(keys=True)}
        return self._only(every - PART_OF if names is None else names)

    def _only(self, names: Iterable[str]) -> nx.MultiDiGraph:
        wanted = set(names)
        kept = nx.MultiDiGraph()
        kept.add_nodes_from(self.graph)
        kept.add_edges_from(e for e in self.graph.edges(keys=True) if e[2] in wanted)
        return kept


def circle_of_parts(relationships: Iterable[Relationship]) -> list[Relationship]:
    """The relationships of one circle among parts, in order; empty when parts form no circle."""
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


def _normalised(places: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Coordinates of any unit with y upwards -> [0, 1]² with y downwards, proportions kept."""
    if not places:
        return {}
    xs, ys = [x for x, _ in places.values()], [y for _, y in places.values()]
    span = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    left, top = (min(xs) + max(xs) - span) / 2, (min(ys) + max(ys) + span) / 2
    return {t: ((float(x) - left) / span, (top - float(y)) / span) for t, (x, y) in places.items()}
