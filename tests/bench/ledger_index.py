"""The statement "who did what to pump 335 last night" on a million entries, and what their index costs to make and keep."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from control.audit_index import PERSONS, VIEW, AuditIndex, Wanted
from control.entry_kinds import sealed
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.personal import Salts
from tests.bench import line, seconds

ENTRIES = 1_000_000
PEOPLE, PUMPS, AT_ONCE = 50, 1_000, 10_000
LIMIT_MS = 50.0
BEGAN, STEP = 1_700_000_000 * 10**9, 86_400_000  # a million entries in a day
RUNS = 9
NIGHT = "time >= make_timestamp_ns({since}) AND time < make_timestamp_ns({until})"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        data = Path(folder)
        log = closing.enter_context(Log.open(data / "ledger"))
        salts = closing.enter_context(contextlib.closing(Salts(data / "ledger")))
        fill(log, salts)
        duck = closing.enter_context(contextlib.closing(duckdb.connect(config={"threads": "2"})))
        began = time.perf_counter()
        index = closing.enter_context(contextlib.closing(AuditIndex(duck.cursor, data / "index", log, salts)))
        index.ready(3_600.0)
        made_s = time.perf_counter() - began
        con = duck.cursor()
        con.register(PERSONS, index.persons())
        con.execute(VIEW)
        until = BEGAN + ENTRIES * STEP
        night = NIGHT.format(since=until - ENTRIES * STEP // 2, until=until)
        statement_ms = took_ms(
            lambda: con.execute(
                f"SELECT time, actor, action, value FROM audit WHERE twin = 'pump_335' AND {night} ORDER BY entry"
            ).fetchall()
        )
        bare_ms = took_ms(lambda: con.execute("SELECT count(twin) FROM ledger_index.entries").fetchall())
        by_name = f"SELECT time, twin FROM audit WHERE actor LIKE 'op1%' AND {night} LIMIT 500"
        by_ms = took_ms(lambda: con.execute(by_name).fetchall())
        found_ms = took_ms(lambda: index.find(Wanted(twin="pump_335"), 100))
        size = index.bytes_on_disk()
        last_s = keep_up(log, salts, index)
    detail: dict[str, object] = {
        "bar_ms": LIMIT_MS, "entries": ENTRIES, "persons": PEOPLE, "made_s": round(made_s, 1),
        "bytes_an_entry": round(size / ENTRIES, 1), "by_name_ms": round(by_ms, 1), "page_of_100_ms": round(found_ms, 1),
        "next_10000_ms": round(last_s * 1e3),
    }  # fmt: skip
    line("ledger_index", round(statement_ms, 1), "ms", round(bare_ms, 1), detail)


def fill(log: Log, salts: Salts) -> None:
    chance = random.Random(1)
    for first in range(0, ENTRIES, AT_ONCE):
        log.append([entry(first + n, chance, salts) for n in range(AT_ONCE)])


def entry(number: int, chance: random.Random, salts: Salts) -> bytes:
    """A transition of a command; each command has six."""
    pump, person = chance.randrange(PUMPS), f"op{number // 6 % PEOPLE}"
    body = {
        "id": f"{number // 6:012x}", "n": number % 6, "key": f"k{number // 6}", "author": person,
        "point": f"pump_{pump}.speed", "device": "plc", "value": 60.0, "priority": "operator", "deadline_ns": 1,
        "reason": "", "status": "SENT", "detail": f"writing 60 to {40_000 + pump}", "by": person if number % 6 == 0 else "",
        "seen": [], "verdicts": [], "approvals": [], "observed": None,
    }  # fmt: skip
    return encode(Entry("command", BEGAN + number * STEP, sealed("command", body, salts.seal)))


def took_ms(work: Callable[[], object]) -> float:
    return seconds(work, RUNS) * 1e3


def keep_up(log: Log, salts: Salts, index: AuditIndex) -> float:
    """Seconds from entries that are durable to their being in the index: what a second of 10,000 entries costs."""
    chance = random.Random(2)
    payloads = [entry(ENTRIES + n, chance, salts) for n in range(AT_ONCE)]
    log.append(payloads)
    began = time.perf_counter()
    index.ready(60.0)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
