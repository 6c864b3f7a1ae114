"""The compiled contracts as data: ABI and bytecode, read from the JSON files beside this one.

Must not know chains, logs or how a contract is called; needs no compiler to be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ANCHOR, DEVICES, NOTARY, MODELS = NAMES = ("Anchor", "DeviceRegistry", "Notary", "ModelRegistry")


@dataclass(frozen=True)
class Contract:
    """A compiled contract.

    Attributes:
        abi: the Ethereum JSON ABI. bytecode: what deploys it, before the constructor's arguments.
        runtime: the code that a chain then holds.
        selectors: the first four bytes of a call by signature. topics: the first topic of an event by name.
    """

    name: str
    compiler: str
    evm_version: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    runtime: bytes
    selectors: dict[str, bytes]
    topics: dict[str, str]


@cache
def load(name: str) -> Contract:
    """The contract shipped under `name`, for example `load("Anchor")`."""
    fields = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    return Contract(
        name=fields["name"],
        compiler=fields["compiler"],
        evm_version=fields["evm_version"],
        abi=tuple(fields["abi"]),
        bytecode=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
        runtime=bytes.fromhex(fields["runtime"].removeprefix("0x")),
        selectors={name: bytes.fromhex(code[2:]) for name, code in fields["selectors"].items()},
        topics=fields["topics"],
    )
