"""What many tests of the command line share, and of what a server announces."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from control import cli
from control.api.wire_event import EVENTS
from twin.feed import Event, Feed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line: (exit code, stdout, stderr)."""

    def told(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinloop", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return told


@pytest.fixture
def typed_events(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Every event that the test announces has the type of its kind, and no field besides; the kinds so far."""
    announce, kinds, problems = Feed.announce, set[str](), list[str]()

    def checked(feed: Feed, kind: str, time: int, body: dict[str, Any]) -> Event:
        kinds.add(kind)
        try:
            known = msgspec.to_builtins(msgspec.convert(body, EVENTS[kind]))
            problems.extend(f"{kind}{path}: not in its type" for path in unknown_fields(body, known))
        except (KeyError, msgspec.ValidationError) as error:
            problems.append(f"{kind}: {error!r}")
        return announce(feed, kind, time, body)

    monkeypatch.setattr(Feed, "announce", checked)
    yield kinds
    assert problems == []


def unknown_fields(told: Any, known: Any) -> Iterator[str]:
    """Where a body says what its type does not have."""
    if isinstance(told, dict):
        for key, inner in told.items():
            if key not in known:
                yield f".{key}"
            else:
                yield from (f".{key}{path}" for path in unknown_fields(inner, known[key]))
    elif isinstance(told, list | tuple):
        for one, other in zip(told, known, strict=True):
            yield from unknown_fields(one, other)
