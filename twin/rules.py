"""What a protocol must tell the plant loader so that it can check a plant; must not know any one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


AddressCheck = Callable[[str, str, bool], None]
"""(address, point type, writable) -> None; raises ValueError saying what is wrong and the form."""


@dataclass(frozen=True, slots=True)
class ProtocolRules:
    """A protocol's part in checking a plant.

    Attributes:
        settings: the device keys it knows.
        check_endpoint: raises ValueError with the right form when the endpoint is not one.
        check_address: of a device's points.
        address_check: the check for a device of these settings, where they decide what an address looks like.
    """

    settings: Mapping[str, Setting]
    check_endpoint: Callable[[str], None]
    check_address: AddressCheck
    address_check: Callable[[Mapping[str, Any]], AddressCheck] | None = None
