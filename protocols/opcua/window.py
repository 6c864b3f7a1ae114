"""Which messages of a subscription have come, and which are missing (Part 4, 5.13.1); pure, must not know what is in them."""

from __future__ import annotations

from dataclasses import dataclass

SEQUENCE_MAX = 2**32 - 1  # after it comes 1
GAP_MAX = 100  # messages asked for again after one gap: more than servers keep


@dataclass(frozen=True, slots=True)
class Taken:
    """What a message's number says.

    Attributes:
        missing: numbers to ask for again before it, oldest first.
        lost: how many more are missing than it makes sense to ask for.
        repeated: it came before.
    """

    missing: tuple[int, ...] = ()
    lost: int = 0
    repeated: bool = False


_AS_EXPECTED, _REPEATED = Taken(), Taken(repeated=True)


class Window:
    """Sequence numbers of one subscription; where it starts to count is the server's choice."""

    def __init__(self) -> None:
        self._next: int | None = None

    def take(self, sequence: int, keep_alive: bool) -> Taken:
        """A message has come. A keep-alive carries the number that the next message will have."""
        expected, self._next = self._next, sequence if keep_alive else _after(sequence)
        if expected is None:
            return _AS_EXPECTED
        ahead = (sequence - expected) % SEQUENCE_MAX
        if ahead == 0:
            return _AS_EXPECTED
        if ahead > SEQUENCE_MAX // 2:
            self._next = expected
            return _REPEATED
        asked = min(ahead, GAP_MAX)
        missing = tuple((sequence - back - 1) % SEQUENCE_MAX + 1 for back in range(asked, 0, -1))
        return Taken(missing, ahead - asked)


def _after(sequence: int) -> int:
    return sequence % SEQUENCE_MAX + 1
