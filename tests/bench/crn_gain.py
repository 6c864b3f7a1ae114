"""How much smaller common random numbers make the variance of a difference: LINE10, crew 2 -> 3, 1,000 pairs of 8 h.

The limit is the same difference from independent streams, in the same run: the ratio is what is left of its variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.experiment import replicate
from sim.kpi import values
from sim.question import Question
from sim.whatif import Runner, Scenario, job_of, parse_scenario
from tests.bench import line
from tests.bench.whatif_line10 import MACHINES, line10

PAIRS, BAR = 1000, 8.0
OPTIONS = {
    "crew 2 -> 3": Scenario("crew").add("crew.capacity", 1),
    "repair 8 -> 7": parse_scenario(";".join(f"M{i}.mttr.mean=7" for i in range(1, MACHINES + 1)), "repair"),
}


def main() -> None:
    runner = Runner(2)
    left: dict[str, float] = {}
    variance: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        arms = []
        for seed in (1, 2):
            job = job_of(line10(), [option], Question(kpis=("parts",)), horizon="8h", seed=seed, backend="kernel")
            block, _ = replicate(job, Question(PAIRS), runner)
            arms.append([values(job, block, s, "parts") for s in (0, 1)])
        (base, other), (_, elsewhere) = arms
        paired, independent = np.var(other - base, ddof=1), np.var(elsewhere - base, ddof=1)
        variance[name] = [round(float(paired), 1), round(float(independent), 1)]
        left[name] = float(independent / paired)
    runner.close()
    paired, independent = variance["crew 2 -> 3"]
    gains = {name: round(gain, 1) for name, gain in left.items()}
    line("crn_gain", paired, "parts²", independent, {"bar_times": BAR, "times_smaller": gains, "pairs": PAIRS})


if __name__ == "__main__":
    main()
