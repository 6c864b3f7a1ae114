"""What the command line prints of the look-ahead; must not fetch anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control import show
from control.show_prediction import percent


def state(found: Mapping[str, Any]) -> None:
    """Predicted alarms, every limit's probability, and why there is no newer forecast."""
    made = found["forecast"]
    if found["state"] == "off":
        show.err.print("this plant does not look ahead: add [lookahead] to its plant.toml")
        return
    if found["state"] != "current":
        show.out.print(
            f"no forecast since {show.moment(found['since'])}: {found['why'] or 'none is ready'}", markup=False
        )
    if made is not None:
        show.out.print(
            f"forecast of {show.moment(made['made_at'])}, plant time {clock(made['clock_s'])}, "
            f"{made['horizon_s'] / 3600:g} h ahead, {made['replications']} futures in {made['took_s']:.1f} s",
            markup=False,
        )
    limits = {x["limit"]: x for x in ([] if made is None else made["limits"])}
    columns = ("limit", "P", "95 %", "plant time", "±", "")
    rows = [_row(name, limits.get(name), word) for name, word in _words(found).items()]
    show.table(columns, rows, "the plant names no limits to look for")
    for shelf in found["shelves"]:
        why = f": {shelf['reason']}" if shelf["reason"] else ""
        show.out.print(
            f"{shelf['limit']} shelved by {shelf['by']} until {show.moment(shelf['until'])}{why}", markup=False
        )
    turns = found["turns"]
    show.err.print(
        f"{turns['made']} forecasts since the start; not made: {turns['yielded']} for people's what-ifs, "
        f"{turns['late']} not ready, {turns['refused']} of an unknown state, {turns['failed']} of a fault"
    )


def _words(found: Mapping[str, Any]) -> dict[str, str]:
    """Of each limit what is known besides its probability."""
    standing = {a["limit"] for a in found["alarms"]}
    quiet = {q["limit"]: f"quiet, came {clock(q['came_s'])}" for q in found["quiet"]}
    shelved = {s["limit"] for s in found["shelves"]}
    told = {}
    for limit in found["limits"]:
        word = "passed now" if limit in found["passed"] else "predicted" if limit in standing else quiet.get(limit, "")
        told[limit] = ", ".join(part for part in (word, "shelved" if limit in shelved else "") if part)
    return told


def _row(limit: str, x: Mapping[str, Any] | None, word: str) -> tuple[str, str, str, str, str, str]:
    if x is None:
        return limit, "", "", "", "", word or "no forecast yet"
    when = x["at_s"] is not None and not word.startswith("passed")
    return (
        limit,
        f"{x['probability']:.2f}",
        f"{x['low']:.2f} … {x['high']:.2f}",
        clock(x["at_s"]) if when else "",
        f"{(x['late_s'] - x['early_s']) / 120:.0f} min" if when else "",
        word,
    )


def alarms(found: list[Mapping[str, Any]]) -> None:
    """What was predicted and what became of it."""
    columns = ("limit", "status", "said at", "P", "for", "ended at", "ahead", "off by", "detail")
    rows = [
        (
            a["limit"],
            a["status"],
            clock(a["first"]["clock_s"]),
            f"{a['first']['probability']:.2f}",
            "" if a["first"]["at_s"] is None else clock(a["first"]["at_s"]),
            "" if a["ended_clock_s"] is None else clock(a["ended_clock_s"]),
            "" if a["lead_s"] is None else f"{a['lead_s'] / 60:.0f} min",
            "" if a["error_s"] is None else f"{a['error_s'] / 60:+.0f} min",
            "; ".join(part for part in (a["detail"], _again(a["again"])) if part),
        )
        for a in found
    ]
    show.table(columns, rows, "no alarm was predicted yet")


def track(found: Mapping[str, Any]) -> None:
    """How good the forecasts were."""
    rows = [
        (
            p["point"], f"{lead['lead']:.0%}", lead["readings"], _share(lead["coverage_50"]), _share(lead["coverage_90"]),
            _number(lead["crps"], p["unit"]), _number(lead["persistence"], p["unit"]), _share(lead["skill"]),
        )
        for p in found["points"]
        for lead in (*p["leads"], {**p["whole"], "lead": 1.0} if len(p["leads"]) > 1 else p["whole"])
        if lead["readings"]
    ]  # fmt: skip
    columns = ("point", "up to", "readings", "in 50 %", "in 90 %", "CRPS", "rival", "skill")
    show.table(columns, rows, "no forecast has met its future yet")
    limits, ended = found["limits"], found["alarms"]
    if limits["count"]:
        skill = "" if limits["skill"] is None else f", skill {limits['skill']:.2f}"
        show.out.print(
            f"limits: Brier {limits['brier']:.3f} over {limits['count']} ({limits['passed']} passed), "
            f"their base rates {limits['base']:.3f}{skill}, reliability {limits['reliability']:.3f}"
        )
        for b in limits["bins"]:
            show.out.print(
                f"  predicted {b['low']:.0%} … {b['high']:.0%}: {b['count']} times, {b['predicted']:.0%} on average, "
                f"{b['violated']:.0%} came"
            )
    lead = "" if ended["lead_s"] is None else f" {ended['lead_s'] / 60:.0f} min ahead"
    show.out.print(
        f"predicted alarms: {ended['came']} came{lead}, {ended['inside']} of them within their 90 % interval, "
        f"{ended['cleared']} taken back, {ended['lapsed']} lapsed; {ended['missed']} came unforeseen"
    )
    if again := _again(ended["again"]):
        show.out.print(f"limits that had come: {again}")
    show.err.print(
        f"{found['scored']} forecasts scored, {found['censored']} cut short, {found['unscored']} without an outcome, "
        f"{found['waiting']} waiting"
    )


def _again(x: Mapping[str, int]) -> str:
    count = x["foreseen"] + x["unforeseen"] + x["unsaid"]
    if not count:
        return ""
    return (
        f"passed {count} times more while quiet: {x['foreseen']} foreseen, {x['unforeseen']} unforeseen, "
        f"{x['unsaid']} with no forecast in between"
    )


def clock(seconds: float) -> str:
    """The plant's own time as the console says it; day 0 is the first."""
    day, rest = divmod(int(seconds), 86_400)
    return f"day {day}, {rest // 3600:02d}:{rest % 3600 // 60:02d}"


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g} {unit}".strip()
