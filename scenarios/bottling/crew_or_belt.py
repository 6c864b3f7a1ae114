"""One more in the crew, longer belts, or maintenance, now or later? A script as an engineer would write it; no server.

Run `python -m scenarios.bottling.crew_or_belt`.
"""

from __future__ import annotations

import time
from pathlib import Path

from protocols.catalog import PROTOCOLS
from scenarios.layout_mover import LayoutMover
from scenarios.observe import observe
from sim.whatif import Now, compare, parse_scenario
from twin.plantfile import load_plant

SEED = 1
RUN_IN_S = 3 * 3600.0  # lets the line live a little before it is asked about
OPTIONS = (
    ("crew +1", "crew.size=2"),
    ("longer belts", "conveyor_1.places=24; conveyor_2.places=24"),
    ("maintain now", "run filler.maintain"),
    ("maintain later", "run filler.maintain at 2h"),
)


def main() -> None:
    """Ask and print."""
    plant = load_plant(Path(__file__).parent, {name: entry.rules for name, entry in PROTOCOLS.items()})
    snapshot = observe(plant, LayoutMover(plant, SEED), RUN_IN_S, time.time_ns())
    result = compare(
        Now(plant, snapshot),
        [parse_scenario(text, name) for name, text in OPTIONS],
        horizon="8h",
        seed=SEED,
        replications=256,
        follow=["line.packed"],
        kpis=["line.packed.final"],
    )
    print(result)


if __name__ == "__main__":
    main()
