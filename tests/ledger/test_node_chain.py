"""Anchors on a chain that others run, here Foundry's anvil: the right chain, time-outs, chains taken back, kills."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from ledger.anchoring import Heard, NodeSettings
from ledger.anchors import Anchorer
from ledger.chain_keys import load_keys
from ledger.contracts import MODELS
from ledger.errors import AnchorConflict, AnchorError, AnchorReorganised, AnchorTimeout, ChainError
from ledger.log import Log
from ledger.node import Node
from ledger.node_anchors import check_on_node
from ledger.node_chain import NodeChain
from ledger.receipts import read_receipts
from ledger.verify import verify
from tests.ledger.conftest import payload
from tests.peers.ethereum import CHAIN_ID, Anvil, anvil

NONE = bytes(32)


def root_at(size: int) -> bytes:
    return hashlib.sha256(size.to_bytes(8, "big")).digest()


@pytest.fixture
def node() -> Iterator[Anvil]:
    with anvil() as started:
        yield started


@pytest.fixture
def settings(node: Anvil, tmp_path: Path) -> NodeSettings:
    """With accounts that can pay."""
    (tmp_path / "chain").mkdir()
    node.enrich(*(Account.from_key(key).address for key in load_keys(tmp_path / "chain", create=True).values()))
    return NodeSettings(node.url, CHAIN_ID, timeout_s=20.0)


def test_a_log_is_anchored_on_a_node_and_verified_there_by_a_stranger(
    tmp_path: Path, node: Anvil, settings: NodeSettings
) -> None:
    with Log.open(tmp_path) as log, Anchorer(tmp_path, node=settings) as anchorer:
        for start in (0, 3, 6):
            log.append([payload(number) for number in range(start, start + 3)])
            receipt = anchorer.anchor(log.head().size, log.head().root)
            assert receipt.gas_used <= 70_000
        assert anchorer.anchor(log.head().size, log.head().root) == receipt
        log.checkpoint()
    report = verify(tmp_path, rpc=node.url)
    assert (report.chain, report.anchors_checked, report.problems) == ("ok", 3, ())
    with Anchorer(tmp_path, node=settings) as anchorer:
        anchorer.anchor(12, root_at(12))  # of a log with another past, by somebody who has all keys
    (tmp_path / "anchors.jsonl").write_text("".join(r.line() for r in read_receipts(tmp_path)[0][:3]))
    assert "anchor 3" in verify(tmp_path, rpc=node.url).chain


def test_a_receipt_that_the_chain_does_not_have_is_found(tmp_path: Path, node: Anvil, settings: NodeSettings) -> None:
    with Anchorer(tmp_path, node=settings) as anchorer:
        made = [anchorer.anchor(size, root_at(size)) for size in (1, 2)]
    assert check_on_node(node.url, made) == ([], [])
    for changed, what in [
        (replace(made[1], root="0x" + root_at(7).hex()), "another root or size"),
        (replace(made[1], block=made[1].block + 1), "another block, time, transaction"),
        (replace(made[1], tx_hash=made[0].tx_hash), "another block, time, transaction"),
        (replace(made[1], block_time_s=made[1].block_time_s + 1), "another block, time, transaction"),
        (replace(made[1], log_index=3), "another block, time, transaction"),
        (replace(made[1], number=5), "the chain has 2 anchors"),
    ]:
        assert what in check_on_node(node.url, [made[0], changed])[0][0]
    assert check_on_node(node.url, made[:1])[1] == [(1, root_at(2), 2)]


def test_the_wrong_chain_the_wrong_contract_and_no_node_are_told(
    tmp_path: Path, node: Anvil, settings: NodeSettings
) -> None:
    with NodeChain.open(tmp_path / "chain", settings) as chain:
        models = chain.send(MODELS, "certify(bytes32,bytes32,bytes32,uint8)", *map(root_at, (1, 2, 3)), 1)
        assert models.block > 0
        other = chain.address(MODELS) or ""
    for wrong, what in [
        (replace(settings, chain_id=1), "serves chain 31337, not 1"),
        (replace(settings, contract="0x" + "12" * 20), "no contract is at 0x12"),
        (replace(settings, contract=other), "another contract is at"),
        (replace(settings, rpc="ftp://somewhere"), "is no address of a node"),
    ]:
        with pytest.raises(ChainError, match=what):
            NodeChain.open(tmp_path / "chain", wrong)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = replace(settings, rpc=f"http://127.0.0.1:{free.getsockname()[1]}/secret-key")
    with Anchorer(tmp_path, node=away) as anchorer, pytest.raises(ChainError, match="cannot be reached") as told:
        anchorer.anchor(1, root_at(1))
    assert "secret" not in str(told.value)


def test_an_account_that_cannot_pay_is_told(tmp_path: Path, node: Anvil) -> None:
    with pytest.raises(ChainError, match=r"(?i)insufficient|funds"):
        NodeChain.open(tmp_path, NodeSettings(node.url, CHAIN_ID))


def test_a_refusal_of_a_contract_comes_with_its_reason(tmp_path: Path, settings: NodeSettings) -> None:
    with NodeChain.open(tmp_path / "chain", settings) as chain:
        with pytest.raises(ChainError, match="unknown model"):
            chain.send(MODELS, "set_stage(bytes32,uint8)", root_at(1), 1)
        with pytest.raises(AnchorConflict, match="does not follow"):
            chain.anchor(root_at(5), root_at(6), 6)


def test_a_transaction_in_no_block_is_told_in_time_and_settled_when_it_comes(
    tmp_path: Path, node: Anvil, settings: NodeSettings
) -> None:
    with Anchorer(tmp_path, node=settings) as anchorer:
        anchorer.anchor(1, root_at(1))
    node.ask("evm_setAutomine", False)
    with Anchorer(tmp_path, node=replace(settings, timeout_s=0.5)) as anchorer:
        with pytest.raises(AnchorTimeout, match=r"is in no block after 0\.5 s"):
            anchorer.anchor(2, root_at(2))
        node.ask("evm_setAutomine", True)  # which mines what waits
        assert anchorer.anchor(3, root_at(3)).number == 2
        assert [receipt.size for receipt in anchorer.receipts()] == [1, 2, 3]
        assert check_on_node(node.url, anchorer.receipts()) == ([], [])


def test_a_later_root_takes_the_place_of_one_that_waits_too_long(
    tmp_path: Path, node: Anvil, settings: NodeSettings
) -> None:
    with Anchorer(tmp_path, node=settings) as anchorer:
        anchorer.anchor(1, root_at(1))
    node.ask("evm_setAutomine", False)
    with Anchorer(tmp_path, node=replace(settings, timeout_s=0.5)) as anchorer:
        for size in (2, 3):  # with the same nonce, dearer
            with pytest.raises(AnchorTimeout):
                anchorer.anchor(size, root_at(size))
        node.mine()
        assert anchorer.anchor(3, root_at(3)).number == 1
        assert [receipt.size for receipt in anchorer.receipts()] == [1, 3]


def test_an_anchor_counts_when_it_is_deep_enough(tmp_path: Path, node: Anvil, settings: NodeSettings) -> None:
    with NodeChain.open(tmp_path / "chain", settings):
        pass  # deployed
    with Anchorer(tmp_path, node=replace(settings, confirmations=3, timeout_s=0.5)) as anchorer:
        with pytest.raises(AnchorTimeout, match="is 1 blocks deep"):
            anchorer.anchor(1, root_at(1))
        assert anchorer.receipts() == ()
        node.mine(2)
        assert anchorer.anchor(1, root_at(1)).number == 0
        assert len(read_receipts(tmp_path)[0]) == 1


def test_anchors_that_a_chain_takes_back_are_told_voided_and_made_anew(
    tmp_path: Path, node: Anvil, settings: NodeSettings
) -> None:
    with Anchorer(tmp_path, node=settings) as anchorer:
        anchorer.anchor(1, root_at(1))
        before = node.ask("evm_snapshot")
        gone = [anchorer.anchor(size, root_at(size)) for size in (2, 3)]
        node.ask("evm_revert", before)
        with pytest.raises(AnchorReorganised, match="took 2 anchors back"):
            anchorer.anchor(4, root_at(4))
        assert anchorer.anchor(4, root_at(4)).number == 1
        assert anchorer.voided == 2
        assert [r.size for r in read_receipts(tmp_path)[0]] == [1, 4]
    assert [json.loads(line)["size"] for line in (tmp_path / "anchors-void.jsonl").read_text().splitlines()] == [2, 3]
    assert check_on_node(node.url, gone)[0]


def test_a_chain_that_has_nothing_of_this_log_is_a_conflict(
    tmp_path: Path, node: Anvil, settings: NodeSettings
) -> None:
    with NodeChain.open(tmp_path / "chain", settings) as chain:
        empty = node.ask("evm_snapshot")
        chain.anchor(NONE, root_at(1), 1)
        node.ask("evm_revert", empty)
        with pytest.raises(AnchorConflict, match="none of the last 1 anchors"):
            chain.anchor(root_at(1), root_at(2), 2)


def test_a_killed_process_finds_its_anchors_again(tmp_path: Path, node: Anvil, settings: NodeSettings) -> None:
    with Anchorer(tmp_path, node=settings) as anchorer:
        for size in range(1, 4):
            made = anchorer.anchor(size, root_at(size))
            assert anchorer.worker_pid is not None
            os.kill(anchorer.worker_pid, signal.SIGKILL)
    (tmp_path / "chain" / "node.sqlite").unlink()  # only the keys were kept
    again = replace(settings, contract=made.contract)
    with Anchorer(tmp_path, node=again) as anchorer:
        assert [anchorer.anchor(size, root_at(size)).number for size in (4, 5)] == [3, 4]


def test_events_of_a_node_are_heard_once_deep_enough_and_stretch_by_stretch(
    node: Anvil, settings: NodeSettings, tmp_path: Path
) -> None:
    with Anchorer(tmp_path, node=settings) as anchorer:
        anchorer.start()
        assert anchorer.events(MODELS, "Certified", 0, 1).events == ()
        made = [
            anchorer.send(MODELS, "certify(bytes32,bytes32,bytes32,uint8)", [*(root_at(k).hex() for k in (n, 8, 9)), 1])
            for n in (1, 2)
        ]
        heard = anchorer.events(MODELS, "Certified", 0, 2)
        assert [(e.tx_hash, e.log_index) for e in heard.events] == [(made[0]["tx_hash"], made[0]["log_index"])]
        assert heard.events[0].topics[1] == "0x" + root_at(1).hex()
        node.mine()
        later = anchorer.events(MODELS, "Certified", heard.next_block, 2)
        assert [e.tx_hash for e in later.events] == [made[1]["tx_hash"]]
        assert anchorer.events(MODELS, "Certified", later.next_block, 2) == Heard((), later.next_block)


def test_what_does_not_speak_json_rpc_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Node(silent, timeout_s=0.2) as node, pytest.raises(AnchorTimeout, match=r"did not answer in 0\.2 s"):
            node.chain_id()
    for url in ("localhost:8545", "http://", "file:///etc/passwd"):
        with pytest.raises(AnchorError, match="is no address of a node"):
            Node(url)
