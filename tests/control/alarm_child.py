"""Alarms that come and go for ever, each step printed once it is durable and told: to be killed by a test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.control.alarm_site import alarm_site, plant


async def main(folder: Path) -> None:
    async with alarm_site(folder, plant(20)) as site:
        printed = 0
        for turn in range(100_000):
            site.say(11.0 if turn % 2 else 1.0, turn // 2 % 20)
            await asyncio.sleep(0.002)
            for change in site.told()[printed:]:
                printed += 1
                print(change["n"], flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
