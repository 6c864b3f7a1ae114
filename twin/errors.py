"""Every error type of Twinloop and whose fault it is; must not know HTTP, WebSocket or exit codes (control/errors.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class TwinloopError(Exception):
    """Base of all errors we raise on purpose.

    Args:
        message: what is wrong, naming the place.
        hint: what to do about it.
        command: id of the command that was recorded although it is refused; "" when nothing was recorded.
    """

    code = "error"
    retry_after_s = 0.0  # when trying again may help; 0 where nothing is known of that

    def __init__(self, message: str, hint: str = "", command: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command = command

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadRequest(TwinloopError):
    """The caller sent something that can never work as it stands."""

    code = "bad_request"


class OutOfRange(BadRequest):
    """The value is a number that the point, or the device behind it, cannot take."""

    code = "out_of_range"


class WrongUnit(BadRequest):
    """The value is in another unit than the point's."""

    code = "wrong_unit"


class Expired(BadRequest):
    """The last moment at which it could have been done was past when it was asked for."""

    code = "expired"


class NotFound(TwinloopError):
    """The named thing does not exist."""

    code = "not_found"


class Conflict(TwinloopError):
    """The request contradicts something already recorded."""

    code = "conflict"


class Reserved(Conflict):
    """Somebody else has selected or leased the point."""

    code = "reserved"


class Denied(TwinloopError):
    """The caller has not shown who they are."""

    code = "denied"


class Throttled(Denied):
    """Too many attempts to sign in failed: `retry_after_s` says when the next is heard."""

    code = "throttled"

    def __init__(self, message: str, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class Forbidden(TwinloopError):
    """The request comes from where none may come from: another site's page, a foreign host name."""

    code = "forbidden"


class NotPermitted(TwinloopError):
    """The caller is known, but this is not for their role, or not for them: an own command is for others to approve."""

    code = "not_permitted"


class Refused(TwinloopError):
    """The request is well formed, but acting on it would not be safe or honest."""

    code = "refused"


class Interlocked(Refused):
    """An interlock does not hold, or what it looks at is stale or bad."""

    code = "interlocked"


class PreconditionFailed(TwinloopError):
    """The thing is no longer what the caller last saw."""

    code = "precondition_failed"


class LimitExceeded(TwinloopError):
    """A stated limit stopped the work; the message names the limit."""

    code = "limit_exceeded"

    def __init__(self, message: str, hint: str = "", command: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint, command)
        self.retry_after_s = retry_after_s


class TooLarge(TwinloopError):
    """What was sent is larger than what is taken."""

    code = "too_large"


class Unavailable(TwinloopError):
    """A part that is needed does not answer now; trying later may help."""

    code = "unavailable"


class DeviceFault(TwinloopError):
    """A device answered with an error, or with something that is no answer."""

    code = "device_fault"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a plant: where it is, what it is, and how to put it right."""

    file: str
    line: int
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something in a document that is right but not fully supported: where, what, and what it means for the user."""

    file: str
    line: int
    what: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.meaning}"


class BadPlant(TwinloopError):
    """A plant definition with mistakes, all of them listed."""

    code = "bad_plant"

    def __init__(self, mistakes: Sequence[Mistake], notices: Sequence[Notice] = ()) -> None:
        self.mistakes = tuple(mistakes)
        self.notices = tuple(notices)
        count = len(self.mistakes)
        lines = "\n".join([*map(str, self.mistakes), *(f"notice {n}" for n in self.notices)])
        super().__init__(f"the plant has {count} mistake{'s' if count != 1 else ''}\n{lines}")


@dataclass(frozen=True, slots=True)
class Flaw:
    """One mistake in what a caller sent: the JSON path of its place ("" for the whole), what it is, how to mend it.

    `kind` is the error that it would be alone.
    """

    path: str
    message: str
    fix: str
    kind: type[TwinloopError] = BadRequest

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        return f"{place}{self.message}; {self.fix}"


class BadGraph(TwinloopError):
    """An edit of the graph with mistakes, all of them listed; nothing of it was done."""

    code = "bad_graph"

    def __init__(self, mistakes: Sequence[Flaw | Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        lines = "\n".join(str(m) for m in self.mistakes[:MISTAKES_SHOWN])
        more = f"\n… and {count - MISTAKES_SHOWN} more" if count > MISTAKES_SHOWN else ""
        super().__init__(f"the graph has {count} mistake{'s' if count != 1 else ''}\n{lines}{more}")


MISTAKES_SHOWN = 100  # in one message: more than anybody mends at a time


def flawed(flaws: Sequence[Flaw]) -> TwinloopError:
    """The one error for these flaws: of a single one its own kind."""
    if len(flaws) == 1:
        (flaw,) = flaws
        return flaw.kind(f"{flaw.path}: {flaw.message}" if flaw.path else flaw.message, flaw.fix)
    return BadGraph(flaws)
