"""The registries on the chain over HTTP: parses, asks, answers; decides nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from control import registries
from control.api import wire_chain as wire
from control.api.part import Parts
from control.api.route import API, Call, Route
from twin.role import Act


async def record(parts: Parts, call: Call) -> dict[str, Any]:
    asked: wire.RegistryStep = call.body
    hashes = asked.hashes
    if asked.device:
        hashes = [registries.device_hash(parts.plant.id, asked.device), *hashes]
    values = registries.values_of(asked.step, hashes, asked.stage, asked.sources)
    return await asyncio.to_thread(registries.record, parts.evidence, asked.step, values, call.caller.name)


async def look_up(parts: Parts, call: Call) -> dict[str, Any]:
    what, name = call.path["what"], call.path["name"]
    hash_ = name
    if what == "device" and not registries.HASH.fullmatch(name):
        hash_ = registries.device_hash(parts.plant.id, name)
    return await asyncio.to_thread(registries.look_up, parts.evidence, what, hash_)


CHAIN_ROUTES = (
    Route(
        "POST",
        f"{API}/chain",
        record,
        "Register a device, notarise a data set or certify a model on the chain",
        dict,
        wire.RegistryStep,
        act=Act.KEEP,
    ),
    Route("GET", f"{API}/chain/{{what}}/{{name}}", look_up, "What the chain says of a device, data set or model", dict),
)
