"""Rests a pump of a running plant while its tank has enough. A script as an engineer would write it, from outside.

Run `python -m scenarios.water.rest_pump DATA_FOLDER` beside `twinloop demo`; it commands as the token of that folder.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from control.live_client import LivePlant, connect, found

WAIT_S = 3600.0


async def rest(plant: LivePlant, pump: str, enough: str, at_most_s: float) -> str:
    """Stop the pump once there is enough, and start it as soon as there is not, or nobody can tell; what came of it.

    Raises:
        NotConfirmed: the pump did not follow; its `record` says how far the command came.
    """
    await plant.until(enough, WAIT_S)
    await plant.command(pump, 0, reason=f"rest: {enough}")
    try:
        await plant.until(f"not ({enough})", at_most_s)
        why = f"{enough} does not hold any more"
    except TimeoutError as ended:
        why = f"the rest is over: {ended}"
    started = await plant.command(pump, 1, reason=why)
    return f"{pump} runs again, {started.status.lower()}: {why}"


async def main(data: Path) -> None:
    """Against the server that runs on this data folder."""
    async with connect(*found(data), points=["tank_1.level", "pump_335.running"]) as plant:
        print(plant.value("tank_1.level"))
        print(await rest(plant, "pump_335.status", "tank_1.level > 3 m", at_most_s=600.0))
        print(plant.value("pump_335.running"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
