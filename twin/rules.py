"""What a protocol must tell the plant loader so that it can check a plant; must not know any one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """One key a device of a protocol may have: its type, default, limits or choices, and one line of help.

    A default of None means: not set.
    """

    type: type
    default: bool | int | float | str | None
    help: str
    low: float = float("-inf")
    high: float = float("inf")
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clash:
    """Settings that are right one by one and do not go together: the key to name, what is wrong, how to mend it."""

    key: str
    message: str
    fix: str


def _no_clash(endpoint: str, settings: Mapping[str, Any]) -> Sequence[Clash]:
    return ()


@dataclass(frozen=True, slots=True)
class ProtocolRules:
    """A protocol's part in checking a plant.

    Attributes:
        settings: the device keys it knows.
        check_endpoint: raises ValueError with the right form when the endpoint is not one.
        check_address: (address, point type, writable) -> None; raises ValueError saying what is wrong and the form.
        check_settings: (endpoint, settings) -> what does not go together.
    """

    settings: Mapping[str, Setting]
    check_endpoint: Callable[[str], None]
    check_address: Callable[[str, str, bool], None]
    check_settings: Callable[[str, Mapping[str, Any]], Sequence[Clash]] = _no_clash
