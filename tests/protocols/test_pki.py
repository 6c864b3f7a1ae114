"""The folder of certificates: what lies in it counts, what is wrong with it is said, nothing grows without end."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from protocols import certificate as x
from protocols import pki as folder_of
from protocols.pki import Pki, pem_of_key, ssl_context_client, write
from protocols.trust import Peer, judge
from tests.protocols.pki_bench import NOW, authority, certificate, folder, friends, key, revocation
from twin.errors import BadRequest, NotFound, Refused


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return folder(tmp_path, "twin")


def test_our_certificate_and_its_key_are_read(pki: Pki) -> None:
    own, private = pki.own()
    assert own == pki.own_certificate and x.application_uri(own) == "urn:test:twin"
    assert private.public_key() == own.public_key()


def test_a_key_is_its_owners_alone(pki: Pki) -> None:
    assert stat.S_IMODE(pki.own_key_path.stat().st_mode) == 0o600
    pki.own_key_path.chmod(0o640)
    with pytest.raises(Refused, match=r"key\.pem can be read by others.*chmod 600"):
        pki.own()


def test_an_empty_folder_says_how_to_make_a_certificate(tmp_path: Path) -> None:
    empty = Pki(tmp_path / "none")
    assert (empty.trusted(), empty.issuers(), empty.rejected(), empty.revoked()) == ([], [], [], [])
    with pytest.raises(NotFound, match=r"own/certificate\.der is missing.*twinloop certs init"):
        empty.own()


GARBAGE = (b"", b"garbage", b"\x30\x82\xff\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_in_place_of_our_certificate_names_the_file(pki: Pki, data: bytes) -> None:
    pki.own_certificate_path.write_bytes(data)
    with pytest.raises(BadRequest, match=r"own/certificate\.der is not a certificate in DER or PEM"):
        pki.own()


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_in_place_of_our_key_names_the_file(pki: Pki, data: bytes) -> None:
    pki.own_key_path.write_bytes(data)
    with pytest.raises(BadRequest, match=r"own/key\.pem is not a private key in PEM"):
        pki.own()


def test_the_key_of_another_certificate_is_found_out(pki: Pki) -> None:
    write(pki.own_key_path, pem_of_key(key("other")), private=True)
    with pytest.raises(BadRequest, match=r"own/key\.pem is not the key of .*own/certificate\.der"):
        pki.own()


def test_a_key_that_is_not_rsa_is_found_out(pki: Pki) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    write(pki.own_key_path, curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), private=True)
    with pytest.raises(BadRequest, match=r"own/key\.pem holds a key that is not RSA"):
        pki.own()


def test_a_file_that_is_far_too_large_is_not_read_to_its_end(pki: Pki) -> None:
    pki.own_certificate_path.write_bytes(b"x" * (folder_of.FILE_MAX + 1))
    with pytest.raises(BadRequest, match="more than 65536 bytes"):
        pki.own()


def test_a_folder_in_place_of_a_file_is_named(pki: Pki) -> None:
    pki.own_certificate_path.unlink()
    pki.own_certificate_path.mkdir()
    with pytest.raises(BadRequest, match=r"own/certificate\.der cannot be read"):
        pki.own()


def test_a_file_without_permission_is_named(pki: Pki) -> None:
    pki.own_certificate_path.chmod(0)
    us = os.geteuid()
    try:
        if us == 0:
            os.seteuid(65534)  # root may read everything
        with pytest.raises(BadRequest, match=r"own/certificate\.der cannot be read: Permission denied"):
            pki.own()
    finally:
        os.seteuid(us)


def test_one_bad_file_cuts_off_nobody_and_is_told(pki: Pki) -> None:
    plc = certificate("plc")
    pki.take("trusted", plc)
    (pki.folder / "trusted" / "upload.der").write_bytes(b"not a certificate")
    (pki.folder / "trusted" / "notes.txt").write_bytes(b"no business of ours")
    assert judge([plc], Peer("urn:test:plc"), pki.trust(), NOW) is None
    (told,) = pki.unreadable()
    assert "trusted/upload.der is not a certificate" in told.message


def test_a_bad_revocation_list_lets_nobody_in(pki: Pki) -> None:
    """Passed over, it would let in those that it names."""
    pki.take("issuers", authority("works").certificate)
    (pki.folder / "issuers" / "works.crl").write_bytes(b"half a downl")
    with pytest.raises(BadRequest, match=r"issuers/works\.crl is not a revocation list"):
        pki.trust()


def test_a_revocation_list_beside_its_authority_counts(pki: Pki) -> None:
    works = authority("works")
    issued = certificate("plc", issuer=works)
    pki.take("issuers", works.certificate)
    peer = Peer("urn:test:plc", "127.0.0.1")
    assert judge([issued], peer, pki.trust(), NOW) is None
    (pki.folder / "issuers" / "works.crl").write_bytes(revocation(works, issued).public_bytes(Encoding.DER))
    doubt = judge([issued], peer, pki.trust(), NOW)
    assert doubt is not None and "revoked" in doubt.words


def test_certificates_in_pem_count_as_well(pki: Pki) -> None:
    plc = certificate("plc")
    (pki.folder / "trusted").mkdir()
    (pki.folder / "trusted" / "plc.pem").write_bytes(plc.public_bytes(Encoding.PEM))
    assert [held.certificate for held in pki.trusted()] == [plc]


def test_a_rejected_certificate_is_kept_once_and_found_by_either_thumbprint(pki: Pki) -> None:
    plc = certificate("plc")
    path = pki.reject(plc)
    assert pki.reject(plc) == path and path.name == f"plc [{x.thumbprint(plc)}].der"
    known = x.facts(plc)
    for text in (known.thumbprint, known.thumbprint[:6].lower(), known.sha256[:10], f"{plc_colons(known.thumbprint)}"):
        assert pki.find(text, "rejected").certificate == plc


def plc_colons(thumbprint: str) -> str:
    return ":".join(thumbprint[i : i + 2] for i in range(0, 20, 2))


@pytest.mark.parametrize("text", ["", "abc", "xyz1", "../..", "0" * 65])
def test_what_is_no_thumbprint_is_refused(pki: Pki, text: str) -> None:
    with pytest.raises(BadRequest, match="no thumbprint"):
        pki.find(text, "rejected")


def test_an_unknown_thumbprint_is_not_found(pki: Pki) -> None:
    with pytest.raises(NotFound, match="no certificate in rejected begins with 0000"):
        pki.find("0000", "rejected")


def test_the_rejected_give_way_oldest_first(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_of, "REJECTED_MAX", 3)
    made = [certificate("plc", days=50 + n) for n in range(5)]
    for age, one in enumerate(made):
        path = pki.reject(one)
        os.utime(path, ns=(age * 10**9, age * 10**9))
    assert {held.certificate for held in pki.rejected()} >= set(made[3:])
    assert len(pki.rejected()) == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "/", "..", "a\0b", "x" * 64, "Ünïcode", "trusted"])
def test_no_name_in_a_certificate_leads_out_of_the_folder(pki: Pki, name: str) -> None:
    spoilt = x.make(x.Identity(name, "", "urn:x", ()), key("plc"), NOW, 5)
    path = pki.reject(spoilt)
    assert path.parent == pki.folder / "rejected" and path.is_file()
    assert [held.certificate for held in pki.rejected()] == [spoilt]


def test_what_is_trusted_is_no_longer_rejected(pki: Pki) -> None:
    plc = certificate("plc")
    pki.reject(plc)
    pki.take("trusted", plc)
    assert not pki.rejected()
    assert [held.certificate for held in pki.trusted()] == [plc]


async def handshake(server: Pki, context: ssl.SSLContext, host: str = "localhost", ask: bool = False) -> str:
    """One TLS connection over loopback: the common name that the server saw of the client, "" for none."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = server.folder / "server.pem"
    pem.write_bytes(server.own_certificate.public_bytes(Encoding.PEM))
    served.load_cert_chain(pem, server.own_key_path)
    if ask:
        served.verify_mode = ssl.CERT_REQUIRED
        served.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        served.load_verify_locations(cadata=b"".join(x.der(held.certificate) for held in server.trusted()))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("ssl_object").getpeercert() or {}
        names = [value for part in shown.get("subject", ()) for field, value in part if field == "commonName"]
        writer.write("".join(names).encode() + b"\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
        try:
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()


async def test_tls_believes_a_trusted_certificate_and_no_other(tmp_path: Path, pki: Pki) -> None:
    broker = folder(tmp_path, "broker")
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(broker, ssl_context_client(pki))
    pki.take("trusted", broker.own_certificate)
    assert await handshake(broker, ssl_context_client(pki)) == ""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await handshake(broker, ssl_context_client(pki), "elsewhere.local")


async def test_tls_believes_what_a_known_authority_has_issued(tmp_path: Path, pki: Pki) -> None:
    works = authority("works")
    broker = folder(tmp_path, "broker", certificate("broker", issuer=works))
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(broker, ssl_context_client(pki))
    pki.take("issuers", works.certificate)
    assert await handshake(broker, ssl_context_client(pki)) == ""


async def test_tls_shows_our_certificate_when_it_is_asked_for(tmp_path: Path, pki: Pki) -> None:
    broker = folder(tmp_path, "broker")
    friends(pki, broker)
    context = ssl_context_client(pki, certificate=pki.own_certificate_path, key=pki.own_key_path)
    assert await handshake(broker, context, ask=True) == "twin"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        if await handshake(broker, ssl_context_client(pki), ask=True) == "":
            raise ConnectionError("the broker hung up without a word")


def test_without_a_folder_tls_believes_the_systems_authorities_only() -> None:
    context = ssl_context_client(None)
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


def test_what_cannot_be_written_is_named(pki: Pki) -> None:
    blocked = pki.folder / "rejected"
    blocked.write_bytes(b"a file where a folder should be")
    with pytest.raises(BadRequest, match="rejected cannot be made"):
        pki.reject(certificate("plc"))
