"""How a component goes on from a state that was measured: which timers run in which state, and who has what on loan; pure.

A class says it once, as `resume = Resume(…)`; a plant's model rows then need only say which state each component is in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.spec import Condition, Port, Timer


@dataclass(frozen=True, slots=True)
class Going:
    """A timer that runs while a condition holds; None: always.

    It was started when the state was entered. With `loan` it runs only in a component that has that loan, or whose port
    stays free: how long it has been running then depends on when the loan came, and is not told by the state.
    """

    timer: Timer
    while_: Condition | None = None
    loan: Port | None = None

    @property
    def aged(self) -> bool:
        """Whether the age of the state is the age of the timer."""
        return self.loan is None and self.while_ is not None and len(self.while_.values) == 1


@dataclass(frozen=True, slots=True)
class Loan:
    """A unit of a resource: had while `holds`, asked for while `waits`.

    Where both are the same state, those who have been in it longest have the units: loans are first come, first served.
    """

    port: Port
    holds: Condition
    waits: Condition | None = None

    @property
    def told(self) -> bool:
        """Whether the state alone tells who has a unit."""
        return self.waits != self.holds


@dataclass(frozen=True, slots=True)
class Resume:
    """How a type goes on.

    Attributes:
        then: sets what follows from the state and is no timer of a distribution, such as flows; it runs as a handler.
        only: the state in which `then` has something to do; None: always. It is slow: half a millisecond a replication.
    """

    going: tuple[Going, ...] = ()
    loans: tuple[Loan, ...] = ()
    then: Callable[[Any], None] | None = None
    only: Condition | None = None


def resume_of(cls: type) -> Resume:
    """What the class says; nothing when it does not."""
    found = getattr(cls, "resume", None)
    return found if isinstance(found, Resume) else Resume()
