"""Seconds to import 100,000 twins with two kept values and a relationship each, against reading the file as JSON alone."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from control.graph_runs import Imports
from control.loop_watch import LoopWatch
from control.whatif import State
from tests.bench import line, seconds
from tests.control.graph_plant import TANK, VALVE
from tests.control.test_graph import running

TWINS = 100_000


def document() -> bytes:
    twins = [{"$dtId": f"v{n}", "$metadata": {"$model": VALVE}, "serial": f"S{n}", "turns": n} for n in range(TWINS)]
    ends = [
        {"$relationshipId": f"r{n}", "$sourceId": f"v{n}", "$relationshipName": "guards", "$targetId": "tank_1"}
        for n in range(TWINS)
    ]
    twins.append({"$dtId": "tank_1", "$metadata": {"$model": TANK}})
    return json.dumps({"digitalTwinsGraph": {"digitalTwins": twins, "relationships": ends}}).encode()


async def measure(folder: Path, raw: bytes) -> tuple[float, dict[str, object]]:
    """(seconds from the request to the end, what else was seen)."""
    adopting: list[float] = []
    async with running(folder) as site:
        adopt = site.live.adopt

        def timed(*what: object) -> None:
            begun = time.perf_counter()
            adopt(*what)  # type: ignore[arg-type]
            adopting.append(time.perf_counter() - begun)

        site.live.adopt = timed  # type: ignore[method-assign]
        imports, watch = Imports(site.live, site.graph, time.time_ns, lambda: "import"), LoopWatch()
        tasks = [asyncio.create_task(part) for part in (imports.run(), watch.run())]
        await asyncio.sleep(0)
        begun = time.perf_counter()
        run = await imports.start(raw, False, False, "bench")
        await run.ended.wait()
        took = time.perf_counter() - begun
        for task in tasks:
            task.cancel()
        assert run.state is State.DONE, run.failure
    seen = {"twins": TWINS, "adopt_ms": round(adopting[0] * 1e3, 1), "worst_stall_ms": round(watch.worst_s * 1e3)}
    return took, seen


def main() -> None:
    raw = document()
    with tempfile.TemporaryDirectory() as folder:
        took, seen = asyncio.run(measure(Path(folder), raw))
    line("graph_import", round(took, 2), "s", round(seconds(lambda: json.loads(raw)), 3), {**seen, "bytes": len(raw)})


if __name__ == "__main__":
    main()
