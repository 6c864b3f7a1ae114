"""The verifier's look at the embedded chain: does the contract's storage say what the receipts say?

Must not write, and must not know the log. Imported only where the chain's libraries are installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ledger.chain import Chain
from ledger.receipts import Receipt


def check_chain(directory: Path, receipts: Sequence[Receipt]) -> tuple[list[str], list[tuple[int, bytes, int]]]:
    """What differs between chain and receipts, and the anchors (number, root, size) that have no receipt yet."""
    wrong: list[str] = []
    with Chain.read(directory) as chain:
        if damaged := chain.damaged_rows():
            return [f"{damaged} stored blocks or state nodes do not match their hash"], []
        last = chain.last()
        if last.count < len(receipts):
            wrong.append(f"the chain has {last.count} anchors, the log has receipts for {len(receipts)}")
        kept = _kept(chain, last.count)
        if len(kept) != last.count or any(chain.root_at(r.size) != r.root_bytes() for r in kept.values()):
            wrong.append("the chain's own receipts are not what its contract recorded")
        for receipt in receipts[: last.count]:
            if chain.root_at(receipt.size) != receipt.root_bytes():
                wrong.append(f"anchor {receipt.number} has another root or size on the chain")
            elif receipt.contract != chain.contract or kept.get(receipt.number) != receipt:
                wrong.append(f"anchor {receipt.number} has another block, transaction or contract on the chain")
        beyond = [(n, r.root_bytes(), r.size) for n, r in kept.items() if n >= len(receipts)]
    return wrong, beyond


def _kept(chain: Chain, count: int) -> dict[int, Receipt]:
    kept: dict[int, Receipt] = {}
    while len(kept) < count and (some := chain.receipts(len(kept))):
        kept.update((receipt.number, receipt) for receipt in some)
    return kept
