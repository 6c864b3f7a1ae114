"""Witnesses: another process cosigns what continues, refuses another past, and its word is checked offline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cosignature import Cosignature, cosign, cosignatures, parse_witness, witness_of
from ledger.entry import Entry, encode
from ledger.errors import KeyFileError, LogDamaged, NoteError
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash
from ledger.note import Checkpoint, Signer, open_checkpoint, parse_verifier
from ledger.verify import verify
from ledger.witness import Request, WitnessState, open_witness, parse_request
from ledger.witness_server import PATH, WitnessServer
from ledger.witness_worker import WitnessWorker
from ledger.witnessing import Witnessing, post, read_endpoints

ROOT = Path(__file__).parents[2]
LOG = Signer("example.com/log", bytes(range(32)))
OTHER = Signer("example.com/other", bytes(32))
NOW_S = 1_795_000_000
TREE = Tree(leaf_hash(b"%d" % number) for number in range(70))


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


def note(size: int, tree: Tree = TREE, signer: Signer = LOG) -> str:
    return signer.sign(Checkpoint(signer.name, size, tree.root(size)).text())


def asked(old: int, size: int, tree: Tree = TREE, proof: list[bytes] | None = None) -> str:
    if proof is None:
        proof = tree.consistency_proof(old, size) if 0 < old < size else []
    return Request(old, tuple(proof), note(size, tree)).text()


@pytest.fixture
def state(tmp_path: Path) -> WitnessState:
    directory = tmp_path / "witness"
    return WitnessState(directory, open_witness(directory, "witness.example/w1"), [LOG.verifier()], lambda: NOW_S)


def test_a_cosignature_says_who_and_when() -> None:
    text = Checkpoint("o", 3, bytes(32)).text()
    whole = LOG.sign(text) + cosign(OTHER, text, NOW_S)
    witness = witness_of(OTHER)
    assert cosignatures(whole, [witness]) == [Cosignature(witness, NOW_S)]
    assert parse_witness(str(witness)) == witness
    assert str(witness) != str(OTHER.verifier())
    assert cosignatures(whole, [witness_of(LOG)]) == []  # the log's own signature is no cosignature
    with pytest.raises(NoteError):
        parse_witness(str(OTHER.verifier()))
    with pytest.raises(NoteError):
        parse_verifier(str(witness))


def test_every_flipped_bit_of_a_cosigned_checkpoint_is_refused() -> None:
    text = Checkpoint(LOG.name, 3, bytes(32)).text()
    whole = (LOG.sign(text) + cosign(OTHER, text, NOW_S)).encode()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        try:
            seen = changed.decode()
            open_checkpoint(seen, LOG.verifier())
            assert cosignatures(seen, [witness_of(OTHER)]) == []
        except (UnicodeDecodeError, NoteError):
            continue


def test_a_witness_follows_a_growing_log(state: WitnessState) -> None:
    for old, size in ((0, 5), (5, 5), (5, 6), (6, 64), (64, 70)):
        answer = state.add(asked(old, size))
        assert answer.status == 200
        assert cosignatures(note(size) + answer.body, [state.witness]) == [Cosignature(state.witness, NOW_S)]
        assert state.last(LOG.name).size == size


def test_what_does_not_follow_is_refused_by_the_codes_of_the_specification(state: WitnessState) -> None:
    assert state.add(asked(0, 5)).status == 200
    forked = Tree(leaf_hash(b"%d" % (number + 1)) for number in range(70))
    assert state.add(asked(5, 9, forked)).status == 422
    assert state.add(asked(5, 5, forked)).status == 409
    assert state.add(asked(5, 5, proof=[bytes(32)])).status == 422
    stale = state.add(asked(0, 9))
    assert (stale.status, stale.body, stale.kind) == (409, "5\n", "text/x.tlog.size")
    assert state.add(asked(4, 9)).body == "5\n"
    assert state.add(asked(5, 9, proof=[])).status == 422
    assert state.add(asked(7, 6)).status == 400
    assert state.add(Request(0, (), note(3, signer=OTHER)).text()).status == 404
    forged = Signer(LOG.name, bytes(32))
    assert state.add(Request(5, tuple(TREE.consistency_proof(5, 9)), note(9, signer=forged)).text()).status == 403
    assert state.last(LOG.name).size == 5


def test_a_restarted_witness_remembers(state: WitnessState, tmp_path: Path) -> None:
    state.add(asked(0, 9))
    directory = tmp_path / "witness"
    again = WitnessState(directory, open_witness(directory, "witness.example/w1"), [LOG.verifier()], lambda: NOW_S)
    assert again.witness == state.witness
    assert again.add(asked(0, 5)).body == "9\n"
    with pytest.raises(KeyFileError, match="is called"):
        open_witness(directory, "another")


@settings(max_examples=200)
@given(
    st.one_of(st.text(max_size=300), st.builds(lambda at, to: asked(0, 9)[:at] + to, st.integers(0, 200), st.text()))
)
def test_a_malformed_request_is_refused_and_never_raises(body: str) -> None:
    try:
        request = parse_request(body)
    except NoteError:
        return
    assert parse_request(request.text()) == request


@pytest.fixture
def process(tmp_path: Path, ten: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A witness in a process of its own that knows the log `ten`; its line for the file `witnesses`."""
    command = [sys.executable, "-m", "ledger", "witness", str(tmp_path / "w"), "--name", "witness.example/w1"]
    command += ["--log", (ten / "key.pub").read_text().strip(), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        try:
            assert child.stdout is not None
            yield child.stdout.readline().strip(), child
        finally:
            child.kill()


def test_a_second_process_witnesses_a_log_that_grows(ten: Path, process: tuple[str, subprocess.Popen[str]]) -> None:
    line, _ = process
    vkey = line.split(" ")[1]
    (ten / "witnesses").write_text(f"# who watches\n{line}\n")
    with Log.open(ten) as log:
        worker = WitnessWorker(log, every_s=0.02)
        log.append([payload(10)])
        log.checkpoint()
        worker.close()
        assert worker.failures == {}
        assert worker.witnessed is not None
        assert worker.witnessed.checkpoint == log.signed
        assert [str(one.witness) for one in worker.witnessed.cosignatures] == [vkey]
    report = verify(ten, witnesses=[vkey])
    assert report.ok
    assert report.witnessed[0].startswith("11 entries by witness.example/w1 at 20")
    stranger = str(witness_of(OTHER))
    assert "has no cosignature by example.com/other" in str(verify(ten, witnesses=[stranger]).problems[0])


def test_a_log_put_back_to_an_earlier_day_is_refused_by_its_witness(
    ten: Path, tmp_path: Path, process: tuple[str, subprocess.Popen[str]]
) -> None:
    earlier = shutil.copytree(ten, tmp_path / "earlier")
    for directory, entry in ((ten, payload(10)), (earlier, payload(99))):
        (directory / "witnesses").write_text(process[0])
        with Log.open(directory) as log:
            log.append([entry])
            log.checkpoint()
            rounds = Witnessing(log)
            rounds.round()
            if directory is earlier:
                assert "has cosigned another past" in next(iter(rounds.failures.values()))
                assert rounds.witnessed is None


def test_a_log_without_what_its_witness_saw_does_not_start(
    ten: Path, tmp_path: Path, process: tuple[str, subprocess.Popen[str]]
) -> None:
    earlier = shutil.copytree(ten, tmp_path / "earlier")
    (ten / "witnesses").write_text(process[0])
    with Log.open(ten) as log:
        log.append([payload(10)])
        log.checkpoint()
        Witnessing(log).round()
    shutil.copy(ten / "checkpoint.witnessed", earlier)
    with pytest.raises(LogDamaged, match="restore the log that its witnesses saw"):
        Log.open(earlier)
    assert "speaks of 11 entries, the log has 10" in str(verify(earlier).problems[0])


def test_a_witness_that_is_away_is_named_and_asked_again(ten: Path, process: tuple[str, subprocess.Popen[str]]) -> None:
    line, child = process
    (ten / "witnesses").write_text(line)
    with Log.open(ten) as log:
        rounds = Witnessing(log)
        assert rounds.round() is not None
        child.kill()
        child.wait()
        log.append([payload(10)])
        log.checkpoint()
        seen = rounds.round()
        assert seen is not None
        assert seen.checkpoint.size == 10
        assert list(rounds.failures) == [line.split(" ")[0]]


def test_a_witness_answers_nonsense_on_http_with_a_refusal(state: WitnessState) -> None:
    with WitnessServer(state, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert post(server.url + PATH, "\0nonsense")[0] == 400
            assert post(server.url + "/elsewhere", "x")[0] == 404
            assert post(server.url + PATH, asked(0, 5))[0] == 200
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("line", ["ftp://h w+00000000+AA", "http://h", "http://h w+00000000+AAAA"])
def test_a_malformed_line_of_the_witness_file_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "witnesses").write_text(f"\n{line}\n")
    with pytest.raises(NoteError, match="line 2"):
        read_endpoints(tmp_path)
