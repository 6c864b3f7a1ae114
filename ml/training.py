"""What every training shares: progress, a cancel, a seed for all chance; must not know models or data."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch


class Cancelled(Exception):
    """Somebody stopped the training."""


def _silent(share: float, words: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Course:
    """How a training is followed and stopped.

    Attributes:
        told: called with the share done, 0 … 1, and what is being done, in the caller's thread.
    """

    told: Callable[[float, str], None] = _silent
    cancel: threading.Event = field(default_factory=threading.Event)

    def at(self, share: float, words: str) -> None:
        """
        Raises:
            Cancelled: `cancel` is set.
        """
        if self.cancel.is_set():
            raise Cancelled
        self.told(share, words)

    def part(self, first: float, last: float, words: str = "") -> Course:
        """The course of a part of it, from share `first` to `last`."""
        lead = f"{words}: " if words else ""
        return Course(lambda share, more: self.told(first + share * (last - first), lead + more), self.cancel)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Small networks on one thread of torch: a second only waits for the first, on a busy machine for most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seeded(seed: int) -> np.random.Generator:
    """Set all chance of torch and of others to the seed, and give a generator of our own."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return np.random.default_rng(seed)
