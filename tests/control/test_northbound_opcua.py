"""The twin as an OPC UA server, asked by asyncua's client over real sockets; a real Modbus PLC stands behind the twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from tests.control.plants import until
from tests.control.served_plant import FIRST, PASSWORD, Works, works
from twin.plant import Twin
from twin.readings import Readings

SERVE = {"opcua": "opc.tcp://127.0.0.1:0/twinloop"}
K, STATUS = ua.VariantType, ua.StatusCodes


@asynccontextmanager
async def served(folder: Path, user: str = "", more: str = "") -> AsyncIterator[tuple[Works, Client]]:
    """The plant at work and a client that has signed in."""
    async with works(folder, more, SERVE) as plant, client(plant, user) as connected:
        await until(lambda: read(connected, "tank.level"), lambda v: v.Value.Value == FIRST["tank.level"])
        yield plant, connected


@asynccontextmanager
async def client(plant: Works, user: str = "", password: str = PASSWORD) -> AsyncIterator[Client]:
    made = Client(plant.endpoints["opcua"], timeout=10)
    if user:
        made.set_user(user)
        made.set_password(password)
    async with made:
        yield made


def node(connected: Client, identity: str) -> Any:
    return connected.get_node(f"ns=2;s={identity}")


async def read(connected: Client, identity: str) -> Any:
    return await node(connected, identity).read_data_value(raise_on_bad_status=False)


async def write(connected: Client, identity: str, variant: Any, attribute: int = ua.AttributeIds.Value) -> int:
    item = ua.WriteValue(
        NodeId=node(connected, identity).nodeid, AttributeId=ua.AttributeIds(attribute), Value=ua.DataValue(variant)
    )
    (status,) = await connected.uaclient.write(ua.WriteParameters(NodesToWrite=[item]))
    return int(status.value)


async def command(connected: Client, twin: str, *given: Any) -> Any:
    """(property, value, reason, priority, deadline, wait) -> the Call's result."""
    name, value, reason, priority, deadline_s, wait_s = given
    texts = [ua.Variant(t, K.String) for t in (reason, priority)]
    numbers = [ua.Variant(float(n), K.Double) for n in (deadline_s, wait_s)]
    request = ua.CallMethodRequest(
        ObjectId=node(connected, twin).nodeid,
        MethodId=node(connected, "dtmi:works:Pump;1/Command").nodeid,
        InputArguments=[ua.Variant(name, K.String), value, *texts, *numbers],
    )
    (result,) = await connected.uaclient.call([request])
    return result


async def test_types_come_from_interfaces_and_twins_are_their_instances(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, connected):
        pump = node(connected, "pump")
        assert (await pump.read_display_name()).Text == "Feed pump"
        kind = connected.get_node(await pump.read_type_definition())
        assert kind.nodeid.Identifier == "dtmi:works:Pump;1"
        assert (await kind.read_description()).Text == "Lifts water"
        parent = (await kind.get_references(ua.ObjectIds.HasSubtype, ua.BrowseDirection.Inverse))[0]
        assert parent.NodeId.Identifier == "dtmi:works:Asset;1"
        declared = {n.nodeid.Identifier.partition("/")[2] for n in await kind.get_children()}
        assert {"status", "speed", "mode", "starts", "motor", "Command"} <= declared
        assert "running" not in declared, "it is the supertype's"
        assert "greaseBearings" not in declared, "Twinloop cannot carry it out"
        motor = await pump.get_child("2:motor")
        assert (await motor.read_type_definition()).Identifier == "dtmi:works:Motor;1"
        assert await (await motor.get_child("2:temperature")).read_value() == 41.5
        path = await connected.nodes.objects.get_child(["2:works", "2:tank", "2:level"])
        assert path.nodeid.Identifier == "tank.level"
        feeds = [r for r in await pump.get_references() if r.NodeId.Identifier == "tank" and r.IsForward]
        assert [r.ReferenceTypeId.Identifier for r in feeds] == ["/relationship/feeds"]
        link = connected.get_node(await node(connected, "plc").read_type_definition())
        assert (await link.read_browse_name()).Name == "Link"


async def test_a_variable_has_type_unit_range_quality_and_times(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, connected):
        level = node(connected, "tank.level")
        value = await level.read_data_value()
        assert value.Value == ua.Variant(3.25, K.Double)
        assert value.StatusCode.value == 0
        at = int(plant.live.table.columns.source_time[plant.plant.point("tank.level").id])
        assert abs(value.SourceTimestamp.timestamp() - at / 1e9) < 10
        assert datetime.now(UTC) - value.ServerTimestamp < timedelta(seconds=10)
        span = await (await level.get_child("0:EURange")).read_value()
        assert (span.Low, span.High) == (0.0, 10.0)
        unit = await (await level.get_child("0:EngineeringUnits")).read_value()
        assert (unit.DisplayName.Text, unit.UnitId) == ("m", int.from_bytes(b"MTR", "big"))
        mode = node(connected, "pump.mode")
        assert (await mode.read_data_value()).Value == ua.Variant(4, K.Int32)
        kind = connected.get_node(await mode.read_data_type())
        values = await (await kind.get_child("0:EnumValues")).read_value()
        assert [(v.Value, v.DisplayName.Text) for v in values] == [(0, "off"), (2, "hand"), (4, "auto")]
        assert (await read(connected, "pump.starts")).Value == ua.Variant(7, K.Int32)
        assert (await read(connected, "pump.running")).Value == ua.Variant(False, K.Boolean)
        assert (await read(connected, "plc.state")).Value == ua.Variant("online", K.String)
        assert (await read(connected, "far.status")).StatusCode.name == "BadWaitingForInitialData"


async def test_a_value_of_a_device_that_is_gone_is_bad_and_a_stale_one_uncertain(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, connected):
        heard: asyncio.Queue[Any] = asyncio.Queue()

        class Handler:
            def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
                heard.put_nowait(data.monitored_item.Value)

        subscription = await connected.create_subscription(50, Handler())
        await subscription.subscribe_data_change(node(connected, "tank.level"))
        assert (await heard.get()).Value.Value == 3.25
        await plant.plc.show({"tank.level": 4.5})
        assert (await heard.get()).Value.Value == 4.5
        await plant.plc.served.stop()
        gone = await heard.get()
        assert gone.StatusCode.name == "BadNoCommunication"
        assert gone.Value.Value is None, "a bad status carries no value"
        stale = 0x4090_0000
        point = plant.plant.point("tank.level").id
        plant.live.readings(Readings.of([point], [4.5], int(asyncio.get_running_loop().time()), stale, 2**60 * 2))
        assert (await heard.get()).StatusCode.value == stale
        await subscription.delete()


async def test_a_write_becomes_a_command_and_only_the_plant_changes_the_value(tmp_path: Path) -> None:
    async with served(tmp_path, "anna") as (plant, connected):
        plant.plc.accepts = False
        assert await write(connected, "pump.status", ua.Variant(True)) == STATUS.GoodCompletesAsynchronously
        record = await plant.ended("REFUSED")
        assert (record.author, record.point, record.value) == ("opcua:anna", "pump.status", 1.0)
        assert (await read(connected, "pump.status")).Value.Value is False, "nothing but the PLC says what is"
        plant.plc.accepts = True
        assert await write(connected, "pump.status", ua.Variant(True)) == STATUS.GoodCompletesAsynchronously
        await plant.ended("CONFIRMED")
        await until(lambda: read(connected, "pump.status"), lambda v: v.Value.Value is True)
        assert plant.plc.writes == [("pump.status", 1.0)]

        async def kinds() -> list[tuple[str, str | None, str | None]]:
            return [(e.kind, e.body.get("author"), e.body.get("status")) for _, e in plant.evidence.entries(50)]

        await until(kinds, lambda k: ("command", "opcua:anna", "CONFIRMED") in k)  # the auditor follows
        assert next(e.body for _, e in plant.evidence.entries(50, "login"))["user"] == "anna"


@pytest.mark.parametrize("user", ["", "otto"])
async def test_who_is_no_operator_reads_and_commands_nothing(tmp_path: Path, user: str) -> None:
    async with served(tmp_path, user) as (plant, connected):
        assert await write(connected, "pump.status", ua.Variant(True)) == STATUS.BadUserAccessDenied
        refused = await command(connected, "pump", "status", ua.Variant(True), "", "", 0, 0)
        assert refused.StatusCode.value == STATUS.BadUserAccessDenied
        assert await plant.commands.newest(1) == []
        access = await node(connected, "pump.status").read_attribute(ua.AttributeIds.UserAccessLevel)
        assert not access.Value.Value & ua.AccessLevel.CurrentWrite.mask
        async with client(plant, "anna") as operator:
            access = await node(operator, "pump.status").read_attribute(ua.AttributeIds.UserAccessLevel)
            assert access.Value.Value & ua.AccessLevel.CurrentWrite.mask
            # A role that is taken away counts at once, not at the next sign-in.
            plant.accounts.remove("anna")
            assert await write(operator, "pump.status", ua.Variant(True)) == STATUS.BadUserAccessDenied
        assert plant.stations["opcua"].view.figures.refused == 3


async def test_what_cannot_be_is_refused_with_the_status_that_says_why(tmp_path: Path) -> None:
    async with served(tmp_path, "anna") as (plant, connected):
        for given, variant, status in (
            ("pump.speed", ua.Variant(121.0, K.Double), STATUS.BadOutOfRange),
            ("pump.speed", ua.Variant(float("nan"), K.Double), STATUS.BadOutOfRange),
            ("pump.speed", ua.Variant(50, K.Int32), STATUS.BadTypeMismatch),
            ("pump.mode", ua.Variant(3, K.Int32), STATUS.BadOutOfRange),
            ("tank.level", ua.Variant(1.0, K.Double), STATUS.BadNotWritable),
            ("pump", ua.Variant(1.0, K.Double), STATUS.BadNotWritable),
            ("nothing.here", ua.Variant(1.0, K.Double), STATUS.BadNodeIdUnknown),
        ):
            assert await write(connected, given, variant) == status, given
        name = ua.Variant(ua.LocalizedText("mine"), K.LocalizedText)
        assert await write(connected, "pump.status", name, ua.AttributeIds.DisplayName) == STATUS.BadNotWritable
        assert await plant.commands.newest(1) == []


async def test_a_method_carries_reason_and_priority_and_waits_for_the_end(tmp_path: Path) -> None:
    async with served(tmp_path, "anna") as (plant, connected):
        done = await command(connected, "pump", "status", ua.Variant(True), "night shift", "safety", 20, 10)
        assert done.StatusCode.is_good()
        identity, status, final, _ = [a.Value for a in done.OutputArguments]
        assert (status, final) == ("CONFIRMED", True)
        record = await plant.newest()
        assert (record.id, record.reason, record.priority.name) == (identity, "night shift", "SAFETY")
        # While one waits, others of the same connection are served.
        plant.plc.follows = False
        waiting = asyncio.create_task(command(connected, "pump", "status", ua.Variant(False), "", "", 20, 10))
        await until(plant.newest, lambda c: c.id != identity)  # type: ignore[attr-defined]
        assert (await read(connected, "tank.level")).Value.Value == 3.25
        assert not waiting.done()
        failed = await waiting
        assert failed.OutputArguments[1].Value == "FAILED"
        for given, status_code in (
            (("level", ua.Variant(1.0), "", "", 0, 0), STATUS.BadNotFound),
            (("running", ua.Variant(True), "", "", 0, 0), STATUS.BadNotWritable),
            (("status", ua.Variant(1), "", "", 0, 0), STATUS.BadTypeMismatch),
            (("status", ua.Variant(True), "", "hurry", 0, 0), STATUS.BadInvalidArgument),
            (("speed", ua.Variant(121.0), "", "", 0, 0), STATUS.BadOutOfRange),
        ):
            assert (await command(connected, "pump", *given)).StatusCode.value == status_code, given


async def test_a_command_for_a_device_that_is_gone_waits_and_expires_as_over_http(tmp_path: Path) -> None:
    async with served(tmp_path, "anna") as (plant, connected):
        queued = await command(connected, "far", "status", ua.Variant(True), "", "", 1.0, 0)
        assert queued.OutputArguments[1].Value == "QUEUED"
        followed = ua.CallMethodRequest(
            ObjectId=node(connected, "/").nodeid, MethodId=node(connected, "/FollowCommand").nodeid,
            InputArguments=[queued.OutputArguments[0], ua.Variant(10.0)],
        )  # fmt: skip
        (result,) = await connected.uaclient.call([followed])
        assert [a.Value for a in result.OutputArguments[1:3]] == ["EXPIRED", True]
        assert plant.plc.writes == []


async def test_history_is_what_the_store_holds(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, connected):
        level, point = node(connected, "tank.level"), plant.plant.point("tank.level").id
        start = 1_700_000_000 * 10**9
        times = [start + n * 10**6 for n in range(2500)]
        plant.live.readings(Readings.of([point] * 2500, [n / 1000 for n in range(2500)], times[-1], source_time=times))
        begin, end = _utc(times[0]), _utc(times[-1] + 1000)
        found = await level.read_raw_history(begin, end, return_bounds=False)
        assert [v.Value.Value for v in found] == [n / 1000 for n in range(2500)], "three pages make one answer"
        assert [v.SourceTimestamp for v in found] == [_utc(t) for t in times]
        newest = await level.read_raw_history(end, begin, 3, return_bounds=False)
        assert [v.Value.Value for v in newest] == [2.499, 2.498, 2.497]
        between = await level.read_raw_history(_utc(times[10] + 500_000), _utc(times[12] + 500_000))
        assert [v.Value.Value for v in between] == [0.010, 0.011, 0.012, 0.013], "with the values around its ends"
        before = await level.read_raw_history(_utc(times[0] - 10**9), _utc(times[0] - 10**8))
        assert [v.StatusCode.name for v in before] == ["BadBoundNotFound", "Good"]
        assert (
            await level.read_raw_history(begin - timedelta(days=2), begin - timedelta(days=1), return_bounds=False)
            == []
        )
        with pytest.raises(ua.uaerrors.BadHistoryOperationInvalid):
            await level.read_raw_history(begin)
        details = ua.ReadRawModifiedDetails(IsReadModified=False, StartTime=begin, EndTime=end)
        result = await level.history_read(details, b"not ours")
        assert result.StatusCode.name == "BadContinuationPointInvalid"
        processed = ua.ReadProcessedDetails(StartTime=begin, EndTime=end, ProcessingInterval=1000.0)
        result = await level.history_read(processed)
        assert result.StatusCode.name == "BadHistoryOperationUnsupported"


async def test_a_quality_that_the_twin_lowered_stands_in_history_where_it_was_noticed(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, connected):
        await plant.plc.served.stop()
        await until(lambda: plant.quality("tank.level"), lambda q: q == 0x8031_0000)
        now = datetime.now(UTC)
        found = await node(connected, "tank.level").read_raw_history(
            now - timedelta(minutes=1), now, return_bounds=False
        )
        assert [v.StatusCode.name for v in found] == ["Good", "BadNoCommunication"]
        assert found[0].SourceTimestamp < found[1].SourceTimestamp


async def test_a_wrong_password_is_refused_and_after_some_even_the_right_one(tmp_path: Path) -> None:
    async with works(tmp_path, serve=SERVE) as plant:
        for _ in range(10):
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                async with client(plant, "anna", "guess"):
                    pass
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            async with client(plant, "anna"):
                pass
        async with client(plant) as connected:
            assert (await node(connected, "pump").read_display_name()).Text == "Feed pump"
        await until(lambda: plant.value("opcua.refused"), lambda n: n == 11)


async def test_without_anonymous_clients_nobody_reads_unnamed(tmp_path: Path) -> None:
    serve = '[[serve]]\nid = "scada"\nprotocol = "opcua"\nendpoint = "opc.tcp://127.0.0.1:4841/x"\nanonymous = "none"\n'
    async with works(tmp_path, serve, {"scada": "opc.tcp://127.0.0.1:0/x"}) as plant:
        plant.endpoints = {"opcua": plant.endpoints["scada"]}
        offered = await Client(plant.endpoints["opcua"]).connect_and_get_server_endpoints()
        tokens = {t.TokenType for e in offered for t in e.UserIdentityTokens}
        assert ua.UserTokenType.Anonymous not in tokens
        with pytest.raises((ua.uaerrors.BadIdentityTokenRejected, ua.uaerrors.UaError)):
            async with client(plant):
                pass
        async with client(plant, "otto") as connected:
            assert (await node(connected, "pump").read_display_name()).Text == "Feed pump"


async def test_a_session_cannot_be_taken_over_from_another_connection(tmp_path: Path) -> None:
    """asyncua numbers its tokens and asks nobody: whoever named one went on with that session and its rights."""
    async with served(tmp_path, "anna") as (plant, operator):
        thief = Client(plant.endpoints["opcua"])
        await thief.connect_socket()
        try:
            await thief.send_hello()
            await thief.open_secure_channel()
            protocol = thief.uaclient.protocol
            for guess in range(990, 1010):
                protocol.authentication_token = ua.NodeId(guess)
                with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
                    await thief.uaclient.activate_session(_nobody())
            protocol.authentication_token = operator.uaclient.protocol.authentication_token
            with pytest.raises(ua.uaerrors.BadIdentityChangeNotSupported):
                await thief.uaclient.activate_session(_nobody())
        finally:
            thief.disconnect_socket()


def _nobody() -> Any:
    parameters = ua.ActivateSessionParameters()
    parameters.UserIdentityToken = ua.AnonymousIdentityToken(PolicyId="anonymous")
    return parameters


async def test_twins_added_and_removed_appear_and_disappear_and_nobody_is_disconnected(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, connected):
        heard: asyncio.Queue[Any] = asyncio.Queue()

        class Handler:
            def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
                heard.put_nowait((node.nodeid.Identifier, data.monitored_item.Value))

        await plant.graph.create(Twin("spare", "dtmi:works:Pump;1", "Spare pump", None), {"speed": 12.0}, "tester")
        await until(lambda: read(connected, "spare.speed"), lambda v: v.Value is not None and v.Value.Value == 12.0)
        assert (await node(connected, "spare").read_type_definition()).Identifier == "dtmi:works:Pump;1"
        subscription = await connected.create_subscription(50, Handler())
        await subscription.subscribe_data_change([node(connected, "tank.level"), node(connected, "spare.speed")])
        assert {(await heard.get())[0], (await heard.get())[0]} == {"tank.level", "spare.speed"}
        await plant.graph.delete("spare", None, "tester")
        gone, value = await heard.get()
        assert (gone, value.StatusCode.name) == ("spare.speed", "BadNodeIdUnknown")
        assert (await read(connected, "spare.speed")).StatusCode.name == "BadNodeIdUnknown"
        assert "spare" not in {n.nodeid.Identifier for n in await node(connected, "/").get_children()}
        await plant.plc.show({"tank.level": 5.5})
        assert (await heard.get())[1].Value.Value == 5.5, "the same subscription goes on"
        await subscription.delete()


def _utc(time_ns: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_ns // 1000)
