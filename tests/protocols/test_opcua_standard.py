"""OPC UA's standard nodes, shared by all servers of a process: no server sees what another one changes."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asyncua import Client, Server, ua

from protocols.opcua import standard
from protocols.opcua.standard import LightServer, Nodes

OBJECTS = ua.NodeId(ua.ObjectIds.ObjectsFolder)


async def server(name: str) -> Server:
    made = Server(iserver=LightServer())
    await made.init()
    made.set_endpoint("opc.tcp://127.0.0.1:0/x")
    made.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    await made.register_namespace(f"urn:{name}")
    await made.nodes.objects.add_variable(ua.NodeId("value", 2), "value", name)
    return made


async def test_servers_of_one_process_keep_their_nodes_to_themselves() -> None:
    one, two = await asyncio.gather(server("one"), server("two"))
    await two.nodes.objects.add_variable(ua.NodeId("more", 2), "more", 1)
    async with one, two:
        for made, name, count in ((one, "one", 1), (two, "two", 2)):
            async with Client(f"opc.tcp://127.0.0.1:{made.bserver.port}/x") as client:
                assert await client.get_node("ns=2;s=value").read_value() == name
                assert (await client.get_namespace_array())[2] == f"urn:{name}"
                children = [node.nodeid for node in await client.nodes.objects.get_children()]
                assert sum(n.NamespaceIndex == 2 for n in children) == count
                assert ua.NodeId(ua.ObjectIds.Server) in children
                assert await client.get_node(ua.NodeId(ua.ObjectIds.Double)).read_browse_name() is not None


async def test_servers_that_start_together_read_the_standard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    standard._standard_nodes.cache_clear()
    reads = []
    read = standard.standard_address_space.fill_address_space
    monkeypatch.setattr(
        standard.standard_address_space, "fill_address_space", lambda s: (reads.append(threading.get_ident()), read(s))
    )
    await asyncio.gather(*(LightServer().load_standard_address_space() for _ in range(8)))
    assert len(reads) == 1


def test_a_standard_node_is_copied_when_asked_for_and_may_be_deleted_or_replaced() -> None:
    known = standard._standard_nodes()
    one, two = Nodes(known), Nodes(known)
    assert OBJECTS in one and len(one) == len(known) > 1_000
    one[OBJECTS].references.clear()
    assert two[OBJECTS].references
    assert one[OBJECTS] is one[OBJECTS]
    del one[OBJECTS]
    assert OBJECTS not in one and OBJECTS not in list(one) and OBJECTS in two and len(one) == len(known) - 1
    with pytest.raises(KeyError):
        one[OBJECTS]
    with pytest.raises(KeyError):
        del one[OBJECTS]
    one[OBJECTS] = two[OBJECTS]
    assert OBJECTS in one and len(one) == len(known)
