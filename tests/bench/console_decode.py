"""What 10,000 points at 10 Hz cost the console in a real browser: decoding and storing one frame, median in ms.

A whole server sends them over its own WebSocket. `limit`: copying as many bytes into typed arrays, in the same page. The
detail says how busy the page's main thread was, and how its heap went: after a forced collection, every 30 s.
`TWINLOOP_BENCH_S` is how long, 300 s without it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import CDPSession, Page

from control.client import Client
from tests.bench import line
from tests.bench.ws_fanout import started
from tests.plant import chromium

POINTS, PER_S = 10_000, 10
WARM_S, EVERY_S = 15.0, 30.0
BAR_MS, BAR_BUSY = 1.0, 0.3
COPY = """bytes => {
  const from = new Uint8Array(bytes), into = new Uint8Array(bytes), begun = performance.now();
  for (let n = 0; n < 1000; n++) { from[n] = n; into.set(from); }
  return (performance.now() - begun) / 1000;
}"""


def cost(page: Page) -> dict[str, Any]:
    return dict(page.evaluate("({...globalThis.twinloopCost, recentMs: [...globalThis.twinloopCost.recentMs]})"))


def busy_s(devtools: CDPSession) -> tuple[float, float]:
    """(time in tasks of the main thread, time) in s."""
    found: dict[str, Any] = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
    return found["TaskDuration"], found["Timestamp"]


def heap_mb(devtools: CDPSession) -> float:
    devtools.send("HeapProfiler.collectGarbage")
    return float(devtools.send("Runtime.getHeapUsage")["usedSize"] / 1e6)


def follow(page: Page, duration_s: float) -> dict[str, float]:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "timeTicks"})
    before, heaps, busy = cost(page), [heap_mb(devtools)], 0.0
    begun, parts = time.perf_counter(), max(1, round(duration_s / EVERY_S))
    watched = 0.0
    for _ in range(parts):
        tasks, at = busy_s(devtools)
        page.wait_for_timeout(duration_s / parts * 1e3)
        tasks_after, after = busy_s(devtools)
        busy, watched = busy + tasks_after - tasks, watched + after - at  # the collections are ours, not the page's
        heaps.append(heap_mb(devtools))
    after_all = cost(page)
    frames = after_all["frames"] - before["frames"]
    recent = [ms for ms in after_all["recentMs"] if ms > 0]
    x = np.arange(len(heaps)) * duration_s / parts / 60
    return {
        "ms": float(np.median(recent)),
        "p95_ms": float(np.percentile(recent, 95)),
        "mean_ms": (after_all["ms"] - before["ms"]) / frames,
        "most_ms": after_all["mostMs"],
        "frames_per_s": frames / (time.perf_counter() - begun),
        "frame_bytes": (after_all["bytes"] - before["bytes"]) / frames,
        "main_thread_busy": busy / watched,
        "heap_first_mb": heaps[0],
        "heap_last_mb": heaps[-1],
        "heap_mb_per_min": float(np.polyfit(x, heaps, 1)[0]),
    }


def main() -> None:
    duration_s = float(os.environ.get("TWINLOOP_BENCH_S", "300"))
    with tempfile.TemporaryDirectory(prefix="twinloop-bench-") as folder, chromium.launched() as browser:
        process, url = started("tests.control.live_server", folder, str(POINTS), str(POINTS), str(PER_S))
        try:
            with Client(Path(folder) / "data") as http:
                login = http.post("/login-link")["path"]
            page = browser.new_page(viewport=chromium.SIZE)
            page.goto(url + login)
            page.get_by_test_id("live-count").wait_for()
            page.wait_for_timeout(WARM_S * 1e3)
            found = follow(page, duration_s)
            floor = float(page.evaluate(COPY, round(found["frame_bytes"])))
        finally:
            process.communicate()
    detail: dict[str, object] = {
        "points": POINTS, "per_s": PER_S, "seconds": duration_s, "bar_ms": BAR_MS, "bar_busy": BAR_BUSY,
        **{k: round(v, 3) for k, v in found.items()},
    }  # fmt: skip
    line("console_decode", round(found["ms"], 3), "ms/frame", round(floor, 4), detail)


if __name__ == "__main__":
    main()
