"""`twinloop certs …` as people call it."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from typer.testing import CliRunner

from control import certs
from control.cli import app
from protocols import certificate as x
from protocols.pki import Pki
from protocols.trust import Peer, judge
from tests.protocols.pki_bench import NOW, authority, certificate
from tests.protocols.protocol_bench import until
from twin.errors import BadRequest, Conflict, NotFound, Refused


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["certs", *(str(w) for w in words)])


def said(*words: str | Path) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    folder = tmp_path / "pki"
    words = ("--name", "works twin", "--uri", "urn:works:twin", "--host", "twin.local", "--host", "10.0.0.7")
    assert run("init", "--pki", folder, *words, "--days", "400").exit_code == 0
    return folder


def test_a_certificate_is_made_with_the_names_it_was_asked_for(pki: Path) -> None:
    (own,) = said("show", "--pki", pki)
    assert own["application_uri"] == "urn:works:twin"
    assert own["hosts"] == ["twin.local", "10.0.0.7"]
    assert (own["subject"], own["issuer"], own["bits"]) == ("CN=works twin", "itself", 2048)
    assert 398 <= own["days_left"] <= 400
    assert stat.S_IMODE((pki / "own" / "key.pem").stat().st_mode) == 0o600
    Pki(pki).own()


def test_without_words_it_is_made_for_this_machine(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (own,) = said("init", "--data", data, "--bits", "3072")
    assert own["application_uri"].startswith("urn:") and own["application_uri"].endswith(":twinloop")
    assert own["hosts"] and own["bits"] == 3072
    assert Path(own["file"]) == data / "pki" / "own" / "certificate.der"


def test_a_certificate_is_not_replaced_by_making_another(pki: Path) -> None:
    before = Pki(pki).own_certificate
    assert isinstance(run("init", "--pki", pki).exception, Conflict)
    assert Pki(pki).own_certificate == before


@pytest.mark.parametrize(
    "words", [("--bits", "2500"), ("--name", "x" * 65), ("--host", "öl.local"), ("--uri", "urn:ö")]
)
def test_what_no_certificate_can_carry_is_refused(tmp_path: Path, words: tuple[str, str]) -> None:
    assert isinstance(run("init", "--pki", tmp_path / "pki", *words).exception, BadRequest)
    assert not (tmp_path / "pki" / "own" / "certificate.der").exists()


def test_a_rejected_certificate_is_listed_trusted_by_its_first_digits_and_rejected_again(pki: Path) -> None:
    plc = certificate("plc")
    Pki(pki).reject(plc)
    thumbprint = x.thumbprint(plc)
    assert [(r["folder"], r["thumbprint"]) for r in said("list", "--pki", pki)][1:] == [("rejected", thumbprint)]
    assert said("trust", thumbprint[:8].lower(), "--pki", pki)["folder"] == "trusted"
    assert [r["folder"] for r in said("list", "--pki", pki)] == ["own", "trusted"]
    assert said("show", thumbprint[:8], "--pki", pki)[0]["sha256"] == x.facts(plc).sha256
    assert said("reject", thumbprint, "--pki", pki)["folder"] == "rejected"
    assert [r["folder"] for r in said("list", "--pki", pki)] == ["own", "rejected"]
    assert Pki(pki).trusted() == []


def test_a_certificate_is_trusted_from_a_file(pki: Path, tmp_path: Path) -> None:
    file = tmp_path / "from the device.der"
    file.write_bytes(x.der(certificate("plc")))
    assert said("trust", file, "--pki", pki)["folder"] == "trusted"
    file.write_bytes(b"garbage")
    assert isinstance(run("trust", file, "--pki", pki).exception, BadRequest)


def test_only_an_authority_becomes_an_issuer(pki: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.der"
    file.write_bytes(x.der(certificate("plc")))
    assert isinstance(run("trust", file, "--issuer", "--pki", pki).exception, Refused)
    file.write_bytes(x.der(authority("works").certificate))
    assert said("trust", file, "--issuer", "--pki", pki)["folder"] == "issuers"


def test_a_thumbprint_that_nobody_has_is_not_found(pki: Path) -> None:
    assert isinstance(run("trust", "0000", "--pki", pki).exception, NotFound)
    assert isinstance(run("reject", "0000", "--pki", pki).exception, NotFound)
    assert isinstance(run("show", "0000", "--pki", pki).exception, NotFound)


@pytest.mark.parametrize("new_key", [False, True])
def test_a_renewed_certificate_keeps_its_names_and_gets_a_new_term(pki: Path, new_key: bool) -> None:
    before, key = Pki(pki).own()
    (own,) = said("renew", "--days", "800", "--pki", pki, *(["--new-key"] if new_key else []))
    after, new = Pki(pki).own()
    assert own["thumbprint"] == x.thumbprint(after) != x.thumbprint(before)
    assert (x.application_uri(after), x.hosts(after)) == (x.application_uri(before), x.hosts(before))
    assert after.subject == before.subject
    assert 798 <= own["days_left"] <= 800
    assert (key.public_key() == new.public_key()) is not new_key


def test_our_own_authority_issues_ours_and_others(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    run("init", "--ca", "--pki", folder, "--host", "localhost")
    own, ca = said("show", "--pki", folder)
    assert own["issuer"] == ca["subject"] == "CN=twinloop CA" and ca["authority"]
    made = said("issue", "plc 1", "-o", tmp_path / "out", "--uri", "urn:plc", "--host", "plc.local", "--pki", folder)
    assert stat.S_IMODE(Path(made["key"]).stat().st_mode) == 0o600
    plc = x.read(Path(made["certificate"]).read_bytes())
    pki = Pki(folder)
    assert judge([plc], Peer("urn:plc", "plc.local"), pki.trust(), NOW) is None
    assert judge([pki.own_certificate], Peer(), pki.trust(), NOW) is None
    assert isinstance(run("issue", "plc 1", "-o", tmp_path / "out", "--pki", folder).exception, Conflict)
    said("renew", "--pki", folder)
    assert x.facts(pki.own_certificate).issuer == "CN=twinloop CA"


def test_without_an_authority_nothing_is_issued(pki: Path, tmp_path: Path) -> None:
    assert isinstance(run("issue", "plc", "-o", tmp_path / "out", "--pki", pki).exception, NotFound)


def test_what_is_exported_is_our_certificate_and_never_a_key(pki: Path, tmp_path: Path) -> None:
    own = Pki(pki).own_certificate
    done = run("export", "--pki", pki)
    assert x509.load_pem_x509_certificate(done.stdout.encode()) == own
    assert run("export", tmp_path / "twin.der", "--pki", pki).exit_code == 0
    assert (tmp_path / "twin.der").read_bytes() == x.der(own)
    assert run("export", tmp_path / "twin.pem", "--pem", "--pki", pki).exit_code == 0
    for text in (done.stdout, (tmp_path / "twin.pem").read_text()):
        assert "PRIVATE" not in text


def test_a_certificate_near_its_end_is_told_of(pki: Path) -> None:
    said("renew", "--days", "20", "--pki", pki)
    (own,) = said("list", "--pki", pki)
    assert own["note"] == "expires in 19 days" or own["note"] == "expires in 20 days"
    (told,) = certs.warnings(Pki(pki), NOW)
    assert "CN=works twin" in told and "expires in" in told
    (late,) = certs.warnings(Pki(pki), NOW + timedelta(days=30))
    assert late.endswith("EXPIRED")


async def test_a_running_server_warns_of_certificates_near_their_end(
    pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said("renew", "--days", "20", "--pki", pki)
    watching = asyncio.create_task(certs.watch(pki, time.time_ns))
    await until(lambda: "CN=works twin" in caplog.text and "expires in" in caplog.text, "a warning")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert len(caplog.records) == 1


def test_a_file_that_is_no_certificate_is_told_of(pki: Path) -> None:
    (pki / "trusted" / "upload.der").write_bytes(b"garbage")
    done = run("list", "--pki", pki)
    assert done.exit_code == 0 and "upload.der is not a certificate" in done.stderr
    assert "upload.der" in certs.warnings(Pki(pki), NOW)[0]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert said("list", "--pki", tmp_path / "none") == []
    assert certs.warnings(Pki(tmp_path / "none"), NOW) == []
    assert isinstance(run("show", "--pki", tmp_path / "none").exception, NotFound)
