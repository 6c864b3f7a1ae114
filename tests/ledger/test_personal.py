"""Persons in the log: hashes that only a secret beside it opens, and that say nothing once it is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.bundle import verify_bundle
from ledger.entry import Entry, encode
from ledger.errors import NotFound
from ledger.log import Log
from ledger.personal import SALTS, Salts, is_sealed, salt_of, sealed_with
from ledger.proving import prove
from ledger.verify import verify

GOLDEN = "person:1:000102030405060708090a0b0c0d0e0f:5cea037141afe30daea9f705f33c82a4e04ba8043a300efdd40f4704740d805e"


@pytest.fixture
def salts(tmp_path: Path) -> Iterator[Salts]:
    opened = Salts(tmp_path)
    yield opened
    opened.close()


def test_a_person_is_never_written_the_same_twice_and_opens_to_their_name(salts: Salts) -> None:
    first, second, other = salts.seal("ada"), salts.seal("ada"), salts.seal("bob")
    assert len({first, second, other}) == 3
    assert all(map(is_sealed, (first, second, other)))
    assert "ada" not in first
    assert [salts.opened(sealed) for sealed in (first, second, other)] == ["ada", "ada", "bob"]
    assert salts.seal("") == ""
    assert salts.opened("ada") is None


def test_the_golden_person_opens_for_ever() -> None:
    secret, nonce = bytes(range(32)), bytes(range(16))
    assert sealed_with(salt_of(secret, nonce), nonce, "ada") == GOLDEN


def test_erasing_leaves_every_proof_valid_and_no_trace_of_the_secret(salts: Salts, tmp_path: Path) -> None:
    with Log.open(tmp_path / "log") as log:
        sealed = salts.seal("ada")
        log.append([encode(Entry("login", 1, {"user": sealed}))])
        log.checkpoint()
    before = prove(tmp_path / "log", 0)
    secret = salts._con.execute("SELECT secret FROM subjects").fetchone()[0]
    assert secret in (tmp_path / SALTS).read_bytes()
    salts.erase("ada")
    assert salts.opened(sealed) is None
    assert verify_bundle(before).ok
    assert verify(tmp_path / "log").ok
    assert secret not in (tmp_path / SALTS).read_bytes()
    with pytest.raises(NotFound):
        salts.erase("ada")
    again = salts.seal("ada")  # a person who comes back is another one to the log
    assert salts.opened(again) == "ada"
    assert salts.opened(sealed) is None


def test_the_secrets_are_only_the_owners_and_survive_a_restart(salts: Salts, tmp_path: Path) -> None:
    sealed = salts.seal("ada")
    again = Salts(tmp_path)
    assert again.opened(sealed) == "ada"
    again.close()
    assert (tmp_path / SALTS).stat().st_mode & 0o777 == 0o600
