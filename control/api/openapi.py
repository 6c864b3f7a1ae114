"""The OpenAPI 3.1 document, made from the route table and the wire types; must not know handlers."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from control.api import wire
from control.api.route import Route
from control.api.routes import ROUTES
from control.api.wire_answer import ANSWERS
from control.api.wire_whatif import WhatIfRun


def document(version: str) -> dict[str, Any]:
    """The whole document."""
    kinds = [k for r in ROUTES for k in (r.takes, r.gives) if k not in (None, dict, bytes)] + [wire.ErrorBody]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = {str(k): s for k, s in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    _type_answers(components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Twinloop",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "twinloop_session"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"session": []}, {"token": []}],
    }


def _type_answers(components: dict[str, Any]) -> None:
    """A run's result is one of four, by its kind: more than the encoder's unions can tell apart."""
    answers, parts = msgspec.json.schema_components(ANSWERS, ref_template="#/components/schemas/{name}")
    components.update(parts)
    components[WhatIfRun.__name__]["properties"]["result"] = {"anyOf": [*answers, {"type": "null"}]}


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    def content(kind: Any) -> dict[str, Any]:
        if kind is bytes:
            return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return {"application/json": {"schema": schema_of.get(str(kind), {"type": "object"})}}

    named = [{"name": n, "in": "path", "required": True} for n in re.findall(r"{(\w+)}", route.path)]
    named += [{"name": n, "in": "query", "required": n in route.needs} for n in route.query]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [{**p, "schema": {"type": "string"}} for p in named],
        "responses": {
            str(route.status): {
                "description": "done",
                **({} if route.gives is None else {"content": content(route.gives)}),
            },
            "default": {"description": "an error", "content": content(wire.ErrorBody)},
        },
    }
    if route.act is None:
        operation["security"] = []  # nobody needs to be signed in
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": content(route.takes)}
    return operation
