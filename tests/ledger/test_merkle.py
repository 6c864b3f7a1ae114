"""Roots and proofs: known answers, an independent implementation, and every malformed proof refused."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from ledger.errors import ProofError
from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots of the Certificate Transparency reference code (merkle_tree_test.cc).
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASH = bytes(range(32))
sizes = st.integers(1, 70)


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


BIG = Tree(leaves(70))


def test_the_empty_tree_has_the_root_of_rfc_6962() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Tree().root() == Frontier().root() == root_of([]) == EMPTY_ROOT


def test_the_eight_certificate_transparency_roots_are_reproduced() -> None:
    tree, frontier = Tree(), Frontier()
    for text, root in zip(CT_LEAVES, CT_ROOTS, strict=True):
        leaf = leaf_hash(bytes.fromhex(text))
        tree.append(leaf)
        frontier.append(leaf)
        assert tree.root().hex() == frontier.root().hex() == root
    assert [tree.root(size).hex() for size in range(1, 9)] == CT_ROOTS


def test_the_certificate_transparency_inclusion_path_is_reproduced() -> None:
    tree = Tree(leaf_hash(bytes.fromhex(text)) for text in CT_LEAVES)
    assert [step.hex() for step in tree.inclusion_proof(0, 8)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64, 100, 257, 1000])
def test_roots_equal_those_of_an_independent_implementation(count: int) -> None:
    other = InmemoryTree(algorithm="sha256")
    for number in range(count):
        other.append_entry(number.to_bytes(4, "big"))
    assert other.get_root() == root_of(leaves(count)) == Tree(leaves(count)).root()


@given(size=sizes, data=st.data())
def test_every_entry_of_every_size_is_proved(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = BIG.inclusion_proof(index, size)
    assert verify_inclusion(BIG.leaf(index), index, size, proof, BIG.root(size))


@given(new=sizes, data=st.data())
def test_every_size_is_consistent_with_every_later_one(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    assert verify_consistency(old, BIG.root(old), new, BIG.root(new), BIG.consistency_proof(old, new))


@given(size=sizes, data=st.data(), other_index=st.integers(-2, 80), other_size=st.integers(-2, 80))
def test_an_inclusion_proof_holds_at_no_other_place(
    size: int, data: st.DataObject, other_index: int, other_size: int
) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = BIG.inclusion_proof(index, size), BIG.root(size)
    if other_index != index:
        assert not verify_inclusion(BIG.leaf(index), other_index, size, proof, root)
    if other_size != size and 0 < other_size <= 70:
        assert not verify_inclusion(BIG.leaf(index), index, other_size, proof, BIG.root(other_size))
    assert not verify_inclusion(BIG.leaf(index), index, size, proof, HASH)
    assert not verify_inclusion(HASH, index, size, proof, root)


mangled = st.sampled_from(["drop first", "drop last", "append", "prepend", "swap", "flip", "shorten", "text"])


def mangle(proof: list[bytes], how: str) -> list[bytes]:
    match how:
        case "drop first":
            return proof[1:]
        case "drop last":
            return proof[:-1]
        case "append":
            return [*proof, HASH]
        case "prepend":
            return [HASH, *proof]
        case "swap":
            return proof[::-1]
        case "flip":
            return [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]] if proof else proof
        case "shorten":
            return [proof[0][:31], *proof[1:]] if proof else proof
    return ["x" * 32, *proof[1:]]  # type: ignore[list-item]


@settings(max_examples=300)
@given(size=sizes, data=st.data(), how=mangled)
def test_a_mangled_inclusion_proof_is_refused(size: int, data: st.DataObject, how: str) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = BIG.inclusion_proof(index, size)
    bad = mangle(proof, how)
    assert verify_inclusion(BIG.leaf(index), index, size, bad, BIG.root(size)) == (bad == proof)


@settings(max_examples=300)
@given(new=sizes, data=st.data(), how=mangled)
def test_a_mangled_consistency_proof_is_refused(new: int, data: st.DataObject, how: str) -> None:
    old = data.draw(st.integers(1, new))
    proof = BIG.consistency_proof(old, new)
    bad = mangle(proof, how)
    assert verify_consistency(old, BIG.root(old), new, BIG.root(new), bad) == (bad == proof)


@given(new=sizes, data=st.data())
def test_a_rewritten_past_is_not_consistent(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    other = leaves(new)
    other[changed] = HASH
    tree = Tree(other)
    assert not verify_consistency(old, BIG.root(old), new, tree.root(), tree.consistency_proof(old, new))


anything = st.one_of(st.integers(), st.none(), st.text(), st.booleans(), st.binary(max_size=33))


@given(leaf=anything, index=anything, size=anything, proof=st.lists(anything, max_size=4), root=anything)
def test_nonsense_is_refused_and_never_raises(
    leaf: object, index: object, size: object, proof: list[object], root: object
) -> None:
    assert not verify_inclusion(leaf, index, size, proof, root)  # type: ignore[arg-type]
    assert not verify_consistency(index, leaf, size, root, proof) or leaf == root  # type: ignore[arg-type]


def test_size_zero_proves_nothing() -> None:
    assert not verify_inclusion(EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)
    assert not verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not verify_consistency(0, EMPTY_ROOT, 3, BIG.root(3), [])


@given(size=sizes, claimed=sizes, data=st.data())
def test_a_proof_does_not_hold_for_a_size_that_was_only_claimed(size: int, claimed: int, data: st.DataObject) -> None:
    """The right root and proof of one size under the name of another, with one leaf at a deeper or shallower place."""
    index = data.draw(st.integers(0, size - 1))
    if (claimed - 1).bit_length() != (size - 1).bit_length():
        assert not verify_inclusion(BIG.leaf(index), index, claimed, BIG.inclusion_proof(index, size), BIG.root(size))
        old = data.draw(st.integers(1, size))
        assert not verify_consistency(old, BIG.root(old), claimed, BIG.root(size), BIG.consistency_proof(old, size))


def test_an_inner_node_cannot_pass_for_an_entry() -> None:
    """The second-preimage attack that the 0x00 and 0x01 prefixes are there for."""
    inner = node_hash(BIG.leaf(0), BIG.leaf(1))
    assert leaf_hash(BIG.leaf(0) + BIG.leaf(1)) != inner
    assert not verify_inclusion(leaf_hash(BIG.leaf(0) + BIG.leaf(1)), 0, 2, BIG.inclusion_proof(2, 4)[1:], BIG.root(4))


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 0), (0, 71), (0, -1)])
def test_an_impossible_inclusion_proof_is_a_typed_error(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        BIG.inclusion_proof(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (1, 71), (-1, 3)])
def test_an_impossible_consistency_proof_is_a_typed_error(old: int, new: int) -> None:
    with pytest.raises(ProofError):
        BIG.consistency_proof(old, new)


def test_the_frontier_keeps_one_hash_for_each_set_bit_of_the_size() -> None:
    frontier = Frontier()
    for leaf in leaves(1023):
        frontier.append(leaf)
    assert len(frontier._peaks) == 10
    frontier.append(hashlib.sha256(b"\0").digest())
    assert len(frontier._peaks) == 1


@pytest.mark.parametrize("count", [1, 15, 16, 17, 64, 255, 300])
def test_a_tree_that_forgot_and_asks_again_answers_as_one_that_kept_all(count: int) -> None:
    given = leaves(count)
    kept, asked = Tree(given), []

    def again(start: int, stop: int) -> list[bytes]:
        asked.append(start)
        return given[start:stop]

    for step in (1, 7, 40):
        tree = Tree(again=again)
        for start in range(0, count, step):
            tree.extend(b"".join(given[start : start + step]))
            tree.forget(start)
        tree.forget(count)
        assert all(tree.root(size) == kept.root(size) for size in range(count + 1))
        assert all(tree.inclusion_proof(n, count) == kept.inclusion_proof(n, count) for n in range(count))
        assert all(tree.consistency_proof(n, count) == kept.consistency_proof(n, count) for n in range(1, count + 1))
        for level in range(3):
            stop = count >> level
            assert tree.nodes(level, 0, stop) == kept.nodes(level, 0, stop)
    assert bool(asked) == (count >= 16)


@pytest.mark.parametrize("known", [0, 16, 32, 256, 288])
def test_a_tree_goes_on_from_the_hashes_above_sixteen_leaves(known: int) -> None:
    given = leaves(300)
    kept = Tree(given)
    tree = Tree(again=lambda start, stop: given[start:stop])
    tree.extend_forgotten(kept.nodes(4, 0, known // 16))
    assert (tree.size, tree.root()) == (known, kept.root(known))
    tree.extend(b"".join(given[known:]))
    assert tree.root() == kept.root()
    assert all(tree.inclusion_proof(n) == kept.inclusion_proof(n) for n in range(300))
