"""Where each twin stands in the drawing of the plant; the same at every start. Must not know values or screens."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from twin.plant import Plant

SPRINGS_MAX = 500  # twins: a spring layout looks at every pair, 500 take a second


def layout(plant: Plant) -> dict[str, tuple[float, float]]:
    """A place for every twin in [0, 1]², y downwards: the plant's own coordinates where given, else beside kin."""
    places = _normalised({t.id: t.at for t in plant.twins if t.at is not None})
    missing = [t.id for t in plant.twins if t.id not in places]
    if missing and not places and len(missing) <= SPRINGS_MAX:
        springs = nx.Graph()
        springs.add_nodes_from(missing)
        springs.add_edges_from((r.source, r.target) for r in plant.relationships)
        return _normalised(dict(nx.kamada_kawai_layout(springs)))
    kin: dict[str, set[str]] = {}
    for relationship in plant.relationships:
        kin.setdefault(relationship.source, set()).add(relationship.target)
        kin.setdefault(relationship.target, set()).add(relationship.source)
    placed: dict[str, tuple[float, float]] = dict(places)
    for rank, twin in enumerate(missing):
        near = [places[k] for k in sorted(kin.get(twin, ())) if k in places]
        if 0 < len(near) <= 4:
            placed[twin] = (sum(x for x, _ in near) / len(near), sum(y for _, y in near) / len(near))
        else:  # no single place suits it: a row along the upper edge
            placed[twin] = ((rank + 0.5) / max(1, len(missing)), 0.0)
    return placed


def _normalised(places: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Coordinates of any unit with y upwards -> [0, 1]² with y downwards, proportions kept."""
    if not places:
        return {}
    xs, ys = [float(x) for x, _ in places.values()], [float(y) for _, y in places.values()]
    span = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    left, top = (min(xs) + max(xs) - span) / 2, (min(ys) + max(ys) + span) / 2
    return {t: ((x - left) / span, (top - y) / span) for t, x, y in zip(places, xs, ys, strict=True)}
