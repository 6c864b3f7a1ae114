"""The folder of certificates: ours with its key, whom we trust, whom we turned away; must not know any protocol.

`own/` holds certificate.der and key.pem (and, where we issue certificates ourselves, ca.der and ca_key.pem),
`trusted/` peers one by one, `issuers/` authorities whose peers are trusted and their revocation lists (*.crl),
`rejected/` who knocked and was not known.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from protocols import certificate as x
from protocols.trust import Doubt, Trust
from twin.errors import BadRequest, NotFound, Refused, TwinloopError

OWN, TRUSTED, ISSUERS, REJECTED = FOLDERS = ("own", "trusted", "issuers", "rejected")
CERTIFICATE_FILE, KEY_FILE = "certificate.der", "key.pem"
CA_FILE, CA_KEY_FILE = "ca.der", "ca_key.pem"
CERTIFICATE_SUFFIXES = (".der", ".cer", ".crt", ".pem")
FILE_MAX = 65_536  # bytes of one file: ten times the largest certificate
REVOKED_MAX = 4_194_304  # bytes of one revocation list: some hundred thousand entries
CERTIFICATES_KEPT = 4096  # parsed ones, a few kB each; more are parsed again
REJECTED_MAX = 100  # anybody on the network can knock with ever new certificates: the oldest gives way
THUMBPRINT_MIN = 4  # hex digits that people must type at least
THUMBPRINT = re.compile(r"[0-9A-F]{4,64}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate and the file that holds it."""

    path: Path
    certificate: x509.Certificate


class Pki:
    """One folder. Everything is read when asked for, so that a change of the files counts at the next connection.

    Errors name the file: NotFound (missing), BadRequest (not what it should be, or not readable), Refused (a key that
    others may read).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def at(cls, folder: Path | None) -> Pki:
        """
        Raises:
            BadRequest: there is none.
        """
        if folder is None:
            raise BadRequest("there is no folder of certificates", "name one by --pki, or start with --data")
        return cls(folder)

    @property
    def own_certificate_path(self) -> Path:
        return self.folder / OWN / CERTIFICATE_FILE

    @property
    def own_key_path(self) -> Path:
        return self.folder / OWN / KEY_FILE

    @property
    def own_certificate(self) -> x509.Certificate:
        return load_certificate(self.own_certificate_path)

    @property
    def own_key(self) -> rsa.RSAPrivateKey:
        return load_key(self.own_key_path)

    def own(self) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        """The certificate and the key that belongs to it."""
        return load_pair(self.own_certificate_path, self.own_key_path)

    def inside(self, name: str) -> Path:
        """A file that a setting names, relative to this folder."""
        return self.folder / name

    def trusted(self) -> list[Held]:
        return self._held(TRUSTED)

    def issuers(self) -> list[Held]:
        return self._held(ISSUERS)

    def rejected(self) -> list[Held]:
        """Newest first."""
        return sorted(self._held(REJECTED), key=lambda h: (-_changed_ns(h.path), h.path.name))

    def revoked(self) -> list[x509.CertificateRevocationList]:
        """All of them, or an error: a list that is passed over would let revoked certificates in."""
        return [_load_revoked(path) for path in self._files(ISSUERS, (".crl",))]

    def trust(self) -> Trust:
        """Everything that `trust.judge` needs."""
        trusted, issuers = self.trusted(), self.issuers()
        return Trust([h.certificate for h in trusted], [h.certificate for h in issuers], self.revoked())

    def turned_away(self, certificate: x509.Certificate, doubt: Doubt) -> str:
        """The doubt in words; a certificate that only lacks trust is kept for somebody to look at."""
        thumbprint = x.thumbprint(certificate)
        if not doubt.unknown:
            return f"{doubt.words}; {doubt.fix} ({thumbprint})"
        kept = self.reject(certificate)
        passed_over = "".join(f" ({error.message})" for error in self.unreadable())
        return (
            f"{doubt.words}{passed_over}; it is kept as '{kept}'. If its thumbprint is the peer's own, run: "
            f"twinloop certs trust {thumbprint} --pki '{self.folder}'"
        )

    def reject(self, certificate: x509.Certificate) -> Path:
        """Keep an unknown peer's certificate, so that somebody can look at it and trust it."""
        folder = self._made(REJECTED)
        path = folder / file_name(certificate)
        if not path.exists():
            write(path, x.der(certificate), private=False)
            for old in self.rejected()[REJECTED_MAX:]:
                old.path.unlink(missing_ok=True)
        return path

    def take(self, folder: str, certificate: x509.Certificate) -> Path:
        """Put a certificate into `trusted` or `issuers`; it is taken out of every other folder but `own`."""
        path = self._made(folder) / file_name(certificate)
        write(path, x.der(certificate), private=False)
        for other in (TRUSTED, ISSUERS, REJECTED):
            for held in self._held(other):
                if held.certificate == certificate and held.path != path:
                    held.path.unlink(missing_ok=True)
        return path

    def find(self, text: str, *folders: str) -> Held:
        """The one certificate whose SHA-1 or SHA-256 thumbprint begins like this.

        Raises:
            BadRequest: not a thumbprint, or several begin so.
            NotFound: none does.
        """
        wanted = re.sub(r"[\s:]", "", text).upper()
        if not THUMBPRINT.fullmatch(wanted):
            raise BadRequest(f"{text!r} is no thumbprint", f"give at least its first {THUMBPRINT_MIN} hex digits")
        found = {x.thumbprint(h.certificate): h for folder in folders for h in self._held(folder) if _begins(h, wanted)}
        if len(found) > 1:
            raise BadRequest(f"several thumbprints begin with {text}: {', '.join(sorted(found))}", "give more digits")
        if not found:
            raise NotFound(f"no certificate in {' or '.join(folders)} begins with {text}", "see `twinloop certs list`")
        return next(iter(found.values()))

    def unreadable(self) -> list[TwinloopError]:
        """What is wrong with files among the certificates: they count for nothing, and somebody should know."""
        found: list[TwinloopError] = []
        for folder in (TRUSTED, ISSUERS, REJECTED):
            for path in self._files(folder, CERTIFICATE_SUFFIXES):
                try:
                    load_certificate(path)
                except TwinloopError as error:
                    found.append(error)
        return found

    def _held(self, folder: str) -> list[Held]:
        """Those that can be read: one bad file must not cut off every device. See `unreadable`."""
        found = []
        for path in self._files(folder, CERTIFICATE_SUFFIXES):
            with contextlib.suppress(TwinloopError):
                found.append(Held(path, load_certificate(path)))
        return found

    def _files(self, folder: str, suffixes: tuple[str, ...]) -> list[Path]:
        try:
            found = [p for p in (self.folder / folder).iterdir() if p.suffix.lower() in suffixes]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.folder / folder, error) from None
        return sorted(found)

    def _made(self, folder: str) -> Path:
        path = self.folder / folder
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BadRequest(f"{path} cannot be made: {error.strerror}", "give its owner the folder") from None
        return path


def file_name(certificate: x509.Certificate) -> str:
    """`Common name [thumbprint].der`, the way OPC UA products name them."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = re.sub(r"[^\w.-]+", " ", str(names[0].value) if names else "", flags=re.ASCII).strip(" .")[:64]
    return f"{name or 'unnamed'} [{x.thumbprint(certificate)}].der"


def load_certificate(path: Path) -> x509.Certificate:
    """A certificate in DER or PEM.

    Raises:
        NotFound, BadRequest.
    """
    missing = "run `twinloop certs init`, or name another --pki"
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error, missing) from None
    return _parsed_certificate(path, (found.st_mtime_ns, found.st_size, found.st_ino), missing)


@lru_cache(CERTIFICATES_KEPT)
def _parsed_certificate(path: Path, version: tuple[int, int, int], missing: str) -> x509.Certificate:
    """Parsed once a version of the file: a trust list is asked for at every connection."""
    data = _read(path, FILE_MAX, missing)
    return _parsed(path, lambda: x.read(data), "a certificate in DER or PEM")


def load_key(path: Path) -> rsa.RSAPrivateKey:
    """A private key in PEM without a password.

    Raises:
        NotFound, BadRequest, Refused: the last when others than its owner may read it.
    """
    data = _read(path, FILE_MAX, "put the key that belongs to the certificate there")
    others = stat.S_IMODE(path.stat().st_mode) & 0o077
    if others:
        raise Refused(f"{path} can be read by others than its owner", f"run: chmod 600 '{path}'")
    key = _parsed(path, lambda: serialization.load_pem_private_key(data, None), "a private key in PEM")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadRequest(f"{path} holds a key that is not RSA", "OPC UA's policies want RSA: make a new certificate")
    return key


def load_pair(certificate_path: Path, key_path: Path) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A certificate and its key.

    Raises:
        NotFound, BadRequest, Refused: BadRequest also when they do not belong together.
    """
    certificate, key = load_certificate(certificate_path), load_key(key_path)
    if certificate.public_key() != key.public_key():
        raise BadRequest(f"{key_path} is not the key of {certificate_path}", "put the key that belongs to it there")
    return certificate, key


def _load_revoked(path: Path) -> x509.CertificateRevocationList:
    data = _read(path, REVOKED_MAX, "put it there again")
    read = x509.load_pem_x509_crl if b"-----BEGIN" in data else x509.load_der_x509_crl
    return _parsed(path, lambda: read(data), "a revocation list in DER or PEM")


def write(path: Path, data: bytes, *, private: bool) -> None:
    """All or nothing; a private file is its owner's alone from its first byte on."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(draft, flags, 0o600 if private else 0o644), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}", "give its owner the folder") from None


def pem_of_key(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def ssl_context_client(
    pki: Pki | None, *, system: bool = False, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A TLS client that believes what `trusted` and `issuers` hold, and the host name only if the certificate has it.

    Args:
        pki: None believes the system's authorities only.
        system: believe the system's authorities, too.
        certificate, key: what the client shows of itself, when it is asked; PEM key, certificate in DER or PEM.

    Raises:
        NotFound, BadRequest, Refused: each names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A peer's own certificate in `trusted` is believed as it stands, without the issuer above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if pki is None or system:
        context.load_default_certs()
    if pki is not None:
        believed = [x.der(held.certificate) for held in (*pki.trusted(), *pki.issuers())]
        if believed:
            context.load_verify_locations(cadata=b"".join(believed))
    if certificate is not None and key is not None:
        _show(context, certificate, key)
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    shown, _ = load_pair(certificate, key)
    # The ssl module reads files in PEM only; ours is DER, as OPC UA wants it.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(shown.public_bytes(Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name, key)


def _read(path: Path, size_max: int, missing: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        raise _unreadable(path, error, missing) from None
    if len(data) > size_max:
        raise BadRequest(f"{path} has more than {size_max} bytes", "put what it should be there")
    return data


def _parsed(path: Path, read: Callable[[], T], what: str) -> T:
    try:
        return read()
    except (ValueError, *x.UNREADABLE) as error:
        raise BadRequest(f"{path} is not {what}: {error}", "remove it, or put what it should be there") from None


def _unreadable(path: Path, error: OSError, missing: str = "") -> TwinloopError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path} is missing", missing)
    return BadRequest(f"{path} cannot be read: {error.strerror}", "give it to the user that runs the server")


def _begins(held: Held, wanted: str) -> bool:
    known = x.facts(held.certificate)
    return known.thumbprint.startswith(wanted) or known.sha256.startswith(wanted)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
