"""A writer of history is killed again and again in the middle of its work: nothing it acknowledged is lost or half there."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import subprocess
import sys
import time
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import numpy as np
import pytest

from twin.digest import SeriesRows
from twin.keyframes import NEVER, Interval, scanned_state_at
from twin.quality import BAD_NO_COMMUNICATION
from twin.query import Queries
from twin.retention import HOUR_NS, Expiry, Retention
from twin.store import Store, _arrow, registered
from twin.tiers import SECOND_NS
from twin.upkeep import Upkeep, oldest

SERVER = multiprocessing.get_context("forkserver")  # a clean process to start writers from, with all modules loaded
SERVER.set_forkserver_preload(["twin.store", "twin.upkeep", "tests.twin.test_history_crash"])
SEED = 7
BATCHES_MAX = 10  # that a writer says before its last moments begin …
KILLED_WITHIN_S = 0.03  # … and how long they take: a few commits
STARTED_WITHIN_S = 60.0
NAMES = ("a.x", "b.y", "c.t", "d.z")
ROWS = 15
START = 1_700_000_000 // 3600 * HOUR_NS
STEP_NS = 60 * SECOND_NS  # of plant time a batch: roll-ups, keyframes and drops all come within seconds
KEPT = Retention(raw=2 * HOUR_NS, second=HOUR_NS, minute=4 * HOUR_NS)
READINGS = (
    "CREATE TABLE readings (batch BIGINT, row INTEGER, series INTEGER, value DOUBLE, text VARCHAR, quality UINTEGER, "
    "source_time BIGINT, received_time BIGINT, noticed BOOLEAN)"
)


def made(batch: int) -> SeriesRows:
    """The rows of a batch: the same whoever asks. Some are late, some noticed, one series has text."""
    chance = np.random.default_rng([SEED, batch])
    received = START + batch * STEP_NS + chance.integers(0, STEP_NS, ROWS)
    noticed = chance.random(ROWS) < 0.1
    series = chance.integers(1, len(NAMES) + 1, ROWS).astype(np.int32)
    return SeriesRows(
        series,
        np.where(series == 3, np.nan, chance.normal(0, 9, ROWS)),
        np.where(noticed, BAD_NO_COMMUNICATION, 0).astype(np.uint32),
        received - chance.choice([0, SECOND_NS, 5 * STEP_NS], ROWS),
        received,
        noticed,
        {int(n): f"text {batch}" for n in np.flatnonzero(series == 3)},
    )


def write_for_ever(path: Path, told: Connection) -> None:
    """Appends, rolls up, keyframes and drops; says what is durable, and what it is about to drop."""
    told.send_bytes(b"ready 0 -")
    now = [START]

    def may_drop(expiry: Expiry) -> bool:
        told.send_bytes(f"drop {expiry.last} -".encode())
        return True

    with Store(path, interval=Interval(8 * ROWS, 0)) as store:
        store.series_of(NAMES)
        con = store.cursor()
        upkeep = Upkeep(KEPT, lambda: now[0], may_drop)
        for batch in count(store.next_batch()):
            done = store.append(con, batch, made(batch))
            told.send_bytes(f"kept {batch} {done.digest}".encode())
            now[0] = START + (batch + 1) * STEP_NS
            while upkeep.step(con):
                pass


class Kept:
    """What the killed writers said, and every batch that they can have written, in a plain table."""

    def __init__(self) -> None:
        self.digests: dict[int, str] = {}
        self.let_go = -1
        self.reference = duckdb.connect()
        self.reference.execute(READINGS)
        self.batches = 0

    def hear(self, said: Connection, most: int = 2**62) -> None:
        """So much of what was said before the end."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            for _ in range(most):
                what, number, digest = said.recv_bytes().decode().split()
                if what == "kept":
                    self.digests[int(number)] = digest
                else:
                    self.let_go = max(self.let_go, int(number))

    def reach(self, batches: int) -> None:
        for batch in range(self.batches, batches):
            with registered(self.reference, new_rows=_arrow(batch, made(batch))):
                self.reference.execute("INSERT INTO readings SELECT * FROM new_rows")
        self.batches = max(self.batches, batches)


def killed(path: Path, chance: random.Random, kept: Kept) -> None:
    said, telling = SERVER.Pipe(duplex=False)
    writer = SERVER.Process(target=write_for_ever, args=(path, telling), daemon=True)
    writer.start()
    telling.close()
    assert said.poll(STARTED_WITHIN_S), "the writer did not start"
    said.recv_bytes()
    kept.hear(said, chance.randrange(BATCHES_MAX))
    time.sleep(chance.uniform(0, KILLED_WITHIN_S))
    writer.kill()
    writer.join()
    kept.hear(said)
    said.close()


def check(store: Store, kept: Kept, chance: random.Random) -> None:
    con = store.cursor()
    found = store.recompute(con, NEVER, 2**62)
    listed = {b.batch: b.digest for b in store.batches_from(NEVER)}
    assert found == listed, "a batch is half there, or its rows are not what was committed"
    size = store.next_batch()
    first = min(listed, default=size)
    assert sorted(listed) == list(range(first, size))
    assert first - 1 <= kept.let_go, "rows left without anybody's consent"
    lost = {b: d for b, d in kept.digests.items() if b >= first and listed.get(b) != d}
    assert lost == {}
    kept.reach(size)
    windows = Queries(store).run({}, "SELECT sum(count), min(min), max(max) FROM history_1h", 1).rows
    plain = kept.reference.execute(
        "SELECT count(*), min(value) FILTER (NOT isnan(value)), max(value) FILTER (NOT isnan(value)) FROM readings "
        "WHERE NOT noticed AND batch < ?",
        [size],
    ).fetchall()
    assert windows == plain or size == 0
    newest = START + size * STEP_NS
    as_of_from, known_from = oldest(con)
    for _ in range(4):
        as_of = chance.randint(max(as_of_from, START), max(newest, as_of_from))
        known_at = chance.choice([2**62, max(as_of, known_from)])
        assert said(store.state_at(con, as_of, known_at)) == said(scanned_state_at(kept.reference, as_of, known_at))


def said(state: SeriesRows) -> list[tuple[object, ...]]:
    return sorted(
        (
            int(s),
            str(float(state.value[n])),
            int(state.quality[n]),
            int(state.source_time[n]),
            bool(state.noticed[n]),
            state.text.get(n, ""),
        )
        for n, s in enumerate(state.series)
    )


@pytest.mark.timeout(400)
@pytest.mark.parametrize("times", [28, pytest.param(200, marks=pytest.mark.soak)])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path, times: int) -> None:
    """In a process of its own, whose fork server has loaded what writers need: a hundred starts take seconds."""
    program = (
        "import sys; from pathlib import Path; from tests.twin.test_history_crash import rounds;"
        " rounds(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(times)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def rounds(folder: Path, times: int) -> None:
    """Kill and check, so many times."""
    path, chance, kept = folder / "history.duckdb", random.Random(SEED), Kept()
    for _ in range(times):
        killed(path, chance, kept)
        with Store(path, interval=Interval(8 * ROWS, 0)) as store:
            store.series_of(NAMES)
            check(store, kept, chance)
    con = duckdb.connect(str(path), read_only=True)
    frames = con.execute("SELECT count(*) FROM frames").fetchall()[0][0]
    assert len(kept.digests) > 3 * times
    assert kept.let_go > 0, "nothing was dropped: the test did not test that"
    assert frames > 1
