"""What the command line prints of alarms; must not fetch anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control import show

HEADS = ("time", "alarm", "priority", "step", "value", "by", "reason")


def listed(found: Mapping[str, Any]) -> None:
    """Alarms as they stand, the most urgent first."""
    rows = [
        (a["id"], a["priority"], _state(a), show.moment(a["active_at"]), _value(a), a["condition"], a["message"])
        for a in found["alarms"]
    ]
    show.table(("id", "priority", "status", "came", "value", "condition", "message"), rows, "no such alarm")
    if found["total"] > len(rows):
        show.err.print(f"{len(rows)} of {found['total']}; ask for more with --limit")
    if found["flood"]:
        show.err.print(f"alarm flood: {found['rate_10min']} in ten minutes", style="red")


def detail(found: Mapping[str, Any]) -> None:
    """One alarm, what is known of it and what it did."""
    a = found["alarm"]
    show.out.print(f"{a['id']}  [bold]{_state(a)}[/bold]  {a['priority']}, {a['condition']} {a['unit']}".rstrip())
    for key in ("message", "cause", "consequence", "response"):
        if text := a.get(key) or found.get(key):
            show.out.print(f"  {key}: {text}", markup=False)
    terms = [word for word in ("ack", "confirm", "latch") if found[word]]
    show.out.print(
        f"  dead band {found['deadband']:g}, on after {found['on_delay_s']:g} s, off after {found['off_delay_s']:g} s, "
        f"shelved {found['shelve_max_s']:g} s at most; asks for {', '.join(terms) or 'nothing'}",
        markup=False,
    )
    if found["suppress_when"]:
        show.out.print(f"  suppressed while {found['suppress_when']}", markup=False)
    if a["comment"]:
        show.out.print(f"  comment: {a['comment']}", markup=False)
    steps(found["steps"])


def steps(found: Iterable[Mapping[str, Any]]) -> None:
    """Steps, newest first."""
    rows = [
        (show.moment(s["time"]), s["alarm"], s["priority"] if s["alarm"] else "", s["step"],
         "" if s["value"] is None else f"{s['value']:g}", s["by"], s["reason"])
        for s in found
    ]  # fmt: skip
    show.table(HEADS, rows, "no step yet")


def outcomes(found: Mapping[str, Any]) -> None:
    """What became of a verb."""
    for o in found["outcomes"]:
        if o["problem"]:
            show.err.print(f"{o['alarm']['id']}: {o['message']}", markup=False)
        else:
            show.out.print(f"{o['alarm']['id']} is {_state(o['alarm'])}", markup=False)
    if not found["outcomes"]:
        show.err.print("no alarm that it fits")


def statistics(found: Mapping[str, Any]) -> None:
    """Figures and lists of EEMUA 191 and ISA-18.2."""
    show.out.print(
        f"{show.moment(found['start'])} … {show.moment(found['end'])}, {found['operators']} operators: "
        f"{found['count']} alarms, [bold]{found['level']}[/bold]; watched {_part(found)}"
    )
    ack = "nobody acknowledged" if found["to_ack_s"] is None else f"{found['to_ack_s']:.0f} s to acknowledge (median)"
    show.out.print(
        f"  {found['mean_10min']:.2f} in 10 min (1), {found['per_hour']:.1f} an hour (6), {found['per_day']:.0f} a day "
        f"(144), at most {found['most_10min']:g} in 10 min (10)\n"
        f"  {found['over_10min']:.1%} of 10 min with more than 10 (1 %), {found['in_flood']:.1%} of the time in "
        f"{len(found['floods'])} floods, {ack}",
        markup=False,
    )
    rows = [
        (p["priority"], p["configured"], f"{p['configured_share']:.0%}", p["rang"], f"{p['rang_share']:.0%}",
         f"{p['wanted_share']:.0%}")
        for p in found["priorities"]
    ]  # fmt: skip
    show.table(("priority", "configured", "part", "came", "part", "wanted"), rows, "")
    _actors("bad actors", found["top"], f"{found['top_share']:.0%} of all")
    _actors("chattering", found["chattering"])
    _actors("fleeting", found["fleeting"])
    for s in found["standing"]:
        show.out.print(f"standing: {s['alarm']} since {show.moment(s['since'])}", markup=False)


def rules(found: Mapping[str, Any]) -> None:
    """Rules, how they fare, and what was given up."""
    heads = ("id", "does", "on", "waiting", "done", "dead", "limited")
    rows = [
        (r["id"], r["doing"], ", ".join(r["on"]), r["waiting"], r["done"], r["dead"], r["limited"])
        for r in found["rules"]
    ]
    show.table(heads, rows, "the plant has no [[alarm_rule]]")
    if found["deliveries"]:
        show.table(
            ("id", "time", "alarm", "status", "attempts", "detail"),
            [
                (d["id"], show.moment(d["time"]), d["body"]["alarm"], d["state"], d["attempts"], d["detail"])
                for d in found["deliveries"]
            ],
            "",
        )


def _part(found: Mapping[str, Any]) -> str:
    """How much of the span a server watched."""
    watched = min(1.0, found["watched_s"] * 1000 / (found["end"] - found["start"]))
    return f"{found['watched_s'] / 3600:.1f} h of it" if watched < 0.995 else "all of it"


def _actors(title: str, found: Sequence[Mapping[str, Any]], more: str = "") -> None:
    if found:
        show.out.print(f"{title}{f': {more}' if more else ''}", markup=False)
    for a in found:
        show.out.print(f"  {a['count']:5d}  {a['share']:4.0%}  {a['alarm']}", markup=False)


def _state(a: Mapping[str, Any]) -> str:
    marks = [word for word in ("unsure", "first_out") if a[word]]
    until = f" until {show.moment(a['until'])}" if a["until"] is not None else ""
    return str(a["state"]) + until + "".join(f", {m.replace('_', ' ')}" for m in marks)


def _value(a: Mapping[str, Any]) -> str:
    return "" if a["value"] is None else f"{a['value']:g} {a['unit']}".rstrip()
