"""Scripts that command a real server with a real PLC: to the end that the process confirms, or with the record of why not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control.api.wire_command import CommandRecord
from control.live_client import NotConfirmed, connect, found
from scenarios.water.rest_pump import rest
from tests.control.command_site import CommandSite, command_site
from twin.errors import Conflict, NotFound

GUIDE = Path(__file__).parents[2] / "docs" / "engineer.md"


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("scripts")) as made:
        yield made


async def test_a_command_is_followed_until_the_process_confirms_it_and_its_key_makes_it_one(works: CommandSite) -> None:
    async with connect(*found(works.site.data), events=["link"]) as plant:
        events = plant.events("command")
        record = await plant.command("pump.status", "on", reason="more water", key="once")
        assert (record.status, record.reason, record.observed) == ("CONFIRMED", "more water", 1.0)
        assert plant.value("pump.running").value == 1.0
        heard: list[str] = []
        async for event in events:
            assert isinstance(event.body, CommandRecord)
            heard.append(event.body.status)
            if event.body.final:
                break
        assert heard[-1] == "CONFIRMED" and "SENT" in heard
        assert (await plant.command("pump.status", "on", reason="more water", key="once")).id == record.id
        with pytest.raises(Conflict):
            await plant.command("pump.status", "off", key="once")
        assert works.plc.writes.count(("pump.status", 1.0)) == 1


async def test_what_is_refused_or_wrong_is_raised_with_its_record(works: CommandSite) -> None:
    async with connect(*found(works.site.data)) as plant:
        await asyncio.to_thread(works.show, {"tank.level": 0.5})
        with pytest.raises(NotConfirmed, match="the pump would run dry") as refused:
            await plant.command("pump.status", 1)
        assert refused.value.record.status == "REFUSED"
        await asyncio.to_thread(works.show, {"tank.level": 3.25})
        works.plc.accepts = False
        with pytest.raises(NotConfirmed) as failed:
            await plant.command("pump.status", 1)
        works.plc.accepts = True
        assert [t.status for t in failed.value.record.transitions][-2:] == ["SENT", "REFUSED"]
        with pytest.raises(NotFound, match=r"did you mean pump\.status"):
            await plant.command("pump.staus", 1)
        with pytest.raises(TimeoutError, match="is AWAITING_APPROVAL"):
            await plant.command("pump.speed", 70, timeout_s=0)


async def test_the_script_rests_a_pump_and_starts_it_when_the_tank_runs_low(works: CommandSite) -> None:
    async with connect(*found(works.site.data)) as plant:
        await plant.command("pump.status", 1)
        await asyncio.to_thread(works.show, {"tank.level": 3.25})
        resting = asyncio.create_task(rest(plant, "pump.status", "tank.level > 3 m", 60))
        await plant.until("not pump.running", 20)
        await asyncio.to_thread(works.show, {"tank.level": 2.5})
        said = await resting
        assert said == "pump.status runs again, confirmed: tank.level > 3 m does not hold any more"
        assert plant.value("pump.running").value == 1.0


async def test_the_guides_script_runs_as_it_is_written(works: CommandSite, capsys: pytest.CaptureFixture[str]) -> None:
    """On this plant's names."""
    (block,) = re.findall(r"```python\n(import asyncio\n.*?live_client.*?)```", GUIDE.read_text(), re.DOTALL)
    for theirs, ours in (
        ("tank_1", "tank"),
        ("pump_335", "pump"),
        ("> 3 m", "> 2 m"),
        ("var/demo", str(works.site.data)),
    ):
        block = block.replace(theirs, ours)
    names: dict[str, Any] = {}
    exec(compile(block.replace("asyncio.run(main())", ""), str(GUIDE), "exec"), names)
    await names["main"]()
    out = capsys.readouterr().out
    assert "tank.level = " in out and "CONFIRMED" in out and "command" in out
