"""The evidence over HTTP: entries and how far they reach, anchors on demand, proofs, the check of history; decides nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from control import proving
from control.api import wire
from control.api.audit_asked import ASKED, wanted
from control.api.part import Parts
from control.api.route import API, Call, Route
from control.entry_kinds import KINDS
from control.reach import as_body
from twin.role import Act

AUDIT_MAX = 1_000
ANCHOR_WAIT_S = 20.0  # below the time that clients wait for an answer


async def audit(parts: Parts, call: Call) -> wire.AuditHead:
    last = int(call.number("last", 100, 1, AUDIT_MAX))
    entries = await asyncio.to_thread(parts.evidence.found, wanted(call, parts.clock()), last)
    reach = parts.evidence.reach()
    chain = parts.plant.chain
    return wire.AuditHead(
        size=reach.recorded,
        checkpointed=reach.checkpointed,
        witnessed=reach.witnessed,
        witnessed_time=_ms(reach.witnessed_time_s),
        witnesses=[wire.AuditWitness(**dataclasses.asdict(witness)) for witness in reach.witnesses],
        witness_alarm=reach.witness_alarm,
        anchored=reach.anchored,
        anchored_time=_ms(reach.anchored_time_s),
        anchor_wait_s=reach.waits_s,
        anchor_alarm=reach.alarm,
        chain=str(chain.chain_id) if chain.rpc else "embedded",
        root=parts.evidence.log.root().hex(),
        kinds=list(KINDS),
        entries=[wire.AuditEntry(i, e.kind, e.time_ns / 1e6, dict(e.body), reach.levels(i)) for i, e in entries],
        next=entries[-1][0] if len(entries) == last else None,
    )


def _ms(time_s: float | None) -> float | None:
    return None if time_s is None else time_s * 1000


async def anchor(parts: Parts, call: Call) -> dict[str, Any]:
    """Failures are answers: `failure` and the alarms say what chain and witnesses said."""
    reach = await asyncio.to_thread(parts.evidence.anchor_now, ANCHOR_WAIT_S)
    return {**as_body(reach), "failure": reach.failure or ""}


async def proof(parts: Parts, call: Call) -> dict[str, Any]:
    return await asyncio.to_thread(proving.prove, parts.evidence, parts.store, proving.parse(call.query, parts.clock()))


async def verify_history(parts: Parts, _: Call) -> dict[str, Any]:
    await asyncio.wrap_future(parts.live.history.flush())
    return await asyncio.to_thread(parts.check_history)


AUDIT_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/audit",
        audit,
        "Newest ledger entries that fit, and how far evidence reaches",
        wire.AuditHead,
        query=("last", *ASKED),
    ),
    Route(
        "GET",
        f"{API}/audit/proof",
        proof,
        "A bundle that proves an entry, a command or a batch of history offline",
        dict,
        query=("entry", "command", "batch", "point", "at", "data"),
    ),
    Route("POST", f"{API}/audit/anchor", anchor, "Anchor what is checkpointed now", dict, act=Act.AUDIT),
    Route(
        "POST",
        f"{API}/audit/history",
        verify_history,
        "Recompute every history batch against the ledger",
        dict,
        act=Act.AUDIT,
    ),
)
