"""All verbs: what the WebSocket's calls and the routes of commands, leases, groups and alarms are made from."""

from __future__ import annotations

from collections.abc import Mapping

from control.api.alarm_verbs import ALARM_VERBS
from control.api.command_verbs import COMMAND_VERBS, Verb, route
from control.api.lease_verbs import LEASE_VERBS
from control.api.route import Route

VERBS: tuple[Verb, ...] = (*COMMAND_VERBS, *LEASE_VERBS, *ALARM_VERBS)
VERB_OF_NAME: Mapping[str, Verb] = {v.name: v for v in VERBS}
VERB_ROUTES: tuple[Route, ...] = tuple(route(v) for v in VERBS if v.path)
