"""`python -m ledger`: verify a log, prove an entry, check a proof, show entries.

Must not write into a log. stdout is data, stderr is progress; exit codes 0 ok, 1 failure, 2 usage,
3 verification failed, 4 not found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path

from ledger import files
from ledger.bundle import BundleReport, verify_bundle
from ledger.cosignature import parse_witness
from ledger.entry import Entry, decode
from ledger.errors import EntryError, LedgerError, NoteError, NotFound
from ledger.note import parse_verifier
from ledger.problems import Problem, utc
from ledger.proving import About, about_batch, about_command, about_entry, prove
from ledger.reader import read_payloads, require_log
from ledger.receipts import once
from ledger.verify import Report, verify
from ledger.witness import WitnessState, open_witness
from ledger.witness_server import WitnessServer

BUNDLE_BYTES_MAX = 64 * 1024 * 1024  # a million rows of history take 45 MB
OK, FAILURE, USAGE, NOT_VERIFIED, NOT_FOUND = range(5)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has not every letter
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


def _key_line(text: str) -> str:
    return _fitting(text, parse_verifier)


def _witness_line(text: str) -> str:
    return _fitting(text, parse_witness)


def _fitting(text: str, parse: Callable[[str], object]) -> str:
    try:
        parse(text)
    except NoteError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ledger", description="Check and read an append-only log.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("verify", help="check every entry, the checkpoint and every anchor of a log")
    command.add_argument("dir", type=Path, metavar="DIR")
    command.add_argument("--chain", type=Path, metavar="DIR", help="the chain's directory (default: DIR/chain)")
    command.add_argument("--rpc", metavar="URL", help="a node that serves the chain of the anchors")
    command.add_argument(
        "--key", type=_key_line, metavar="VKEY", help="the log's verifier key as you know it, not as DIR says"
    )
    command.add_argument(
        "--witness",
        type=_witness_line,
        action="append",
        default=[],
        metavar="VKEY",
        help="a witness whose word you want",
    )
    command.add_argument("--json", action="store_true", help="print the report as one JSON object")
    command.set_defaults(run=_verify)

    command = commands.add_parser("prove", help="write a proof of an entry, command or batch that anybody can check")
    command.add_argument("dir", type=Path, metavar="DIR")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("index", type=int, nargs="?", metavar="INDEX", help="of one entry")
    what.add_argument("--command", metavar="ID", help="every entry of this command's life")
    what.add_argument("--batch", type=int, metavar="N", help="the entry of this batch of history")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    command.set_defaults(run=_prove)

    command = commands.add_parser("verify-bundle", help="check a proof made by `prove`")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument(
        "--key", type=_key_line, metavar="VKEY", help="the log's verifier key as you know it, not as FILE says"
    )
    command.add_argument(
        "--witness",
        type=_witness_line,
        action="append",
        default=[],
        metavar="VKEY",
        help="a witness whose word you want",
    )
    command.add_argument("--rpc", metavar="URL", help="a node, yours best, that serves the chain of the anchor")
    command.add_argument("--json", action="store_true", help="print the report as one JSON object")
    command.set_defaults(run=_verify_bundle)

    command = commands.add_parser("witness", help="cosign the checkpoints of logs, as long as each continues the last")
    command.add_argument("dir", type=Path, metavar="DIR", help="where the witness keeps its key and what it cosigned")
    command.add_argument("--name", required=True, metavar="NAME", help="the witness's name, best a domain and path")
    command.add_argument(
        "--log", type=_key_line, action="append", required=True, metavar="VKEY", help="a log's verifier key"
    )
    command.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to listen on (this machine only)")
    command.add_argument("--port", type=int, default=8790, metavar="PORT", help="port to listen on, 0 for a free one")
    command.set_defaults(run=_witness)

    command = commands.add_parser("show", help="print entries of a log, oldest first")
    command.add_argument("dir", type=Path, metavar="DIR")
    command.add_argument("--kind", metavar="K", help="only entries of this kind")
    command.add_argument("--last", type=int, metavar="N", help="only the last N of them")
    command.add_argument("--json", action="store_true", help="print one JSON object a line")
    command.set_defaults(run=_show)
    return parser


def _verify(options: argparse.Namespace) -> int:
    report = verify(options.dir, options.chain, options.key, options.witness, options.rpc)
    if options.json:
        print(json.dumps({"ok": report.ok, **asdict(report)}, indent=1))
    else:
        _print_levels(report, options.rpc)
        for line in (
            f"root         {report.root}", f"key          {report.key}", f"tiles        {report.tiles}",
            f"receipts     {report.anchors_checked} checked against the log", f"chain        {report.chain}",
            *(f"contract     {contract}" for contract in report.contracts),
        ):  # fmt: skip
            _say(line)
        _print_verdict(report.problems)
    return OK if report.ok else NOT_VERIFIED


def _print_levels(report: Report, rpc: str | None) -> None:
    """Each level by its own word; what nobody looked at is never said to be reached."""
    _say(f"recorded     {report.entries} entries")
    _say(f"checkpointed {report.checkpoint_size} entries")
    for seen in report.witnessed:
        _say(f"witnessed    {seen}")
    if not report.witnessed:
        _say("witnessed    not checked: give --witness with the key of a witness that you trust")
    if report.chain == "ok":
        who = "the node you named" if rpc is not None else "the folder of the chain, which the operator keeps,"
        _say(f"anchored     {report.anchored_size} entries, as {who} says")
    else:
        _say(f"anchored     not checked; receipts claim {report.receipts_size} entries")


def _prove(options: argparse.Namespace) -> int:
    bundle = prove(options.dir, _asked(options))
    options.output.write_text(json.dumps(bundle, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"proof written to {options.output}", file=sys.stderr)
    return OK


def _asked(options: argparse.Namespace) -> About:
    if options.command is not None:
        return about_command(options.command)
    return about_batch(options.batch) if options.batch is not None else about_entry(options.index)


def _verify_bundle(options: argparse.Namespace) -> int:
    if not options.file.exists():
        raise NotFound(f"{options.file} does not exist")
    if options.file.stat().st_size > BUNDLE_BYTES_MAX:
        print(f"{options.file} is larger than any bundle: {BUNDLE_BYTES_MAX:,} bytes", file=sys.stderr)
        return NOT_VERIFIED
    try:
        bundle = json.loads(options.file.read_bytes().decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        print(f"NOT VERIFIED: {options.file} is not JSON in UTF-8: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"ok": False, "problems": [asdict(Problem("the file", str(error), "ask for it again"))]}))
        return NOT_VERIFIED
    report = verify_bundle(bundle, options.key, options.witness, options.rpc)
    if options.json:
        print(json.dumps({"ok": report.ok, **asdict(report)}, indent=1, default=bytes.hex))
    else:
        _print_bundle(report)
    return OK if report.ok else NOT_VERIFIED


def _print_bundle(report: BundleReport) -> None:
    _say(f"proof of    {report.about}")
    _say(f"key         {report.key}")
    for one in report.entries:
        said = _line(one.index, one.entry) if one.entry is not None else f"{one.index} (bytes of no known kind)"
        _say(f"content     {said}")
    if (reading := report.reading) is not None:
        value = reading.text if reading.text is not None else reading.value
        _say(
            f"reading     {reading.point} = {value}, status 0x{reading.quality:08x}, at {_instant(reading.source_time_ns)}"
        )
    if report.anchor is not None:
        _say(f"anchor      {report.anchor.number}, chain {report.anchor.chain_id}, transaction {report.anchor.tx_hash}")
    for what in report.checked:
        _say(f"checked     {what}")
    for what in report.unchecked:
        _say(f"NOT CHECKED {what}")
    _print_verdict(report.problems)


def _witness(options: argparse.Namespace) -> int:
    return witness(options.dir, options.name, options.log, options.host, options.port)


def witness(directory: Path, name: str, logs: Sequence[str], host: str, port: int) -> int:
    """Serve a witness until interrupted; its line for a log's file `witnesses` goes to stdout."""
    signer = open_witness(directory, name)
    state = WitnessState(directory, signer, [parse_verifier(line) for line in logs], time.time)
    lock = files.lock(directory, "witness")
    try:
        with WitnessServer(state, host, port) as server:
            print(f"{server.url} {state.witness}", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        os.close(lock)
    return OK


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
            _say(line)
        else:
            chosen.append(line)
    for line in chosen or ():
        _say(line)
    return OK


def _line(index: int, entry: Entry) -> str:
    return f"{index} {_instant(entry.time_ns)} {entry.kind} {json.dumps(entry.body, ensure_ascii=False)}"


def _instant(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return utc(seconds).replace("Z", f".{nanoseconds:09d}Z")


def _print_verdict(problems: Sequence[Problem]) -> None:
    for problem in problems:
        _say(f"PROBLEM     {problem}")
    _say("verified" if not problems else f"NOT VERIFIED: {len(problems)} problem{'s' * (len(problems) > 1)}")


def _say(line: str) -> None:
    """One line. What somebody put into a file can neither begin another one nor move the cursor."""
    print("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))


if __name__ == "__main__":
    raise SystemExit(main())
