"""The compiled contracts as data: ABI and bytecode, read from the JSON files beside this one.

Must not know chains, logs or how a contract is called; needs no compiler to be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Contract:
    """A compiled contract: `abi` as the Ethereum JSON ABI, `bytecode` as the constructor's bytes."""

    name: str
    compiler: str
    evm_version: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes


def load(name: str) -> Contract:
    """The contract shipped under `name`, for example `load("Anchor")`."""
    fields = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    return Contract(
        name=fields["name"],
        compiler=fields["compiler"],
        evm_version=fields["evm_version"],
        abi=tuple(fields["abi"]),
        bytecode=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
    )
