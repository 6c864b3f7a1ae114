"""What is made of a plant and kept until the plant is another; must not know what that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from twin.plant import Plant

T = TypeVar("T")


class PerPlant(Generic[T]):
    """Edits replace the plant: the same object is the same plant. What could not be made is not kept."""

    def __init__(self, make: Callable[[Plant], T]) -> None:
        self._make = make
        self._kept: tuple[Plant, T] | None = None
        self._turn = asyncio.Lock()

    def of(self, plant: Plant) -> T:
        """Made here and now when the plant is another."""
        if self._kept is None or self._kept[0] is not plant:
            self._kept = plant, self._make(plant)
        return self._kept[1]

    async def on_thread(self, plant: Plant) -> T:
        """Made on a thread, once for all who ask meanwhile, as many consoles do after an edit."""
        async with self._turn:
            return self._kept[1] if self._kept and self._kept[0] is plant else await asyncio.to_thread(self.of, plant)
