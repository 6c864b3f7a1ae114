"""OPC UA's standard address space, read once a process for any number of servers; must not know points or devices.

asyncua builds its 4,000 nodes anew for each server: 41 MB and a second of CPU. Here they are kept pickled, and a server
unpickles those that somebody asks it for, as asyncua's own shelf file does on disk.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from asyncua.server.address_space import AddressSpace, NodeManagementService
from asyncua.server.internal_server import InternalServer
from asyncua.server.standard_address_space import standard_address_space


class LightServer(InternalServer):  # type: ignore[misc]
    """asyncua's InternalServer over the shared standard nodes."""

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        self.aspace._nodes = Nodes(await asyncio.to_thread(_once))


class Nodes(MutableMapping[Any, Any]):
    """NodeId -> NodeData of one server: its own nodes, and the standard ones copied when they are first asked for."""

    def __init__(self, standard: Mapping[Any, bytes]) -> None:
        self._standard = standard
        self._own: dict[Any, Any] = {}
        self._deleted: set[Any] = set()

    def __getitem__(self, node_id: Any) -> Any:
        found = self._own.get(node_id)
        if found is None:
            if node_id in self._deleted:
                raise KeyError(node_id)
            found = self._own[node_id] = pickle.loads(self._standard[node_id])
        return found

    def __setitem__(self, node_id: Any, node: Any) -> None:
        self._deleted.discard(node_id)
        self._own[node_id] = node

    def __delitem__(self, node_id: Any) -> None:
        if node_id not in self:
            raise KeyError(node_id)
        self._own.pop(node_id, None)
        if node_id in self._standard:
            self._deleted.add(node_id)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._own or (node_id in self._standard and node_id not in self._deleted)

    def __iter__(self) -> Iterator[Any]:
        yield from self._own
        yield from (n for n in self._standard if n not in self._own and n not in self._deleted)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_reading = threading.Lock()


def _once() -> Mapping[Any, bytes]:
    """Servers that start at the same time wait for the first one's reading: `cache` alone would read for each."""
    with _reading:
        return _standard_nodes()


@cache
def _standard_nodes() -> Mapping[Any, bytes]:
    """Takes a second, once a process."""
    space = AddressSpace()
    standard_address_space.fill_address_space(NodeManagementService(space))
    return {node_id: pickle.dumps(node, pickle.HIGHEST_PROTOCOL) for node_id, node in space._nodes.items()}
