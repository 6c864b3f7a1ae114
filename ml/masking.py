"""Sums of numbers that nobody sees one by one: fixed point in a ring, masks that cancel out in the sum; must not know models.

Every pair of sites agrees on a mask that one adds and the other subtracts: whoever adds up all parts gets the sum and
nothing else. Source: Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", CCS 2017,
section 4.0 (masking with one-time pads); a site that drops out has the round repeated without it, not its masks opened.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

import numpy as np
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from twin.errors import BadRequest, Refused

WIDTH = 16  # bytes of a number: 64 bits before the point, 64 behind it, two's complement
SIZE_MAX = 2.0**53  # of a number; 1,000 sites together stay below 2^63
SECRET_MIN = 16  # bytes of the sites' own secret: it is worth guessing for whoever has a proof
Ring = NDArray[np.uint64]  # (N, 2): low word, high word
Array = NDArray[np.float64]


def encoded(values: Array) -> Ring:
    """Numbers as fixed point, cut at 2^-64: far below what a float64 of size 1 resolves. (N,) -> (N, 2).

    Raises:
        Refused: one is not finite, or too large.
    """
    size = np.abs(values)
    if not (size < SIZE_MAX).all():  # NaN is not below it, either
        place = int(np.flatnonzero(~(size < SIZE_MAX))[0])
        raise Refused(f"number {place + 1} of {len(values)} is {values[place]:g}", f"finite and below {SIZE_MAX:g}")
    whole = np.floor(size)
    made = np.stack([((size - whole) * 2.0**64).astype(np.uint64), whole.astype(np.uint64)], axis=1)
    return np.where((values < 0)[:, None], negated(made), made)


def decoded(ring: Ring) -> Array:
    """(N, 2) -> (N,)."""
    below = ring[:, 1] >> np.uint64(63) == 1
    size = np.where(below[:, None], negated(ring), ring)
    value = size[:, 1].astype(np.float64) + size[:, 0].astype(np.float64) * 2.0**-64
    return np.where(below, -value, value)


def negated(ring: Ring) -> Ring:
    low = ~ring[:, 0] + np.uint64(1)
    return np.stack([low, ~ring[:, 1] + (low == 0)], axis=1)


def added(one: Ring, other: Ring) -> Ring:
    """Modulo 2^128."""
    low = one[:, 0] + other[:, 0]
    return np.stack([low, one[:, 1] + other[:, 1] + (low < one[:, 0])], axis=1)


def total(parts: Iterable[Ring], count: int) -> Ring:
    found = np.zeros((count, 2), np.uint64)
    for part in parts:
        found = added(found, part)
    return found


def to_bytes(ring: Ring) -> bytes:
    return ring.astype("<u8").tobytes()


def from_bytes(data: bytes, count: int) -> Ring:
    """
    Raises:
        Refused: not so many numbers.
    """
    if len(data) != count * WIDTH:
        raise Refused(f"{len(data)} bytes instead of {count} numbers of {WIDTH}", "all sites run the same Twinloop")
    return np.frombuffer(data, "<u8").reshape(count, 2).astype(np.uint64)


class Masks:
    """One site's masks: a key for this connection, and what the other sites' keys make of it.

    Args:
        secret: known to the sites and not to who coordinates them; it proves that a key is a site's. Empty: none.
    """

    def __init__(self, site: str, key: X25519PrivateKey, secret: bytes = b"") -> None:
        if secret and len(secret) < SECRET_MIN:
            raise BadRequest(f"a secret of {len(secret)} bytes", f"{SECRET_MIN} or more, from a good source of chance")
        self.site, self._key, self._secret = site, key, secret
        self.public = key.public_key().public_bytes_raw()
        self.proof = self._proof_of(site, self.public)

    def masked(self, ring: Ring, others: Mapping[str, tuple[bytes, bytes]], run: str, round_: int) -> Ring:
        """The part of this site, masked against each other site: {site: (key, proof)}.

        Raises:
            Refused: a key is none, or not proven by the sites' secret.
        """
        for site, (key, proof) in sorted(others.items()):
            if not hmac.compare_digest(proof, self._proof_of(site, key)):
                raise Refused(
                    f"the key of {site} is not proven", "give all sites the same secret; is it really that site?"
                )
            pad = self._pad(site, key, run, round_, len(ring))
            ring = added(ring, pad if self.site < site else negated(pad))
        return ring

    def _pad(self, site: str, key: bytes, run: str, round_: int, count: int) -> Ring:
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(key))
        except (ValueError, InvalidKey):
            raise Refused(f"the key of {site} is none", "start that site again") from None
        first, second = sorted((self.site, site))
        info = f"twinloop federation\0{run}\0{round_}\0{first}\0{second}".encode()
        seed = HKDF(hashes.SHA256(), 32, self._secret or None, info).derive(shared)
        # A key of its own for each pair and round: the nonce may stay zero.
        stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), None).encryptor().update(bytes(count * WIDTH))
        return np.frombuffer(stream, "<u8").reshape(count, 2).astype(np.uint64)

    def _proof_of(self, site: str, key: bytes) -> bytes:
        return hmac.digest(self._secret, site.encode() + b"\0" + key, sha256) if self._secret else b""
