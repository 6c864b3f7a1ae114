"""Prometheus metrics of the server, read from its parts when asked; must not change any of them."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.evidence import Evidence
from control.live import LiveTwin
from control.lookout import Lookout
from protocols.served import Figures

TICK_S = 0.05
STALL_S = 0.01
"""The event loop should never be away for longer; `twinloop_loop_stalls_total` says how often it was."""


class LoopWatch:
    """Measures how late the event loop comes back to a short sleep."""

    def __init__(self) -> None:
        self.stalls = 0
        self.worst_s = 0.0

    async def run(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late_s = time.perf_counter() - begun - TICK_S
            self.worst_s = max(self.worst_s, late_s)
            self.stalls += late_s > STALL_S


class _Twinloop(Collector):
    def __init__(self, live: LiveTwin, evidence: Evidence, watch: LoopWatch) -> None:
        self._live, self._evidence, self._watch = live, evidence, watch

    def collect(self) -> Iterator[Metric]:
        for name in ("readings", "changes", "late", "duplicates", "dead_letters"):
            counter = CounterMetricFamily(f"twinloop_{name}", f"{name} since the start")
            counter.add_metric([], self._live.counts[name])
            yield counter
        online = GaugeMetricFamily("twinloop_link_online", "1 while a device's link is online", labels=["device"])
        for device, state in self._live.states.items():
            online.add_metric([device], float(state == "online"))
        yield online
        reach = self._evidence.reach()
        for level in ("recorded", "checkpointed", "anchored"):
            yield GaugeMetricFamily(f"twinloop_entries_{level}", f"ledger entries {level}", getattr(reach, level))
        lost = self._live.history.overflow
        yield CounterMetricFamily(
            "twinloop_history_overflow", "readings and dead letters history had no room for", lost
        )
        yield CounterMetricFamily(
            "twinloop_loop_stalls", f"times the loop was away over {STALL_S} s", self._watch.stalls
        )
        yield GaugeMetricFamily("twinloop_loop_worst_seconds", "longest time the loop was away", self._watch.worst_s)


class _Lookahead(Collector):
    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout

    def collect(self) -> Iterator[Metric]:
        turns = CounterMetricFamily(
            "twinloop_lookahead_turns", "turns of the look-ahead by outcome", labels=["outcome"]
        )
        for outcome, count in dataclasses.asdict(self._lookout.turns).items():
            turns.add_metric([outcome], count)
        yield turns
        standing = [a for a in self._lookout.standing if a.limit not in {s.limit for s in self._lookout.shelves}]
        yield GaugeMetricFamily("twinloop_predicted_alarms", "predicted alarms that stand", len(standing))


class _Serving(Collector):
    def __init__(self, figures: Mapping[str, Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        label = ["serving"]
        clients = GaugeMetricFamily("twinloop_serving_clients", "clients of a [[serve]] connected now", labels=label)
        counts = {
            "writes": CounterMetricFamily("twinloop_serving_writes", "commands taken from its clients", labels=label),
            "refused": CounterMetricFamily(
                "twinloop_serving_refused", "writes, commands and sign-ins refused", labels=label
            ),
            "dropped": CounterMetricFamily(
                "twinloop_serving_dropped", "values that a newer one replaced before they were told", labels=label
            ),
        }
        for serving, figures in self._figures.items():
            clients.add_metric([serving], figures.clients)
            for name, counter in counts.items():
                counter.add_metric([serving], getattr(figures, name))
        yield clients
        yield from counts.values()


def registry(
    live: LiveTwin, evidence: Evidence, watch: LoopWatch, lookout: Lookout, serving: Mapping[str, Figures]
) -> CollectorRegistry:
    """`serving`: what each `[[serve]]` counts, by id."""
    made = CollectorRegistry()
    made.register(_Twinloop(live, evidence, watch))
    made.register(_Lookahead(lookout))
    made.register(_Serving(serving))
    return made
