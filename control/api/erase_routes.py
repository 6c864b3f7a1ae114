"""Erasing a person over HTTP: parses, asks, answers; decides nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from control.api import wire
from control.api.part import Parts
from control.api.route import API, Call, Route
from twin.role import Act


async def erase(parts: Parts, call: Call) -> dict[str, Any]:
    asked: wire.ErasureRequest = call.body
    return asdict(await parts.erasing.erase(asked.subject, call.caller.name))


ERASE_ROUTES = (
    Route(
        "POST",
        f"{API}/audit/erase",
        erase,
        "Erase a person from the evidence: their salts are deleted",
        dict,
        wire.ErasureRequest,
        act=Act.ADMINISTER,
    ),
)
