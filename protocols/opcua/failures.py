"""What goes wrong on an OPC UA connection, in one list and in an operator's words; must not know links or sessions."""

from __future__ import annotations

import struct

from asyncua import ua

from protocols.opcua import codec

# What asyncua lets through when a server breaks off or talks nonsense: its own errors, the transport's, and whatever
# its decoder met on the way.
FAILURES = (
    ua.UaError,
    OSError,
    TimeoutError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    struct.error,
)


def words(failure: BaseException) -> str:
    """What went wrong, for an operator."""
    if isinstance(failure, ua.UaStatusCodeError):
        return codec.explained(status_name(failure.code))
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(failure) or type(failure).__name__


def status_name(code: int) -> str:
    return str(ua.StatusCode(code).name)
