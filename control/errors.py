"""Every error type and its code in HTTP, WebSocket and on the command line: one table; decides nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import AnchorError, ContractMissing, ContractRefused, LedgerError
from ledger.errors import NotFound as LedgerNotFound
from protocols.believe import Unbelievable
from sim.runner import Cancelled
from twin import errors
from twin.feed import Overrun


@dataclass(frozen=True, slots=True)
class Codes:
    """`code` is the word in every face; `exit` the command line's status; `ws` the close code, 0 for none."""

    code: str
    http: int
    ws: int
    exit: int


CODES: dict[type[Exception], Codes] = {
    errors.BadRequest: Codes("bad_request", 400, 0, 2),
    errors.BadPlant: Codes("bad_plant", 400, 0, 2),
    errors.BadGraph: Codes("bad_graph", 400, 0, 2),
    errors.OutOfRange: Codes("out_of_range", 400, 0, 2),
    errors.WrongUnit: Codes("wrong_unit", 400, 0, 2),
    errors.Expired: Codes("expired", 400, 0, 2),
    errors.Denied: Codes("denied", 401, 4401, 6),
    errors.Throttled: Codes("throttled", 429, 4429, 6),
    errors.Forbidden: Codes("forbidden", 403, 4403, 6),
    errors.NotPermitted: Codes("not_permitted", 403, 0, 6),
    errors.NotFound: Codes("not_found", 404, 0, 4),
    errors.Conflict: Codes("conflict", 409, 0, 5),
    errors.Reserved: Codes("reserved", 409, 0, 5),
    errors.Refused: Codes("refused", 422, 0, 6),
    errors.Interlocked: Codes("interlocked", 422, 0, 6),
    errors.PreconditionFailed: Codes("precondition_failed", 412, 0, 5),
    errors.LimitExceeded: Codes("limit_exceeded", 429, 1013, 7),
    errors.TooLarge: Codes("too_large", 413, 1009, 2),
    errors.DeviceFault: Codes("device_fault", 502, 0, 1),
    errors.Unavailable: Codes("unavailable", 503, 1013, 7),
    errors.TwinloopError: Codes("error", 500, 1011, 1),
    Unbelievable: Codes("bad_request", 400, 0, 2),
    Overrun: Codes("overrun", 410, 1013, 7),
    Cancelled: Codes("cancelled", 409, 0, 1),
    LedgerNotFound: Codes("not_found", 404, 0, 4),
    ContractMissing: Codes("not_found", 404, 0, 4),
    ContractRefused: Codes("refused", 422, 0, 6),
    AnchorError: Codes("unavailable", 503, 0, 7),
    LedgerError: Codes("ledger", 503, 0, 3),
}
INTERNAL = Codes("internal", 500, 1011, 1)


def codes(error: BaseException) -> Codes:
    """The most special row that fits; INTERNAL for what nobody raised on purpose."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), INTERNAL)


def words(error: BaseException) -> tuple[str, str]:
    """(message, hint) to show."""
    if isinstance(error, errors.TwinloopError):
        return error.message, error.hint
    if codes(error) is INTERNAL:
        return "something went wrong inside Twinloop", "the server's log has the details"
    return str(error) or type(error).__name__, ""
