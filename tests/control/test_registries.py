"""Devices, data sets and models on the embedded chain, each step with its entry in the ledger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.evidence import Evidence
from control.registries import STEPS, device_hash, look_up, record, values_of
from ledger.contracts import load
from ledger.errors import ChainError
from twin.errors import BadRequest, NotFound


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    made = Evidence(tmp_path_factory.mktemp("data") / "ledger", "works", time.time_ns)
    yield made
    made.close()


def test_every_step_is_a_function_of_its_contract() -> None:
    assert all(step.function in load(step.contract).selectors for step in STEPS.values())


def test_a_device_is_registered_and_revoked_and_both_are_entries(evidence: Evidence) -> None:
    device = device_hash("works", "plc_1")
    with pytest.raises((ChainError, NotFound)):
        look_up(evidence, "device", device)
    made = record(evidence, "register_device", values_of("register_device", [device, hash_of("key")]), "ann")
    found = look_up(evidence, "device", device)
    assert (found["key"], found["owner"], found["revoked_s"]) == (hash_of("key"), evidence.anchorer.writer, 0)
    record(evidence, "change_key", values_of("change_key", [device, hash_of("key 2")]), "ann")
    record(evidence, "revoke_device", values_of("revoke_device", [device, hash_of("stolen")]), "ben")
    found = look_up(evidence, "device", device)
    assert found["key"] == hash_of("key 2") and found["revoked_s"] > 0
    entries = [entry.body for _, entry in evidence.entries(3, "registry")]
    assert [(body["step"], body["by"]) for body in entries] == [
        ("revoke_device", "ben"), ("change_key", "ann"), ("register_device", "ann")
    ]  # fmt: skip
    assert entries[-1]["tx_hash"] == made["tx_hash"]
    with pytest.raises(ChainError, match="revoked"):
        record(evidence, "change_key", values_of("change_key", [device, hash_of("key")]), "ann")


def test_a_data_set_is_notarised_after_its_sources(evidence: Evidence) -> None:
    raw, clean = hash_of("raw"), hash_of("clean")
    with pytest.raises(ChainError, match="unknown source"):
        record(evidence, "notarise", values_of("notarise", [clean, hash_of("how")], sources=[raw]), "ann")
    for found, sources in ((raw, []), (clean, [raw])):
        record(evidence, "notarise", values_of("notarise", [found, hash_of("how")], sources=sources), "ann")
    assert look_up(evidence, "data_set", clean)["sources"] == 1
    with pytest.raises(NotFound, match="no data_set"):
        look_up(evidence, "data_set", hash_of("other"))


def test_a_model_is_certified_staged_and_revoked(evidence: Evidence) -> None:
    model = hash_of("model")
    hashes = [model, hash_of("data"), hash_of("report")]
    record(evidence, "certify_model", values_of("certify_model", hashes, "shadow"), "ann")
    record(evidence, "stage_model", values_of("stage_model", [model], "live"), "ann")
    assert look_up(evidence, "model", model)["stage"] == "live"
    record(evidence, "revoke_model", values_of("revoke_model", [model, hash_of("drift")]), "ann")
    assert look_up(evidence, "model", model)["revoked_s"] > 0


def test_what_no_contract_takes_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    for step, hashes, stage, sources in [
        ("burn", [], "", []),
        ("notarise", [hash_of("a")], "", []),
        ("notarise", [hash_of("a"), "short"], "", []),
        ("notarise", [hash_of("a"), hash_of("b")], "", [hash_of("c")] * 17),
        ("stage_model", [hash_of("a")], "dead", []),
        ("stage_model", [hash_of("a")], "live", [hash_of("b")]),
    ]:
        with pytest.raises(BadRequest):
            values_of(step, hashes, stage, sources)
