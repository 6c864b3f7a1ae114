"""The edge of HTTP without a server: what a client that goes away leaves behind."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from starlette.requests import Request

from control.api.guard import Site
from control.api.http import GONE, endpoint_of
from control.api.part import Parts
from control.api.route import Call, Route
from control.rates import Buckets
from control.settings import Settings


async def test_who_goes_while_sending_a_body_is_no_failure_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: Any, call: Call) -> None:
        raise AssertionError("nobody asked for it")

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    rates, parts = Settings(), cast(Parts, None)
    site = Site(frozenset(), False, rates.metrics, rates.caller, rates.peer)
    endpoint = endpoint_of(parts, Route("POST", "/x", handler, "", None, act=None), site, Buckets(site.caller))
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "query_string": b"", "client": None}
    with caplog.at_level(logging.ERROR):
        answer = await endpoint(Request(scope, gone))
    assert (answer.status_code, caplog.text) == (GONE, "")
