"""The live twin: takes what links hear into table, feed and history, and lets quality fall when it must.

Runs on the event loop's thread only. Must not know protocols, commands or clients.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from protocols.link import RAW_MAX, Clock, DeadLetter, LinkState
from twin import quality
from twin.columns import NEVER, Snapshot
from twin.feed import Feed
from twin.history import History
from twin.plant import Plant
from twin.readings import Readings
from twin.table import PointTable

STALE_AFTER_S = 10.0  # several periods of every link here: polls of 0.5 s, heartbeats of 1 s
COUNTERS = ("reconnects", "rejected", "dropped", "queued")  # of every link; all but the last cumulative
COUNTED = ("readings", "changes", "late", "duplicates", "quiet", "dead_letters")
"""What is counted since the start: in the metrics and in the console."""
# What a rejected reading makes of its point: the last value stays, but nobody may take it for good.
QUALITY_OF_REASON = {
    "range": quality.BAD_OUT_OF_RANGE,
    "unknown_address": quality.BAD_NODE_ID_UNKNOWN,
    "nan": quality.BAD_SENSOR_FAILURE,
}


class LiveTwin:
    """Implements the links' Sink."""

    def __init__(self, plant: Plant, epoch: int, history: History, clock: Clock) -> None:
        self.plant = plant
        self.table = PointTable.sized(plant.points.size, plant.points.numbers("deadband"))
        self.feed = Feed(plant.points.size, epoch)
        self.history = history
        self.counts: Counter[str] = Counter()
        self.states: dict[str, LinkState] = {d.id: LinkState.CONNECTING for d in plant.devices}
        self.on_link_change: Callable[[str], None] = lambda _: None
        self.on_audited: Callable[[NDArray[np.int32]], None] = lambda _: None
        self.on_changed: Callable[[NDArray[np.int32]], None] = lambda _: None
        self._audited = plant.points.flagged("audit")
        self._clock = clock
        self._ids: Mapping[str, NDArray[np.int32]] = {d.id: plant.points.where("device", d.id) for d in plant.devices}
        # Points that `sweep` lowered although their link stayed online: they hold again once the device is heard.
        self._swept = np.zeros(plant.points.size, np.bool_)
        self._bound = np.concatenate([np.empty(0, np.int32), *self._ids.values()])

    def begin(self) -> None:
        """Every link says that it is not there yet, and has counted nothing."""
        for device in self.plant.devices:
            self._say(device.id, "state", math.nan, LinkState.CONNECTING.value)
            for name in ("online", *COUNTERS):
                self._say(device.id, name, 0.0)

    def adopt(self, plant: Plant, series: NDArray[np.int32]) -> None:
        """The same plant after an edit: its points are those there were, some of them retired, and more after them.

        Args:
            series: of the points that are more, in their order (Store.series_of).
        """
        old, size = self.plant.points.size, plant.points.size
        if size > old:
            columns = plant.points.column
            deadband = columns("deadband").slice(old).dictionary_decode().to_numpy()
            self.table.extend(deadband)
            self.feed.grow(size)
            self.history.grow(series)
            more = columns("audit").slice(old).to_numpy(zero_copy_only=False)
            self._audited = np.concatenate([self._audited, more])
            self._swept = np.concatenate([self._swept, np.zeros(size - old, np.bool_)])
        self.plant = plant

    # --- Sink --------------------------------------------------------------------------------------------------------

    def readings(self, batch: Readings) -> None:
        changes = self.table.apply(batch)
        self._swept[changes.advanced] = False
        self.feed.advance(changes.advanced)
        self.history.record(changes.record)
        audited = changes.changed[self._audited[changes.changed]]
        if len(audited):
            self.on_audited(audited)
        if len(changes.changed):
            self.on_changed(changes.changed)
        self.counts["readings"] += len(batch)
        self.counts["changes"] += len(changes.changed)
        self.counts["late"] += changes.late
        self.counts["duplicates"] += changes.duplicates
        self.counts["quiet"] += changes.quiet

    def dead_letter(self, letter: DeadLetter) -> None:
        self.counts["dead_letters"] += 1
        self.history.bury(
            (letter.received_time, letter.device, letter.point, letter.address, letter.reason, letter.detail,
             letter.raw[:RAW_MAX])
        )  # fmt: skip
        point = self.plant.point_of_name.get(letter.point)
        if point is not None and not self._outdated(letter, point.id):
            code = QUALITY_OF_REASON.get(letter.reason, quality.BAD)
            self.requalify(np.array([point.id], np.int32), code)

    def _outdated(self, letter: DeadLetter, point_id: int) -> bool:
        """Whether the source has said something newer since: news that were held back say nothing of the value of now."""
        return letter.source_time is not None and letter.source_time < self.table.columns.source_time[point_id]

    def heard(self, device_id: str) -> None:
        ids = self._ids[device_id]
        self.requalify(ids[self._swept[ids]], quality.GOOD)  # we were away, not the device
        self._swept[ids] = False
        alive = ids[quality.good_mask(self.table.columns.quality[ids])]
        self.table.touch(alive, self._clock())
        self.feed.advance(alive)

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        before = self.states.get(device_id)
        self.states[device_id] = state
        self._say(device_id, "state", math.nan, state.value)
        self._say(device_id, "online", float(state is LinkState.ONLINE))
        if state in (LinkState.OFFLINE, LinkState.STOPPED):
            self._swept[self._ids[device_id]] = False
            self.requalify(self._ids[device_id], quality.BAD_NO_COMMUNICATION)
        if state is not before:
            body = {"device": device_id, "state": state.value, "detail": detail}
            self.feed.announce("link", self._clock(), body)
            self.on_link_change(device_id)

    def metric(self, device_id: str, name: str, value: float) -> None:
        self._say(device_id, "lag" if name == "lag_ms" else name, value)

    # --- the twin's own care -----------------------------------------------------------------------------------------

    def restore(self, last: Readings, unheard_since: int) -> None:
        """State of before the restart: last usable values, not good until a device says them again.

        Values that people keep stay as they are: no device could contradict them.

        Args:
            unheard_since: from when on nobody listened; history says so of each value that was good, as after a crash
                nothing else does.
        """
        good = quality.good_mask(last.quality) & ~self.plant.kept_points()[last.point]
        codes = np.where(good, np.uint32(quality.UNCERTAIN_LAST_USABLE), last.quality)
        self.table.apply(Readings(last.point, last.value, codes.astype(np.uint32), last.source_time, NEVER, last.text))
        rows = np.flatnonzero(good)
        text = {n: last.text[int(row)] for n, row in enumerate(rows) if int(row) in last.text} if last.text else {}
        fallen = Readings.of(
            last.point[rows],
            last.value[rows],
            unheard_since,
            quality.UNCERTAIN_LAST_USABLE,
            last.source_time[rows],
            text,
        )
        self.history.record(fallen, noticed=True)

    def sweep(self) -> int:
        """Lower the quality of points that nobody confirmed for STALE_AFTER_S; returns how many fell."""
        columns = self.table.columns
        received = columns.received_time[self._bound]
        stale = (received < self._clock() - int(STALE_AFTER_S * 1e9)) & quality.good_mask(columns.quality[self._bound])
        ids = self._bound[stale]
        self.requalify(ids, quality.UNCERTAIN_LAST_USABLE)
        self._swept[ids] = True
        return len(ids)

    def snapshot(self) -> Snapshot:
        return self.table.snapshot(self.feed.epoch, self.feed.seq, self._clock())

    def clock_s(self) -> float | None:
        """What the plant's own clock shows; None when it has none, or nobody can tell."""
        point, columns = self.plant.point_of_name.get(self.plant.clock or ""), self.table.columns
        if point is None or not quality.is_good(int(columns.quality[point.id])):
            return None
        return float(columns.value[point.id])

    def requalify(self, ids: NDArray[np.int32], code: int) -> None:
        """Same value, same source time, other quality; points never read stay as they are."""
        columns = self.table.columns
        ids = ids[(columns.source_time[ids] != NEVER) & (columns.quality[ids] != np.uint32(code))]
        if len(ids):
            text = {row: columns.text[int(i)] for row, i in enumerate(ids) if int(i) in columns.text}
            # Not received from anybody: the age of the value goes on, history keeps when we noticed.
            batch = Readings.of(ids, columns.value[ids], NEVER, code, columns.source_time[ids], text)
            changes = self.table.apply(batch)
            self.feed.advance(changes.advanced)
            self.history.record(replace(changes.record, received_time=self._clock()), noticed=True)
            self.on_changed(changes.changed)

    def _say(self, device_id: str, name: str, value: float, text: str | None = None) -> None:
        point = self.plant.point_of_name.get(f"{device_id}.{name}")
        if point is not None:
            texts = {} if text is None else {0: text}
            self.readings(Readings.of([point.id], [value], self._clock(), text=texts))
