"""What `twinloop certs` does with the folder of certificates: make, renew, issue, trust; must not print.

The cryptography is protocols/certificate.py, the files are protocols/pki.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from protocols import certificate as x
from protocols.certificate import Identity, Issuer
from protocols.pki import (
    CA_FILE,
    CA_KEY_FILE,
    ISSUERS,
    OWN,
    REJECTED,
    TRUSTED,
    Held,
    Pki,
    load_certificate,
    load_pair,
    pem_of_key,
    write,
)
from twin.errors import BadRequest, Conflict, NotFound, Refused

DAYS = 1095  # three years: a plant's planned standstills come more often
CA_DAYS = 3650  # ten years: every device knows it
WARN_DAYS = 60  # time to plan a renewal on every device
WATCH_EVERY_S = 86_400.0
log = logging.getLogger("twinloop.certs")


def identity(name: str, organization: str, uri: str | None, hosts: Sequence[str]) -> Identity:
    """Ours, with this machine's own names where none are given."""
    machine = socket.gethostname()
    made = f"urn:{machine}:{'-'.join(name.split())}" if uri is None else uri
    return Identity(name, organization, made, tuple(hosts) or (machine, *_addresses(machine)))


def _addresses(machine: str) -> Iterator[str]:
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(machine, None)}
    except OSError:
        return
    yield from sorted(a for a in found if not ipaddress.ip_address(a).is_loopback)


def init(pki: Pki, wanted: Identity, bits: int, days: int, authority: bool, now: datetime) -> x509.Certificate:
    """Our certificate and its key.

    Args:
        authority: make a certificate authority first, and let it issue ours.

    Raises:
        Conflict: there is one already.
        BadRequest: a name that no certificate can carry.
    """
    for path in (pki.own_certificate_path, pki.own_key_path):
        if path.exists():
            raise Conflict(f"{path} exists", "renew it with `twinloop certs renew`, or choose another --pki")
    _made(pki.own_certificate_path.parent)
    key = _key(bits)
    issuer = _init_authority(pki, wanted, bits, now) if authority else None
    certificate = _certificate(wanted, key, now, days, issuer)
    write(pki.own_key_path, pem_of_key(key), private=True)
    write(pki.own_certificate_path, x.der(certificate), private=False)
    for folder in (TRUSTED, ISSUERS, REJECTED):
        _made(pki.folder / folder)
    return certificate


def _init_authority(pki: Pki, wanted: Identity, bits: int, now: datetime) -> Issuer:
    key = x.new_key(bits)
    try:
        made = x.make_authority(f"{wanted.name} CA", wanted.organization, key, now, CA_DAYS)
    except ValueError as error:
        raise BadRequest(f"no certificate can carry this: {error}", "choose a shorter or a plainer name") from None
    write(pki.folder / OWN / CA_KEY_FILE, pem_of_key(key), private=True)
    write(pki.folder / OWN / CA_FILE, x.der(made), private=False)
    pki.take(ISSUERS, made)
    return Issuer(made, key)


def renew(pki: Pki, days: int, new_key: bool, now: datetime) -> x509.Certificate:
    """The same certificate with another term; by the same issuer. Links take it up when they connect the next time."""
    old, key = pki.own()
    known = x.facts(old)
    issuer = None if known.self_signed else _authority(pki)
    if new_key:
        key = x.new_key(known.bits)
    made = _certificate(_identity_of(old), key, now, days, issuer)
    if new_key:
        write(pki.own_key_path, pem_of_key(key), private=True)
    write(pki.own_certificate_path, x.der(made), private=False)
    return made


def issue(pki: Pki, wanted: Identity, folder: Path, bits: int, days: int, now: datetime) -> tuple[Path, Path]:
    """A certificate for somebody else, by our own authority: (certificate, key), files in `folder`."""
    issuer = _authority(pki)
    _made(folder)
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in wanted.name)
    paths = folder / f"{stem}.der", folder / f"{stem}_key.pem"
    for path in paths:
        if path.exists():
            raise Conflict(f"{path} exists", "choose another name or folder")
    key = _key(bits)
    made = _certificate(wanted, key, now, days, issuer)
    write(paths[1], pem_of_key(key), private=True)
    write(paths[0], x.der(made), private=False)
    return paths


def trust(pki: Pki, what: str, issuer: bool) -> Held:
    """Trust a file's certificate, or one of the rejected by its thumbprint.

    Raises:
        NotFound, BadRequest, Refused.
    """
    path = Path(what)
    certificate = load_certificate(path) if path.is_file() else pki.find(what, REJECTED).certificate
    if issuer and not x.is_authority(certificate):
        raise Refused("this is no certificate of an authority", "leave --issuer out to trust this one peer")
    return Held(pki.take(ISSUERS if issuer else TRUSTED, certificate), certificate)


def reject(pki: Pki, thumbprint: str) -> Held:
    """Trust it no longer: from `trusted` or `issuers` to `rejected`. Links go on until they connect the next time."""
    held = pki.find(thumbprint, TRUSTED, ISSUERS)
    kept = pki.reject(held.certificate)
    held.path.unlink(missing_ok=True)
    return Held(kept, held.certificate)


def exported(pki: Pki, authority: bool, pem: bool) -> bytes:
    """Our certificate, or our authority's, to be given to devices; never a key."""
    certificate = load_certificate(pki.folder / OWN / CA_FILE) if authority else pki.own_certificate
    return certificate.public_bytes(Encoding.PEM if pem else Encoding.DER)


def rows(pki: Pki, now: datetime) -> list[dict[str, Any]]:
    """Everything the folder holds, ours first."""
    own = [Held(p, load_certificate(p)) for p in (pki.own_certificate_path, pki.folder / OWN / CA_FILE) if p.exists()]
    groups = ((OWN, own), (TRUSTED, pki.trusted()), (ISSUERS, pki.issuers()), (REJECTED, pki.rejected()))
    return [row(folder, held, now) for folder, group in groups for held in group]


def row(folder: str, held: Held, now: datetime) -> dict[str, Any]:
    known = x.facts(held.certificate)
    return {
        "folder": folder,
        "file": str(held.path),
        "thumbprint": known.thumbprint,
        "sha256": known.sha256,
        "subject": known.subject,
        "issuer": "itself" if known.self_signed else known.issuer,
        "application_uri": known.uri,
        "hosts": list(known.hosts),
        "not_before": known.not_before.isoformat(),
        "not_after": known.not_after.isoformat(),
        "days_left": known.days_left(now),
        "bits": known.bits,
        "authority": known.authority,
        "note": note(known, now),
    }


def note(known: x.Facts, now: datetime) -> str:
    """What is worth saying about its term."""
    left = known.days_left(now)
    if now < known.not_before:
        return f"valid from {known.not_before:%Y-%m-%d}"
    if now > known.not_after:
        return "EXPIRED"
    return f"expires in {left} days" if left < WARN_DAYS else ""


async def watch(folder: Path, clock: Callable[[], int]) -> None:
    """Warn every day of certificates that near their end and of files that cannot be read."""
    while True:
        now = datetime.fromtimestamp(clock() / 1e9, UTC)
        for words in await asyncio.to_thread(warnings, Pki(folder), now):
            log.warning(words)
        await asyncio.sleep(WATCH_EVERY_S)


def warnings(pki: Pki, now: datetime) -> list[str]:
    found = [error.message for error in pki.unreadable()]
    try:
        listed = rows(pki, now)
    except (NotFound, BadRequest) as error:
        return [*found, error.message]
    return found + [
        f"certificate {r['subject']} ({r['thumbprint'][:12]}, {r['folder']}): {r['note']}"
        for r in listed
        if r["note"] and r["folder"] != REJECTED
    ]


def _authority(pki: Pki) -> Issuer:
    if not (pki.folder / OWN / CA_FILE).exists():
        raise NotFound(f"no certificate authority of ours in {pki.folder}", "make one with `twinloop certs init --ca`")
    return Issuer(*load_pair(pki.folder / OWN / CA_FILE, pki.folder / OWN / CA_KEY_FILE))


def _identity_of(certificate: x509.Certificate) -> Identity:
    def said(oid: x509.ObjectIdentifier) -> str:
        found = certificate.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if found else ""

    name, organization = said(x509.NameOID.COMMON_NAME), said(x509.NameOID.ORGANIZATION_NAME)
    return Identity(name, organization, x.application_uri(certificate), x.hosts(certificate))


def _certificate(
    wanted: Identity, key: rsa.RSAPrivateKey, now: datetime, days: int, issuer: Issuer | None
) -> x509.Certificate:
    try:
        return x.make(wanted, key, now, days, issuer)
    except ValueError as error:
        raise BadRequest(f"no certificate can carry this: {error}", "use plain ASCII names of 64 characters") from None


def _key(bits: int) -> rsa.RSAPrivateKey:
    if bits not in x.KEY_BITS:
        raise BadRequest(f"a key of {bits} bits", f"take one of {', '.join(map(str, x.KEY_BITS))}")
    return x.new_key(bits)


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadRequest(f"{folder} cannot be made: {error.strerror}", "give its owner the folder") from None
