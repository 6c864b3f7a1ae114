"""A JSON-RPC node of any Ethereum-like chain, asked over HTTP with what Python itself brings.

Must not know contracts' meaning or sign anything. Says of every fault whether the node was away or refused.
Source: Ethereum execution-apis, JSON-RPC 2.0.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from ledger.errors import AnchorTimeout, ChainError, ContractRefused

TIMEOUT_S = 10.0  # of one answer
ANSWER_BYTES_MAX = 32 * 1024 * 1024
BATCH = 100  # requests in one HTTP body; public nodes refuse more
_ADDRESS = "write http://host:port or https://…"
Request = tuple[str, list[Any]]


class Node:
    """One keep-alive connection, made anew when it broke. For a single thread. Shown without what may be secret in it."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ChainError(f"{url!r} is no address of a node ({error}): {_ADDRESS}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ChainError(f"{url!r} is no address of a node: {_ADDRESS}")
        self.place = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._http = kind(host, port, timeout=timeout_s)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask(self, method: str, *parameters: Any) -> Any:
        """The result of one call.

        Raises:
            AnchorTimeout: no answer in time. ChainError: no connection, no JSON-RPC, or the node refused.
        """
        return self.ask_all([(method, list(parameters))])[0]

    def ask_all(self, requests: Sequence[Request]) -> list[Any]:
        """The results in order; as for `ask`."""
        results: list[Any] = []
        for start in range(0, len(requests), BATCH):
            results += self._batch(requests[start : start + BATCH])
        return results

    def chain_id(self) -> int:
        return number(self.ask("eth_chainId"))

    def block_number(self) -> int:
        return number(self.ask("eth_blockNumber"))

    def call(self, to: str, data: bytes) -> bytes:
        """What a contract answers at the newest block."""
        return data_of(self.ask("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest"))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _batch(self, requests: Sequence[Request]) -> list[Any]:
        calls = [
            {"jsonrpc": "2.0", "id": at, "method": method, "params": parameters}
            for at, (method, parameters) in enumerate(requests)
        ]
        answer = self._post(json.dumps(calls[0] if len(calls) == 1 else calls).encode())
        answers = answer if isinstance(answer, list) else [answer]
        results: dict[int, Any] = {}
        for one in answers:
            if not isinstance(one, dict):
                raise ChainError(f"{self.place} does not speak JSON-RPC: it answered {str(answer)[:200]!r}")
            if one.get("error") is not None:
                said = _words(one["error"])
                kind = ContractRefused if "revert" in said.lower() else ChainError  # nodes agree on no code for it
                raise kind(f"{self.place} refused: {said}")
            results[one.get("id", -1)] = one.get("result")
        if set(results) != set(range(len(calls))):
            raise ChainError(f"{self.place} answered {len(results)} of {len(calls)} requests")
        return [results[at] for at in range(len(calls))]

    def _post(self, body: bytes) -> Any:
        for fresh in (False, True):  # a kept connection may have been closed by the node meanwhile
            try:
                self._http.request("POST", self._path, body, {"Content-Type": "application/json"})
                answer = self._http.getresponse()
                data = answer.read(ANSWER_BYTES_MAX + 1)
                break
            except TimeoutError as error:
                self._http.close()
                raise AnchorTimeout(f"{self.place} did not answer in {self._http.timeout:g} s") from error
            except (http.client.HTTPException, OSError) as error:
                self._http.close()
                if fresh:
                    raise ChainError(f"{self.place} cannot be reached ({error}): is the node up?") from error
        if len(data) > ANSWER_BYTES_MAX:
            self._http.close()
            raise ChainError(f"{self.place} answered more than {ANSWER_BYTES_MAX} bytes")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ChainError(
                f"{self.place} does not speak JSON-RPC: HTTP {answer.status}, {data[:100].decode('utf-8', 'replace')!r}"
            ) from error


def number(value: Any) -> int:
    """0x2a as 42."""
    try:
        return int(value, 16)
    except (TypeError, ValueError) as error:
        raise ChainError(f"the node answered {value!r} where a number belongs") from error


def data_of(value: Any) -> bytes:
    """0x2a as one byte."""
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise ChainError(f"the node answered {str(value)[:80]!r} where bytes belong") from error


def _words(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]
