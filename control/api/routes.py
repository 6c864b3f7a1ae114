"""The HTTP routes as one table, from which the Starlette routes and the OpenAPI document are made: each module's own."""

from __future__ import annotations

from control.api.access_routes import ACCESS_ROUTES
from control.api.alarm_routes import ALARM_ROUTES
from control.api.audit_routes import AUDIT_ROUTES
from control.api.branch_routes import BRANCH_ROUTES
from control.api.chain_routes import CHAIN_ROUTES
from control.api.erase_routes import ERASE_ROUTES
from control.api.history_routes import HISTORY_ROUTES
from control.api.learned_routes import LEARNED_ROUTES
from control.api.lookahead_routes import LOOKAHEAD_ROUTES
from control.api.operations_routes import OPERATIONS_ROUTES
from control.api.past_routes import PAST_ROUTES
from control.api.plant_routes import PLANT_ROUTES
from control.api.prediction_routes import PREDICTION_ROUTES
from control.api.route import Route
from control.api.session_routes import SESSION_ROUTES
from control.api.twin_routes import TWIN_ROUTES
from control.api.verbs import VERB_ROUTES
from control.api.view_routes import VIEW_ROUTES
from control.api.whatif_routes import WHATIF_ROUTES

ROUTES: tuple[Route, ...] = (
    *PLANT_ROUTES,
    *HISTORY_ROUTES,
    *SESSION_ROUTES,
    *TWIN_ROUTES,
    *BRANCH_ROUTES,
    *PREDICTION_ROUTES,
    *LOOKAHEAD_ROUTES,
    *ACCESS_ROUTES,
    *VERB_ROUTES,
    *WHATIF_ROUTES,
    *LEARNED_ROUTES,
    *AUDIT_ROUTES,
    *CHAIN_ROUTES,
    *ERASE_ROUTES,
    *OPERATIONS_ROUTES,
    *VIEW_ROUTES,
    *ALARM_ROUTES,
    *PAST_ROUTES,
)
