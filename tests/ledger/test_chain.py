"""The contract's rules, the chain that survives being killed, and the worker between server and chain."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed

from ledger.anchors import Anchorer
from ledger.chain import Chain, Last, _call_data
from ledger.contracts import HERE, load
from ledger.contracts.__main__ import compiled
from ledger.errors import AnchorConflict, AnchorError, AnchorTimeout, ChainError, LogLocked
from ledger.receipts import read_receipts

ROOT = Path(__file__).parents[2]
NONE = bytes(32)


def root_at(size: int) -> bytes:
    return hashlib.sha256(size.to_bytes(8, "big")).digest()


class Contract:
    """The Anchor contract on a chain in memory, called by admin, writer and a stranger."""

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.admin, self.writer, self.stranger = self.tester.get_accounts()[:3]
        code = load("Anchor").bytecode + encode(["address"], [self.writer])
        sent = self.tester.send_transaction({"from": self.admin, "to": "", "data": "0x" + code.hex(), "gas": 1_500_000})
        self.address = self.tester.get_transaction_receipt(sent)["contract_address"]

    def send(self, sender: str, signature: str, types: tuple[str, ...], *values: Any) -> dict[str, Any]:
        """The receipt. Raises TransactionFailed with the contract's reason."""
        call = {"from": sender, "to": self.address, "data": _call_data(signature, types, *values), "gas": 200_000}
        self.tester.call(call)
        receipt: dict[str, Any] = self.tester.get_transaction_receipt(self.tester.send_transaction(call))
        assert receipt["status"] == 1
        return receipt

    def anchor(self, sender: str, previous_root: bytes, root: bytes, size: int) -> dict[str, Any]:
        types = ("bytes32", "bytes32", "uint64")
        return self.send(sender, "anchor(bytes32,bytes32,uint64)", types, previous_root, root, size)


def test_the_shipped_bytecode_is_what_the_source_compiles_to() -> None:
    for source in HERE.glob("*.vy"):
        assert source.with_suffix(".json").read_text("utf-8") == compiled(source)


def test_the_contract_refuses_what_does_not_follow() -> None:
    contract = Contract()
    contract.anchor(contract.writer, NONE, root_at(5), 5)
    for previous_root, root, size, reason in [
        (NONE, root_at(6), 6, "previous root differs"),
        (root_at(6), root_at(6), 6, "previous root differs"),
        (root_at(5), root_at(6), 5, "size does not grow"),
        (root_at(5), root_at(6), 4, "size does not grow"),
        (root_at(5), NONE, 6, "root is zero"),
    ]:
        with pytest.raises(TransactionFailed, match=reason):
            contract.anchor(contract.writer, previous_root, root, size)
    contract.anchor(contract.writer, root_at(5), root_at(6), 6)


def test_only_the_writer_anchors_and_only_the_admin_appoints() -> None:
    contract = Contract()
    for sender in (contract.admin, contract.stranger):
        with pytest.raises(TransactionFailed, match="not the writer"):
            contract.anchor(sender, NONE, root_at(1), 1)
    for signature in ("set_writer(address)", "set_admin(address)"):
        for sender in (contract.writer, contract.stranger):
            with pytest.raises(TransactionFailed, match="not the admin"):
                contract.send(sender, signature, ("address",), contract.stranger)
        with pytest.raises(TransactionFailed, match="is zero"):
            contract.send(contract.admin, signature, ("address",), "0x" + "00" * 20)
    contract.send(contract.admin, "set_writer(address)", ("address",), contract.stranger)
    contract.anchor(contract.stranger, NONE, root_at(1), 1)
    contract.send(contract.admin, "set_admin(address)", ("address",), contract.writer)
    with pytest.raises(TransactionFailed, match="not the admin"):
        contract.send(contract.admin, "set_writer(address)", ("address",), contract.admin)


def test_an_anchor_is_an_event_with_number_and_root_to_search_by() -> None:
    contract = Contract()
    event = contract.anchor(contract.writer, NONE, root_at(1), 1)["logs"][0]
    assert event["topics"][1:] == ["0x" + "00" * 32, "0x" + root_at(1).hex()]
    assert event["data"] == "0x" + encode(["bytes32", "uint64"], [NONE, 1]).hex()


def test_a_chain_keeps_its_anchors_when_it_is_opened_again(tmp_path: Path) -> None:
    with Chain.open(tmp_path) as chain:
        assert chain.last() == Last(NONE, 0, 0)
        made = [chain.anchor(root_at(size - 1) if size > 1 else NONE, root_at(size), size) for size in (1, 2, 3)]
        contract = chain.contract
    with Chain.open(tmp_path) as chain:
        assert chain.contract == contract
        assert chain.last() == Last(root_at(3), 3, 3)
        assert [chain.anchor_at(number) for number in range(4)] == [*((root_at(n), n) for n in (1, 2, 3)), (NONE, 0)]
        assert chain.receipts() == made
        assert chain.anchor(root_at(3), root_at(9), 9).number == 3
        assert chain.damaged_rows() == 0


def test_the_newest_anchor_again_gives_its_receipt_again(tmp_path: Path) -> None:
    with Chain.open(tmp_path) as chain:
        first = chain.anchor(NONE, root_at(1), 1)
        assert chain.anchor(NONE, root_at(1), 1) == first
        assert chain.last().count == 1


def test_a_block_carries_the_time_of_its_own_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Chain.open(tmp_path) as chain:
        for size, now_s in [(1, 2_000_000_000), (2, 2_000_000_060), (3, 2_000_000_060)]:
            monkeypatch.setattr("eth._utils.headers.eth_now", lambda now_s=now_s: now_s)
            made = chain.anchor(chain.last().root, root_at(size), size)
            assert made.block_time_s == now_s + (size == 3)  # no two blocks share a second


def test_an_anchor_that_does_not_follow_is_a_conflict(tmp_path: Path) -> None:
    with Chain.open(tmp_path) as chain:
        chain.anchor(NONE, root_at(2), 2)
        for previous_root, size in [(NONE, 3), (root_at(2), 2), (root_at(2), 1)]:
            with pytest.raises(AnchorConflict, match="newest anchor is number 0 of size 2"):
                chain.anchor(previous_root, root_at(9), size)


def test_a_reverted_transaction_leaves_the_chain_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Chain.open(tmp_path) as chain:
        chain.anchor(NONE, root_at(1), 1)
        with monkeypatch.context() as patch:
            patch.setattr(chain, "last", lambda: Last(root_at(7), 0, 1))
            with pytest.raises(ChainError, match="reverted"):
                chain.anchor(root_at(7), root_at(2), 2)
        assert chain.last() == Last(root_at(1), 1, 1)
        assert chain.anchor(root_at(1), root_at(2), 2).block == 3


def test_chain_keys_are_secret_and_every_chain_has_its_own(tmp_path: Path) -> None:
    with Chain.open(tmp_path / "a") as one, Chain.open(tmp_path / "b") as other:
        assert one.contract != other.contract
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "a" / "key").unlink()
    with pytest.raises(ChainError, match="keys cannot be read"):
        Chain.open(tmp_path / "a")


def test_two_processes_cannot_write_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.files.LOCK_WAIT_S", 0.0)
    with Chain.open(tmp_path) as chain:
        chain.anchor(NONE, root_at(1), 1)
        with pytest.raises(LogLocked, match="this chain open"):
            Chain.open(tmp_path)
        with Chain.read(tmp_path) as reader:
            chain.anchor(root_at(1), root_at(2), 2)
            assert (reader.last().size, chain.last().size) == (1, 2)


def test_a_chain_survives_being_killed_in_the_middle_of_anchors(tmp_path: Path) -> None:
    chance = random.Random(3)
    child = str(Path(__file__).parent / "anchoring_child.py")
    for _ in range(4):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, child, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(chance.randrange(1, 25))]
            process.kill()
        with Chain.open(tmp_path) as chain:
            last = chain.last()
            assert last.size >= acknowledged[-1]
            assert last == Last(root_at(last.size), last.size, last.size)
            assert [receipt.size for receipt in chain.receipts()] == list(range(1, last.size + 1))
            assert chain.damaged_rows() == 0


def test_receipts_are_kept_and_found_by_entry(tmp_path: Path) -> None:
    with Anchorer(tmp_path) as anchorer:
        assert (anchorer.last, anchorer.pending, anchorer.covering(0)) == (None, None, None)
        made = [anchorer.anchor(size, root_at(size)) for size in (4, 8)]
        assert anchorer.anchor(8, root_at(8)) == made[1]
        assert anchorer.last == made[1]
        assert [anchorer.covering(index) for index in (0, 3, 4, 8)] == [made[0], made[0], made[1], None]
    assert read_receipts(tmp_path)[0] == made
    assert Anchorer(tmp_path).last == made[1]
    with pytest.raises(AnchorError, match="closed"):
        anchorer.anchor(9, root_at(9))


def test_a_killed_worker_is_started_again_and_its_receipts_are_fetched(tmp_path: Path) -> None:
    with Anchorer(tmp_path) as anchorer:
        made = [anchorer.anchor(size, root_at(size)) for size in (1, 2)]
        pid = anchorer.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        lines = (tmp_path / "anchors.jsonl").read_bytes()
        (tmp_path / "anchors.jsonl").write_bytes(lines[:-20])  # the newest receipt never reached the disk
        made.append(anchorer.anchor(3, root_at(3)))
        assert anchorer.worker_pid != pid
    assert read_receipts(tmp_path)[0] == made
    assert (tmp_path / "anchors.jsonl").read_bytes().startswith(lines)


def test_a_chain_of_another_log_is_refused(tmp_path: Path) -> None:
    with Anchorer(tmp_path / "chained", tmp_path / "a") as anchorer:
        (tmp_path / "chained").mkdir()
        anchorer.anchor(1, root_at(1))
        with pytest.raises(AnchorConflict, match="does not follow"):
            anchorer.anchor(1, root_at(9))
    other = Anchorer(tmp_path / "chained", tmp_path / "b")
    with other, pytest.raises(AnchorConflict, match="does not have anchor 0"):
        other.anchor(2, root_at(2))


def test_a_worker_that_does_not_answer_is_given_up_and_the_anchor_is_settled_later(tmp_path: Path) -> None:
    with Anchorer(tmp_path) as anchorer:
        anchorer.start()
        assert anchorer.worker_pid is not None
        os.kill(anchorer.worker_pid, signal.SIGSTOP)
        anchorer.timeout_s = 0.2
        with pytest.raises(AnchorTimeout):
            anchorer.anchor(1, root_at(1))
        assert (anchorer.worker_pid, anchorer.pending) == (None, None)
        anchorer.timeout_s = 30.0
        assert anchorer.anchor(1, root_at(1)).number == 0


def test_the_worker_ends_when_its_server_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from ledger.anchors import Anchorer; anchorer = Anchorer(sys.argv[1]);"
        "print(anchorer.anchor(1, bytes([1]) * 32).number, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "0\n"
        server.kill()
    with Chain.open(tmp_path / "chain") as chain:  # the worker has given the chain's lock back
        assert chain.last().size == 1


def test_a_broken_chain_directory_is_reported_through_the_worker(anchored_once: Path, tmp_path: Path) -> None:
    chain_dir = shutil.copytree(anchored_once / "chain", tmp_path / "chain")
    (chain_dir / "chain.sqlite").write_bytes(b"not a database at all" * 100)
    with Anchorer(tmp_path) as anchorer, pytest.raises(ChainError, match="restore it from a copy"):
        anchorer.anchor(1, root_at(1))


def test_the_server_side_never_loads_the_evm() -> None:
    code = (
        "import sys, ledger.anchors, ledger.verify, ledger.bundle, ledger.writer, ledger.__main__;"
        "sys.exit(any(name.split('.')[0] in ('eth', 'eth_tester', 'web3') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
