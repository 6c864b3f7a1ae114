"""The handler of how the server fares: it asks and answers, and decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.api import wire_operations as wire
from control.api.history_routes import backup_run
from control.api.route import API, Call, Route

if TYPE_CHECKING:
    from control.api.part import Parts


async def operations(parts: Parts, _: Call) -> wire.OperationsInfo:
    at_work = parts.operations
    sizes, free_bytes = await at_work.sizes()
    return wire.OperationsInfo(
        parts.version,
        at_work.started / 1e6,
        parts.clock() / 1e6,
        at_work.fault(),
        at_work.sockets.clients,
        at_work.watch.stalls,
        at_work.watch.worst_s,
        at_work.counts(),
        [wire.QueueInfo(q.name, q.waiting, q.most, q.lost) for q in at_work.queues()],
        sizes,
        free_bytes,
        [wire.TierInfo(*t) for t in at_work.tiers()],
        None if parts.backups.newest is None else backup_run(parts.backups.newest),
    )


OPERATIONS_ROUTES = (
    Route(
        "GET",
        f"{API}/operations",
        operations,
        "How the server fares: queues and limits, sizes, health",
        wire.OperationsInfo,
    ),
)
