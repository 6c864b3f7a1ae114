"""X.509 certificates of OPC UA applications: making, reading and describing them; must not know folders or trust."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = (2048, 3072, 4096)  # what all three security policies take (Part 7: 2048 to 4096)
DAYS_MAX = 7300  # twenty years: what a controller lives
# A device whose clock was never set is often hours behind; a certificate valid from now on would be refused there.
EARLY = timedelta(days=1)
CHAIN_MAX = 8  # certificates from a device up to its root; no plant has half as many
# What cryptography raises for bytes that are no certificate, beside ValueError.
UNREADABLE = (
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    OverflowError,
    TypeError,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate is made for.

    Attributes:
        name: common name.
        uri: ApplicationUri; "" for people and brokers, who have none.
        hosts: host names and IP addresses.
    """

    name: str
    organization: str
    uri: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate that signs others, with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Facts:
    """What people compare and decide by."""

    thumbprint: str
    sha256: str
    subject: str
    issuer: str
    uri: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    bits: int
    authority: bool
    self_signed: bool
    serial: str = field(default="")

    def days_left(self, now: datetime) -> int:
        """Whole days; negative once it has expired."""
        return (self.not_after - now) // timedelta(days=1)


def new_key(bits: int) -> rsa.RSAPrivateKey:
    """A key that every policy takes; 2048 bits take a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make(
    identity: Identity, key: rsa.RSAPrivateKey, now: datetime, days: int, issuer: Issuer | None = None
) -> x509.Certificate:
    """An application instance certificate (OPC UA Part 6, 6.2.2); self-signed without an issuer."""
    names: list[x509.GeneralName] = []
    if identity.uri:
        names.append(x509.UniformResourceIdentifier(identity.uri))
    names += [_host(text) for text in identity.hosts]
    public = key.public_key()
    builder = _begun(_name(identity), _name(identity) if issuer is None else issuer.certificate.subject, now, days)
    builder = (
        builder.public_key(public)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # Part 6, table 33: the four uses; a self-signed one also signs certificates, its own.
        .add_extension(_usage(application=True, signs=issuer is None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority(public if issuer is None else issuer.key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key if issuer is None else issuer.key, hashes.SHA256())


def make_authority(name: str, organization: str, key: rsa.RSAPrivateKey, now: datetime, days: int) -> x509.Certificate:
    """A small certificate authority: it signs certificates and revocation lists and nothing else."""
    subject = _name(Identity(name, organization, "", ()))
    public = key.public_key()
    return (
        _begun(subject, subject, now, days)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(application=False, signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _begun(subject: x509.Name, issuer: x509.Name, now: datetime, days: int) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - EARLY).not_valid_after(now + timedelta(days=days))


def _name(identity: Identity) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]
    if identity.organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organization))
    return x509.Name(parts)


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(application: bool, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=application, key_encipherment=application,
        data_encipherment=application, key_agreement=False, key_cert_sign=signs, crl_sign=signs and not application,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _authority(public: rsa.RSAPublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 in capital hex digits, as OPC UA products show it."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()


def read(data: bytes) -> x509.Certificate:
    """A certificate in DER or PEM, every part of which can be looked at: cryptography itself reads some parts later.

    Raises:
        ValueError.
    """
    load = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
    try:
        found = load(data)
        facts(found), list(found.extensions), found.signature_hash_algorithm
    except UNREADABLE as error:
        raise ValueError(str(error)) from None
    return found


def read_chain(blob: bytes) -> list[x509.Certificate]:
    """Certificates that stand one after the other in DER, as servers send them: their own first.

    Raises:
        ValueError: not certificates, or more than CHAIN_MAX.
    """
    found: list[x509.Certificate] = []
    while blob:
        if len(found) == CHAIN_MAX:
            raise ValueError(f"a chain of more than {CHAIN_MAX} certificates")
        size = _der_size(blob)
        found.append(read(blob[:size]))
        blob = blob[size:]
    return found


def _der_size(blob: bytes) -> int:
    """Bytes of the first element, header included (X.690, 8.1.3)."""
    if len(blob) < 2:
        return len(blob)
    first = blob[1]
    if first < 0x80:
        return 2 + first
    count = first & 0x7F
    return 2 + count + int.from_bytes(blob[2 : 2 + count], "big")


def application_uri(certificate: x509.Certificate) -> str:
    """The ApplicationUri; "" when it has none."""
    uris = alternatives(certificate, x509.UniformResourceIdentifier)
    return uris[0] if uris else ""


def hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    return (*alternatives(certificate, x509.DNSName), *alternatives(certificate, x509.IPAddress))


def alternatives(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> list[str]:
    """Subject alternative names of one kind."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, kind)]


def facts(certificate: x509.Certificate) -> Facts:
    public = certificate.public_key()
    return Facts(
        thumbprint(certificate),
        certificate.fingerprint(hashes.SHA256()).hex().upper(),
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        application_uri(certificate),
        hosts(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        public.key_size if isinstance(public, rsa.RSAPublicKey) else 0,
        is_authority(certificate),
        certificate.subject == certificate.issuer,
        f"{certificate.serial_number:X}",
    )


def is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
