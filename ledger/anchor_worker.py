"""`python -m ledger.anchor_worker CHAIN_DIR`: the embedded chain in its own process, JSON lines in and out.

Must not know the log's files: it is told roots and answers with receipts. It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any, TextIO

from ledger.chain import Chain
from ledger.errors import AnchorError, LedgerError


def answer(chain: Chain, request: dict[str, Any]) -> dict[str, Any]:
    """What the chain says to one request; a refusal is an answer too."""
    try:
        match request:
            case {"do": "anchor", "previous_root": str(previous_root), "root": str(root), "size": int(size)}:
                receipt = chain.anchor(bytes.fromhex(previous_root), bytes.fromhex(root), size)
                return {"receipt": asdict(receipt)}
            case {"do": "receipts", "first": int(first)}:
                return {"receipts": [asdict(receipt) for receipt in chain.receipts(first)]}
        raise AnchorError(f"the anchor process does not know the request {request!r}")
    except LedgerError as error:
        return refusal(error)


def refusal(error: LedgerError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


def serve(directory: str, requests: TextIO, answers: TextIO) -> int:
    """Answer line by line until the input ends."""

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        chain = Chain.open(directory)
    except LedgerError as error:
        say(refusal(error))
        return 1
    with chain:
        say({"ready": chain.contract})
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
