"""Held against code that nobody here wrote: Go's sumdb note and tlog, and pymerkle; also on malformed proofs."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymerkle import InmemoryTree, verify_consistency, verify_inclusion
from pymerkle.proof import InvalidProof

from ledger import merkle
from ledger.cosignature import cosign, witness_of
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.note import Signer

SOURCE = Path(__file__).parent / "go" / "check.go"
PACKAGES = Path("/usr/share/gocode")  # where Debian's golang-golang-x-mod-dev puts the library
WITNESS = Signer("witness.example/w1", bytes(range(1, 33)))
NOW_S = 1_795_000_000
SIZES = (1, 2, 255, 256, 257, 600, 66_000)
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Asks the compiled program one question."""
    if shutil.which("go") is None or not (PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        reason = "the reference is not installed: apt-get install golang-go golang-golang-x-mod-dev"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(PACKAGES), "GOCACHE": str(folder / "cache")}
    environment["GOFLAGS"] = ""
    subprocess.run(["go", "build", "-o", str(folder / "check"), str(SOURCE)], check=True, env=environment, timeout=300)

    def ask(**question: object) -> dict[str, Any]:
        done = subprocess.run(
            [folder / "check"], input=json.dumps(question), capture_output=True, text=True, timeout=120, check=True
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ask


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def texts(proof: list[bytes]) -> list[str]:
    return [text(step) for step in proof]


@pytest.mark.parametrize("size", SIZES)
def test_go_opens_the_checkpoint_reads_the_tiles_and_makes_the_same_proofs(go: Ask, tmp_path: Path, size: int) -> None:
    old = 1 + size // 3
    with Log.open(tmp_path) as log:
        for stop in (old, size):
            log.append([payload(number) for number in range(log.size, stop)])
            log.checkpoint()
        note = (tmp_path / "checkpoint").read_text()
        whole = note + cosign(WITNESS, note.partition("\n\n")[0] + "\n", NOW_S)
        witness = str(witness_of(WITNESS))
        told = go(dir=str(tmp_path), note=whole, key=str(log.verifier), witness=witness, old=old)
        assert told["error"] == ""
        assert told["signers"] == [log.verifier.name, WITNESS.name]
        assert told["text"] == log.signed.text()
        assert told["leaves"] == [text(merkle.leaf_hash(payload(number))) for number in range(size)]
        chosen = range(0, size, 1 + size // 97)
        assert [proof or [] for proof in told["inclusion"]] == [texts(log.inclusion_proof(i, size)) for i in chosen]
        assert (told["tree"] or []) == texts(log.consistency_proof(old, size))


def test_go_refuses_a_changed_tile_note_or_cosignature(go: Ask, tmp_path: Path) -> None:
    with Log.open(tmp_path) as log:
        log.append([payload(number) for number in range(300)])
        log.checkpoint()
        note = (tmp_path / "checkpoint").read_text()
        line = cosign(WITNESS, note.partition("\n\n")[0] + "\n", NOW_S)
        asked = {"dir": str(tmp_path), "key": str(log.verifier), "witness": str(witness_of(WITNESS)), "old": 9}
    assert go(note=note + line, **asked)["error"] == ""
    assert go(note=note.replace("300", "301") + line, **asked)["error"] != ""
    later = cosign(WITNESS, "example.com/other\n1\n" + text(bytes(32)) + "\n", NOW_S)
    assert "invalid signature" in go(note=note + later, **asked)["error"]
    tile = tmp_path / "tile/0/000"
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    assert go(note=note + line, **asked)["error"] != ""


def mangled(chance: random.Random, proof: list[bytes], pool: list[bytes]) -> list[bytes]:
    """The proof with one to three of: a step dropped, doubled, put in, exchanged, or with a flipped bit."""
    bad = list(proof)
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(bad) + 1)
        match chance.randrange(5):
            case 0:
                bad.insert(at, chance.choice(pool))
            case 1 if bad:
                del bad[at % len(bad)]
            case 2 if bad:
                bad.insert(at, bad[at % len(bad)])
            case 3 if bad:
                step = bytearray(bad[at % len(bad)])
                step[chance.randrange(32)] ^= 1 << chance.randrange(8)
                bad[at % len(bad)] = bytes(step)
            case 4:
                chance.shuffle(bad)
    return bad


def cases(chance: random.Random, count: int) -> list[tuple[bool, list[bytes], int, bytes, int, bytes]]:
    """Proofs good and bad: (consistency?, proof, size, root, index or old size, leaf or old root)."""
    tree = merkle.Tree(merkle.leaf_hash(b"%d" % number) for number in range(130))
    pool = [tree.leaf(3), tree.root(7), bytes(32), tree.root()]
    made = []
    for _ in range(count):
        size = chance.randint(1, 130)
        told = size if chance.random() < 0.7 else chance.randint(1, 140)
        if chance.random() < 0.5:
            old = chance.randint(1, size)
            proof = mangled(chance, tree.consistency_proof(old, size), pool)
            said = old if chance.random() < 0.8 else chance.randint(1, 140)
            made.append((True, proof, told, tree.root(size), said, tree.root(old)))
        else:
            index = chance.randrange(size)
            proof = mangled(chance, tree.inclusion_proof(index, size), pool)
            said = index if chance.random() < 0.8 else chance.randint(0, 140)
            made.append((False, proof, told, tree.root(size), said, tree.leaf(index)))
    return made


def ours(case: tuple[bool, list[bytes], int, bytes, int, bytes]) -> bool:
    consistency, proof, size, root, number, data = case
    if consistency:
        return merkle.verify_consistency(number, data, size, root, proof)
    return merkle.verify_inclusion(data, number, size, proof, root)


def test_go_gives_the_same_verdict_on_twenty_thousand_proofs_good_and_malformed(go: Ask) -> None:
    made = cases(random.Random(20), 20_000)
    asked = [
        {"Tree": c[0], "Proof": texts(c[1]), "Size": c[2], "Root": text(c[3]), "Number": c[4], "Hash": text(c[5])}
        for c in made
    ]
    verdicts = [ours(case) for case in made]
    assert go(cases=asked)["verdicts"] == verdicts
    assert 0.05 < sum(verdicts) / len(verdicts) < 0.5  # both kinds were asked


@pytest.fixture(scope="module")
def both() -> tuple[InmemoryTree, merkle.Tree]:
    """130 entries in pymerkle's tree and in ours."""
    other, tree = InmemoryTree(algorithm="sha256"), merkle.Tree()
    for number in range(130):
        other.append_entry(payload(number))
        tree.append(merkle.leaf_hash(payload(number)))
        assert other.get_root() == tree.root()
    return other, tree


def test_pymerkle_accepts_our_inclusion_proofs_and_no_mangled_one(both: tuple[InmemoryTree, merkle.Tree]) -> None:
    other, tree = both
    chance, refused = random.Random(9), 0
    for size in (1, 2, 3, 7, 64, 65, 130):
        for index in range(size):
            ours_, theirs = tree.inclusion_proof(index, size), other.prove_inclusion(index + 1, size)
            assert theirs.path == [tree.leaf(index), *ours_]
            bad = mangled(chance, ours_, [bytes(32), tree.root()])
            theirs.path = [tree.leaf(index), *bad]
            try:
                verify_inclusion(tree.leaf(index), tree.root(size), theirs, index=index + 1, size=size)
                accepted = True
            except InvalidProof:
                accepted, refused = False, refused + 1
            assert merkle.verify_inclusion(tree.leaf(index), index, size, bad, tree.root(size)) == accepted
    assert refused > 100


def test_pymerkle_finds_our_roots_consistent(both: tuple[InmemoryTree, merkle.Tree]) -> None:
    other, tree = both
    for new in (1, 2, 3, 7, 64, 65, 130):
        for old in range(1, new + 1):
            proof = other.prove_consistency(old, new)
            verify_consistency(tree.root(old), tree.root(new), proof, prior_size=old, later_size=new)
            with pytest.raises(InvalidProof):
                verify_consistency(tree.root(old), tree.root(131 - new), proof, prior_size=old, later_size=new)
