"""Handlers of branches, forks of the twin: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

from typing import Any

from control.api import wire
from control.api.part import Parts
from control.api.route import API, Call, Route
from control.branches import Branch
from twin.role import Act


async def branches(parts: Parts, _: Call) -> list[wire.BranchInfo]:
    return [_branch(b) for b in parts.branches.all()]


async def branch(parts: Parts, call: Call) -> wire.BranchInfo:
    return _branch(parts.branches.get(call.path["name"]))


async def create_branch(parts: Parts, call: Call) -> wire.BranchInfo:
    asked: wire.BranchRequest = call.body
    return _branch(await parts.branches.create(asked.name, asked.at, asked.known, asked.values, asked.note))


async def set_in_branch(parts: Parts, call: Call) -> wire.BranchInfo:
    return _branch(parts.branches.set(call.path["name"], call.body))


async def delete_branch(parts: Parts, call: Call) -> wire.BranchInfo:
    return _branch(parts.branches.delete(call.path["name"]))


def _branch(branch: Branch) -> wire.BranchInfo:
    return wire.BranchInfo(branch.name, branch.made_at / 1e6, branch.taken_at / 1e6, branch.note, dict(branch.changed))


BRANCH_ROUTES: tuple[Route, ...] = (
    Route("GET", f"{API}/branches", branches, "Forks of the twin, newest first", list[wire.BranchInfo]),
    Route(
        "POST",
        f"{API}/branches",
        create_branch,
        "Fork the twin",
        wire.BranchInfo,
        wire.BranchRequest,
        status=201,
        act=Act.SIMULATE,
    ),
    Route("GET", f"{API}/branches/{{name}}", branch, "One fork", wire.BranchInfo),
    Route(
        "PATCH",
        f"{API}/branches/{{name}}",
        set_in_branch,
        "Set values in a fork",
        wire.BranchInfo,
        dict[str, Any],
        act=Act.SIMULATE,
    ),
    Route("DELETE", f"{API}/branches/{{name}}", delete_branch, "Delete a fork", wire.BranchInfo, act=Act.SIMULATE),
)
