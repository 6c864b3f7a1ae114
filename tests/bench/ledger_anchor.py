"""One anchor on the embedded chain, through its process and durable, against the same contract on an EVM in memory."""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from eth_tester import EthereumTester, PyEVMBackend

from ledger.abi import call_data, encode
from ledger.anchoring import ANCHOR_CALL
from ledger.anchors import Anchorer
from ledger.contracts import ANCHOR, load
from tests.bench import line

ANCHORS = 200
MEDIAN_MS_MAX, GAS_MAX = 30.0, 70_000


def root_at(size: int) -> bytes:
    return hashlib.sha256(size.to_bytes(8, "big")).digest() if size else bytes(32)


def ours(folder: Path) -> tuple[list[float], int]:
    """Milliseconds of each anchor, and the most gas that one took."""
    took, gas = [], 0
    with Anchorer(folder) as anchorer:
        anchorer.start()
        for size in range(1, ANCHORS + 1):
            begun = time.perf_counter()
            gas = max(gas, anchorer.anchor(size, root_at(size)).gas_used)
            took.append((time.perf_counter() - begun) * 1e3)
    return took, gas


def in_memory() -> list[float]:
    tester = EthereumTester(PyEVMBackend())
    admin, writer = tester.get_accounts()[:2]
    code = "0x" + (load(ANCHOR).bytecode + encode(("address",), (writer,))).hex()
    sent = tester.send_transaction({"from": admin, "to": "", "data": code, "gas": 3_000_000})
    contract = tester.get_transaction_receipt(sent)["contract_address"]
    took = []
    for size in range(1, ANCHORS + 1):
        data = "0x" + call_data(ANCHOR, ANCHOR_CALL, root_at(size - 1), root_at(size), size).hex()
        begun = time.perf_counter()
        sent = tester.send_transaction({"from": writer, "to": contract, "data": data, "gas": 200_000})
        assert tester.get_transaction_receipt(sent)["status"] == 1
        took.append((time.perf_counter() - begun) * 1e3)
    return took


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        took, gas = ours(Path(folder))
    detail: dict[str, object] = {
        "p99_ms": round(quantiles(took, n=100)[98], 2),
        "gas_most": gas,
        "bars": f"median <= {MEDIAN_MS_MAX:g} ms, gas <= {GAS_MAX}",
        "held": median(took) <= MEDIAN_MS_MAX and gas <= GAS_MAX,
    }
    line("ledger_anchor", round(median(took), 2), "ms", round(median(in_memory()), 2), detail)


if __name__ == "__main__":
    main()
