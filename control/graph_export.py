"""The running graph as a graph file, piece by piece: encoding a large one at once would hold everybody up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from control import graph_view
from twin.columns import Columns
from twin.graphfile import graph_of, to_document
from twin.plant import Plant

PIECE = 500  # elements encoded at once: a millisecond


def exported(plant: Plant, columns: Columns) -> Iterator[bytes]:
    """UTF-8 JSON text of the whole plant, API additions too; run it on a thread."""
    graph = graph_of(plant, graph_view.values(plant, columns))
    yield from _object(to_document(graph, plant.interfaces))


def _object(said: dict[str, Any]) -> Iterator[bytes]:
    for n, (key, value) in enumerate(said.items()):
        yield b"{" if n == 0 else b",\n"
        yield msgspec.json.encode(key) + b":"
        match value:
            case list() if value:
                for start in range(0, len(value), PIECE):
                    yield b"[\n" if start == 0 else b",\n"
                    yield b",\n".join(msgspec.json.encode(v) for v in value[start : start + PIECE])
                yield b"]"
            case dict() if value:
                yield from _object(value)
            case _:
                yield msgspec.json.encode(value)
    yield b"}"
