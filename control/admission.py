"""Whether a request can ever work, and the command it becomes; pure: must not know other commands or the twin's values."""

from __future__ import annotations

import math

from control.command import Command, Priority, Status, Terms, Transition
from control.request import Request, body
from control.texts import check_texts
from twin.errors import BadRequest, Expired, OutOfRange, Refused
from twin.points import Point
from twin.policy import Policy
from twin.setpoint import complaint

WAITING_MIN_S = 0.1  # the ledger and the queue are written before the device: some ms, on a busy disk more
DEADLINE_MAX_S = 24 * 3600.0
WAIT_MAX_S = 30 * 86_400.0  # a schedule further away belongs into a calendar
KEY_MAX = 200  # characters
REASON_MAX = 1_000  # characters


def admitted(request: Request, author: str, identity: str, point: Point, policy: Policy, now: int) -> Command:
    """The command as it begins, its first step still to be decided (DRAFT).

    Raises:
        BadRequest, OutOfRange, Expired, Refused: it can never work so.
    """
    _check_words(request)
    _check_value(point, request.value)
    _check_times(request, now)
    _check_emergency(request)
    terms = _terms(request, policy, now)
    if policy.select and not request.select and request.priority is not Priority.EMERGENCY:
        raise Refused(f"{point.name} must be selected before it is operated", "select it, then operate the selection")
    first = Transition(Status.DRAFT, now, "submitted", author)
    return Command(
        identity, request.key, author, point.name, request.value, request.priority, now, request.reason, Status.DRAFT,
        (first,), None, terms, body(request),
    )  # fmt: skip


def _terms(request: Request, policy: Policy, now: int) -> Terms:
    """Nothing holds an emergency back: it is neither selected, approved nor scheduled."""
    if request.priority is Priority.EMERGENCY:
        return Terms(request.deadline_s, request.latest)
    waits = request.at is not None or request.at_plant_s is not None or request.when
    return Terms(
        deadline_s=request.deadline_s,
        latest=request.latest,
        select=request.select,
        select_timeout_s=policy.select_timeout_s,
        approvals=policy.approvals,
        approver=policy.approver if policy.approvals else "",
        approval_timeout_s=policy.approval_timeout_s,
        revision=request.revision,
        at=request.at,
        at_plant_s=request.at_plant_s,
        when=request.when,
        until=now + int(request.wait_s * 1e9) if waits else None,
    )


def _check_emergency(request: Request) -> None:
    waits = request.select or request.at is not None or request.at_plant_s is not None or request.when
    if request.priority is Priority.EMERGENCY and (waits or request.revision is not None):
        raise BadRequest("an emergency waits for nothing", "leave out select, at, at_plant_s, when and revision")


def _check_words(request: Request) -> None:
    if not 0 < len(request.key) <= KEY_MAX:
        raise BadRequest(f"the key has {len(request.key)} characters", f"give 1 … {KEY_MAX}")
    check_texts({"key": request.key, "reason": request.reason})
    if len(request.reason) > REASON_MAX:
        raise BadRequest(f"the reason has {len(request.reason)} characters", f"at most {REASON_MAX}")


def _check_value(point: Point, value: float) -> None:
    wrong = complaint(point, value)
    if wrong is None:
        return
    if not point.writable:
        raise Refused(*wrong)
    raise (OutOfRange if math.isfinite(value) else BadRequest)(*wrong)


def _check_waiting(name: str, said_s: float, most_s: float) -> None:
    if not WAITING_MIN_S <= said_s <= most_s:
        why = ": nothing is recorded and sent in less" if 0 < said_s < WAITING_MIN_S else ""
        raise BadRequest(f"{name} {said_s:g}", f"give {WAITING_MIN_S:g} … {most_s:g} seconds{why}")


def _check_times(request: Request, now: int) -> None:
    _check_waiting("deadline_s", request.deadline_s, DEADLINE_MAX_S)
    _check_waiting("wait_s", request.wait_s, WAIT_MAX_S)
    if request.latest is not None and request.latest <= now:
        raise Expired(
            f"the deadline passed {(now - request.latest) / 1e9:.1f} s ago", "send it again if it still makes sense"
        )
    if request.at is not None and request.at > now + int(request.wait_s * 1e9):
        raise BadRequest(f"its time comes after wait_s {request.wait_s:g}", "wait longer, or choose an earlier time")
    late_s = 0.0 if request.at is None else (now - request.at) / 1e9
    if late_s > request.deadline_s:
        hint = f"choose a moment to come; its deadline of {request.deadline_s:g} s counts from that moment"
        raise Expired(f"its time came {late_s:.1f} s ago", hint)
    if request.latest is not None and request.at is not None and request.latest < request.at:
        raise Expired("the deadline passes before its time comes", "choose a later deadline")
