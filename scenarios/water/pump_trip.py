"""What if the river pump trips for four hours? A script as an engineer would write it; needs no server.

Run `python -m scenarios.water.pump_trip`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from protocols.catalog import PROTOCOLS
from scenarios.observe import observe
from scenarios.water.fleet import WaterMover
from sim.experiment import compare
from sim.result import table
from sim.runner import Runner
from sim.scenario import parse_limit, parse_scenario
from twin.plantfile import load_plant

SEED = 1
RUN_IN_S = 2 * 3600.0  # lets the plant live a little before it is asked about


def main() -> None:
    """Ask and print."""
    plant = load_plant(Path(__file__).parent, {name: entry.rules for name, entry in PROTOCOLS.items()})
    snapshot = observe(plant, WaterMover(plant, SEED), RUN_IN_S, time.time_ns())
    runner = Runner(workers=0)
    result = compare(
        plant,
        snapshot,
        [
            parse_scenario("pump_335.status=off for 4h", "pump 335 trips"),
            parse_scenario("pump_335.status=off for 4h; pump_10.status=on for 4h", "lake pump helps"),
        ],
        runner,
        horizon_s=8 * 3600,
        seed=SEED,
        limits=[parse_limit("tank_1.level<1")],
    )
    runner.close()
    sys.stdout.write(table(result))


if __name__ == "__main__":
    main()
