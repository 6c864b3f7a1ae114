"""Seconds of a what-if of Net3 (64 pairs, 4 h, warm pool of two), against the same replications inline in one process."""

from __future__ import annotations

import time

from control.places import plant_folder
from control.plants import read_plant
from scenarios.observe import snapshot_of
from scenarios.water.fleet import WaterMover
from sim.runner import Runner
from sim.scenario import parse_scenario
from sim.whatif import Now, compare
from tests.bench import line, seconds

PAIRS, HORIZON_S = 64, 4 * 3600.0


def main() -> None:
    plant = read_plant(plant_folder("water"), {})
    mover = WaterMover(plant, seed=1)
    snapshot = snapshot_of(plant, mover.advance(0.0), mover, time.time_ns())
    scenario = parse_scenario("pump_335.status=off for 4h")

    def ask(runner: Runner) -> float:
        def once() -> None:
            compare(
                Now(plant, snapshot),
                [scenario],
                runner=runner,
                horizon=HORIZON_S,
                every="10m",
                seed=1,
                replications=PAIRS,
            )

        once()
        return seconds(once)

    inline, pool = Runner(0), Runner(2)
    pool.warm()
    value, floor = ask(pool), ask(inline)
    pool.close()
    line("whatif_net3", round(value, 3), "s", round(floor, 3), {"pairs": PAIRS, "horizon_s": HORIZON_S, "workers": 2})


if __name__ == "__main__":
    main()
