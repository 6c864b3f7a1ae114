"""One edge node as a host knows it, and a message of it; pure values: what is made of them is the host's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from protocols.mqtt.sparkplug import Source
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_columns import Aliases, Known


class Life(StrEnum):
    """Where an edge node stands with us. Only what an ALIVE one says is believed.

    UNKNOWN: not heard since we connected. DOUBTED: a message of it was lost, so what its aliases mean is not sure.
    """

    UNKNOWN = "unknown"
    ALIVE = "alive"
    DOUBTED = "doubted"
    DEAD = "dead"


NEXT: Mapping[Life, frozenset[Life]] = {
    Life.UNKNOWN: frozenset({Life.ALIVE, Life.DEAD}),
    Life.ALIVE: frozenset({Life.ALIVE, Life.DOUBTED, Life.DEAD}),
    Life.DOUBTED: frozenset({Life.ALIVE, Life.DEAD}),
    Life.DEAD: frozenset({Life.ALIVE, Life.DEAD}),
}


@dataclass(frozen=True, slots=True)
class Message:
    """`stamp_ms` and `seq` are None where it does not say them. `wire` is None for data that compiled code reads."""

    kind: str
    device: str
    topic: str
    raw: bytes
    stamp_ms: int | None
    seq: int | None
    count: int
    wire: Wire | None


@dataclass(slots=True)
class Edge:
    """One edge node: what is bound to it, and what it said."""

    source: Source
    bound: Mapping[str, Mapping[str, tuple[int, ...]]]  # device -> metric -> rows
    life: Life = Life.UNKNOWN
    bd_seq: int | None = None
    birth: int = 0  # hash of the payload
    born_ms: int = 0  # by its clock
    born_at: int = 0  # by ours
    expected: int = 0
    by_alias: dict[int, tuple[str, Known]] = field(default_factory=dict)  # alias -> (device, metric)
    by_name: dict[str, dict[str, Known]] = field(default_factory=dict)  # of each device that is born
    table: Aliases | None = None  # by_alias as columns, made when data comes
    waiting: dict[int, Message] = field(default_factory=dict)  # by number, because an earlier one is missing
    missing_since: int = 0
    recent: dict[int, int] = field(default_factory=dict)  # number -> hash of the payload, oldest first
    awaited: dict[str, int] = field(default_factory=dict)  # devices that a rebirth must bring back, and since when
    wants_rebirth: bool = False
    asked_at: int | None = None

    def rows(self) -> tuple[int, ...]:
        return tuple(row for device in self.bound for row in self.rows_of(device))

    def rows_of(self, device: str) -> tuple[int, ...]:
        return tuple(row for rows in self.bound.get(device, {}).values() for row in rows)

    def enter(self, life: Life) -> None:
        assert life in NEXT[self.life], f"{self.life} does not become {life}"
        self.life = life

    def aliases(self) -> Aliases:
        if self.table is None:
            self.table = Aliases((alias, known) for alias, (_, known) in self.by_alias.items())
        return self.table

    def drop_aliases(self, device: str) -> None:
        self.by_alias = {a: known for a, known in self.by_alias.items() if known[0] != device}
        self.table = None

    def forget(self) -> None:
        self.by_alias.clear()
        self.table = None
        self.by_name.clear()
        self.waiting.clear()
        self.recent.clear()
        self.awaited.clear()
