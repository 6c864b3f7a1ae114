"""The contracts' rules, each called by admin, writer and a stranger; proofs of our own tree checked by the contract."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from eth_abi.abi import decode as their_decode
from eth_abi.abi import encode as their_encode
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed

from ledger.abi import Value, call_data, decode, encode, types_of
from ledger.anchoring import ANCHOR_CALL, INCLUSION_CALL
from ledger.contracts import ANCHOR, DEVICES, HERE, MODELS, NAMES, NOTARY, load
from ledger.contracts.__main__ import compiled
from ledger.errors import ChainError
from ledger.merkle import Tree, leaf_hash

NONE = bytes(32)
NOBODY = "0x" + "00" * 20


def hash_of(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


class Deployed:
    """A contract on a chain in memory. `send` raises TransactionFailed with the contract's reason."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tester = EthereumTester(PyEVMBackend())
        self.admin, self.writer, self.stranger = self.tester.get_accounts()[:3]
        code = load(name).bytecode + encode(("address",), (self.writer,))
        sent = self.tester.send_transaction({"from": self.admin, "to": "", "data": "0x" + code.hex(), "gas": 3_000_000})
        self.address = self.tester.get_transaction_receipt(sent)["contract_address"]

    def send(self, sender: str, signature: str, *values: Value) -> dict[str, Any]:
        self.ask(sender, signature, *values)
        receipt: dict[str, Any] = self.tester.get_transaction_receipt(
            self.tester.send_transaction(self._call(sender, signature, values))
        )
        assert receipt["status"] == 1
        return receipt

    def ask(self, sender: str, signature: str, *values: Value) -> bytes:
        return bytes.fromhex(self.tester.call(self._call(sender, signature, values))[2:])

    def _call(self, sender: str, signature: str, values: tuple[Value, ...]) -> dict[str, Any]:
        data = "0x" + call_data(self.name, signature, *values).hex()
        return {"from": sender, "to": self.address, "data": data, "gas": 1_000_000}


def refused(why: str) -> Any:
    return pytest.raises(TransactionFailed, match=why)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_code_is_what_the_source_compiles_to_and_what_a_chain_then_holds(name: str) -> None:
    assert (HERE / f"{name}.json").read_text("utf-8") == compiled(HERE / f"{name}.vy")
    made = Deployed(name)
    assert bytes.fromhex(made.tester.get_code(made.address)[2:]) == load(name).runtime


@pytest.mark.parametrize("name", NAMES)
def test_only_the_admin_appoints_and_the_writer_is_another(name: str) -> None:
    made = Deployed(name)
    for signature in ("set_writer(address)", "set_admin(address)"):
        for sender in (made.writer, made.stranger):
            with refused("not the admin"):
                made.send(sender, signature, made.stranger)
        with refused("is zero"):
            made.send(made.admin, signature, NOBODY)
    made.send(made.admin, "set_writer(address)", made.stranger)
    made.send(made.admin, "set_admin(address)", made.writer)
    with refused("not the admin"):
        made.send(made.admin, "set_writer(address)", made.admin)
    assert decode(("address",), made.ask(made.admin, "writer()")) == (made.stranger.lower(),)


def test_our_encoding_is_that_of_eth_abi() -> None:
    types = ("bytes32", "address", "uint8", "bytes32[]", "uint256")
    values = (hash_of(1), "0x" + "ab" * 20, 255, [hash_of(2), hash_of(3)], 2**256 - 1)
    assert encode(types, values) == their_encode(types, values)
    words = ("bytes32", "address", "uint64", "bool")
    data = their_encode(words, (hash_of(1), "0x" + "ab" * 20, 7, True))
    assert decode(words, data) == their_decode(words, data)


def test_what_the_encoding_cannot_say_is_refused() -> None:
    wrong: list[tuple[str, Value]] = [
        ("uint8", 256), ("uint8", -1), ("uint8", True), ("bytes32", b"short"), ("address", "0x12"),
        ("address", "0x" + "zz" * 20), ("bytes32[]", [hash_of(1)] * 65), ("bytes32[]", "text"),
    ]  # fmt: skip
    for kind, value in wrong:
        with pytest.raises(ChainError):
            encode((kind,), (value,))
    with pytest.raises(ChainError, match="2 values are needed"):
        encode(("uint8", "uint8"), (1,))
    with pytest.raises(ChainError, match="no function"):
        call_data(ANCHOR, "nonsense()")
    for words in ("uint8", "address", "bool"):
        with pytest.raises(ChainError, match="another contract"):
            decode((words,), b"\xff" * 32)
    with pytest.raises(ChainError, match="answered 0 bytes"):
        decode(("bytes32",), b"")
    assert types_of("last()") == ()


def test_an_anchor_that_does_not_follow_is_refused() -> None:
    anchors = Deployed(ANCHOR)
    anchors.send(anchors.writer, ANCHOR_CALL, NONE, hash_of(5), 5)
    for previous_root, root, size, reason in [
        (NONE, hash_of(6), 6, "previous root differs"),
        (hash_of(6), hash_of(6), 6, "previous root differs"),
        (hash_of(5), hash_of(6), 5, "size does not grow"),
        (hash_of(5), hash_of(6), 4, "size does not grow"),
        (hash_of(5), NONE, 6, "root is zero"),
    ]:
        with refused(reason):
            anchors.send(anchors.writer, ANCHOR_CALL, previous_root, root, size)
    for sender in (anchors.admin, anchors.stranger):
        with refused("not the writer"):
            anchors.send(sender, ANCHOR_CALL, hash_of(5), hash_of(6), 6)
    anchors.send(anchors.writer, ANCHOR_CALL, hash_of(5), hash_of(6), 6)


def test_an_anchor_takes_less_than_seventy_thousand_gas_and_is_an_event_to_search_by() -> None:
    anchors = Deployed(ANCHOR)
    first = anchors.send(anchors.writer, ANCHOR_CALL, NONE, hash_of(1), 1)
    receipt = anchors.send(anchors.writer, ANCHOR_CALL, hash_of(1), hash_of(2), 2**64 - 1)
    assert max(first["gas_used"], receipt["gas_used"]) <= 70_000
    event = receipt["logs"][0]
    topics = load(ANCHOR).topics
    assert event["topics"] == [topics["Anchored"], "0x" + f"{1:064x}", "0x" + hash_of(2).hex()]
    assert event["data"] == "0x" + their_encode(["bytes32", "uint64"], [hash_of(1), 2**64 - 1]).hex()


def test_a_contract_with_a_successor_takes_no_more_roots_for_ever() -> None:
    anchors = Deployed(ANCHOR)
    anchors.send(anchors.writer, ANCHOR_CALL, NONE, hash_of(1), 1)
    for sender in (anchors.writer, anchors.stranger):
        with refused("not the admin"):
            anchors.send(sender, "set_successor(address)", anchors.stranger)
    for nobody in (NOBODY, anchors.address):
        with refused("no successor"):
            anchors.send(anchors.admin, "set_successor(address)", nobody)
    anchors.send(anchors.admin, "set_successor(address)", anchors.stranger)
    assert decode(("address",), anchors.ask(anchors.stranger, "successor()")) == (anchors.stranger.lower(),)
    with refused("not the writer"):
        anchors.send(anchors.writer, ANCHOR_CALL, hash_of(1), hash_of(2), 2)
    for signature in ("set_successor(address)", "set_writer(address)"):
        with refused("succeeded"):
            anchors.send(anchors.admin, signature, anchors.admin)


def test_the_contract_checks_inclusion_proofs_as_we_do() -> None:
    chance = random.Random(8)
    anchors = Deployed(ANCHOR)
    tree, previous_root = Tree(), NONE
    gas_of_depth: dict[int, int] = {}
    for size in (1, 2, 3, 5, 8, 13, 100, 1_000):
        while tree.size < size:
            tree.append(leaf_hash(tree.size.to_bytes(8, "big")))
        anchors.send(anchors.writer, ANCHOR_CALL, previous_root, tree.root(), size)
        previous_root = tree.root()
        for index in sorted({0, size // 2, size - 1, chance.randrange(size)}):
            leaf, proof = tree.leaf(index), tree.inclusion_proof(index)
            assert holds(anchors, size, index, leaf, proof)
            wrong: list[tuple[int, int, bytes, list[bytes]]] = [
                (size, index, hash_of(9), proof),
                (size, index + size, leaf, proof),
                (size, size, leaf, proof),
                (size + 1_000, index, leaf, proof),
                (0, 0, leaf, proof),
                (size, index, leaf, [*proof, hash_of(9)]),
                (size, (index + 1) % size, leaf, proof),
                (size, index, leaf, proof[:-1]),
                (size, index, leaf, [*proof[:-1], hash_of(9)]),
            ]
            for at, (s, i, changed, path) in enumerate(wrong):
                assert (size == 1 and at > 5) or not holds(anchors, s, i, changed, path)
            used = anchors.send(anchors.stranger, INCLUSION_CALL, size, index, leaf, proof)["gas_used"]
            gas_of_depth[len(proof)] = max(used, gas_of_depth.get(len(proof), 0))
    assert gas_of_depth[10] < 60_000


def test_mangled_proofs_are_refused_by_the_contract_wherever_we_refuse_them() -> None:
    from ledger.merkle import verify_inclusion

    chance = random.Random(9)
    anchors = Deployed(ANCHOR)
    tree = Tree(leaf_hash(bytes([number])) for number in range(37))
    anchors.send(anchors.writer, ANCHOR_CALL, NONE, tree.root(), 37)
    for _ in range(150):
        index = chance.randrange(37)
        proof = tree.inclusion_proof(index)
        for _ in range(chance.randrange(3)):
            match chance.randrange(4):
                case 0 if proof:
                    proof.pop(chance.randrange(len(proof)))
                case 1:
                    proof.insert(chance.randrange(len(proof) + 1), chance.randbytes(32))
                case 2:
                    chance.shuffle(proof)
                case _:
                    index = chance.randrange(80)
        leaf = tree.leaf(index % 37)
        assert holds(anchors, 37, index, leaf, proof) == verify_inclusion(leaf, index, 37, proof, tree.root())


def holds(anchors: Deployed, size: int, index: int, leaf: bytes, proof: list[bytes]) -> bool:
    return decode(("bool",), anchors.ask(anchors.stranger, INCLUSION_CALL, size, index, leaf, proof)) == (1,)


def test_a_device_is_registered_once_kept_by_its_owner_and_never_comes_back() -> None:
    devices = Deployed(DEVICES)
    owner, device = devices.stranger, hash_of(1)
    register, key_call = "register(bytes32,bytes32,address)", "set_key(bytes32,bytes32)"

    def trusted(key: bytes) -> bool:
        return decode(("bool",), devices.ask(devices.admin, "trusted(bytes32,bytes32)", device, key)) == (1,)

    with refused("not the writer"):
        devices.send(owner, register, device, hash_of(2), owner)
    with refused("unknown device"):
        devices.send(owner, key_call, device, hash_of(3))
    for values in ((NONE, hash_of(2), owner), (device, NONE, owner), (device, hash_of(2), NOBODY)):
        with refused("zero"):
            devices.send(devices.writer, register, *values)
    devices.send(devices.writer, register, device, hash_of(2), owner)
    with refused("registered"):
        devices.send(devices.writer, register, device, hash_of(2), owner)
    assert trusted(hash_of(2)) and not trusted(hash_of(3))
    for sender in (devices.writer, devices.admin):
        with refused("not the owner"):
            devices.send(sender, key_call, device, hash_of(3))
    devices.send(owner, key_call, device, hash_of(3))
    assert trusted(hash_of(3)) and not trusted(hash_of(2))
    devices.send(owner, "set_owner(bytes32,address)", device, devices.admin)
    with refused("not the owner"):
        devices.send(owner, "revoke(bytes32,bytes32)", device, hash_of(7))
    devices.send(devices.writer, "revoke(bytes32,bytes32)", device, hash_of(7))
    assert not trusted(hash_of(3))
    for signature in (key_call, "revoke(bytes32,bytes32)"):
        with refused("revoked"):
            devices.send(devices.admin, signature, device, hash_of(3))
    with refused("registered"):
        devices.send(devices.writer, register, device, hash_of(3), owner)


def test_a_data_set_is_notarised_once_and_after_what_it_was_made_from() -> None:
    notary = Deployed(NOTARY)
    call = "notarise(bytes32,bytes32,bytes32[])"
    with refused("not the writer"):
        notary.send(notary.stranger, call, hash_of(1), hash_of(2), [])
    with refused("zero"):
        notary.send(notary.writer, call, hash_of(1), NONE, [])
    with refused("unknown source"):
        notary.send(notary.writer, call, hash_of(3), hash_of(2), [hash_of(1)])
    notary.send(notary.writer, call, hash_of(1), hash_of(2), [])
    with refused("notarised"):
        notary.send(notary.writer, call, hash_of(1), hash_of(9), [])
    with refused("unknown source"):
        notary.send(notary.writer, call, hash_of(4), hash_of(2), [hash_of(4)])
    with pytest.raises(TransactionFailed):
        notary.send(notary.writer, call, hash_of(3), hash_of(2), [hash_of(1)] * 17)
    notary.send(notary.writer, call, hash_of(3), hash_of(5), [hash_of(1)])
    kept = notary.ask(notary.stranger, "data_sets(bytes32)", hash_of(3))
    provenance, by, time_s, sources = decode(("bytes32", "address", "uint64", "uint64"), kept)
    assert (provenance, by, sources) == (hash_of(5), notary.writer.lower(), 1) and time_s
    assert notary.ask(notary.stranger, "sources(bytes32,uint256)", hash_of(3), 0) == hash_of(1)


def test_a_model_is_certified_once_moved_through_stages_and_a_revoked_one_is_out() -> None:
    models = Deployed(MODELS)
    certify, model = "certify(bytes32,bytes32,bytes32,uint8)", hash_of(1)

    def certified(stage: int) -> bool:
        return decode(("bool",), models.ask(models.admin, "certified(bytes32,uint8)", model, stage)) == (1,)

    with refused("not the writer"):
        models.send(models.stranger, certify, model, hash_of(2), hash_of(3), 1)
    with refused("unknown stage"):
        models.send(models.writer, certify, model, hash_of(2), hash_of(3), 4)
    with refused("zero"):
        models.send(models.writer, certify, model, hash_of(2), NONE, 1)
    with refused("unknown model"):
        models.send(models.writer, "set_stage(bytes32,uint8)", model, 1)
    models.send(models.writer, certify, model, hash_of(2), hash_of(3), 1)
    with refused("certified"):
        models.send(models.writer, certify, model, hash_of(2), hash_of(3), 1)
    assert certified(1) and not certified(2)
    with refused("same stage"):
        models.send(models.writer, "set_stage(bytes32,uint8)", model, 1)
    for signature, value in (("set_stage(bytes32,uint8)", 3), ("revoke(bytes32,bytes32)", hash_of(4))):
        with refused("not the writer"):
            models.send(models.admin, signature, model, value)
        models.send(models.writer, signature, model, value)
    assert not certified(0)
    with refused("revoked"):
        models.send(models.writer, "set_stage(bytes32,uint8)", model, 1)
