"""Whatever fits the OpenAPI document, and much that does not, is answered without a failure inside the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from control.client import Client
from control.identity import TOKEN_FILE
from tests.plant.site import Site, site

try:
    import schemathesis
    from schemathesis import GenerationMode
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("schemathesis is not installed: the extra `test` has it", allow_module_level=True)

EXAMPLES = 3  # of each operation and mode: some 450 requests
ELSEWHERE = {("POST", "/api/v1/backup")}
"""Writes into whatever folder is named; tests/plant/test_backup.py asks it."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client]]:
    with site(tmp_path_factory.mktemp("fuzz")) as made:
        dead = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
        with made.start_server(**dead) as client:
            yield made, client


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does-not"])
def test_no_request_that_can_be_generated_breaks_the_server(running: tuple[Site, Client], mode: Any) -> None:
    made, client = running
    document = httpx.get(f"{client.url}/openapi.json", trust_env=False).json()
    schema = schemathesis.openapi.from_dict(document)
    broken: list[tuple[str, str, int, str]] = []
    asked = 0
    with httpx.Client(base_url=client.url, trust_env=False, timeout=60) as http:
        http.headers["Authorization"] = f"Bearer {(made.data / TOKEN_FILE).read_text()}"
        for found in schema.get_all_operations():
            operation = found.ok()
            if (operation.method.upper(), operation.path) in ELSEWHERE:
                continue
            cases = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=cases)
            def ask(case: Any) -> None:
                nonlocal asked
                sent = case.as_transport_kwargs(base_url=client.url)
                body = {k: sent[k] for k in ("json", "data") if sent.get(k) is not None}
                content = body.get("data")
                more: dict[str, Any] = {"json": body["json"]} if "json" in body else {}
                if isinstance(content, bytes | str):
                    more = {"content": content}
                try:
                    answer = http.request(sent["method"], sent["url"], params=sent.get("params"), **more)
                except (httpx.InvalidURL, UnicodeError, TypeError, ValueError):
                    return  # nothing that a client could put on a line
                asked += 1
                if answer.status_code in (500, 502):
                    broken.append((sent["method"], sent["url"], answer.status_code, answer.text[:200]))

            try:
                ask()
            except (schemathesis.errors.SchemathesisError, Unsatisfiable):  # nothing of it could be wrong
                assert mode is GenerationMode.NEGATIVE
    assert broken == []
    assert asked > 100
    made._messages.flush()
    assert "Traceback" not in (made.data.parent / "messages.log").read_text()
