"""What can be recorded in the registries on the chain: each step with its contract function, and its ledger entry.

Must not know who asks or how the chain is reached.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control.evidence import REGISTRY, Evidence
from ledger.abi import Value, decode
from ledger.contracts import DEVICES, MODELS, NOTARY
from ledger.entry import JSON
from ledger.errors import LedgerError
from twin.errors import BadRequest, NotFound

WAIT_S = 10.0  # for the entry's turn in the ledger
HASH = re.compile(r"(0x)?[0-9a-f]{64}")
SOURCES_MAX = 16  # the contract's
STAGES = ("trained", "shadow", "canary", "live")  # by their number in the contract
NONE = bytes(32)


@dataclass(frozen=True, slots=True)
class Step:
    """A function that changes a registry."""

    contract: str
    function: str


STEPS: Mapping[str, Step] = {
    "register_device": Step(DEVICES, "register(bytes32,bytes32,address)"),
    "change_key": Step(DEVICES, "set_key(bytes32,bytes32)"),
    "revoke_device": Step(DEVICES, "revoke(bytes32,bytes32)"),
    "notarise": Step(NOTARY, "notarise(bytes32,bytes32,bytes32[])"),
    "certify_model": Step(MODELS, "certify(bytes32,bytes32,bytes32,uint8)"),
    "stage_model": Step(MODELS, "set_stage(bytes32,uint8)"),
    "revoke_model": Step(MODELS, "revoke(bytes32,bytes32)"),
}


@dataclass(frozen=True, slots=True)
class Register:
    """A registry as it is asked: the function, and the names and types of what it answers."""

    contract: str
    function: str
    answer: tuple[tuple[str, str], ...]


REGISTERS: Mapping[str, Register] = {
    "device": Register(
        DEVICES,
        "devices(bytes32)",
        (("key", "bytes32"), ("owner", "address"), ("registered_s", "uint64"), ("revoked_s", "uint64")),
    ),
    "data_set": Register(
        NOTARY,
        "data_sets(bytes32)",
        (("provenance", "bytes32"), ("by", "address"), ("time_s", "uint64"), ("sources", "uint64")),
    ),
    "model": Register(
        MODELS,
        "certificates(bytes32)",
        (("data_set", "bytes32"), ("evaluation", "bytes32"), ("certified_s", "uint64"), ("revoked_s", "uint64"),
         ("stage", "uint8")),
    ),
}  # fmt: skip
_SINCE = {"device": "registered_s", "data_set": "time_s", "model": "certified_s"}


def device_hash(plant: str, device: str) -> str:
    """How a device is called on the chain: no name ever gets there."""
    return hashlib.sha256(f"twinloop.device\0{plant}\0{device}".encode()).hexdigest()


def values_of(step: str, hashes: Sequence[str], stage: str = "", sources: Sequence[str] = ()) -> list[Any]:
    """The arguments of a step, checked.

    Raises:
        BadRequest: an unknown step or stage, a hash that is none, too many sources.
    """
    if step not in STEPS:
        raise BadRequest(f"step {step!r}", f"one of {', '.join(STEPS)}")
    for found in (*hashes, *sources):
        if not HASH.fullmatch(found):
            raise BadRequest(f"{found!r} is no SHA-256", "64 hex digits in small letters")
    if len(sources) > SOURCES_MAX:
        raise BadRequest(f"{len(sources)} sources", f"at most {SOURCES_MAX}: notarise what they have in common first")
    values: list[Any] = [found.removeprefix("0x") for found in hashes]
    inside = STEPS[step].function.split("(")[1].removesuffix(")").split(",")
    if "bytes32[]" in inside:
        values.append([found.removeprefix("0x") for found in sources])
    elif sources:
        raise BadRequest(f"{step} has no sources", "leave them out")
    if "uint8" in inside:
        if stage not in STAGES:
            raise BadRequest(f"stage {stage!r}", f"one of {', '.join(STAGES)}")
        values.append(STAGES.index(stage))
    needed = sum(kind == "bytes32" for kind in inside)
    if len(hashes) != needed:
        raise BadRequest(f"{step} with {len(hashes)} hashes", f"it needs {needed}")
    return values


def record(evidence: Evidence, step: str, values: list[Any], by: str) -> dict[str, Any]:
    """Put it on the chain, then into the ledger; the transaction, with the index of its entry. May block for minutes.

    Raises:
        LedgerError: the contract refused, the chain is away, or the entry could not be recorded.
    """
    asked = STEPS[step]
    if step == "register_device":
        evidence.anchorer.start()
        values = [*values, evidence.anchorer.writer]  # the plant owns its devices; owners are handed over on the chain
    mined = evidence.anchorer.send(asked.contract, asked.function, values)
    body: dict[str, JSON] = {
        "step": step, "contract": asked.contract, "address": mined["address"], "values": values,
        "tx_hash": mined["tx_hash"], "block": mined["block"], "by": by,
    }  # fmt: skip
    try:
        index = evidence.record(REGISTRY, body, wait_s=WAIT_S).result(WAIT_S)
    except TimeoutError as error:
        raise LedgerError(f"transaction {mined['tx_hash']} has no entry in the ledger yet: the disk is slow") from error
    return {**body, "gas_used": mined["gas_used"], "entry": index}


def look_up(evidence: Evidence, what: str, hash_: str) -> dict[str, Any]:
    """What a registry says of a hash.

    Raises:
        NotFound: nothing. BadRequest: no such registry, or no hash. LedgerError: the chain is away.
    """
    if what not in REGISTERS:
        raise BadRequest(f"registry {what!r}", f"one of {', '.join(REGISTERS)}")
    if not HASH.fullmatch(hash_):
        raise BadRequest(f"{hash_!r} is no SHA-256", "64 hex digits in small letters")
    register = REGISTERS[what]
    data = evidence.anchorer.view(register.contract, register.function, [hash_.removeprefix("0x")])
    words = decode([kind for _, kind in register.answer], data)
    found: dict[str, Any] = {name: _shown(word) for (name, _), word in zip(register.answer, words, strict=True)}
    if not found[_SINCE[what]]:
        raise NotFound(f"the chain has no {what} {hash_[:12]}", "it was never recorded there")
    if "stage" in found:
        found["stage"] = STAGES[found["stage"]]
    return {what: hash_, **found}


def _shown(word: Value) -> Any:
    return word.hex() if isinstance(word, bytes) else word
