"""Who takes part in which round of a federated training, and what happens when one is late, gone or wrong; pure.

Every event returns what is to be done: ask, put out, say, keep, give, end. Time is an argument; there are no sockets here.
A round is one asking: a step that loses a site is asked again, in a new round, of those that are there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml import masking
from ml.federated import SITES_MAX, Step, Training, shapes, size, unpacked
from ml.model_file import CODE, ModelFile
from ml.records import UNEVEN
from twin.errors import (
    BadRequest,
    Conflict,
    LimitExceeded,
    Refused,
    TwinloopError,
    Unavailable,
    WrongUnit,
)

REPEATS_MAX = 50  # of one step: a site that comes and goes must not keep all others
ROUNDS_AHEAD = 1_000  # by which a coordinator that starts anew is above any round that it asked and did not write down
NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """A site as it presents itself: its public key for this connection, the key's proof, what it has and how much.

    `step_s`: between its rows; 0 where they do not follow each other evenly.
    """

    site: str
    key: bytes
    proof: bytes
    units: tuple[str, ...]
    windows: int
    step_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`sites`: how many are awaited, for `wait_s` at most; `answer_s`: what a site may take for a step."""

    sites: int
    wait_s: float = 600.0
    answer_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Ask:
    round: int
    step: Step
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class PutOut:
    site: str
    error: TwinloopError


@dataclass(frozen=True, slots=True)
class Say:
    words: str


@dataclass(frozen=True, slots=True)
class Keep:
    """What is known now must survive this process."""


@dataclass(frozen=True, slots=True)
class Give:
    model: ModelFile
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class End:
    """`error`: None when every site has its model."""

    error: TwinloopError | None = None


Do = Ask | PutOut | Say | Keep | Give | End


class Rounds:
    """
    Args:
        run: names this training. round_: the newest one that may have been asked.
    """

    def __init__(self, training: Training, limits: Limits, run: str, round_: int, now_s: float) -> None:
        self.training, self.run, self.round = training, run, round_
        self.outcomes: dict[str, Any] = {}
        self._limits = limits
        self._peers: dict[str, Peer] = {}
        self._units: dict[str, str] = dict(zip(training.plan.columns, training.plan.units, strict=False))
        self._step_s = 0.0
        self._took_part: set[str] = set(training.told.get("sites", ()))
        self._asked: dict[str, Peer] = {}  # in this round
        self._losses: dict[str, float] = {}  # of those whose part is in the sum
        self._sum = masking.total((), 0)
        self._owed: dict[str, set[int]] = {}
        self._dropped: set[str] = set()  # in this step
        self._repeats = 0
        self._until_s = now_s + limits.wait_s
        self._begun = False
        self._model: ModelFile | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Those that are there."""
        return tuple(sorted(self._peers))

    # --- events ------------------------------------------------------------------------------------------------------

    def joined(self, peer: Peer, code: str, plan: str, now_s: float) -> list[Do]:
        """
        Raises:
            BadRequest, WrongUnit, Conflict, LimitExceeded: it cannot take part; all goes on without it.
        """
        self._fits(peer, code, plan)
        self._peers[peer.site] = peer
        self._owed[peer.site] = set()
        self._units |= {n: u for n, u in zip(self.training.plan.columns, peer.units, strict=False) if u}
        self._step_s = self._step_s or peer.step_s
        say = Say(f"{peer.site} is there, {peer.windows} windows; sites: {', '.join(self.sites)}")
        if self._model is not None:
            return [say, Give(self._model, (peer.site,))]
        return [say, *([] if self._asked else self._started(now_s))]

    def left(self, site: str, now_s: float) -> list[Do]:
        """Its connection is gone."""
        if site not in self._peers:
            return []
        del self._peers[site], self._owed[site]
        done: list[Do] = [Say(f"{site} is gone")]
        if self._model is not None:
            return [*done, *self._ended()]
        if site in self._asked and site not in self._losses:
            self._dropped.add(site)
            done += self._again(now_s)
        return done

    def part(self, site: str, round_: int, numbers: bytes, loss: float, now_s: float) -> list[Do]:
        """
        Raises:
            Refused: it is none that was asked of this site: put it out.
        """
        if round_ not in self._owed.get(site, ()):
            raise Refused(f"{site} answers round {round_}, which nobody asks of it", f"round {self.round} is now")
        self._owed[site].discard(round_)
        if round_ != self.round or site not in self._asked:
            return []  # of a round that was asked again without somebody: nobody looks into it
        ring = masking.from_bytes(numbers, len(self._sum))
        if not math.isfinite(loss):
            raise Refused(f"{site} tells a loss of {loss}", "look at its data")
        if not self.training.plan.secure:
            self._checked(site, masking.decoded(ring))
        self._sum = masking.added(self._sum, ring)
        self._losses[site] = loss
        return self._summed(now_s) if len(self._losses) == len(self._asked) else []

    def outcome(self, site: str, said: Any) -> list[Do]:
        """What a site makes of the common model.

        Raises:
            Refused: it has none yet.
        """
        if self._model is None or site not in self._peers:
            raise Refused(f"{site} judges a model that it does not have")
        self.outcomes[site] = said
        return self._ended()

    def tick(self, now_s: float) -> list[Do]:
        """Time has passed."""
        if now_s < self._until_s:
            return []
        if self._model is not None:
            return [End()]
        if self._asked:
            late = sorted(set(self._asked) - set(self._losses))
            error = LimitExceeded(
                f"no answer within {self._limits.answer_s:g} s", "the others go on; ask for more time with --answer"
            )
            for site in late:
                self._peers.pop(site, None)
                self._owed.pop(site, None)
            self._dropped |= set(late)
            return [*(PutOut(site, error) for site in late), *self._again(now_s)]
        if len(self._peers) >= self.training.plan.sites_min:
            return self._asking(now_s)
        words = f"{len(self._peers)} of {self.training.plan.sites_min} sites after {self._limits.wait_s:g} s"
        return [End(Unavailable(words, "start them, or wait longer with --wait; what is known is kept"))]

    # --- rounds ------------------------------------------------------------------------------------------------------

    def _started(self, now_s: float) -> list[Do]:
        """At first all that are awaited, later as many as there must be."""
        wanted = self.training.plan.sites_min if self._begun else self._limits.sites
        return self._asking(now_s) if len(self._peers) >= max(wanted, self.training.plan.sites_min) else []

    def _asking(self, now_s: float) -> list[Do]:
        there = {s: p for s, p in self._peers.items() if s not in self._dropped}
        if len(there) < self.training.plan.sites_min:
            there, self._dropped = dict(self._peers), set()
        if self._repeats > REPEATS_MAX:
            return [End(Unavailable(f"sites left {self._repeats} times in one step", "look at their network"))]
        step = self.training.step()
        self._begun, self._asked, self._losses = True, there, {}
        self._sum = masking.total((), size(shapes(self.training.plan, step.kind)))
        self.round += 1
        for site in there:
            self._owed[site].add(self.round)
        self._until_s = now_s + self._limits.answer_s
        return [Ask(self.round, step, tuple(there[s] for s in sorted(there)))]

    def _again(self, now_s: float) -> list[Do]:
        self._asked, self._losses = {}, {}
        self._repeats += 1
        there = len([s for s in self._peers if s not in self._dropped])
        least = self.training.plan.sites_min
        if there >= least:
            return [Say(f"asked again of {there} sites"), *self._asking(now_s)]
        self._until_s = now_s + self._limits.wait_s
        self._dropped = set()
        return [Say(f"{there} of {least} sites: waiting {self._limits.wait_s:g} s for another")]

    def _summed(self, now_s: float) -> list[Do]:
        try:
            words = self.training.take(masking.decoded(self._sum), self._losses)
        except (BadRequest, Refused) as error:
            return [End(error)]
        self._took_part |= set(self._asked)
        self.training.told["sites"] = sorted(self._took_part)
        self._asked, self._losses, self._dropped, self._repeats = {}, {}, set(), 0
        done: list[Do] = [Say(words), Keep()]
        if not self.training.done:
            if len(self._peers) >= self.training.plan.sites_min:
                return [*done, *self._asking(now_s)]
            self._until_s = now_s + self._limits.wait_s
            return done
        return [*done, *self.finished(now_s)]

    def finished(self, now_s: float) -> list[Do]:
        """The model is there: to every site, which has its time to judge it."""
        units = tuple(self._units.get(name, "") for name in self.training.plan.columns)
        made = self.training.result(sorted(self._took_part), self._step_s)
        self._model = dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, units=units))
        self._until_s = now_s + self._limits.answer_s
        return [Give(self._model, self.sites)]

    def _ended(self) -> list[Do]:
        return [End()] if all(site in self.outcomes for site in self._peers) else []

    # --- checks ------------------------------------------------------------------------------------------------------

    def _fits(self, peer: Peer, code: str, plan: str) -> None:
        site, known = peer.site, self.training.plan
        if not (0 < len(site) <= NAME_MAX and all(c.isalnum() or c in "-_." for c in site)):
            raise BadRequest(f"a site named {site[:NAME_MAX]!r}", f"1 … {NAME_MAX} letters, digits, '-', '_' or '.'")
        if code != CODE:
            raise Conflict(f"{site} runs Twinloop {code}, this is {CODE}", "the same version at all sites")
        if plan != known.hash:
            raise Conflict(f"{site} means another plan", "start it again")
        if site in self._peers:
            raise Conflict(f"there is a site {site} already", "give each its own --site")
        if len(self._peers) >= SITES_MAX:
            raise LimitExceeded(f"{SITES_MAX} sites are there", "no more take part")
        if peer.step_s and self._step_s and abs(peer.step_s - self._step_s) > UNEVEN * self._step_s:
            words = f"{site} has a row every {peer.step_s:g} s, the others every {self._step_s:g} s"
            raise Conflict(words, "the same --every at all sites")
        for name, unit in zip(known.columns, peer.units, strict=False):
            if unit and self._units.get(name) and self._units[name] != unit:
                raise WrongUnit(f"{site} has {name} in {unit}, the others in {self._units[name]}", "convert it")

    def _checked(self, site: str, numbers: Any) -> None:
        """One site's own part, where it is open.

        Raises:
            Refused: its update is longer than it may be.
        """
        step = self.training.step()
        parts: Mapping[str, Any] = unpacked(shapes(self.training.plan, step.kind), numbers)
        if "update" in parts:
            try:
                self.training.checked(parts["update"], float(parts["weight"][0]), step.clip, 1)
            except Refused as error:
                raise Refused(f"{site}: {error.message}", "its program was altered, or its data are wild") from None
