"""The life of a model as one table, and who goes on, goes live or goes back; pure: no files, no clock."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ml.contest import Verdict
from twin.errors import BadRequest, Conflict, Refused

SHARE = 0.1  # of the twins that a canary serves unless said otherwise
FALSE_ALARM = 0.01  # chance that a challenger which is no worse is ever rolled back, over all its life
BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # small ones find small losses late, large ones large losses soon


class Stage(StrEnum):
    """TRAINED: in the registry. SHADOW: computes for all twins, is shown to nobody. CANARY: serves a share of the twins.
    LIVE: the champion. RETIRED: made room. ROLLED_BACK: was worse than it promised."""

    TRAINED = "trained"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"
    ROLLED_BACK = "rolled back"


class Needs(StrEnum):
    """What a step asks for."""

    NOTHING = "nothing"
    FIRST = "that there is no champion"
    WIN = "a verdict that it beats the champion"
    SUCCESSOR = "a model that takes its place"
    ROLL_BACK = "a successor that is rolled back"


TRANSITIONS: Mapping[Stage, Mapping[Stage, Needs]] = {
    Stage.TRAINED: {
        Stage.SHADOW: Needs.WIN, Stage.LIVE: Needs.FIRST, Stage.RETIRED: Needs.NOTHING,
    },
    Stage.SHADOW: {
        Stage.CANARY: Needs.WIN, Stage.ROLLED_BACK: Needs.NOTHING, Stage.RETIRED: Needs.NOTHING,
    },
    Stage.CANARY: {
        Stage.LIVE: Needs.WIN, Stage.ROLLED_BACK: Needs.NOTHING, Stage.RETIRED: Needs.NOTHING,
    },
    Stage.LIVE: {Stage.RETIRED: Needs.SUCCESSOR, Stage.ROLLED_BACK: Needs.NOTHING},
    Stage.RETIRED: {Stage.LIVE: Needs.ROLL_BACK},
    Stage.ROLLED_BACK: {},
}  # fmt: skip
NEXT = {Stage.TRAINED: Stage.SHADOW, Stage.SHADOW: Stage.CANARY, Stage.CANARY: Stage.LIVE}
SERVING = (Stage.SHADOW, Stage.CANARY, Stage.LIVE)


@dataclass(frozen=True, slots=True)
class Life:
    """Where a model is.

    Attributes:
        task, scope: what it competes for: one champion each.
        share: of the twins that it serves as a canary.
        successor_of: the champion whose place it took.
    """

    model: str
    task: str
    scope: str
    stage: Stage
    share: float = 0.0
    successor_of: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """A verdict, against whom, and on which data (their hash); neither model was trained on them."""

    verdict: Verdict
    champion: str
    data: str


@dataclass(frozen=True, slots=True)
class Move:
    """One model to one stage."""

    model: str
    stage: Stage
    share: float = 0.0
    successor_of: str = ""


def champion(lives: Iterable[Life], task: str, scope: str) -> Life | None:
    """The live model of a task and scope; None before the first."""
    return next((x for x in lives if (x.task, x.scope, x.stage) == (task, scope, Stage.LIVE)), None)


def promoted(lives: Mapping[str, Life], model: str, contest: Contest | None, share: float = SHARE) -> tuple[Move, ...]:
    """One step on: trained → shadow → canary → live. Where there is no champion the first goes live at once.

    Args:
        contest: with the champion, on data that neither saw.

    Raises:
        Conflict: from its stage it goes nowhere, or the contest was with another champion. Refused: it does not beat
        the champion, or nobody says so. BadRequest: the share is none.
    """
    life = lives[model]
    best = champion(lives.values(), life.task, life.scope)
    if best is None and Needs.FIRST is TRANSITIONS[life.stage].get(Stage.LIVE):
        return (Move(model, Stage.LIVE),)
    if best is None or life.stage not in NEXT:
        raise Conflict(f"model {model[:12]} is {life.stage}", "only trained, shadow and canary models go on")
    if contest is None:
        raise Refused(f"nobody says that {model[:12]} beats the champion", "give held-out data for a contest")
    if contest.champion != best.model:
        raise Conflict(
            f"the contest was with {contest.champion[:12]}, the champion is {best.model[:12]}", "hold another"
        )
    if not contest.verdict.better:
        raise Refused(contest.verdict.reason, "the champion stays")
    match NEXT[life.stage]:
        case Stage.CANARY if not 0 < share < 1:
            raise BadRequest(f"a canary of {share:g} of the twins", "a share between 0 and 1")
        case Stage.CANARY:
            return (Move(model, Stage.CANARY, share),)
        case Stage.LIVE:
            out = Move(best.model, Stage.RETIRED, successor_of=best.successor_of)
            return Move(model, Stage.LIVE, successor_of=best.model), out
        case to:
            return (Move(model, to),)


def rolled_back(lives: Mapping[str, Life], model: str) -> tuple[Move, ...]:
    """Out of service; the champion whose place it took is live again, if it took one's.

    Raises:
        Conflict: it serves nothing.
    """
    life = lives[model]
    if Stage.ROLLED_BACK not in TRANSITIONS[life.stage]:
        raise Conflict(f"model {model[:12]} is {life.stage}", "only a model in service is rolled back")
    if life.stage is not Stage.LIVE:
        return (Move(model, Stage.ROLLED_BACK),)
    before = lives.get(life.successor_of)
    if before is None or before.stage is not Stage.RETIRED:
        return (Move(model, Stage.ROLLED_BACK),)  # nobody to go back to: nothing is told until another goes live
    return Move(model, Stage.ROLLED_BACK), Move(before.model, Stage.LIVE, successor_of=before.successor_of)


def moved(lives: Mapping[str, Life], moves: Iterable[Move]) -> dict[str, Life]:
    """The lives after the moves.

    Raises:
        Conflict: a move is not in TRANSITIONS, or there would be two champions.
    """
    after = dict(lives)
    for move in moves:
        life = after[move.model]
        if move.stage not in TRANSITIONS[life.stage]:
            raise Conflict(f"model {move.model[:12]} cannot go from {life.stage} to {move.stage}", "see its life")
        after[move.model] = replace(life, stage=move.stage, share=move.share, successor_of=move.successor_of)
    live = [(x.task, x.scope) for x in after.values() if x.stage is Stage.LIVE]
    if len(live) != len(set(live)):
        raise Conflict("two models would be live for one task and scope", "one makes room for the other")
    return after


def chosen(model: str, twin: str, share: float) -> bool:
    """Whether a canary serves this twin: always the same for the same model; a larger share keeps those it had."""
    place = int.from_bytes(hashlib.sha256(f"{model}\0{twin}".encode()).digest()[:8], "big")
    return place < share * 2**64


def serving(lives: Iterable[Life], task: str, scope: str, twin: str) -> str:
    """The model whose values a twin shows: a canary that chose it, else the champion; "" while there is none."""
    rivals = list(lives)
    for life in rivals:
        canary = (life.task, life.scope, life.stage) == (task, scope, Stage.CANARY)
        if canary and chosen(life.model, twin, life.share):
            return life.model
    best = champion(rivals, task, scope)
    return best.model if best else ""


@dataclass(frozen=True, slots=True)
class Watch:
    """A test after every pair of live losses whether the challenger is worse than the champion, never too often wrong.

    A capital of 1 is bet on "the challenger loses": it grows by 1 + bet × d with d = (its loss - the champion's) over
    their sum, -1 … 1. While the challenger is no worse on average the capital is a supermartingale, and the chance
    that it ever reaches 1 / false_alarm is at most false_alarm (Ville). Bets of several sizes share the capital.
    Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B, 2024.

    One pair is the mean over a block of time longer than errors remember (`ml.contest.blocks`), or a device.
    """

    false_alarm: float = FALSE_ALARM
    pairs: int = 0
    logs: tuple[float, ...] = field(default=(0.0,) * len(BETS))

    def after(self, champion: float, challenger: float) -> Watch:
        """With one more pair of losses, 0 or more; a pair with a NaN tells nothing."""
        if not (math.isfinite(champion) and math.isfinite(challenger)):
            return self
        total = champion + challenger
        worse = (challenger - champion) / total if total > 0 else 0.0
        logs = tuple(log + math.log1p(bet * worse) for log, bet in zip(self.logs, BETS, strict=True))
        return Watch(self.false_alarm, self.pairs + 1, logs)

    @property
    def evidence(self) -> float:
        """The capital: so many times likelier than chance, at most 1e300."""
        most = max(self.logs)
        return math.exp(min(690.0, most)) * sum(math.exp(log - most) for log in self.logs) / len(self.logs)

    @property
    def worse(self) -> bool:
        """Roll back."""
        return self.evidence >= 1 / self.false_alarm

    @property
    def reason(self) -> str:
        return (
            f"live score below the champion's: evidence {self.evidence:.3g} of {1 / self.false_alarm:g} "
            f"after {self.pairs} pairs, at most {self.false_alarm:.1%} false alarms"
        )
