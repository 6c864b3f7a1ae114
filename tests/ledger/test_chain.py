"""The chain that survives being killed, and the worker between server and chain."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.anchoring import Last
from ledger.anchors import Anchorer
from ledger.chain import RECEIPTS_MAX, Chain
from ledger.contracts import MODELS, NOTARY
from ledger.errors import AnchorConflict, AnchorError, AnchorTimeout, ChainError, LogLocked
from ledger.receipts import read_receipts

ROOT = Path(__file__).parents[2]
NONE = bytes(32)


def root_at(size: int) -> bytes:
    return hashlib.sha256(size.to_bytes(8, "big")).digest()


def test_a_chain_keeps_its_anchors_when_it_is_opened_again(tmp_path: Path) -> None:
    with Chain.open(tmp_path) as chain:
        assert chain.last() == Last(NONE, 0, 0)
        made = [chain.anchor(root_at(size - 1) if size > 1 else NONE, root_at(size), size) for size in (1, 2, 3)]
        contract = chain.contract
    with Chain.open(tmp_path) as chain:
        assert chain.contract == contract
        assert chain.last() == Last(root_at(3), 3, 3)
        assert [chain.root_at(size) for size in range(5)] == [NONE, root_at(1), root_at(2), root_at(3), NONE]
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
            with pytest.raises(ChainError, match="previous root differs"):
                chain.anchor(root_at(7), root_at(2), 2)
        assert chain.last() == Last(root_at(1), 1, 1)
        assert chain.anchor(root_at(1), root_at(2), 2).block == 3


def test_registries_come_to_the_chain_with_their_first_use_and_stay(tmp_path: Path) -> None:
    certify = "certify(bytes32,bytes32,bytes32,uint8)"
    with Chain.open(tmp_path) as chain:
        with pytest.raises(ChainError, match="nothing was recorded in ModelRegistry"):
            chain.view(MODELS, "count()")
        with pytest.raises(ChainError, match="unknown source"):
            chain.send(NOTARY, "notarise(bytes32,bytes32,bytes32[])", root_at(1), root_at(2), [root_at(3)])
        assert chain.address(NOTARY) is None  # refused together with the deployment that it would have needed
        chain.anchor(NONE, root_at(1), 1)
        chain.send(MODELS, certify, root_at(1), root_at(2), root_at(3), 1)
    with Chain.open(tmp_path) as chain:
        with pytest.raises(ChainError, match=r"ModelRegistry refused: .*certified"):
            chain.send(MODELS, certify, root_at(1), root_at(2), root_at(3), 1)
        assert int.from_bytes(chain.view(MODELS, "count()"), "big") == 1
        assert chain.anchor(root_at(1), root_at(2), 2).number == 1


def test_a_chain_with_another_contract_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with Chain.open(tmp_path) as chain:
        chain.anchor(NONE, root_at(1), 1)
    with sqlite3.connect(tmp_path / "chain.sqlite") as db:
        db.execute("UPDATE meta SET name = 'contract'")  # as an earlier version named it
    for opened in (Chain.open, Chain.read):
        with pytest.raises(ChainError, match="another Anchor contract than this version's; move it"):
            opened(tmp_path)


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


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_a_chain_survives_being_killed_in_the_middle_of_anchors(tmp_path: Path, kills: int) -> None:
    chance = random.Random(3)
    child = str(Path(__file__).parent / "anchoring_child.py")
    for _ in range(kills):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, child, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(chance.randrange(1, 25))]
            time.sleep(chance.random() * 0.03)  # an anchor takes about so long: any moment of it
            process.kill()
        with Chain.open(tmp_path) as chain:
            last = chain.last()
            assert last.size >= acknowledged[-1]
            assert last == Last(root_at(last.size), last.size, last.size)
            sizes = [r.size for first in range(0, last.size, RECEIPTS_MAX) for r in chain.receipts(first)]
            assert sizes == list(range(1, last.size + 1))
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
