"""What the command line prints of predictions; must not fetch anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control import show


def whole(made: Mapping[str, Any]) -> None:
    """One prediction with its risks, effects and score."""
    if made["command"]:
        show.out.print(f"prediction of command {made['command']}, {made['point']} = {made['value']:g}", markup=False)
    assumed = f"  ({made['assumed']})" if made["assumed"] else ""
    show.out.print(
        f"  predicted {show.moment(made['made_at'])}, {made['horizon_s'] / 3600:g} h ahead, "
        f"{made['replications']} pairs, seed {made['seed']}{assumed}",
        markup=False,
    )
    for r in made["risks"]:
        span = f"{r['low']:.2f} … {r['high']:.2f}"
        show.out.print(
            f"  P({r['limit']}) = {r['probability']:.2f} ({span}), without the command {r['baseline']:.2f}",
            markup=False,
        )
    for e in made["effects"]:
        show.out.print(f"  {e['name']} {e['mean']:+.3g} {e['unit']} ({e['low']:+.3g} … {e['high']:+.3g})", markup=False)
    if made["command"]:
        _score(made["score"])


def _score(score: Mapping[str, Any] | None) -> None:
    if score is None:
        show.out.print("  waits for its horizon")
        return
    coverage = "" if score["coverage"] is None else f"  {percent(score['coverage'])} of {score['readings']} in the band"
    show.out.print(f"  {score['outcome']}{coverage}  {score['detail']}", markup=False)
    for p in score["points"]:
        observed = "not read" if p["observed"] is None else f"{p['observed']:+.3g}"
        show.out.print(f"    {p['point']}: {p['expected']:+.3g} expected, {observed} {p['unit']} observed")
    for x in score["limits"]:
        became = {True: "violated", False: "kept", None: "not known"}[x["violated"]]
        show.out.print(f"    {x['limit']}: P = {x['probability']:.2f}, {became}")


def row(made: Mapping[str, Any]) -> tuple[Any, ...]:
    worst = max(made["risks"], key=lambda r: r["probability"], default=None)
    score = made["score"]
    return (
        made["command"],
        show.moment(made["made_at"]),
        f"{made['point']} = {made['value']:g}",
        f"{made['horizon_s'] / 3600:g} h",
        "" if worst is None else f"{worst['limit']}: {worst['probability']:.2f}",
        "" if worst is None else f"{worst['baseline']:.2f}",
        "waiting" if score is None else score["outcome"],
        "" if score is None or score["coverage"] is None else percent(score["coverage"]),
    )


def track(summary: Mapping[str, Any]) -> str:
    parts = [f"{summary['made']} predictions: {summary['scored']} scored, {summary['censored']} cut short, "
             f"{summary['unscored']} without an outcome, {summary['waiting']} waiting"]  # fmt: skip
    if summary["coverage"] is not None:
        parts.append(f"{percent(summary['coverage'])} of readings in the 90 % band")
    if summary["brier"] is not None:
        parts.append(
            f"Brier {summary['brier']:.3f} over {summary['limits']} limits ({summary['brier_base']:.3f} by rate)"
        )
    if summary["beats_persistence"] is not None:
        parts.append(f"{percent(summary['beats_persistence'])} nearer than no change")
    return "; ".join(parts)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
