"""Seconds from a cold process to the first interval on LINE10 (64 pairs, 8 h), the compiled kernel in its cache.

The floor is what a process takes that imports numpy and numba and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench import line, seconds

BAR_S = 3.0
ASK = """
import json, sys, time
begun = time.perf_counter()
from tests.bench.whatif_line10 import line10
from sim.whatif import Runner, Scenario, compare
imported = time.perf_counter()
crew = Scenario("crew +1").add("crew.capacity", 1)
result = compare(line10(), [crew], horizon="8h", kpis=["parts"], replications=64)
gain = result.scenarios[0].differences["parts"]
print(json.dumps({"import_s": round(imported - begun, 2), "ask_s": round(time.perf_counter() - imported, 2),
                  "backend": result.backend, "gain": gain.mean, "half_width": gain.half_width,
                  "heavy": sorted({"torch", "duckdb", "wntr"} & set(sys.modules))}))
"""


def ran(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def main() -> None:
    ran("from sim.components.library import LIBRARY\nfrom sim.kernel.ensemble import warm\nwarm(LIBRARY)")
    said: list[str] = []
    value = seconds(lambda: said.append(ran(ASK)))
    floor = seconds(lambda: ran("import numpy, numba"))
    line("whatif_first_answer", round(value, 2), "s", round(floor, 2), {"bar_s": BAR_S, **json.loads(said[-1])})


if __name__ == "__main__":
    main()
