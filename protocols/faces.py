"""The protocols that can show the twin: their settings, checks and factories, one entry each; must not import their libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocols.served import FaceFactory
from twin.rules import ServingRules


@dataclass(frozen=True, slots=True)
class FaceEntry:
    """What the plant loader checks of a `[[serve]]` of one protocol, and how to make its face."""

    rules: ServingRules
    face: FaceFactory


FACES: Mapping[str, FaceEntry] = {}
