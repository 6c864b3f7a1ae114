"""The layout of the graph, made once for each graph and kept in the data folder; must not know HTTP."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from twin.errors import LimitExceeded
from twin.graph_layout import GraphLayout, digest, nested
from twin.plant import Plant

LAYOUT_FILE = "graph-layout.msgpack"
TWINS_MAX = 50_000  # some five seconds, and more than one page of a browser can hold


class GraphLayouts:
    """That of the newest graph is kept; it is derived, and made anew when it is missing or damaged. Blocks."""

    def __init__(self, data: Path) -> None:
        self._path = data / LAYOUT_FILE

    def of(self, plant: Plant) -> GraphLayout:
        """
        Raises:
            LimitExceeded: it has more than TWINS_MAX twins.
        """
        if len(plant.twins) > TWINS_MAX:
            raise LimitExceeded(
                f"{len(plant.twins)} twins; {TWINS_MAX} are the limit", "page through GET /api/v1/twins"
            )
        return self._load_or_make(plant)

    def _load_or_make(self, plant: Plant) -> GraphLayout:
        wanted = digest(plant)
        try:
            held = msgspec.msgpack.decode(self._path.read_bytes(), type=GraphLayout)
        except (OSError, msgspec.MsgspecError):
            held = None
        if held is not None and held.digest == wanted and len(held.boxes) == len(plant.twins):
            return held
        made = nested(plant)
        draft = self._path.with_suffix(".draft")
        with contextlib.suppress(OSError):  # a full disk: it is made again after the next start
            draft.write_bytes(msgspec.msgpack.encode(made))
            draft.replace(self._path)
        return made
