"""TLS of the console's own port: our certificate and key, taken up anew when the files change; must not know HTTP."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from twin.errors import BadRequest

RELOAD_EVERY_S = 10.0  # a renewal is planned; nobody waits for it
log = logging.getLogger("twinloop.tls")


@dataclass(frozen=True, slots=True)
class Pair:
    """Files. The certificate is PEM, with those between it and the authority behind it, or DER; the key is PEM."""

    certificate: Path
    key: Path

    def chain(self) -> list[x509.Certificate]:
        """
        Raises:
            BadRequest: it cannot be read.
        """
        try:
            content = self.certificate.read_bytes()
            if b"-----BEGIN" in content:
                return x509.load_pem_x509_certificates(content)
            return [x509.load_der_x509_certificate(content)]
        except (OSError, ValueError) as error:
            raise BadRequest(
                f"{self.certificate} is no certificate: {error}", "`twinloop certs init` makes one, or name another"
            ) from None

    def leaf(self) -> str:
        """The server's own certificate alone, PEM."""
        return self.chain()[0].public_bytes(Encoding.PEM).decode()

    def pem(self) -> str:
        return "".join(c.public_bytes(Encoding.PEM).decode() for c in self.chain())

    def names(self) -> set[str]:
        """Hosts that the certificate is for."""
        try:
            found = self.chain()[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return set()
        hosts = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
        return {f"[{h}]" if ":" in h else h for h in hosts if "*" not in h}

    def load(self, context: ssl.SSLContext) -> None:
        """
        Raises:
            BadRequest: the two cannot be read, or do not belong together.
        """
        pem = self.pem()
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # OpenSSL reads files only, and of PEM only
            file.write(pem)
            file.flush()
            try:
                context.load_cert_chain(file.name, self.key, password=_no_password)
            except (OSError, ssl.SSLError) as error:
                raise BadRequest(f"{self.key} is no key of {self.certificate}: {error}", "name the two files") from None

    def stamp(self) -> tuple[int, ...]:
        return tuple(p.stat().st_mtime_ns if p.exists() else 0 for p in (self.certificate, self.key))


def _no_password() -> str:
    raise ValueError("it has a password, which nobody could enter at a start by itself")


def server_context(pair: Pair) -> ssl.SSLContext:
    """
    Raises:
        BadRequest: the files do not do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        pair.load(context)
    except ValueError as error:
        raise BadRequest(f"{pair.key}: {error}", "give a key without a password, readable by its owner only") from None
    return context


def client_context(pem: str) -> ssl.SSLContext:
    """Believes this very certificate and no other: it was read from the server's own data folder."""
    context = ssl.create_default_context(cadata=pem)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def keep_up(pair: Pair, context: ssl.SSLContext) -> None:
    """New connections see a renewed certificate; while the files do not do, the old one stays. Until cancelled."""
    known = pair.stamp()
    while True:
        await asyncio.sleep(RELOAD_EVERY_S)
        now = pair.stamp()
        if now == known:
            continue
        known = now
        try:
            await asyncio.to_thread(pair.load, context)
            log.info("the certificate %s is taken up anew", pair.certificate)
        except (BadRequest, ValueError) as error:
            log.error("the old certificate stays: %s", error)
