"""Edits of the graph in words; decides nothing."""

from __future__ import annotations

from twin.edit import (
    AddInterface,
    AddRelationship,
    AddTwin,
    ChangeTwin,
    Edit,
    KeepPoint,
    RemoveRelationship,
    RemoveTwin,
)


def words_of(edit: Edit) -> str:
    """`twin valve_9`, `relationship tank_1 feeds valve_9` …"""
    match edit:
        case AddInterface(interface):
            return f"interface {interface.id}"
        case AddTwin(twin) | ChangeTwin(twin):
            return f"twin {twin.id}"
        case RemoveTwin(identity):
            return f"twin {identity}"
        case AddRelationship(r) | RemoveRelationship(r):
            return f"relationship {r.source} {r.name} {r.target}"
        case KeepPoint(twin_id, name):
            return f"kept {twin_id}.{name}"
