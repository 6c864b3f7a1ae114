"""Whether to believe a certificate: by hand-picked peers, by issuers, by what was taken back; must not know folders."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from protocols.certificate import CHAIN_MAX, KEY_BITS, alternatives, application_uri, hosts, is_authority

WEAK_HASHES = ("md5", "sha1")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom we believe: peers one by one, issuers with all they have issued, and what issuers have taken back."""

    trusted: Sequence[x509.Certificate] = ()
    issuers: Sequence[x509.Certificate] = ()
    revoked: Sequence[x509.CertificateRevocationList] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """Who somebody says they are, to be compared with their certificate.

    Attributes:
        uri: ApplicationUri of their description; None where they have none.
        host: where we have reached them; None for those that have reached us.
    """

    uri: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a certificate is not accepted, and what helps. `unknown`: nothing is wrong with it but that nobody trusts it."""

    words: str
    fix: str
    unknown: bool = False


def judge(chain: Sequence[x509.Certificate], peer: Peer, trust: Trust, now: datetime) -> Doubt | None:
    """Whether to believe a peer's certificate (Part 4, 6.1.3); None when nothing is wrong.

    Args:
        chain: the peer's own certificate first, then whatever issuers it has sent along.
    """
    if not chain:
        return Doubt("no certificate was given", "give the peer a certificate")
    own, *sent = chain
    return (
        _doubt_itself(own, now)
        or _doubt_uri(own, peer.uri)
        or _doubt_trust(own, sent, peer.host, trust, now)
        or _doubt_revoked(own, trust)
    )


def _doubt_itself(certificate: x509.Certificate, now: datetime) -> Doubt | None:
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey) or not KEY_BITS[0] <= public.key_size <= KEY_BITS[-1]:
        size = f"{public.key_size} bits of RSA" if isinstance(public, rsa.RSAPublicKey) else "another kind of key"
        return Doubt(f"its key has {size}, not {KEY_BITS[0]} to {KEY_BITS[-1]}", "make a new certificate for the peer")
    return _doubt_time(certificate, now)


def _doubt_time(certificate: x509.Certificate, now: datetime) -> Doubt | None:
    if now > certificate.not_valid_after_utc:
        return Doubt(f"it expired on {_day(certificate.not_valid_after_utc)}", "renew the certificate of the peer")
    if now < certificate.not_valid_before_utc:
        begins = _day(certificate.not_valid_before_utc)
        return Doubt(f"it is valid from {begins} only", "set the clocks of both machines, or make a new certificate")
    return None


def _doubt_uri(certificate: x509.Certificate, uri: str | None) -> Doubt | None:
    if uri is None or uri in alternatives(certificate, x509.UniformResourceIdentifier):
        return None
    has = application_uri(certificate)
    words = f"its ApplicationUri is {has or 'missing'}, but the peer calls itself {uri or 'nothing'}"
    return Doubt(words, "make a certificate for the peer that carries its ApplicationUri")


def _doubt_trust(
    own: x509.Certificate, sent: Sequence[x509.Certificate], host: str | None, trust: Trust, now: datetime
) -> Doubt | None:
    if own in trust.trusted:
        return None
    anchors = [*trust.issuers, *(c for c in trust.trusted if is_authority(c))]
    chain = _chain_to(own, sent, anchors)
    if chain is None:
        return Doubt("nobody here trusts it", "compare its thumbprint with the peer's own, then trust it", unknown=True)
    for issuer in chain[1:]:
        late = _doubt_time(issuer, now)
        if late is not None:
            return Doubt(f"its issuer {issuer.subject.rfc4514_string()}: {late.words}", "renew the issuer")
        taken = _doubt_revoked(issuer, trust)
        if taken is not None:
            return taken
    # Whoever holds any certificate of the same issuer could stand in for the peer, so the place must be right, too.
    if host is not None and not _names_host(own, host):
        words = f"it is made for {', '.join(hosts(own)) or 'no host'}, but the peer was reached as {host}"
        return Doubt(words, "trust this very certificate, or make one that names the host", unknown=True)
    return None


def _chain_to(
    own: x509.Certificate, sent: Iterable[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> list[x509.Certificate] | None:
    """From a certificate to an issuer we know, both included; None when there is no such way."""
    chain = [own]
    others = [c for c in sent if is_authority(c)]
    while len(chain) <= CHAIN_MAX:
        depth = len(chain) - 1  # authorities between the peer and the next issuer
        known = next((c for c in anchors if _issued(chain[-1], c, depth)), None)
        if known is not None:
            return [*chain, known]
        between = next((c for c in others if c not in chain and _issued(chain[-1], c, depth)), None)
        if between is None:
            return None
        chain.append(between)
    return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, depth: int) -> bool:
    """Whether `issuer` may sign certificates, also `depth` authorities further down, and has signed this one."""
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.name in WEAK_HASHES:
        return False
    try:
        rules = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return rules.ca and usage.key_cert_sign and (rules.path_length is None or depth <= rules.path_length)


def _doubt_revoked(certificate: x509.Certificate, trust: Trust) -> Doubt | None:
    for revoked in trust.revoked:
        if revoked.issuer != certificate.issuer:
            continue
        entry = revoked.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None and any(_signed(revoked, c) for c in (*trust.issuers, *trust.trusted)):
            words = f"its issuer revoked it on {_day(entry.revocation_date_utc)}"
            return Doubt(words, "give the peer a new certificate")
    return None


def _signed(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    public = issuer.public_key()
    if issuer.subject != revoked.issuer or not isinstance(public, rsa.RSAPublicKey):
        return False
    try:
        return revoked.is_signature_valid(public)
    except (TypeError, ValueError):
        return False


def _names_host(certificate: x509.Certificate, host: str) -> bool:
    try:
        return str(ipaddress.ip_address(host)) in alternatives(certificate, x509.IPAddress)
    except ValueError:
        return any(_matches(pattern, host) for pattern in alternatives(certificate, x509.DNSName))


def _matches(pattern: str, host: str) -> bool:
    """One leading * stands for one label (RFC 6125, 6.4.3)."""
    form = re.escape(pattern.lower().rstrip("."))
    if form.startswith(r"\*\."):
        form = r"[^.]+\." + form[4:]
    return re.fullmatch(form, host.lower().rstrip(".")) is not None


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
