"""The OpenAPI document: each operation has a name of its own, and says what it needs and from whom."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from control.api.openapi import document
from control.api.routes import ROUTES

DOCUMENT = msgspec.json.decode(msgspec.json.encode(document("1")))


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][f"/api/v1{path}"][method]
    return found


def test_no_two_operations_have_one_name() -> None:
    names = Counter(o["operationId"] for methods in DOCUMENT["paths"].values() for o in methods.values())
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) == len(ROUTES)


def test_a_parameter_is_required_where_the_route_needs_it_only() -> None:
    def required(method: str, path: str) -> list[str]:
        return [p["name"] for p in operation(method, path)["parameters"] if p["required"]]

    assert required("get", "/history") == ["point"]
    assert required("get", "/commands") == required("get", "/audit") == required("get", "/audit/proof") == []
    assert required("get", "/points/{name}") == ["name"]
    assert [r.path for r in ROUTES if not set(r.needs) <= set(r.query)] == []


def test_where_nobody_needs_to_be_signed_in_the_document_says_so() -> None:
    free = [(r.method.lower(), r.path.removeprefix("/api/v1")) for r in ROUTES if r.act is None]
    assert ("post", "/session") in free
    assert [operation(*o).get("security") for o in free] == [[]] * len(free)
    assert "security" not in operation("get", "/plant") and DOCUMENT["security"]
