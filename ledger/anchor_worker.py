"""`python -m ledger.anchor_worker CHAIN_DIR`: the chain in its own process, JSON lines in and out.

Must not know the log's files: it is told which chain (first line), then roots, and answers with receipts. It ends when
its input ends.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from ledger.abi import Value, types_of
from ledger.anchoring import NodeSettings
from ledger.errors import AnchorError, ChainError, LedgerError

if TYPE_CHECKING:
    from ledger.chain import Chain
    from ledger.node_chain import NodeChain

    AnyChain = Chain | NodeChain


def answer(chain: AnyChain, request: dict[str, Any]) -> dict[str, Any]:
    """What the chain says to one request; a refusal is an answer too."""
    try:
        match request:
            case {"do": "anchor", "previous_root": str(previous_root), "root": str(root), "size": int(size)}:
                receipt = chain.anchor(bytes.fromhex(previous_root), bytes.fromhex(root), size)
                return {"receipt": asdict(receipt)}
            case {"do": "receipts", "first": int(first)}:
                return {"receipts": [asdict(receipt) for receipt in chain.receipts(first)]}
            case {"do": "send", "contract": str(name), "function": str(signature), "values": list(values)}:
                mined = chain.send(name, signature, *parse_values(signature, values))
                return {"mined": asdict(mined), "address": chain.address(name)}
            case {"do": "view", "contract": str(name), "function": str(signature), "values": list(values)}:
                return {"data": chain.view(name, signature, *parse_values(signature, values)).hex()}
            case {
                "do": "events",
                "contract": str(name),
                "event": str(event),
                "from_block": int(at),
                "depth": int(depth),
            }:
                return asdict(chain.events(name, event, at, depth))
        raise AnchorError(f"the anchor process does not know the request {request!r}")
    except LedgerError as error:
        return refusal(error)


def parse_values(signature: str, values: list[Any]) -> list[Value]:
    """Hashes come as hex; numbers and addresses as they are."""
    try:
        return [_parsed(kind, value) for kind, value in zip(types_of(signature), values, strict=True)]
    except (ValueError, TypeError) as error:
        raise ChainError(f"{signature}: the values {values!r} do not fit: {error}") from error


def _parsed(kind: str, value: Any) -> Value:
    if kind == "bytes32[]":
        return [bytes.fromhex(one) for one in value]
    parsed: Value = bytes.fromhex(value) if kind == "bytes32" else value
    return parsed


def opened(directory: str, node: dict[str, Any] | None) -> AnyChain:
    """The embedded chain, or the one behind a node."""
    if node is not None:
        from ledger.node_chain import NodeChain

        return NodeChain.open(directory, NodeSettings(**node))
    from ledger.chain import Chain

    return Chain.open(directory)


def refusal(error: LedgerError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


def serve(directory: str, requests: TextIO, answers: TextIO) -> int:
    """Answer line by line until the input ends; the first line says which chain."""

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        chain = opened(directory, json.loads(requests.readline())["node"])
    except LedgerError as error:
        say(refusal(error))
        return 1
    with chain:
        say({"ready": chain.contract, "writer": chain.writer()})
        for line in requests:
            say(answer(chain, json.loads(line)))
    return 0


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m ledger.anchor_worker CHAIN_DIR", file=sys.stderr)
        return 2
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not break the protocol
    try:
        return serve(sys.argv[1], sys.stdin, answers)
    except BrokenPipeError:  # the server is gone
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
