"""Values of messages with 100 each through mosquitto into the point table, against a bare socket that counts messages."""

from __future__ import annotations

import argparse
import asyncio

from tests.bench import line
from tests.bench.ingest_mqtt import compare, ours, report
from tests.protocols import mqtt_load as load
from twin.points import Point

VALUES, TURNS = 100, 60
ROUNDS = {"array": 3}  # of the others one: they stand beside it, and each costs ten seconds
ADDRESS = {"array": "{}#/{}", "members": "{}#/value_{:02}", "msgpack": "{}#/{}", "packed": "{}#{}"}
SETTINGS = {"msgpack": {"format": "msgpack"}, "packed": {"format": "packed", "layout": "time f64"}}


def subscribe(port: int, kind: str) -> None:
    points = [
        Point(
            n, f"t{n}.v", f"t{n}", "v", "double", "", "d1", ADDRESS[kind].format(load.topic_of(n // VALUES), n % VALUES)
        )
        for n in range(load.TOPICS * VALUES)
    ]
    sink = asyncio.run(ours(port, points, qos=0, **SETTINGS.get(kind, {})))
    last = [v for topic in range(load.TOPICS) for v in load.numbers(topic, TURNS - 1)]
    report(sink, sink.values // VALUES, sink.table.columns.value.tolist() == last)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribe", nargs=2)
    given = parser.parse_args().subscribe
    if given:
        subscribe(int(given[0]), given[1])
        return
    found = {
        k: compare(k, 0, load.TOPICS, TURNS, "tests.bench.ingest_mqtt_batch", k, rounds=ROUNDS.get(k, 1))
        for k in ADDRESS
    }
    detail: dict[str, object] = {"values_a_message": VALUES, "messages_per_s": found}
    value, limit = found["array"]["rate"], found["array"]["floor"]
    assert isinstance(value, int) and isinstance(limit, int)
    line("ingest_mqtt_batch", value * VALUES, "values/s", limit * VALUES, detail)


if __name__ == "__main__":
    main()
