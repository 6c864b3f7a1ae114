"""Persons in what only memory holds: events kept for clients that come back. Must not know who asks to forget them."""

from __future__ import annotations

import asyncio
from typing import Any

from twin.feed import Event, Feed

NAMING = frozenset({"author", "by", "holder", "acked_by", "approved_by"})
"""Fields of events that name people (control/api/wire_event.py), one each or a list of them."""


class Told:
    """The events of the feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def check_settled(self, person: str) -> None:
        """What is announced is settled."""

    async def rename(self, person: str, name: str) -> None:
        """After those who announce: what they announce from now on has the other name already."""
        events = self._feed.events_since(self._feed.kept_from)
        self._feed.retell(await asyncio.to_thread(_renamed, events, person, name))


def _renamed(events: list[Event], person: str, name: str) -> dict[int, dict[str, Any]]:
    """Bodies by number, of those that are others with it. Thousands of alarms in a flood: some seconds."""
    bodies = ((e.seq, e.body, renamed_in(e.body, person, name)) for e in events)
    return {seq: told for seq, body, told in bodies if told != body}


def renamed_in(told: Any, person: str, name: str) -> Any:
    """A body with another name in every field that names the person."""
    if isinstance(told, list):
        return [renamed_in(item, person, name) for item in told]
    if not isinstance(told, dict):
        return told
    return {
        key: _field(item, person, name) if key in NAMING else renamed_in(item, person, name)
        for key, item in told.items()
    }


def _field(held: Any, person: str, name: str) -> Any:
    if isinstance(held, list):
        return [_field(item, person, name) for item in held]
    return name if held == person else held
