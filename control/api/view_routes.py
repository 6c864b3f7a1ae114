"""Handlers of saved views and handover notes: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from control.api import wire_view as wire
from control.api.route import API, Call, Route
from control.view_store import Note, Person, View
from twin.role import Act, Role

if TYPE_CHECKING:
    from control.api.part import Parts

NOTES_LISTED_MAX = 1_000


async def views(parts: Parts, call: Call) -> wire.SavedViews:
    found, startup = await asyncio.to_thread(parts.views.views, _who(call))
    return wire.SavedViews([_view(v) for v in found], startup)


async def save_view(parts: Parts, call: Call) -> wire.SavedView:
    asked: wire.ViewRequest = call.body
    terms = (parts.new_id(), asked.name, asked.address, asked.shared, parts.clock())
    return _view(await asyncio.to_thread(parts.views.save, _who(call), *terms))


async def change_view(parts: Parts, call: Call) -> wire.SavedView:
    asked: wire.ViewChange = call.body
    return _view(await asyncio.to_thread(parts.views.change, _who(call), call.path["id"], asked.name, asked.address))


async def delete_view(parts: Parts, call: Call) -> None:
    await asyncio.to_thread(parts.views.delete, _who(call), call.path["id"], parts.clock())


async def restore_view(parts: Parts, call: Call) -> wire.SavedView:
    return _view(await asyncio.to_thread(parts.views.restore, _who(call), call.path["id"], parts.clock()))


async def open_first(parts: Parts, call: Call) -> None:
    asked: wire.StartupView = call.body
    await asyncio.to_thread(parts.views.open_first, _who(call), asked.id)


async def notes(parts: Parts, call: Call) -> list[wire.HandoverNote]:
    limit = int(call.number("limit", 100, 1, NOTES_LISTED_MAX))
    return [_note(n) for n in await asyncio.to_thread(parts.views.notes, limit)]


async def add_note(parts: Parts, call: Call) -> wire.HandoverNote:
    asked: wire.NoteRequest = call.body
    return _note(await asyncio.to_thread(parts.views.note, call.caller.name, asked.text, parts.clock()))


def _who(call: Call) -> Person:
    """Who reads the data folder's token may do what anybody may."""
    return Person(call.caller.name, Role.ADMIN if call.caller.owner else call.caller.role)


def _view(view: View) -> wire.SavedView:
    return wire.SavedView(view.id, view.name, view.address, view.shared, view.by)


def _note(note: Note) -> wire.HandoverNote:
    return wire.HandoverNote(note.n, note.time / 1e6, note.by, note.text)


_VIEWS = f"{API}/views"
VIEW_ROUTES = (
    Route("GET", _VIEWS, views, "Saved views of the console: one's own and everybody's", wire.SavedViews),
    Route("POST", _VIEWS, save_view, "Save a view", wire.SavedView, wire.ViewRequest, status=201),
    Route("PUT", f"{_VIEWS}/startup", open_first, "Which view opens first", None, wire.StartupView, status=204),
    Route("PATCH", f"{_VIEWS}/{{id}}", change_view, "Rename a view, or save it anew", wire.SavedView, wire.ViewChange),
    Route("DELETE", f"{_VIEWS}/{{id}}", delete_view, "Delete a view; for a day it can be had back", None, status=204),
    Route("POST", f"{_VIEWS}/{{id}}/restore", restore_view, "Have a deleted view back", wire.SavedView),
    Route(
        "GET", f"{API}/notes", notes, "Handover notes, newest first", list[wire.HandoverNote], query=("limit",)
    ),
    Route(
        "POST", f"{API}/notes", add_note, "Write a handover note", wire.HandoverNote, wire.NoteRequest, status=201,
        act=Act.ACKNOWLEDGE,
    ),
)  # fmt: skip
