"""Prometheus metrics of the server, read from its parts when asked; must not change any of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.alarms import Alarms
from control.api.ws import Console
from control.evidence import Evidence
from control.inference import Inference
from control.live import COUNTED, LiveTwin
from control.lookout import Lookout
from control.loop_watch import STALL_S, LoopWatch
from control.reach import LEVELS
from protocols.served import Figures
from twin.alarm import PRIORITIES


class _Twinloop(Collector):
    def __init__(self, live: LiveTwin, evidence: Evidence, watch: LoopWatch) -> None:
        self._live, self._evidence, self._watch = live, evidence, watch

    def collect(self) -> Iterator[Metric]:
        for name in COUNTED:
            counter = CounterMetricFamily(f"twinloop_{name}", f"{name} since the start")
            counter.add_metric([], self._live.counts[name])
            yield counter
        online = GaugeMetricFamily("twinloop_link_online", "1 while a device's link is online", labels=["device"])
        for device, state in self._live.states.items():
            online.add_metric([device], float(state == "online"))
        yield online
        reach = self._evidence.reach()
        for level in LEVELS:
            yield GaugeMetricFamily(f"twinloop_entries_{level}", f"ledger entries {level}", getattr(reach, level))
        yield GaugeMetricFamily(
            "twinloop_anchor_wait_seconds", "age of the oldest ledger entry that is not anchored", reach.waits_s
        )
        yield GaugeMetricFamily("twinloop_anchor_alarm", "1 while that is too long", float(bool(reach.alarm)))
        failing = GaugeMetricFamily(
            "twinloop_witness_failing_seconds",
            "how long a witness has cosigned nothing, 0 when it does",
            labels=["witness"],
        )
        for witness in reach.witnesses:
            failing.add_metric([witness.name], witness.failing_s)
        yield failing
        yield GaugeMetricFamily(
            "twinloop_witness_alarm",
            "1 while a witness is away for too long, or knows another past",
            float(bool(reach.witness_alarm)),
        )
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


class _Clients(Collector):
    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterator[Metric]:
        figures, frames = self._console.figures, self._console.frames
        yield GaugeMetricFamily("twinloop_ws_clients", "clients of the WebSocket signed in now", figures.clients)
        for name, words, count in (
            ("evicted", "clients that took nothing, or fell behind, and had to go", figures.evicted),
            ("coalesced", "frames that a busy client got together with the next one", figures.coalesced),
            ("messages", "messages sent in frames", figures.sent),
            ("frames_made", "different frames made; all who need the same one share it", frames.made),
            ("encode_seconds", "time that making and encoding frames took", frames.encode_s),
        ):
            yield CounterMetricFamily(f"twinloop_ws_{name}", words, count)


class _Alarms(Collector):
    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms

    def collect(self) -> Iterator[Metric]:
        alarms = self._alarms
        active = GaugeMetricFamily("twinloop_alarms_active", "active alarms that people are told", labels=["priority"])
        told = [(row, s) for row, s in alarms.book.retained.items() if s.told]
        counts = Counter(alarms.plan.definitions[row].priority for row, s in told if s.active)
        for priority in PRIORITIES:
            active.add_metric([priority.value], counts[priority])
        yield active
        unacked = sum(not s.acked for _, s in told)
        yield GaugeMetricFamily("twinloop_alarms_unacknowledged", "alarms that nobody acknowledged yet", unacked)
        silent = len(alarms.book.retained) - len(told)
        yield GaugeMetricFamily("twinloop_alarms_silent", "alarms shelved, suppressed or out of service", silent)
        yield GaugeMetricFamily("twinloop_alarm_rate_10m", "alarms that rang in ten minutes", alarms.rate_10min)
        yield GaugeMetricFamily("twinloop_alarm_flood", "1 while there are too many for people", float(alarms.flooded))
        yield GaugeMetricFamily("twinloop_alarm_steps_waiting", "steps that are not on disk yet", alarms.waiting)
        yield CounterMetricFamily("twinloop_alarm_steps_lost", "steps that no disk took in time", alarms.lost)


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


class _Learned(Collector):
    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def collect(self) -> Iterator[Metric]:
        label = ["row"]
        known = GaugeMetricFamily("twinloop_learned_known", "twins with an answer of a [[learned]]", labels=label)
        took = GaugeMetricFamily("twinloop_learned_seconds", "that the newest sample took", labels=label)
        drifted = GaugeMetricFamily("twinloop_learned_drifted", "what is not as in training: how many", labels=label)
        skipped = CounterMetricFamily("twinloop_learned_skipped", "samples left out: one before was late", labels=label)
        for row, now in self._inference.standings():
            known.add_metric([row.id], now.known)
            took.add_metric([row.id], now.took_ms / 1e3)
            drifted.add_metric([row.id], len(now.drifted))
            skipped.add_metric([row.id], now.skipped)
        yield from (known, took, drifted, skipped)


def registry(
    live: LiveTwin,
    evidence: Evidence,
    watch: LoopWatch,
    lookout: Lookout,
    serving: Mapping[str, Figures],
    inference: Inference,
    alarms: Alarms,
    console: Console,
) -> CollectorRegistry:
    """`serving`: what each `[[serve]]` counts, by id."""
    made = CollectorRegistry()
    made.register(_Twinloop(live, evidence, watch))
    made.register(_Lookahead(lookout))
    made.register(_Alarms(alarms))
    made.register(_Serving(serving))
    made.register(_Learned(inference))
    made.register(_Clients(console))
    return made
