"""What a node says about our Anchor contract: is it ours, what does it hold, in which transaction did an anchor come.

Must not send anything; stands on Python alone, because the verifier asks the same questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.abi import WORD, call_data
from ledger.anchoring import LAST_CALL, ROOT_CALL, Last, parse_last, parse_root
from ledger.contracts import ANCHOR, load
from ledger.errors import ChainError
from ledger.node import Node, data_of, number
from ledger.receipts import Receipt


def check_identity(node: Node, chain_id: int, contract: str, name: str = ANCHOR) -> None:
    """
    Raises:
        ChainError: the node serves another chain, or has another contract at this address, or none.
    """
    if (found := node.chain_id()) != chain_id:
        raise ChainError(f"{node.place} serves chain {found}, not {chain_id}: name the node of the right chain")
    code = data_of(node.ask("eth_getCode", contract, "latest"))
    if code != load(name).runtime:
        what = "another contract" if code else "no contract"
        raise ChainError(f"{node.place}: {what} is at {contract}, not this version's {name}: check its address")


def last_of(node: Node, contract: str) -> Last:
    return parse_last(node.call(contract, call_data(ANCHOR, LAST_CALL)))


def roots_of(node: Node, contract: str, sizes: Sequence[int]) -> list[bytes]:
    """The roots recorded at these sizes; 32 zero bytes where none was."""
    asked = [{"to": contract, "data": "0x" + call_data(ANCHOR, ROOT_CALL, size).hex()} for size in sizes]
    return [parse_root(data_of(a)) for a in node.ask_all([("eth_call", [call, "latest"]) for call in asked])]


def receipt_at(node: Node, chain_id: int, contract: str, at: int, from_block: int) -> Receipt | None:
    """Anchor number `at` as the chain has it now, looked for from a block on; None where it has none."""
    asked = {
        "address": contract,
        "fromBlock": hex(from_block),
        "toBlock": "latest",
        "topics": [load(ANCHOR).topics["Anchored"], f"0x{at:064x}"],
    }
    found = node.ask("eth_getLogs", asked)
    if not isinstance(found, list) or not found:
        return None
    try:
        event = found[-1]
        mined = node.ask("eth_getTransactionReceipt", event["transactionHash"])
        block = node.ask("eth_getBlockByHash", event["blockHash"], False)
        if mined is None or block is None:
            return None  # it left the chain between two questions
        return Receipt(
            number=at,
            size=int.from_bytes(data_of(event["data"])[WORD:], "big"),
            root=event["topics"][2].lower(),
            block=number(event["blockNumber"]),
            block_time_s=number(block["timestamp"]),
            tx_hash=event["transactionHash"].lower(),
            log_index=number(event["logIndex"]),
            gas_used=number(mined["gasUsed"]),
            chain_id=chain_id,
            contract=contract.lower(),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ChainError(f"{node.place} answered no event of an anchor: {error!r}") from error


def check_on_node(url: str, receipts: Sequence[Receipt]) -> tuple[list[str], list[tuple[int, bytes, int]]]:
    """What differs between a node's chain and receipts, and the anchors (number, root, size) without a receipt yet.

    Raises:
        AnchorError: the node is away, or serves another chain or contract than the receipts name.
    """
    if not receipts:
        return [], []
    first = receipts[0]
    with Node(url) as node:
        wrong, last = _held_against(node, receipts)
        beyond: list[tuple[int, bytes, int]] = []
        for at in range(receipts[-1].number + 1, last.count):
            if later := receipt_at(node, first.chain_id, first.contract, at, receipts[-1].block):
                beyond.append((at, later.root_bytes(), later.size))
    return wrong, beyond


def check_receipt(url: str, receipt: Receipt) -> list[str]:
    """What differs between a node's chain and one receipt. Raises as `check_on_node`."""
    with Node(url) as node:
        return _held_against(node, [receipt])[0]


def _held_against(node: Node, receipts: Sequence[Receipt]) -> tuple[list[str], Last]:
    first, wrong = receipts[0], []
    check_identity(node, first.chain_id, first.contract)
    last = last_of(node, first.contract)
    if last.count <= receipts[-1].number:
        wrong.append(f"the chain has {last.count} anchors, the log has receipts up to number {receipts[-1].number}")
    roots = roots_of(node, first.contract, [receipt.size for receipt in receipts])
    mined = node.ask_all([("eth_getTransactionReceipt", [receipt.tx_hash]) for receipt in receipts])
    blocks = node.ask_all([("eth_getBlockByNumber", [hex(receipt.block), False]) for receipt in receipts])
    for receipt, root, found, block in zip(receipts, roots, mined, blocks, strict=True):
        if root != receipt.root_bytes():
            wrong.append(f"anchor {receipt.number} has another root or size on the chain")
        elif (receipt.chain_id, receipt.contract) != (first.chain_id, first.contract):
            wrong.append(f"anchor {receipt.number} names another chain or contract than anchor {first.number}")
        elif not _is_mined(found, block, receipt):
            wrong.append(f"anchor {receipt.number} has another block, time, transaction or contract on the chain")
    return wrong, last


def _is_mined(found: Any, block: Any, receipt: Receipt) -> bool:
    if not isinstance(found, dict) or not isinstance(block, dict):
        return False
    sent = str(found.get("transactionHash")).lower()
    place = (found.get("blockNumber"), found.get("status"), found.get("gasUsed"), sent)
    if place != (hex(receipt.block), "0x1", hex(receipt.gas_used), receipt.tx_hash):
        return False
    if (found.get("blockHash"), hex(receipt.block_time_s)) != (block.get("hash"), block.get("timestamp")):
        return False
    topics = [load(ANCHOR).topics["Anchored"], f"0x{receipt.number:064x}", receipt.root]
    return any(
        (event.get("logIndex"), event.get("topics"), str(event.get("address")).lower())
        == (hex(receipt.log_index), topics, receipt.contract)
        for event in found.get("logs", ())
    )
