"""`python -m ledger`: verify a log, prove an entry, check a proof, show entries.

Must not write into a log. stdout is data, stderr is progress; exit codes 0 ok, 1 failure, 2 usage,
3 verification failed, 4 not found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from ledger.bundle import prove, verify_bundle
from ledger.entry import Entry, decode
from ledger.errors import EntryError, LedgerError, NotFound
from ledger.problems import Problem
from ledger.reader import read_payloads, require_log
from ledger.verify import verify

OK, FAILURE, USAGE, NOT_VERIFIED, NOT_FOUND = range(5)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except NotFound as error:
        print(error, file=sys.stderr)
        return NOT_FOUND
    except BrokenPipeError:  # `show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (LedgerError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ledger", description="Check and read an append-only log.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("verify", help="check every entry, the checkpoint and every anchor of a log")
    command.add_argument("dir", type=Path, metavar="DIR")
    command.add_argument("--chain", type=Path, metavar="DIR", help="the chain's directory (default: DIR/chain)")
    command.add_argument("--key", metavar="VKEY", help="the log's verifier key as you know it, not as DIR says")
    command.add_argument("--json", action="store_true", help="print the report as one JSON object")
    command.set_defaults(run=_verify)

    command = commands.add_parser("prove", help="write a proof of one entry that anybody can check")
    command.add_argument("dir", type=Path, metavar="DIR")
    command.add_argument("index", type=int, metavar="INDEX")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    command.set_defaults(run=_prove)

    command = commands.add_parser("verify-bundle", help="check a proof made by `prove`")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--key", metavar="VKEY", help="the log's verifier key as you know it, not as FILE says")
    command.add_argument("--json", action="store_true", help="print the report as one JSON object")
    command.set_defaults(run=_verify_bundle)

    command = commands.add_parser("show", help="print entries of a log, oldest first")
    command.add_argument("dir", type=Path, metavar="DIR")
    command.add_argument("--kind", metavar="K", help="only entries of this kind")
    command.add_argument("--last", type=int, metavar="N", help="only the last N of them")
    command.add_argument("--json", action="store_true", help="print one JSON object a line")
    command.set_defaults(run=_show)
    return parser


def _verify(options: argparse.Namespace) -> int:
    report = verify(options.dir, options.chain, options.key)
    if options.json:
        print(json.dumps({"ok": report.ok, **asdict(report)}, indent=1))
    else:
        print(f"entries     {report.entries}\nroot        {report.root}\ncheckpoint  {report.checkpoint_size} entries")
        print(f"key         {report.key}\nanchors     {report.anchors_checked} checked\nchain       {report.chain}")
        _print_verdict(report.problems)
    return OK if report.ok else NOT_VERIFIED


def _prove(options: argparse.Namespace) -> int:
    bundle = prove(options.dir, options.index)
    options.output.write_text(json.dumps(bundle, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"entry {options.index} proved in {options.output}", file=sys.stderr)
    return OK


def _verify_bundle(options: argparse.Namespace) -> int:
    if not options.file.exists():
        raise NotFound(f"{options.file} does not exist")
    try:
        bundle = json.loads(options.file.read_bytes())
    except (ValueError, RecursionError) as error:
        print(f"{options.file} is not JSON: {error}", file=sys.stderr)
        return NOT_VERIFIED
    report = verify_bundle(bundle, options.key)
    if options.json:
        print(json.dumps({"ok": report.ok, **asdict(report)}, indent=1))
    else:
        print(f"entry       {report.index} of {report.size}\nkey         {report.key}")
        if report.entry is not None:
            print(f"content     {_line(report.index, report.entry)}")
        if report.anchor is not None:
            print(f"anchor      {report.anchor.number}, transaction {report.anchor.tx_hash}")
        _print_verdict(report.problems)
    return OK if report.ok else NOT_VERIFIED


def _show(options: argparse.Namespace) -> int:
    require_log(options.dir)
    chosen: deque[str] | None = None if options.last is None else deque(maxlen=max(options.last, 0))
    for index, payload in enumerate(read_payloads(options.dir)):
        try:
            entry = decode(payload)
        except EntryError as error:
            print(f"entry {index}: {error}", file=sys.stderr)
            continue
        if options.kind is not None and entry.kind != options.kind:
            continue
        line = json.dumps({"index": index, **asdict(entry)}) if options.json else _line(index, entry)
        if chosen is None:
            print(line)
        else:
            chosen.append(line)
    for line in chosen or ():
        print(line)
    return OK


def _line(index: int, entry: Entry) -> str:
    seconds, nanoseconds = divmod(entry.time_ns, 1_000_000_000)
    at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{index} {at}.{nanoseconds:09d}Z {entry.kind} {json.dumps(entry.body, ensure_ascii=False)}"


def _print_verdict(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(f"PROBLEM     {problem}")
    print("verified" if not problems else f"NOT VERIFIED: {len(problems)} problems")


if __name__ == "__main__":
    raise SystemExit(main())
