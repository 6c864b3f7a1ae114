"""Named counter-based random streams: a draw depends on seed, name and replication only; must not know what is drawn.

Adding a component or a replication never changes another's draws, so scenarios share common random numbers.

There is a second door to chance, `sim.kernel.chance`: one uniform a draw, in arithmetic that the kernel compiles, for what
runs in both backends. Here are numpy's generators, whole vectors of any distribution at once: for EPANET's demand and for
noise of simulated devices, which no kernel runs.
"""

from __future__ import annotations

import hashlib

import numpy as np

SEED_MAX = 2**64 - 1  # one word of Philox's 128-bit key; the other one is the name


def stream(seed: int, name: str, replication: int = 0) -> np.random.Generator:
    """The stream of one purpose in one replication: Philox keyed by (seed, name), counter offset by the replication.

    Replications are 2^128 draws apart (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

    Raises:
        ValueError: seed or replication is negative or too large.
    """
    if not 0 <= seed <= SEED_MAX:
        raise ValueError(f"seed {seed} is outside 0 … {SEED_MAX}")
    if not 0 <= replication < 2**64:
        raise ValueError(f"replication {replication} is outside 0 … 2^64 - 1")
    word = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    key = np.array([seed, word], np.uint64)
    counter = np.array([0, 0, replication, 0], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
