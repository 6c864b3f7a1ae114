"""Judging certificates: who is believed, and why not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import certificate as x
from protocols.certificate import Identity, Issuer
from protocols.trust import Doubt, Peer, Trust, judge
from tests.protocols.pki_bench import HOSTS, NOW, authority, certificate, key, revocation

PLC = certificate("plc")
PEER = Peer("urn:test:plc", "127.0.0.1")


def words(doubt: Doubt | None) -> str:
    return "" if doubt is None else f"{doubt.words}; {doubt.fix}"


def test_a_made_certificate_carries_what_opc_ua_wants() -> None:
    made = x.make(Identity("Twin", "Works", "urn:works:twin", ("plant.local", "10.0.0.7", "::1")), key("a"), NOW, 30)
    known = x.facts(made)
    assert known.uri == "urn:works:twin"
    assert known.hosts == ("plant.local", "10.0.0.7", "::1")
    assert known.days_left(NOW) == 30
    assert (known.bits, known.authority, known.self_signed) == (2048, False, True)
    assert len(known.thumbprint) == 40 and len(known.sha256) == 64
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.content_commitment and usage.key_encipherment and usage.data_encipherment
    purposes = set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_peer_that_somebody_trusts_is_believed_wherever_it_was_reached() -> None:
    assert judge([PLC], PEER, Trust([PLC]), NOW) is None
    assert judge([PLC], Peer("urn:test:plc", "192.0.2.1"), Trust([PLC]), NOW) is None


def test_a_peer_that_nobody_trusts_is_unknown() -> None:
    doubt = judge([PLC], PEER, Trust([certificate("other")]), NOW)
    assert doubt is not None and doubt.unknown
    assert "nobody here trusts it" in doubt.words


def test_a_new_certificate_of_the_same_name_and_key_is_not_the_trusted_one() -> None:
    renewed = certificate("plc", days=200)
    doubt = judge([renewed], PEER, Trust([PLC]), NOW)
    assert doubt is not None and doubt.unknown


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (certificate("plc", now=NOW - timedelta(days=101)), "it expired on"),
        (certificate("plc", now=NOW + timedelta(days=2)), "it is valid from"),
        (certificate("plc", uri="urn:test:other"), "its ApplicationUri is urn:test:other, but the peer calls itself"),
        (certificate("plc", uri=""), "its ApplicationUri is missing, but the peer calls itself urn:test:plc"),
        (x.make(Identity("plc", "", "urn:test:plc", HOSTS), x.new_key(1024), NOW, 9), "its key has 1024 bits of RSA"),
    ],
)
def test_trust_mends_neither_term_nor_name_nor_key(made: x509.Certificate, said: str) -> None:
    doubt = judge([made], PEER, Trust([made]), NOW)
    assert doubt is not None and not doubt.unknown
    assert said in doubt.words


def test_a_key_that_is_not_rsa_is_refused_in_words() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "curve")])
    private = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1)).public_key(private.public_key())
    made = builder.sign(private, hashes.SHA256())
    assert "another kind of key" in words(judge([made], Peer(), Trust([made]), NOW))


def test_what_a_known_authority_has_issued_is_believed_at_the_place_it_names() -> None:
    works = authority("works")
    issued = certificate("plc", issuer=works)
    trust = Trust(issuers=[works.certificate])
    assert judge([issued], PEER, trust, NOW) is None
    assert judge([issued], Peer("urn:test:plc", "localhost"), trust, NOW) is None
    assert judge([issued], Peer("urn:test:plc"), trust, NOW) is None  # a client: it was not reached anywhere
    doubt = judge([issued], Peer("urn:test:plc", "192.0.2.1"), trust, NOW)
    assert doubt is not None and doubt.unknown
    assert "made for localhost, 127.0.0.1, but the peer was reached as 192.0.2.1" in doubt.words


def test_an_authority_among_the_trusted_counts_as_one() -> None:
    works = authority("works")
    assert judge([certificate("plc", issuer=works)], PEER, Trust([works.certificate]), NOW) is None


def test_an_authority_of_the_same_name_is_another_one() -> None:
    false = Issuer(x.make_authority("works", "Tests", key("false works"), NOW, 10), key("false works"))
    doubt = judge([certificate("plc", issuer=false)], PEER, Trust(issuers=[authority("works").certificate]), NOW)
    assert doubt is not None and doubt.unknown


def test_nobody_becomes_an_authority_by_signing() -> None:
    """A trusted peer signs a certificate for somebody else: it is no authority, so that counts for nothing."""
    forged = certificate("intruder", uri="urn:test:plc", issuer=Issuer(PLC, key("plc")))
    doubt = judge([forged, PLC], PEER, Trust([PLC], [PLC]), NOW)
    assert doubt is not None and doubt.unknown


def nested(path_length: int | None) -> tuple[x509.Certificate, Issuer, x509.Certificate]:
    """(root that allows so many authorities below it, one below it, certificate of a plc)."""
    root = authority("root")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "site")])
    usage = root.certificate.extensions.get_extension_for_class(x509.KeyUsage).value

    def made(name: x509.Name, public: object, length: int | None) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(root.certificate.subject)
        builder = builder.serial_number(x509.random_serial_number()).public_key(public)  # type: ignore[arg-type]
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
        return builder.add_extension(usage, critical=True).sign(root.key, hashes.SHA256())

    top = made(root.certificate.subject, root.key.public_key(), path_length)
    site = Issuer(made(subject, key("site").public_key(), 0), key("site"))
    return top, site, certificate("plc", issuer=site)


def test_a_chain_is_followed_through_what_the_peer_sends_along() -> None:
    top, site, plc = nested(1)
    assert judge([plc, site.certificate], PEER, Trust(issuers=[top]), NOW) is None
    alone = judge([plc], PEER, Trust(issuers=[top]), NOW)
    assert alone is not None and alone.unknown


def test_an_authority_may_not_make_more_authorities_than_it_was_allowed() -> None:
    top, site, plc = nested(0)
    doubt = judge([plc, site.certificate], PEER, Trust(issuers=[top]), NOW)
    assert doubt is not None and doubt.unknown


def test_an_expired_authority_vouches_for_nobody() -> None:
    old = authority("old", now=NOW - timedelta(days=20), days=10)
    doubt = judge([certificate("plc", issuer=old)], PEER, Trust(issuers=[old.certificate]), NOW)
    assert doubt is not None and not doubt.unknown
    assert "its issuer O=Tests,CN=old: it expired on" in doubt.words


def test_what_its_authority_has_taken_back_is_refused_though_it_was_trusted_by_hand() -> None:
    works = authority("works")
    issued, other = certificate("plc", issuer=works), certificate("other", issuer=works)
    trust = Trust([issued], [works.certificate], [revocation(works, issued)])
    assert "its issuer revoked it on" in words(judge([issued], PEER, trust, NOW))
    assert judge([other], Peer("urn:test:other"), trust, NOW) is None


def test_a_revocation_list_that_its_authority_has_not_signed_takes_nothing_back() -> None:
    works = authority("works")
    issued = certificate("plc", issuer=works)
    forged = revocation(Issuer(works.certificate, key("intruder")), issued)
    assert judge([issued], PEER, Trust(issuers=[works.certificate], revoked=[forged]), NOW) is None


@pytest.mark.parametrize(
    ("host", "named"),
    [("plc.works.local", True), ("PLC.works.local.", True), ("a.b.works.local", False), ("works.local", False)],
)
def test_a_star_stands_for_one_label(host: str, named: bool) -> None:
    works = authority("works")
    issued = certificate("plc", hosts=("*.works.local",), issuer=works)
    doubt = judge([issued], Peer("urn:test:plc", host), Trust(issuers=[works.certificate]), NOW)
    assert (doubt is None) is named


def test_a_chain_is_read_as_it_was_sent() -> None:
    works = authority("works")
    assert x.read_chain(x.der(PLC) + x.der(works.certificate)) == [PLC, works.certificate]
    assert x.read_chain(b"") == []
    with pytest.raises(ValueError, match="more than 8"):
        x.read_chain(x.der(PLC) * 9)


@given(st.integers(0, len(x.der(PLC)) - 1), st.binary(max_size=40))
def test_a_chain_that_is_cut_or_spoilt_is_a_value_error_and_nothing_else(cut: int, tail: bytes) -> None:
    blob = x.der(PLC)
    for spoilt in (blob[:cut], blob + tail, tail, blob[:cut] + tail + blob[cut:]):
        try:
            x.read_chain(spoilt)
        except ValueError:
            continue


@settings(max_examples=400)
@given(st.integers(0, len(x.der(PLC)) - 1), st.integers(0, 255))
def test_a_certificate_with_any_byte_changed_is_unreadable_or_believed_by_nobody(place: int, byte: int) -> None:
    blob = bytearray(x.der(PLC))
    if blob[place] == byte:
        return
    blob[place] = byte
    try:
        chain = x.read_chain(bytes(blob))
    except ValueError:
        return
    assert judge(chain, PEER, Trust([PLC], [authority("works").certificate]), NOW) is not None
