"""Folders of certificates for the tests, made in a moment: keys are drawn once for the whole run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from protocols import certificate as x
from protocols.certificate import Identity, Issuer
from protocols.pki import Pki, pem_of_key, write

NOW = datetime.now(UTC).replace(microsecond=0)  # a certificate knows whole seconds
HOSTS = ("localhost", "127.0.0.1")


@cache
def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    return x.new_key(bits)


def certificate(
    name: str,
    *,
    uri: str | None = None,
    hosts: tuple[str, ...] = HOSTS,
    now: datetime = NOW,
    days: int = 100,
    issuer: Issuer | None = None,
) -> x509.Certificate:
    """The certificate of `urn:test:NAME`, self-signed without an issuer."""
    made = Identity(name, "Tests", f"urn:test:{name}" if uri is None else uri, hosts)
    return x.make(made, key(name), now, days, issuer)


def authority(name: str, *, now: datetime = NOW, days: int = 1000) -> Issuer:
    return Issuer(x.make_authority(name, "Tests", key(name), now, days), key(name))


def folder(path: Path, name: str, own: x509.Certificate | None = None) -> Pki:
    """A folder with its own certificate and key in place."""
    pki = Pki(path / name)
    pki.own_certificate_path.parent.mkdir(parents=True)
    write(pki.own_key_path, pem_of_key(key(name)), private=True)
    write(pki.own_certificate_path, x.der(own or certificate(name)), private=False)
    return pki


def friends(one: Pki, other: Pki) -> None:
    """They trust each other from now on."""
    one.take("trusted", other.own_certificate)
    other.take("trusted", one.own_certificate)


def revocation(issuer: Issuer, *revoked: x509.Certificate, now: datetime = NOW) -> x509.CertificateRevocationList:
    """What an authority publishes about certificates that it takes back."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(now).next_update(now + timedelta(days=30))
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256())
