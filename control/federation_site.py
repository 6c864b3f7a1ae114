"""One site of a federated training: asks its data what it is asked, sends masked numbers, judges the common model.

A lost coordinator is looked for again for a while. Must not decide what is computed (ml/federated_site.py).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from control.api.wire import SUBPROTOCOL, Hello, Problem
from control.api.wire_federation import (
    CoordinatorMessage,
    FederationJoin,
    FederationModel,
    FederationNews,
    FederationOutcome,
    FederationPart,
    FederationPlan,
    FederationRound,
)
from control.client import as_error
from control.federation import MESSAGE_MAX, checked_url, from_coordinator, model_of, plan_of, problem, step_of, to_bytes
from ml.federated import SITES_MIN, Plan
from ml.federated_site import Own, Site
from ml.masking import Masks, encoded
from ml.masking import to_bytes as ring_bytes
from ml.model_file import CODE, ModelFile
from ml.records import DataSet
from ml.training import Course
from protocols.pki import Pki, ssl_context_client
from twin.errors import BadRequest, Denied, Refused, TwinloopError, Unavailable

POLL_S = 0.2  # how often a cancel is looked for while nothing comes
OPEN_S = 10.0
AGAIN_S = 0.5
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Joining:
    """Where a site goes.

    Attributes:
        token: of the federation. secret: of the sites, not known to the coordinator; "" without one.
        pki: whose certificates are believed; None: the system's authorities. patience_s: for a coordinator that is away.
        open_: it may give parts that the coordinator sees.
    """

    url: str
    site: str
    token: str
    secret: str = ""
    pki: Path | None = None
    patience_s: float = 120.0
    open_: bool = False


class _Lost(Exception):
    """The coordinator is away; it may come back."""


@dataclass
class Member:
    """A site at work.

    Attributes:
        data: never leaves it. chance: of the noise and of nothing else.
    """

    joining: Joining
    data: DataSet
    course: Course
    told: Told
    chance: np.random.Generator = field(default_factory=np.random.default_rng)
    _site: Site | None = None
    _rounds: dict[str, int] = field(default_factory=dict)

    def run(self) -> tuple[Own, ModelFile]:
        """Until the common model is there and judged: (what the site makes of it, the common model).

        Raises:
            Cancelled: the course was. Denied: the token is wrong. Refused: no safe connection, or a round that is not safe.
            Unavailable: no coordinator for as long as there is patience. And what the coordinator says of this site.
        """
        checked_url(self.joining.url)
        torch.set_num_threads(1)  # networks this small gain nothing from more, and sums come out the same everywhere
        until = time.monotonic() + self.joining.patience_s
        while True:
            try:
                with contextlib.closing(self._connected()) as link:
                    self.told(f"connected to {self.joining.url}")
                    return self._at(link)
            except (_Lost, ConnectionClosed, OSError, InvalidHandshake) as error:
                if isinstance(error, ConnectionClosed | _Lost):
                    until = time.monotonic() + self.joining.patience_s
                self._wait(error, until)

    def _wait(self, error: Exception, until_s: float) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise Refused(
                f"the certificate of {self.joining.url} is not believed: {error.verify_message}",
                "compare its thumbprint, then twinloop certs trust FILE --pki FOLDER, and give that --pki",
            ) from None
        if isinstance(error, InvalidStatus) and error.response.status_code == 401:
            raise Denied("the token is not that of this federation", "it lies with the coordinator's state") from None
        if time.monotonic() > until_s:
            raise Unavailable(
                f"{self.joining.url} does not answer: {error}", "is `twinloop federate serve` running there?"
            ) from None
        end = time.monotonic() + AGAIN_S
        while time.monotonic() < end:
            self.course.at(0.0, "waiting for the coordinator")
            time.sleep(POLL_S)

    def _connected(self) -> ClientConnection:
        safe = self.joining.url.startswith("wss:")
        context = ssl_context_client(Pki(self.joining.pki) if self.joining.pki else None) if safe else None
        return connect(
            self.joining.url, ssl=context, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None,
            additional_headers={"Authorization": f"Bearer {self.joining.token}"}, open_timeout=OPEN_S, max_size=MESSAGE_MAX,
            user_agent_header=None, proxy=None,
        )  # fmt: skip

    # --- messages ----------------------------------------------------------------------------------------------------

    def _at(self, link: ClientConnection) -> tuple[Own, ModelFile]:
        self._next(link, Hello)
        heard = self._next(link, FederationPlan)
        try:
            plan = plan_of(heard)
            if not (plan.secure or self.joining.open_):
                raise Refused(
                    "the coordinator would see what this site gives", "agree to it with --open, or ask it not to"
                )
            if self._site is None or self._site.plan != plan:
                self._site = Site(plan, self.data)
            masks = Masks(self.joining.site, X25519PrivateKey.generate(), self.joining.secret.encode())
            link.send(to_bytes(self._joins(plan, masks)))
            return self._works(link, heard.run, masks)
        except (BadRequest, Refused) as error:
            with contextlib.suppress(ConnectionClosed):  # it may be the coordinator's own word
                link.send(to_bytes(problem(error)))
            raise

    def _joins(self, plan: Plan, masks: Masks) -> FederationJoin:
        assert self._site is not None
        units = list(self._site.data.units)
        return FederationJoin(
            self.joining.site, CODE, plan.hash, units, self._site.windows, self.data.step_s, masks.public, masks.proof
        )

    def _works(self, link: ClientConnection, run: str, masks: Masks) -> tuple[Own, ModelFile]:
        assert self._site is not None
        while True:
            match self._heard(link):
                case FederationRound() as asked:
                    link.send(to_bytes(self._part(asked, run, masks)))
                case FederationNews() as news:
                    self.told(news.words)
                    self.course.at(news.share, news.words)
                case FederationModel() as given:
                    common = model_of(given.file)
                    own = self._site.own(common, self.course)
                    link.send(to_bytes(FederationOutcome(own.better, own.reason, *own.losses)))
                    return own, common
                case other:
                    raise BadRequest(
                        f"{type(other).__name__} in the middle of a training", "both ends run the same Twinloop"
                    )

    def _part(self, asked: FederationRound, run: str, masks: Masks) -> FederationPart:
        """
        Raises:
            Refused: the round is old, this site is not in it, or too few are for a masked sum.
        """
        assert self._site is not None
        if asked.round <= self._rounds.get(run, 0):
            raise Refused(f"round {asked.round} was answered or is past", "somebody sends old messages again")
        self._rounds[run] = asked.round
        others = {p.site: (p.key, p.proof) for p in asked.sites if p.site != self.joining.site}
        mine = [p for p in asked.sites if p.site == self.joining.site]
        if len(mine) != 1 or mine[0].key != masks.public or len(others) != len(asked.sites) - 1:
            raise Refused(f"round {asked.round} is not with this site as it is", "start it again")
        plan = self._site.plan
        if plan.secure and len(asked.sites) < SITES_MIN:
            raise Refused(f"a sum of {len(asked.sites)} sites", f"of fewer than {SITES_MIN} one could be told from it")
        numbers, loss = self._site.part(step_of(asked), len(asked.sites), self.chance, self._following())
        try:
            ring = encoded(numbers)
        except Refused as error:
            raise Refused(f"{asked.kind}: {error.message}", "a column is wild, or in too small a unit") from None
        if plan.secure:
            ring = masks.masked(ring, others, run, asked.round)
        return FederationPart(asked.round, ring_bytes(ring), loss)

    def _following(self) -> Course:
        """Cancels as the course does; how far a single step is tells nobody anything."""
        return Course(cancel=self.course.cancel)

    def _next(self, link: ClientConnection, kind: type[Any]) -> Any:
        found = self._heard(link)
        if not isinstance(found, kind):
            raise BadRequest(f"{type(found).__name__} instead of {kind.__name__}", "is this a federation's address?")
        return found

    def _heard(self, link: ClientConnection) -> CoordinatorMessage:
        """
        Raises:
            _Lost: it is stopping, and may go on later. And whatever it says of this site.
        """
        while True:
            self._following().at(0.0, "")
            try:
                data = link.recv(timeout=POLL_S)
            except TimeoutError:
                continue
            found = from_coordinator(data)
            if isinstance(found, Problem):
                error: TwinloopError = as_error({"code": found.code, "message": found.message, "hint": found.hint})
                raise _Lost(str(error)) if isinstance(error, Unavailable) else error
            return found
