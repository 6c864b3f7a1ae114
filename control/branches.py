"""Branches: named forks of the twin, from now, from a past moment or from a what-if; they never touch the live twin.

Must not know HTTP. Owned by the event loop; rebuilding a past moment runs on a thread.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from control.asking import Kind
from control.live import LiveTwin
from control.whatif import WhatIfs
from protocols.believe import Unbelievable, twin_value
from protocols.link import Clock
from twin import quality
from twin.columns import NEVER, Columns, Snapshot
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound
from twin.moment import Moment, rebuilt
from twin.nearest import nearest
from twin.plant import Plant
from twin.points import Point
from twin.readings import Readings
from twin.table import PointTable
from twin.when import parse_duration_s, parse_when_ns

BRANCHES_MAX = 16  # each is a table of all points: 44 MB a million
VALUES_MAX = 10_000  # of one request
NAME = re.compile(r"^[A-Za-z][\w.-]{0,63}$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Branch:
    """A fork: when it was made, of which moment, and its own table."""

    name: str
    made_at: int
    taken_at: int
    note: str
    table: PointTable
    changed: Mapping[str, Any]

    def snapshot(self) -> Snapshot:
        return Snapshot(0, 0, self.taken_at, self.table.columns)


class Branches:
    """At most BRANCHES_MAX, kept until deleted or the server stops."""

    def __init__(self, live: LiveTwin, whatifs: WhatIfs, clock: Clock) -> None:
        self._live, self._whatifs, self._clock = live, whatifs, clock
        self._branches: dict[str, Branch] = {}

    def all(self) -> list[Branch]:
        """Newest first."""
        return list(self._branches.values())[::-1]

    def get(self, name: str) -> Branch:
        found = self._branches.get(name)
        if found is None:
            raise NotFound(f"no branch is called {name!r}", nearest(name, self._branches) or "see GET /api/v1/branches")
        return found

    async def create(self, name: str, at: str, known: str, values: Mapping[str, Any], note: str) -> Branch:
        """A branch of now (`at` empty) or of a past moment, with some values set in it.

        Raises:
            BadRequest: a bad name, moment or value. Conflict: the name is taken. LimitExceeded: there are too many.
        """
        if not NAME.match(name):
            raise BadRequest(f"branch name {name!r}", "letters, digits, . _ and -, a letter first, 64 at most")
        self._check_room(name)
        now = self._clock()
        if at or known:
            moment = await self.past(at, known)
            taken_at = min(now, instant(at, now, "at"))
            columns = moment.columns
            # Whatever was good then had been confirmed shortly before: falls of quality are recorded as they happen.
            good = quality.good_mask(columns.quality)
            columns.received_time[good] = taken_at
        else:
            taken_at, columns = now, self._live.table.columns.copy()
        self._check_room(name)
        table = PointTable(columns, self._live.plant.points.numbers("deadband"))
        branch = Branch(name, now, taken_at, note, table, {})
        self._branches[name] = self._with_values(branch, values)
        return self._branches[name]

    def set(self, name: str, values: Mapping[str, Any]) -> Branch:
        """Values by point in the twin's units, as if read at the branch's moment; all of them or none."""
        self._branches[name] = self._with_values(self.get(name), values)
        return self._branches[name]

    def delete(self, name: str) -> Branch:
        branch = self.get(name)
        del self._branches[name]
        return branch

    async def past(self, at: str, known: str) -> Moment:
        """The twin as of a source time, as known at a received time; empty for now.

        Raises:
            BadRequest: no moment, or one in the future. NotFound: history no longer reaches back so far.
        """
        await asyncio.wrap_future(self._live.history.flush())
        return await asyncio.to_thread(self.past_now, at, known)

    def past_now(self, at: str, known: str) -> Moment:
        """As `past`, on a thread, of what history holds already."""
        now = self._clock()
        return self.state_of(instant(at, now, "at"), instant(known, now, "known"))

    def state_of(self, as_of: int, known_at: int) -> Moment:
        """The same of instants in ns since 1970 UTC."""
        store = self._live.history.store
        con = store.cursor()
        try:
            rows = store.state_at(con, as_of, known_at)
        finally:
            con.close()
        return Moment(0, rebuilt(rows, self._live.history.series))

    def moment(self, name: str, after: str) -> Moment:
        """A branch by its name, or scenario n of a what-if by `id/n`, `after` a span such as +2h (else its end).

        Called on a thread while the event loop waits for it.
        """
        identity, slash, scenario = name.partition("/")
        if not slash:
            if after:
                raise BadRequest(f"branch {name!r} is one moment", "only what-ifs (id/scenario) have several")
            return Moment(0, self.get(name).table.columns)
        run = self._whatifs.get(identity)
        if run.result is None or run.snapshot is None:
            raise NotFound(f"what-if {identity} has no result to look into", "it must be done, and among the newest")
        if run.kind is not Kind.COMPARE:
            raise NotFound(f"what-if {identity} has no scenarios to look into", "compare them: it keeps what they did")
        outcomes = run.result["outcomes"]
        found = [o for n, o in enumerate(outcomes) if scenario in (str(n), o["name"])]
        if not found:
            names = ", ".join(f"{n} ({o['name']})" for n, o in enumerate(outcomes))
            raise NotFound(f"what-if {identity} has no scenario {scenario!r}", f"one of {names}")
        times = np.array(run.result["times_s"])
        after_s = times[-1] if not after else parse_duration_s(after.removeprefix("+"), "moment")
        if not 0 <= after_s <= times[-1]:
            raise BadRequest(f"moment {after!r} of what-if {identity}", f"it looks {times[-1]:g} s ahead")
        columns = simulated(self._live.plant, run.snapshot, found[0]["fans"], times, float(after_s))
        return Moment(0, columns)

    def _check_room(self, name: str) -> None:
        if name in self._branches:
            raise Conflict(f"branch {name!r} exists", "delete it, or choose another name")
        if len(self._branches) >= BRANCHES_MAX:
            raise LimitExceeded(f"there are {BRANCHES_MAX} branches", "delete one")

    def _with_values(self, branch: Branch, values: Mapping[str, Any]) -> Branch:
        if len(values) > VALUES_MAX:
            raise LimitExceeded(f"{len(values)} values in one request", f"at most {VALUES_MAX}")
        batch = believed(self._live.plant, values, branch.taken_at)
        # A table of its own: a query may be reading the old one on its thread.
        points = self._live.plant.points
        table = PointTable.fork(branch.snapshot())
        table.grow(max(points.size, len(table)), points.numbers("deadband"))  # points may have come since
        held = table.columns.source_time[batch.point]
        table.apply(replace(batch, source_time=np.maximum(batch.source_time, held)))
        return replace(branch, table=table, changed={**branch.changed, **values})


def believed(plant: Plant, values: Mapping[str, Any], time: int) -> Readings:
    """What people say of points, in the twin's units, as good readings of one instant.

    Raises:
        NotFound, BadRequest: naming the point.
    """
    return believed_of([plant.point(name) for name in values], list(values.values()), time)


def believed_of(points: Sequence[Point], values: Sequence[Any], time: int) -> Readings:
    """As `believed`, of points that are known already."""
    found: list[tuple[float, str | None]] = []
    for point, value in zip(points, values, strict=True):
        try:
            found.append(twin_value(_in_own_unit(point), value))
        except Unbelievable as error:
            raise BadRequest(error.detail, f"{point.name} is {point.type} in {point.unit or 'no unit'}") from None
    text = {row: said for row, (_, said) in enumerate(found) if said is not None}
    return Readings.of([p.id for p in points], [v for v, _ in found], time, text=text)


def _in_own_unit(point: Point) -> Point:
    return replace(point, scale=1.0, offset=0.0)


def simulated(
    plant: Plant,
    start: Snapshot,
    fans: Mapping[str, Any],
    times_s: np.ndarray[Any, np.dtype[np.float64]],
    after_s: float,
) -> Columns:
    """The twin as a what-if sees it `after_s` later: medians where it simulates, last usable values elsewhere."""
    columns = start.columns.copy()
    read = columns.source_time != NEVER
    columns.quality[read & quality.good_mask(columns.quality)] = quality.UNCERTAIN_LAST_USABLE
    then = start.taken_at + int(after_s * 1e9)
    for name, fan in fans.items():
        identity = plant.points.id_of(name)
        median = [np.nan if v is None else v for v in fan[len(fan) // 2]]
        if identity is not None:
            columns.value[identity] = np.interp(after_s, times_s, median)
            columns.quality[identity] = quality.UNCERTAIN_SIMULATED_VALUE
            columns.source_time[identity] = columns.received_time[identity] = then
            columns.revision[identity] += np.uint64(1)
    return columns


def instant(text: str, now: int, what: str) -> int:
    """Empty is now.

    Raises:
        BadRequest: no moment, or one in the future.
    """
    when = parse_when_ns(text, now, what) if text else now
    if when > now:
        raise BadRequest(f"{what}: {text!r} lies in the future", "ask a what-if, and look into it with branch('id/1')")
    return when
