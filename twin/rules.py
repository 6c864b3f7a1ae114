"""What a protocol must tell the plant loader so that it can check a plant; must not know any one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.errors import Mistake

if TYPE_CHECKING:
    from twin.points import Point


@dataclass(frozen=True, slots=True)
class Setting:
    """One key a device or a `[[serve]]` may have: its type, default, limits or choices, and one line of help.

    A default of None means: not set. A `list` is one of texts.
    """

    type: type
    default: bool | int | float | str | tuple[str, ...] | None
    help: str
    low: float = float("-inf")
    high: float = float("inf")
    choices: tuple[str, ...] = ()


AddressCheck = Callable[[str, str, bool], None]
"""(address, point type, writable) -> None; raises ValueError saying what is wrong and the form."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Settings that are right one by one and do not go together: the key to name, what is wrong, how to mend it."""

    key: str
    message: str
    fix: str


def _no_clash(endpoint: str, settings: Mapping[str, Any]) -> Sequence[Clash]:
    return ()


def _takes_all(point: Point, value: float) -> str:
    """The check of a protocol whose devices say only when they are asked."""
    return ""


@dataclass(frozen=True, slots=True)
class ProtocolRules:
    """A protocol's part in checking a plant.

    Attributes:
        settings: the device keys it knows.
        check_endpoint: raises ValueError with the right form when the endpoint is not one.
        check_address: of a device's points.
        check_settings: (endpoint, settings) -> what does not go together.
        address_check: the check for a device of these settings, where they decide what an address looks like.
        misfit: (point, value in its unit) -> why its address can never hold the value; "" where it can.
    """

    settings: Mapping[str, Setting]
    check_endpoint: Callable[[str], None]
    check_address: AddressCheck
    check_settings: Callable[[str, Mapping[str, Any]], Sequence[Clash]] = _no_clash
    address_check: Callable[[Mapping[str, Any]], AddressCheck] | None = None
    misfit: Callable[[Point, float], str] = _takes_all


def _no_files(folder: Path, settings: Mapping[str, Any], points: Mapping[str, Point]) -> list[Mistake]:
    """The check of a protocol that needs no file of the plant's."""
    return []


@dataclass(frozen=True, slots=True)
class ServingRules:
    """A protocol's part in checking a `[[serve]]`.

    Attributes:
        settings: the keys it knows.
        check_endpoint: raises ValueError with the right form when the endpoint is not one.
        check_settings: (endpoint, settings) -> what does not go together.
        check_files: (plant folder, settings, points by name) -> mistakes in files that the settings name.
    """

    settings: Mapping[str, Setting]
    check_endpoint: Callable[[str], None]
    check_settings: Callable[[str, Mapping[str, Any]], Sequence[Clash]] = _no_clash
    check_files: Callable[[Path, Mapping[str, Any], Mapping[str, Point]], list[Mistake]] = _no_files
