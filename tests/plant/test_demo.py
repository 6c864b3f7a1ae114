"""The demonstration's own check, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid

import psutil

from tests.plant.site import MARK, _environment, until


def test_the_whole_loop_holds_and_no_process_is_left() -> None:
    mark = uuid.uuid4().hex
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "control", "demo", "--check", "--json"],
        capture_output=True, text=True, timeout=170, check=False, env={**os.environ, MARK: mark},
    )  # fmt: skip
    summary = json.loads(done.stdout)
    print(json.dumps(summary, indent=1), done.stderr[-2000:], f"{time.monotonic() - begun:.0f} s")
    assert summary["ok"] is True, summary["problems"]
    assert done.returncode == 0
    assert summary["live"] == summary["points"] > 100
    assert summary["command"]["status"] == "CONFIRMED"
    assert summary["whatif"]["tank_1_level_difference_m"] < -1
    assert all(summary["restart"].values())
    until(lambda: [p for p in psutil.process_iter() if _environment(p).get(MARK) == mark], lambda left: not left, 10)
