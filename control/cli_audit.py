"""The commands of the evidence: parse words, ask, print; must not decide anything."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
from control.client import Client
from control.places import data_folder

audit_app = typer.Typer(no_args_is_help=True, help="Check and export the evidence.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]


@audit_app.command("verify")
def audit_verify(
    rpc: Annotated[str | None, typer.Option(help="Ask this node for the anchors, where others run the chain.")] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="Key of a witness whose cosignature must be there; may be repeated.")
    ] = None,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Check log, signatures, anchors, chain and every history batch. Exit code 3 when something does not fit."""
    from control.offline import verify

    found = verify(data_folder(data), rpc, witness or ())
    if json_:
        show.as_json(found)
    else:
        seen = f"{found['witnessed']}" if witness else "not checked (--witness)"
        claimed = f"not checked, receipts claim {found['receipts_claim']}"
        show.out.print(
            f"recorded {found['entries']}, checkpointed {found['checkpointed']}, witnessed {seen}, "
            f"anchored {found['anchored'] if found['chain'] == 'ok' else claimed}",
            markup=False,
        )
        show.out.print(
            f"{found['entries']} entries, {found['anchors_checked']} anchors, chain {found['chain']}, "
            f"{found['history']['batches']} history batches ({found['history']['expired']} expired): "
            + ("all fits" if found["ok"] else "DOES NOT FIT")
        )
        rows = [(p["place"], p["what"], p["hint"]) for p in found["problems"]]
        show.table(("place", "what", "what to do"), rows, "no problem found")
    raise typer.Exit(0 if found["ok"] else 3)


@audit_app.command("prove")
def audit_prove(
    entry: Annotated[int | None, typer.Argument(help="Index of a ledger entry (see `audit show`).")] = None,
    command: Annotated[str, typer.Option("--command", help="Id of a command: every entry of its life.")] = "",
    batch: Annotated[int | None, typer.Option("--batch", help="Number of a batch of history.")] = None,
    point: Annotated[str, typer.Option(help="A point: the batch in which its reading at --at is.")] = "",
    at: Annotated[str, typer.Option(help="When, such as 2026-11-21T06:00:00Z or -15m; `now` when left out.")] = "",
    with_data: Annotated[bool, typer.Option("--with-data", help="Put the batch's rows in: the reading shows.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout when left out.")] = None,
    data: Data = None,
) -> None:
    """Export a bundle that proves an entry, a command or a batch; `python -m ledger verify-bundle FILE` checks it."""
    from control.offline import proof

    said = {"entry": entry, "command": command, "batch": batch, "point": point, "at": at or ("now" if point else "")}
    asked = {name: str(value) for name, value in said.items() if value not in (None, "")}
    text = json.dumps(proof(data_folder(data), {**asked, "data": "true" if with_data else "false"}), indent=1)
    if output is None:
        sys.stdout.write(text + "\n")
    else:
        output.write_text(text)
        show.err.print(f"wrote {output}; check it with: python -m ledger verify-bundle {output}")


@audit_app.command("show")
def audit_show(
    last: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    kind: Annotated[str, typer.Option(help="Only this kind, such as command.")] = "",
    twin: Annotated[str, typer.Option(help="Only what touched this twin; * stands for any characters.")] = "",
    point: Annotated[str, typer.Option(help="Only what touched this point; * as for a twin.")] = "",
    by: Annotated[str, typer.Option(help="Only what this person did, or had done; * as for a twin.")] = "",
    command: Annotated[str, typer.Option(help="Only this command, lease or group, by its id.")] = "",
    since: Annotated[str, typer.Option(help="From this moment on, such as -12h or 2026-11-21T18:00.")] = "",
    until: Annotated[str, typer.Option(help="Before this moment.")] = "",
    before: Annotated[int | None, typer.Option(help="Only entries before this one: the next page.")] = None,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Newest entries of the ledger that fit, and how far each and all of them reach."""
    words = {"kind": kind, "twin": twin, "point": point, "by": by, "command": command, "since": since, "until": until}
    asked = {name: word for name, word in words.items() if word} | ({} if before is None else {"before": before})
    head = Client(data_folder(data)).get("/audit", last=last, **asked)
    if json_:
        show.as_json(head)
        return
    _print_reach(head)
    for one in head["witnesses"]:
        said = f"not for {one['failing_s']:.0f} s: {one['failure']}" if one["failure"] else f"{one['size']} cosigned"
        show.out.print(f"witness {one['name']}: {said}", markup=False)
    show.audit(head["entries"])
    if head["next"]:
        show.err.print(f"older ones: --before {head['next']}")


@audit_app.command("anchor")
def audit_anchor(data: Data = None, json_: Json = False) -> None:
    """Anchor now what is checkpointed, without waiting for the next turn. Exit code 1 when the chain does not take it."""
    head = Client(data_folder(data)).post("/audit/anchor", {})
    if json_:
        show.as_json(head)
    else:
        _print_reach(head)
        if head["failure"]:
            show.err.print(head["failure"], markup=False)
    raise typer.Exit(1 if head["failure"] or head["anchored"] < head["checkpointed"] else 0)


def _print_reach(head: Mapping[str, Any]) -> None:
    """Each level by its own number; what is late in red."""
    show.out.print(
        f"{head['size']} recorded, {head['checkpointed']} checkpointed, {head['witnessed']} witnessed, "
        f"{head['anchored']} anchored"
    )
    for alarm in (head["anchor_alarm"], head["witness_alarm"]):
        if alarm:
            show.err.print(f"ALARM: {alarm}", style="red", markup=False)


@audit_app.command("witness")
def audit_witness(
    folder: Annotated[Path, typer.Argument(help="Where the witness keeps its key and what it cosigned.")],
    name: Annotated[str, typer.Option(help="Name of the witness, best a domain and path.")],
    log: Annotated[list[str], typer.Option(help="Verifier key of a log to watch (its file key.pub); may be repeated.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on, 0 for a free one.")] = 8790,
) -> None:
    """Cosign the checkpoints of logs as long as each continues the last. Prints its line for DATA/ledger/witnesses."""
    from ledger.__main__ import witness

    raise typer.Exit(witness(folder, name, log, host, port))


@audit_app.command("erase")
def audit_erase(
    subject: Annotated[str, typer.Argument(help="Name of a person or address, as `audit show` says it.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """Delete what opens a person's name, with or without a server, and record that; proofs stay valid. For admins."""
    from control.client import running
    from control.erasing import erase_stopped

    folder = data_folder(data)
    client = running(folder)
    if client is not None:
        found = client.post("/audit/erase", {"subject": subject})
    else:
        found = asdict(erase_stopped(folder, subject, getpass.getuser(), time.time_ns()))
    if json_:
        show.as_json(found)
        return
    names = ", ".join(found["subjects"])
    show.err.print(f"{names}: erased, as entry {', '.join(map(str, found['entries']))} says", markup=False)
    for place in (*found["left"], "back-ups made before still hold the salts"):
        show.err.print(place, markup=False)
