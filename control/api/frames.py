"""What clients are sent of one moment, made and encoded once for all who need the same; pure, must not know sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from control.api import wire
from control.api.sent_columns import wire_columns
from control.api.wire_event import EVENTS
from control.live import LiveTwin
from control.per_plant import PerPlant
from twin.errors import BadRequest, NotFound
from twin.feed import Event
from twin.nearest import nearest
from twin.plant import Plant

KEPT_MAX = 256  # different frames, and different selections, of one moment: more than clients that ask for anything of their own
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked for: None is everything. Points by id."""

    points: frozenset[int] | None = None
    twins: frozenset[str] | None = None
    events: frozenset[str] | None = None

    @property
    def narrow(self) -> bool:
        """Whether it is not about all points."""
        return self.points is not None or self.twins is not None


@dataclass(frozen=True, slots=True)
class Frame:
    """Encoded messages; whoever has taken them holds everything up to `head`. None, when nothing happened."""

    head: int
    messages: tuple[bytes, ...]


def wanted(sub: wire.Sub, plant: Plant) -> Wanted:
    """
    Raises:
        NotFound, BadRequest: something that it names is not there.
    """
    return Wanted(
        None if sub.points is None else frozenset(_point(plant, name) for name in sub.points),
        None if sub.twins is None else frozenset(_known(name, plant.twin_of_id, "twin") for name in sub.twins),
        None if sub.events is None else frozenset(_known(kind, EVENTS, "kind of event") for kind in sub.events),
    )


def _point(plant: Plant, name: str | int) -> int:
    if isinstance(name, int):
        if not 0 <= name < plant.points.size:
            raise NotFound(f"there is no point {name}", f"ids are below {plant.points.size}")
        return name
    found = plant.points.id_of(name)
    if found is None:
        raise NotFound(f"there is no point {name[:80]!r}", nearest(name[:80], plant.point_of_name))
    return found


def _known(name: str, known: object, what: str) -> str:
    if name not in known:  # type: ignore[operator]
        hint = nearest(name[:80], known)  # type: ignore[arg-type]
        if what == "twin":
            raise NotFound(f"there is no twin {name[:80]!r}", hint)
        raise BadRequest(f"there is no {what} {name[:80]!r}", hint or f"one of {', '.join(EVENTS)}")
    return name


class Frames:
    """Frames of the live twin. What it keeps is of one moment: the same head, asked for at the same time."""

    def __init__(self, live: LiveTwin, timer: Callable[[], float]) -> None:
        self.made = 0
        self.encode_s = 0.0
        self._live, self._timer = live, timer
        self._moment = (-1, -1)
        self._frames: dict[tuple[int | None, Wanted], Frame] = {}
        self._events: dict[int, bytes] = {}
        self._masks: PerPlant[dict[Wanted, NDArray[np.bool_]]] = PerPlant(lambda _: {})

    def snapshot(self, of: Wanted, now: int) -> Frame:
        """All points as they are. `now` in ns since 1970 UTC, as below."""
        return self._kept(None, of, now)

    def since(self, cursor: int, of: Wanted, now: int) -> Frame:
        """The events after the cursor, and the points that advanced; the last message closes the frame.

        Raises:
            Overrun: some of the events are no longer kept.
        """
        return self._kept(cursor, of, now)

    def heartbeat(self, now: int) -> bytes:
        return _encoder.encode(wire.Heartbeat(self._live.feed.seq, now / 1e6))

    def resumable(self, position: wire.Position | None) -> int | None:
        """The cursor to go on from, None when a snapshot is needed."""
        feed = self._live.feed
        if position is None or position.epoch != feed.epoch or not feed.kept_from <= position.seq <= feed.seq:
            return None
        return position.seq

    def _kept(self, cursor: int | None, of: Wanted, now: int) -> Frame:
        moment = (self._live.feed.seq, now)
        if moment != self._moment:
            self._moment = moment
            self._frames.clear()
            self._events.clear()
        found = self._frames.get((cursor, of))
        if found is None:
            begun = self._timer()
            found = self._whole(of) if cursor is None else self._after(cursor, of, now)
            self.encode_s += self._timer() - begun
            self.made += 1
            if len(self._frames) < KEPT_MAX:
                self._frames[cursor, of] = found
        return found

    def _whole(self, of: Wanted) -> Frame:
        live = self._live
        ids = np.arange(len(live.table), dtype=np.int32)
        columns = wire_columns(self._live.table.columns, ids[self._mask(of)] if of.narrow else ids)
        return Frame(live.feed.seq, (_encoder.encode(wire.Snapshot(live.feed.epoch, live.feed.seq, columns)),))

    def _after(self, cursor: int, of: Wanted, now: int) -> Frame:
        feed = self._live.feed
        messages = [self._event(e) for e in feed.events_since(cursor) if of.events is None or e.kind in of.events]
        ids = feed.points_since(cursor)
        if of.narrow:
            ids = ids[self._mask(of)[ids]]
        # The delta (or heartbeat) that closes a frame carries the cursor; events alone never move it.
        if len(ids):
            messages.append(
                _encoder.encode(wire.Delta(feed.seq, now / 1e6, wire_columns(self._live.table.columns, ids)))
            )
        elif messages:
            messages.append(self.heartbeat(now))
        return Frame(feed.seq, tuple(messages))

    def _event(self, event: Event) -> bytes:
        found = self._events.get(event.seq)
        if found is None:
            said = wire.Event(event.seq, event.kind, event.time / 1e6, event.body)
            found = self._events[event.seq] = _encoder.encode(said)
        return found

    def _mask(self, of: Wanted) -> NDArray[np.bool_]:
        """Which points, by id. Edits of the plant give twins more of them."""
        plant = self._live.plant
        masks = self._masks.of(plant)
        if len(masks) > KEPT_MAX:
            masks.clear()
        found = masks.get(of)
        if found is None:
            found = np.zeros(plant.points.size, np.bool_)
            found[list(of.points or ())] = True
            if twins := (of.twins or frozenset()) & plant.twin_of_id.keys():
                found[plant.points.among("twin", plant.graph.with_parts(twins))] = True
            masks[of] = found
        return found
