"""What a search of an OPC UA server finds: everything that points can carry, and the reason for everything else."""

from __future__ import annotations

import time
from typing import Any

import pytest
from asyncua import ua

from protocols.discovery import Found, FoundValue
from protocols.opcua import asking
from protocols.opcua.discover import Wanted, discover
from tests.protocols.opcua_site import Site, site
from tests.protocols.protocol_bench import Cable, device, free_port
from twin.errors import NotFound, Unavailable
from twin.schema import Enum, EnumValue, Primitive


def quiet(count: int, what: str) -> None:
    """Progress that nobody watches."""


async def found_at(site: Site, **wanted: Any) -> Found:
    return await discover(device("opcua", site.endpoint), Wanted(**wanted), quiet, time.time_ns)


def by_path(found: Found) -> dict[str, FoundValue]:
    return {"/".join(v.path): v for v in found.values}


async def test_every_variable_is_found_with_its_type_unit_and_access() -> None:
    async with site() as it:
        values = by_path(await found_at(it))
    speed = values["Plant/Line 1/Pump 2/Speed"]
    assert (speed.thing, speed.name) == (("Plant", "Line 1", "Pump 2"), ("Speed",))
    assert (speed.address, speed.schema, speed.writable) == (
        "ns=2;s=Plant.Line 1.Pump 2.Speed", Primitive("double"), True
    )  # fmt: skip
    flow = values["Plant/Line 1/Pump 2/Flow"]
    assert (flow.unit, flow.schema, flow.writable) == ("m3/h", Primitive("float"), False)
    assert values["Plant/Tank/Temperature"].unit == "degC"
    assert values["Plant/Line 1/Pump 1/Running"].type == "boolean"
    assert values["Plant/Tank/Built"].schema == Primitive("dateTime")
    assert not values["Plant/Tank/Note"].writable  # commands carry no texts
    assert values["Plant/Line 1/Pump 1/Starts"].schema == Primitive("long")
    assert values["Plant/Line 1/Pump 2/Bearing/Temperature"].thing[-1] == "Bearing"


async def test_a_range_limits_what_may_be_commanded_and_not_what_may_be_measured() -> None:
    async with site() as it:
        values = by_path(await found_at(it))
    assert (values["Plant/Tank/Setpoint"].low, values["Plant/Tank/Setpoint"].high) == (5.0, 80.0)
    assert values["Plant/Tank/Temperature"].high == float("inf")


async def test_enumerations_bring_their_names() -> None:
    async with site() as it:
        values = by_path(await found_at(it))
    assert values["Plant/Tank/Mode"].schema == Enum(
        "integer", (EnumValue("Off", 0), EnumValue("Auto_mode", 1), EnumValue("value_3rd", 2))
    )
    assert values["Plant/Tank/State"].schema == Enum("integer", (EnumValue("Idle", 1), EnumValue("Busy", 7)))


async def test_what_no_point_can_carry_is_named_with_its_reason() -> None:
    async with site() as it:
        found = await found_at(it)
    reasons = {s.path[-1]: s.reason for s in found.skipped}
    assert reasons["Profile"] == "an array of Double; bind it by hand as an object"
    assert reasons["Picture"] == "of type ByteString"
    assert reasons["Range"] == "of type Range"
    assert reasons["Secret"] == "its value cannot be read"
    assert not {"EURange", "EngineeringUnits", "EnumStrings"} & {v.path[-1] for v in found.values}


async def test_a_unit_that_nobody_knows_is_said_and_does_not_count() -> None:
    async with site() as it:
        odd = by_path(await found_at(it))["Plant/Füllstände & mehr/Weird unit"]
    assert odd.unit == "" and "furlong/fortnight" in odd.note


async def test_a_value_of_any_type_is_looked_at() -> None:
    async with site() as it:
        assert by_path(await found_at(it))["Plant/Füllstände & mehr/Any"].schema == Primitive("double")


async def test_a_loop_in_the_address_space_ends_and_empty_objects_are_left_out() -> None:
    async with site() as it:
        found = await found_at(it)
    assert len({v.address for v in found.values}) == len(found.values)
    assert not any(t.path[-1] == "Empty" for t in found.things)
    assert not any(v.path[0] == "Server" for v in found.values)


async def test_objects_of_one_type_say_which() -> None:
    async with site() as it:
        kinds = {t.path[-1]: t.kind for t in (await found_at(it)).things}
    assert kinds["Pump 1"] == kinds["Pump 2"] == "PumpType"
    assert kinds["Tank"] == kinds["Plant"] == ""


@pytest.mark.parametrize("under", ["Plant/Line 1", "ns=2;s=Plant.Line 1"])
async def test_a_part_is_found_under_the_same_paths_as_the_whole(under: str) -> None:
    async with site() as it:
        whole = by_path(await found_at(it))
        found = await found_at(it, under=under)
    assert found.scope == ("Plant", "Line 1")
    assert by_path(found) == {p: v for p, v in whole.items() if p.startswith("Plant/Line 1/")}


async def test_the_servers_own_nodes_are_found_when_asked_for() -> None:
    async with site() as it:
        found = await found_at(it, under="i=2253")
    assert "Server/ServerStatus/State" in by_path(found)


async def test_an_unknown_place_is_refused_with_what_there_is() -> None:
    async with site() as it:
        with pytest.raises(NotFound, match=r"has no 'Line 9'.*Line 1"):
            await found_at(it, under="Plant/Line 9")
        with pytest.raises(NotFound, match="knows no node ns=2;s=nothing"):
            await found_at(it, under="ns=2;s=nothing")


async def test_the_limit_ends_the_search_and_is_said() -> None:
    async with site() as it:
        found = await found_at(it, limit=5)
    assert not found.complete and "--limit" in found.remarks[0]


async def test_small_batches_and_continuation_points_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as it:
        whole = await found_at(it)
        monkeypatch.setattr(asking, "BROWSE_MAX", 3)
        monkeypatch.setattr(asking, "READ_MAX", 7)
        monkeypatch.setattr(asking, "REFERENCES_MAX", 2)
        assert await found_at(it) == whole


async def test_nodes_for_which_the_server_has_no_room_are_asked_for_alone() -> None:
    async with site() as it:
        whole = await found_at(it)
        service = it.server.iserver.isession.__class__
        original = service.browse

        async def browse(self: Any, params: Any) -> Any:
            results = await original(self, params)
            for result in results[1:]:
                result.StatusCode = ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints)
                result.References = []
            return results

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service, "browse", browse)
            assert await found_at(it) == whole


async def test_a_server_that_takes_few_nodes_at_once_is_asked_for_fewer() -> None:
    async with site() as it:
        whole = await found_at(it)
        service, largest = it.server.iserver.isession.__class__, []
        original = service.read

        async def read(self: Any, params: Any) -> Any:
            largest.append(len(params.NodesToRead))
            if len(params.NodesToRead) > 10:
                raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)
            return await original(self, params)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service, "read", read)
            assert await found_at(it) == whole
    assert max(largest) > 10 and min(largest) <= 10


async def test_a_server_that_answers_fewer_items_than_asked_is_asked_for_the_rest() -> None:
    async with site() as it:
        whole = await found_at(it)
        service = it.server.iserver.isession.__class__
        original = service.read

        async def read(self: Any, params: Any) -> Any:
            return (await original(self, params))[:10]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service, "read", read)
            assert await found_at(it) == whole


async def test_a_server_that_is_not_there_is_unavailable_and_passwords_are_not_shown() -> None:
    nowhere = device("opcua", f"opc.tcp://anna:secret@127.0.0.1:{free_port()}/")
    with pytest.raises(Unavailable) as failed:
        await discover(nowhere, Wanted(), quiet, time.time_ns)
    assert "secret" not in str(failed.value) and "anna" in str(failed.value)


async def test_a_server_that_falls_silent_ends_the_search_in_time() -> None:
    async with site() as it, Cable(it.server.bserver.port) as cable:
        silent = device("opcua", f"opc.tcp://127.0.0.1:{cable.port}/", timeout_s=0.5)

        def fall_silent(count: int, what: str) -> None:
            cable.swallow = True

        with pytest.raises(Unavailable, match="no answer"):
            await discover(silent, Wanted(), fall_silent, time.time_ns)
