"""What if the river pump trips for four hours? A script as an engineer would write it; needs no server.

Run `python -m scenarios.water.pump_trip`.
"""

from __future__ import annotations

import time
from pathlib import Path

from protocols.catalog import PROTOCOLS
from scenarios.observe import observe
from scenarios.water.fleet import WaterMover
from sim.whatif import Now, compare, parse_scenario
from twin.plantfile import load_plant

SEED = 1
RUN_IN_S = 2 * 3600.0  # lets the plant live a little before it is asked about


def main() -> None:
    """Ask and print."""
    plant = load_plant(Path(__file__).parent, {name: entry.rules for name, entry in PROTOCOLS.items()})
    snapshot = observe(plant, WaterMover(plant, SEED), RUN_IN_S, time.time_ns())
    result = compare(
        Now(plant, snapshot),
        [
            parse_scenario("pump_335.status=off for 4h", "pump 335 trips"),
            parse_scenario("pump_335.status=off for 4h; pump_10.status=on for 4h", "lake pump helps"),
        ],
        horizon="8h",
        seed=SEED,
        limits=["tank_1.level<1"],
    )
    print(result)


if __name__ == "__main__":
    main()
