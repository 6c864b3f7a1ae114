"""Killed at any moment, hundreds of times: no acknowledged entry is lost, none is doubled, every tile fits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.entry import decode
from ledger.log import Log
from ledger.verify import verify

ZYGOTE = Path(__file__).parent / "kill_zygote.py"
ROOT = Path(__file__).parents[2]
RUNS_A_LOG = 25  # then another log: opening reads all of it


def killed(zygote: subprocess.Popen[str], directory: Path, run: int, chance: random.Random) -> list[tuple[int, int]]:
    """What a run acknowledged until it was killed, somewhere between its first instruction and some 40 bursts."""
    assert zygote.stdin is not None and zygote.stdout is not None
    zygote.stdin.write(f"{directory} {run}\n")
    zygote.stdin.flush()
    pid = int(zygote.stdout.readline().removeprefix("pid "))
    told: list[tuple[int, int]] = []
    for _ in range(chance.choice((0, 0, 1, 3, 40))):
        index, number = zygote.stdout.readline().split()
        told.append((int(index), int(number)))
    time.sleep(chance.random() * 0.012)  # chance is the point here: nothing waits for it
    os.kill(pid, signal.SIGKILL)
    while (line := zygote.stdout.readline()) != "end\n":
        if line.endswith("\n") and line.count(" ") == 1:
            index, number = line.split()
            told.append((int(index), int(number)))
    return told


def kill(directory: Path, kills: int, seed: int) -> int:
    """Kill so many runs and hold every log to what was acknowledged; returns how many entries that were."""
    chance, acknowledged = random.Random(seed), 0
    command = [sys.executable, str(ZYGOTE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as zygote:
        for first in range(0, kills, RUNS_A_LOG):
            place = directory / str(first)
            told: dict[int, tuple[str, int]] = {}
            for run in range(first, min(first + RUNS_A_LOG, kills)):
                fresh = killed(zygote, place, run, chance)
                assert not told.keys() & {index for index, _ in fresh}
                told.update({index: (str(run), number) for index, number in fresh})
            with Log.open(place) as log:
                found = [(str(entry.body["run"]), entry.time_ns) for entry in map(decode, log.entries())]
                log.checkpoint()
            assert len(set(found)) == len(found)
            assert all(found[index] == who for index, who in told.items())
            assert verify(place).problems == ()
            acknowledged += len(told)
        assert zygote.stdin is not None
        zygote.stdin.close()
    return acknowledged


def test_no_acknowledged_entry_is_lost_or_doubled_in_300_kills(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:  # they wait for the disk most of the time
        series = pool.map(lambda number: kill(tmp_path / str(number), 100, seed=8 + number), range(3))
        assert sum(series) > 1_000


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_no_acknowledged_entry_is_lost_or_doubled_in_a_thousand_kills(tmp_path: Path, seed: int) -> None:
    assert kill(tmp_path, 1_000, seed=100 + seed) > 4_000
