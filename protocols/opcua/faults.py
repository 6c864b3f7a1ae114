"""The errors of Twinloop as OPC UA status codes: one table; must not know who asked for what."""

from __future__ import annotations

from asyncua import ua

from protocols.opcua.raw_history import BadContinuation, BadRange
from twin import errors

_CODES: dict[type[Exception], int] = {
    errors.Denied: ua.StatusCodes.BadUserAccessDenied,
    errors.NotPermitted: ua.StatusCodes.BadUserAccessDenied,
    errors.Forbidden: ua.StatusCodes.BadUserAccessDenied,
    errors.NotFound: ua.StatusCodes.BadNotFound,
    errors.BadRequest: ua.StatusCodes.BadInvalidArgument,
    errors.OutOfRange: ua.StatusCodes.BadOutOfRange,
    errors.Refused: ua.StatusCodes.BadInvalidState,
    errors.Conflict: ua.StatusCodes.BadInvalidState,
    errors.PreconditionFailed: ua.StatusCodes.BadInvalidState,
    errors.LimitExceeded: ua.StatusCodes.BadTooManyOperations,
    errors.Unavailable: ua.StatusCodes.BadResourceUnavailable,
    errors.DeviceFault: ua.StatusCodes.BadDeviceFailure,
    errors.TwinloopError: ua.StatusCodes.BadUnexpectedError,
    BadRange: ua.StatusCodes.BadHistoryOperationInvalid,
    BadContinuation: ua.StatusCodes.BadContinuationPointInvalid,
}
EXPECTED = (errors.TwinloopError, BadRange, BadContinuation)


def status_of(error: Exception) -> int:
    """The most special row that fits."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), ua.StatusCodes.BadInternalError)
