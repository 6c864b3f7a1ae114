"""Load for MQTT benchmarks: a publisher of encoded messages and a bare subscriber, each a process of its own.

The bare subscriber is the floor: a blocking socket and a parser that finds each PUBLISH, and nothing else.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import orjson
from msgpack import packb

TOPICS = 1000
BLOCK = 1 << 16
IDLE_S = 1.5  # a subscriber that hears nothing for so long has heard all


def single(topic: int, turn: int, time_ms: int) -> bytes:
    return orjson.dumps({"value": round(20 + topic / 1000 + turn / 100, 3), "time": time_ms})


def numbers(topic: int, turn: int, count: int = 100) -> list[float]:
    return [round(topic + turn / 100 + i / 7, 3) for i in range(count)]


def array(topic: int, turn: int, time_ms: int) -> bytes:
    return orjson.dumps(numbers(topic, turn))


def members(topic: int, turn: int, time_ms: int) -> bytes:
    named = {f"value_{i:02}": v for i, v in enumerate(numbers(topic, turn))}
    return orjson.dumps({"time": time_ms, **named})


def msgpack(topic: int, turn: int, time_ms: int) -> bytes:
    return bytes(packb(numbers(topic, turn)))


def packed(topic: int, turn: int, time_ms: int) -> bytes:
    return struct.pack("<q", time_ms * 1_000_000) + np.array(numbers(topic, turn), "<f8").tobytes()


KINDS: dict[str, Callable[[int, int, int], bytes]] = {f.__name__: f for f in (single, array, members, msgpack, packed)}


def topic_of(number: int) -> str:
    return f"bench/line_{number % 10}/cell_{number:04}"


def connect(port: int, name: str) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    identity = name.encode()
    body = b"\0\4MQTT\4\2\0\0" + struct.pack(">H", len(identity)) + identity
    link.sendall(bytes((0x10, len(body))) + body)
    assert link.recv(4)[3] == 0
    return link


def encoded(kind: str, qos: int, topics: int, turns: int) -> Iterator[bytes]:
    """Blocks of packets: every topic once a turn, with its own value and time."""
    now_ms = time.time_ns() // 1_000_000 - turns - 1
    block, identity = bytearray(), 0
    for turn in range(turns):
        for topic in range(topics):
            name, payload = topic_of(topic).encode(), KINDS[kind](topic, turn, now_ms + turn)
            identity = identity % 65535 + 1
            middle = struct.pack(">H", identity) if qos else b""
            size = 2 + len(name) + len(middle) + len(payload)
            length = bytearray()
            while size >= 0x80:
                length.append(size & 0x7F | 0x80)
                size >>= 7
            length.append(size)
            block += bytes((0x30 | qos << 1,)) + length + struct.pack(">H", len(name)) + name + middle + payload
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
    yield bytes(block)


def publish(port: int, kind: str, qos: int, topics: int, turns: int) -> None:
    """Everything as fast as the broker takes it; prints when it is ready, starts when a line comes in."""
    blocks = list(encoded(kind, qos, topics, turns))
    link = connect(port, "load")
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    link.settimeout(30.0)
    acknowledged, sent = 0, 0
    for block in blocks:
        link.sendall(block)
        sent += BLOCK // 80
        while qos and sent - acknowledged > 2000:
            acknowledged += len(link.recv(1 << 16)) // 4
    print(time.perf_counter() - begun, flush=True)
    sys.stdin.readline()


def parse(data: bytearray, count: int) -> tuple[int, int, bytes]:
    """The floor's parser: (bytes taken, PUBLISH packets in all, answers)."""
    at, end, answers = 0, len(data), bytearray()
    while at + 2 <= end:
        size, shift, body = 0, 0, at + 1
        while body < end:
            byte = data[body]
            body += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if body + size > end:
            break
        first = data[at]
        if first & 0xF0 == 0x30:
            length = data[body] << 8 | data[body + 1]
            if first & 6:
                answers += b"\x40\2" + data[body + 2 + length : body + 4 + length]
            count += 1
        at = body + size
    return at, count, bytes(answers)


def floor(port: int, qos: int) -> None:
    """Count what comes; prints messages, seconds between the first and the last read, and CPU seconds."""
    link = connect(port, "floor")
    link.sendall(b"\x82\x0c\0\1\0\x07bench/#" + bytes((qos,)))
    assert link.recv(5)[0] == 0x90
    print("ready", flush=True)
    buffer, count, first, last = bytearray(), 0, 0.0, 0.0
    cpu = time.process_time()
    link.settimeout(20.0)
    while True:
        try:
            data = link.recv(1 << 18)
        except TimeoutError:
            break
        last = time.perf_counter()
        first = first or last
        link.settimeout(IDLE_S)
        buffer += data
        taken, count, answers = parse(buffer, count)
        del buffer[:taken]
        if answers:
            link.sendall(answers)
    print(orjson.dumps({"messages": count, "s": last - first, "cpu_s": time.process_time() - cpu}).decode(), flush=True)


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "publish":
        publish(int(given[0]), given[1], *map(int, given[2:]))
    else:
        floor(*map(int, given))
