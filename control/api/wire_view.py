"""Saved views and handover notes as they travel; must not know how they are kept. Times are ms since 1970."""

from __future__ import annotations

import msgspec


class SavedView(msgspec.Struct, frozen=True):
    """`address` is what stands behind the console's own address, `#/trends?…`; `shared`: everybody sees it."""

    id: str
    name: str
    address: str
    shared: bool
    by: str


class SavedViews(msgspec.Struct, frozen=True):
    """GET /api/v1/views. `startup`: the id of the one that opens first, "" for none."""

    views: list[SavedView]
    startup: str


class ViewRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/views."""

    name: str
    address: str
    shared: bool = False


class ViewChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /api/v1/views/{id}: what is left out stays."""

    name: str | None = None
    address: str | None = None


class StartupView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PUT /api/v1/views/startup: "" for none."""

    id: str


class NoteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/notes."""

    text: str


class HandoverNote(msgspec.Struct, frozen=True):
    """What somebody wrote for the next shift."""

    n: int
    time: float
    by: str
    text: str
