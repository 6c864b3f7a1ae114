"""OPC UA words to ours: NodeIds, DataValues, Variant types and status names; pure, imports no OPC UA library."""

from __future__ import annotations

import math
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from twin.points import Point
from twin.quality import GOOD
from twin.rules import Clash

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ADDRESS_FORM = "ns=N;i=NUMBER, ns=N;s=TEXT, ns=N;g=GUID or ns=N;b=BASE64 (ns=0; may be left out)"
ENDPOINT_FORM = "opc.tcp://[user:password@]host:port[/path]"

SECURITY_MODES = ("None", "Sign", "SignAndEncrypt")
POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
POLICY_DEFAULT = "Basic256Sha256"  # what every server that signs knows

# What a server answers to somebody who wants to sign in, and what helps.
USER_REFUSALS: Mapping[str, str] = {
    "BadUserAccessDenied": "check the user and the password in the endpoint, or what the server lets this user do",
    "BadIdentityTokenRejected": "the server wants another way to sign in, or does not trust the user certificate",
    "BadIdentityTokenInvalid": "check the user and the password in the endpoint, or the user certificate",
    "BadUserSignatureInvalid": "user_key is not the key of user_certificate",
}
# What a server answers to an application that it does not let in.
PEER_REFUSALS: Mapping[str, str] = {
    "BadCertificateUntrusted": "the server does not trust our certificate: trust it there",
    "BadSecurityChecksFailed": "the server does not accept our certificate: trust it there",
    "BadCertificateInvalid": "the server does not accept our certificate: see its log",
    "BadCertificateTimeInvalid": "our certificate has expired for the server: renew it, or set the server's clock",
    "BadCertificateUriInvalid": "the ApplicationUri of our certificate is not what the server expects",
    "BadCertificateHostNameInvalid": "the server wants our host name in our certificate",
    "BadCertificateUseNotAllowed": "the server wants other key usages in our certificate",
    "BadCertificateRevoked": "our certificate was revoked",
    "BadCertificateIssuerUseNotAllowed": "the server does not accept the issuer of our certificate",
    "BadCertificateChainIncomplete": "the server does not know the issuer of our certificate",
    "BadCertificatePolicyCheckFailed": "our certificate has a key or a signature that the server does not allow",
    "BadSecurityPolicyRejected": "the server does not take this policy",
    "BadSecurityModeRejected": "the server does not take this security mode",
    "BadSecurityModeInsufficient": "the server wants a channel that signs or encrypts",
}

_NODE_ID = re.compile(r"(?:ns=(?P<ns>\d{1,5});)?(?P<kind>[isgb])=(?P<id>.+)", re.DOTALL)
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

NODE_ID_TEXT_MAX = 4096  # characters of a string identifier, OPC UA Part 3, 8.2.4

# Variant types that carry integers, with their ranges (Part 6, 5.1.2).
_INTEGER_RANGES: Mapping[str, tuple[int, int]] = {
    "SByte": (-(2**7), 2**7 - 1),
    "Byte": (0, 2**8 - 1),
    "Int16": (-(2**15), 2**15 - 1),
    "UInt16": (0, 2**16 - 1),
    "Int32": (-(2**31), 2**31 - 1),
    "UInt32": (0, 2**32 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "UInt64": (0, 2**64 - 1),
}
FLOAT_MAX = 3.4028234663852886e38  # the largest finite IEEE 754 binary32

# Status codes of a write after which the device may or may not have acted.
_UNSETTLED = frozenset(
    {
        "BadTimeout",
        "BadRequestTimeout",
        "BadRequestInterrupted",
        "BadCommunicationError",
        "BadConnectionClosed",
        "BadNoCommunication",
        "BadUnknownResponse",
        "BadShutdown",
        "BadServerHalted",
    }
)
_UNSETTLED_PREFIXES = ("BadTcp", "BadSecureChannel", "BadSequenceNumber")


def check_endpoint(endpoint: str) -> None:
    """
    Raises:
        ValueError: not an OPC UA endpoint; the message gives the form.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; the form is {ENDPOINT_FORM}") from None
    if parts.scheme != "opc.tcp" or not parts.hostname or port is None:
        raise ValueError(f"{endpoint!r} is not an OPC UA endpoint; the form is {ENDPOINT_FORM}")


def credentials(endpoint: str) -> tuple[str | None, str | None]:
    """User and password of an endpoint that has them."""
    parts = urlsplit(endpoint)
    return (
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
    )


def explained(status_name: str) -> str:
    """A status, with what helps where the server does not let our application in."""
    help = PEER_REFUSALS.get(status_name)
    return f"{status_name}: {help}" if help else status_name


def policy_name(settings: Mapping[str, Any]) -> str:
    return str(settings["policy"] or POLICY_DEFAULT)


def check_settings(endpoint: str, settings: Mapping[str, Any]) -> Sequence[Clash]:
    """What does not go together in the security of a device."""
    found: list[Clash] = []
    if settings["policy"] is not None and settings["security"] == "None":
        fix = 'add security = "SignAndEncrypt", or remove policy'
        found.append(Clash("policy", f'policy = {settings["policy"]!r} with security = "None" protects nothing', fix))
    given, other = settings["user_certificate"], settings["user_key"]
    if (given is None) != (other is None):
        alone, missing = ("user_certificate", "user_key") if other is None else ("user_key", "user_certificate")
        found.append(Clash(alone, f"{alone} without {missing}", f"add {missing} = …"))
    for key in ("user_certificate", "user_key"):
        if settings[key] is not None and not _inside(settings[key]):
            message = f"{key} = {settings[key]!r} leads out of the folder of certificates"
            found.append(Clash(key, message, 'name a file in it, such as "own/operator.der"'))
    if given is not None and _user(endpoint):
        fix = "remove the user from the endpoint, or user_certificate"
        found.append(Clash("user_certificate", "a device is signed in to by password or by certificate, not both", fix))
    return found


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(path.strip()) and not pure.is_absolute() and ".." not in pure.parts


def _user(endpoint: str) -> bool:
    try:
        return credentials(endpoint)[0] is not None
    except ValueError:
        return False  # a mistake of its own


def check_address(address: str, point_type: str, writable: bool) -> None:
    """
    Raises:
        ValueError: not a NodeId in its text form (Part 6, 5.3.1.10); the message gives the form.
    """
    found = _NODE_ID.fullmatch(address)
    if found is None:
        raise ValueError(f"{address!r} is not a NodeId; the form is {ADDRESS_FORM}")
    if int(found["ns"] or 0) > 0xFFFF:
        raise ValueError(f"namespace {found['ns']} of {address!r} is above 65535")
    kind, identifier = found["kind"], found["id"]
    if kind == "i" and not (identifier.isascii() and identifier.isdigit() and int(identifier) < 2**32):
        raise ValueError(f"{identifier!r} of {address!r} is not a number from 0 to 4294967295")
    if kind == "s" and len(identifier) > NODE_ID_TEXT_MAX:
        raise ValueError(f"the identifier is longer than {NODE_ID_TEXT_MAX} characters")
    if kind == "g" and not _GUID.fullmatch(identifier):
        raise ValueError(f"{identifier!r} of {address!r} is not a GUID like 72962B91-FA75-4AE6-8D28-B404DC7DAF63")
    if kind == "b" and not (_BASE64.fullmatch(identifier) and len(identifier) % 4 == 0):
        raise ValueError(f"{identifier!r} of {address!r} is not base64")


def node_id(address: str) -> bytes:
    """A NodeId that `check_address` lets pass, in the binary encoding (Part 6, 5.2.2.9)."""
    found = _NODE_ID.fullmatch(address)
    assert found is not None, address
    namespace, kind, identifier = int(found["ns"] or 0), found["kind"], found["id"]
    if kind == "i":
        number = int(identifier)
        if namespace == 0 and number < 2**8:
            return struct.pack("<BB", 0, number)
        if namespace < 2**8 and number < 2**16:
            return struct.pack("<BBH", 1, namespace, number)
        return struct.pack("<BHI", 2, namespace, number)
    if kind == "g":
        return struct.pack("<BH", 4, namespace) + UUID(identifier).bytes_le
    form, raw = (3, identifier.encode()) if kind == "s" else (5, b64decode(identifier))
    return struct.pack("<BHi", form, namespace, len(raw)) + raw


def read_data_value(data_value: Any) -> tuple[Any, int, int | None]:
    """A DataValue -> (value, status code of 32 bits, source time in ns since 1970 UTC or None).

    The server's time stands in for a source time that the node does not give. Times are exact to the microsecond.
    """
    variant = data_value.Value
    value = None if variant is None else plain(variant.Value)
    status = data_value.StatusCode
    quality = GOOD if status is None else int(status.value) & 0xFFFF_FFFF
    for stamp in (data_value.SourceTimestamp, data_value.ServerTimestamp):
        # A device without a clock sends 0, which is 1601 (Part 6, 5.2.2.5): no time at all.
        if stamp is not None and nanoseconds(stamp) > 0:
            return value, quality, nanoseconds(stamp)
    return value, quality, None


def plain(value: Any) -> Any:
    """A value of a built-in type in the shape that points take: texts for times, GUIDs, names and bytes (as base64)."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    shape = _SHAPES.get(type(value).__name__)
    return value if shape is None else shape(value)


def _zulu(value: datetime) -> str:
    return value.replace(tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# By name, because their classes are the library's.
_SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "datetime": _zulu,
    "UUID": str,
    "bytes": lambda value: b64encode(value).decode(),
    "XmlElement": lambda value: value.Value,
    "LocalizedText": lambda value: value.Text,
    "QualifiedName": lambda value: value.to_string(),
    "NodeId": lambda value: value.to_string(),
    "ExpandedNodeId": lambda value: value.to_string(),
    "StatusCode": lambda value: value.value,
}


def nanoseconds(stamp: datetime) -> int:
    """ns since 1970 UTC; a time without a zone is UTC, as on the wire."""
    aware = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1) * 1_000


def moment(time_ns: int) -> datetime:
    """The inverse of `nanoseconds`, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=time_ns // 1_000)


def node_type(point: Point) -> str:
    """Name of the Variant type that a simulated device gives the point's node."""
    if point.type == "boolean":
        return "Boolean"
    if point.type in ("string", "object"):
        return "String"
    if point.type == "enum":
        return "Int32"  # Part 3, 8.14: the base type of enumerations
    if point.type == "integer" and point.scale == 1.0 and float(point.offset).is_integer():
        return "Int64"
    return "Double"


def variant_value(type_name: str, wire: float) -> bool | int | float:
    """A number in the shape of a node's Variant type.

    Raises:
        ValueError: the type cannot carry it; the message says why.
    """
    if not math.isfinite(wire):
        raise ValueError(f"{wire!r} is not a finite number")
    if type_name == "Boolean":
        if wire not in (0.0, 1.0):
            raise ValueError(f"{wire:g} is neither 0 nor 1, the node is Boolean")
        return wire == 1.0
    if type_name == "Double":
        return float(wire)
    if type_name == "Float":
        if abs(wire) > FLOAT_MAX:
            raise ValueError(f"{wire:g} does not fit the node's type Float")
        return float(wire)
    if type_name not in _INTEGER_RANGES:
        raise ValueError(f"the node's type {type_name} takes no number")
    low, high = _INTEGER_RANGES[type_name]
    # Unit conversion may leave 2.9999999999999996 for a 3.
    whole = round(wire)
    if not math.isclose(wire, whole, rel_tol=1e-9, abs_tol=1e-9) or not low <= whole <= high:
        raise ValueError(f"{wire!r} does not fit the node's type {type_name}")
    return whole


def is_unsettled(status_name: str) -> bool:
    """Whether a write that ended with this status may have acted all the same."""
    return status_name in _UNSETTLED or status_name.startswith(_UNSETTLED_PREFIXES)
