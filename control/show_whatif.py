"""How the command line prints what-ifs, one table for each kind; must not fetch anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from control.show import err, moment, out, table


def whole(run: Mapping[str, Any]) -> None:
    """A run that is done."""
    result, kind = run["result"], run["kind"]
    SHOWN[kind](result)
    if result.get("plan") is not None:
        _plan(run["id"], result["plan"])


def listed(runs: Iterable[Mapping[str, Any]]) -> None:
    """One line a run."""
    rows = [(r["id"], moment(r["started"]), r["kind"], _state(r), r["about"]) for r in runs]
    table(("id", "started", "kind", "state", "about"), rows, "no what-ifs")


def _state(run: Mapping[str, Any]) -> str:
    return str(run["state"]) if run["state"] != "running" else f"running, {run['progress']:.0%}"


def comparison(result: Mapping[str, Any]) -> None:
    """The differences to the baseline, and the risk of each limit at the end."""
    hours = result["horizon_s"] / 3600
    out.print(f"{result['replications']} paired replications {_from(result)}", markup=False)
    if result["stopped"] == "max":
        out.print("stopped at its limit before the precision asked")
    baseline, *scenarios = result["outcomes"]
    for outcome in scenarios:
        out.print(f"\n[bold]{outcome['name']}[/bold] against {baseline['name']}")
        rows = []
        for name, difference in outcome["differences"].items():
            rows.append(
                (name, f"{baseline['kpis'][name]['mean']:.3f}", f"{outcome['kpis'][name]['mean']:.3f}",
                 f"{difference['mean']:+.3f}", _spread(difference), _verdict(difference))
            )  # fmt: skip
        table(
            ("figure", "baseline", "scenario", "difference", f"{100 * result['confidence']:g} %", ""),
            rows,
            "no figures",
        )
        if rows and all(map(_has_no_effect, outcome["differences"].values())):
            out.print("it changes none of these figures: what it sets stands so already, or they do not depend on it")
        for base, risk in zip(baseline["limits"], outcome["limits"], strict=True):
            end, before = risk["probability"][-1], base["probability"][-1]
            out.print(
                f"P({risk['limit']} within {hours:g} h) = {end:.2f} ({risk['low'][-1]:.2f} … {risk['high'][-1]:.2f}),"
                f" baseline {before:.2f}"
            )


def ranking(result: Mapping[str, Any]) -> None:
    """The options, the best first; those dropped last."""
    out.print(f"{result['replications']} replications {_from(result)}", markup=False)
    rows = [
        (n, o["name"], f"{o['mean']:.3f}", o["replications"], "" if o["survived"] else "dropped")
        for n, o in enumerate(result["options"], 1)
    ]
    table(("", "option", result["goal"]["kpi"], "replications", ""), rows, "no options")


def tornado(result: Mapping[str, Any]) -> None:
    """What each parameter does at its two ends, the strongest first."""
    out.print(f"{result['replications']} paired replications {_from(result)}", markup=False)
    out.print(f"{result['kpi']}, left as it is: {result['base']['mean']:.3f}", markup=False)
    rows = [
        (bar["parameter"] if end == "low" else "", f"{bar[f'{end}_value']:g}", f"{bar[end]['mean']:+.3f}",
         _spread(bar[end]), _verdict(bar[end]))
        for bar in result["bars"] for end in ("low", "high")
    ]  # fmt: skip
    table(("parameter", "at", "difference", f"{100 * result['confidence']:g} %", ""), rows, "no parameters")


def optimum(result: Mapping[str, Any]) -> None:
    """The values found, and how they compare on other chance."""
    found = ", ".join(f"{name} = {value:g}" for name, value in result["decisions"].items())
    out.print(f"best of {result['trials']} trials: {found}", markup=False)
    comparison(result["result"])


SHOWN: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "compare": comparison, "rank": ranking, "tornado": tornado, "optimise": optimum,
}  # fmt: skip


def _plan(identity: str, plan: Mapping[str, Any]) -> None:
    """The best, and what one would send for it."""
    out.print(f"\n{plan['reason']}", markup=False)
    for draft in plan["drafts"]:
        at = f" after {draft['at_s']:g} s" if draft["at_s"] else ""
        out.print(f"  a command: {draft['point']} = {draft['value']:g}{at}", markup=False)
    by_hand(plan["by_hand"])
    risks(plan["risks"])
    if plan["drafts"]:
        err.print(f"to submit them, each as a command: twinloop whatif submit {identity}", markup=False)


def ordered(body: Mapping[str, Any], check: Mapping[str, Any]) -> None:
    """A command of a plan and what it would meet, on stderr: nothing is submitted yet."""
    at, on_clock = body["at"], body["at_plant_s"]
    when = f" at {moment(at)}" if at is not None else "" if on_clock is None else f" at plant time {_clock(on_clock)}"
    needs = f"; needs {' and '.join(check['needs'])}" if check["needs"] else ""
    met = f"would be taken, {check['status']}{needs}" if check["allowed"] else f"would be REFUSED: {check['detail']}"
    err.print(f"  {body['point']} = {body['value']:g}{when}: {met}", markup=False)


def risks(words: Iterable[str]) -> None:
    """What it makes worse."""
    for limit in words:
        out.print(f"  but it passes {limit}", markup=False)


def by_hand(steps: Iterable[str]) -> None:
    """What no command can do."""
    for step in steps:
        out.print(f"  by hand, for no point takes it: {step}", markup=False)


def _spread(difference: Mapping[str, Any]) -> str:
    half = difference["half_width"]
    return "" if half is None else f"± {half:.3g}"


def _verdict(difference: Mapping[str, Any]) -> str:
    """What cannot be said of it. Runs share their chance: what nothing depends on differs by nothing at all."""
    if difference["resolved"]:
        return ""
    return "no effect" if _has_no_effect(difference) else "not resolved"


def _has_no_effect(difference: Mapping[str, Any]) -> bool:
    return bool(difference["mean"] == 0.0 and difference["half_width"] == 0.0)


def _from(result: Mapping[str, Any]) -> str:
    hours = result["horizon_s"] / 3600
    why = f" ({result['why']})" if result["why"] else ""
    began = f"over {hours:g} h from plant time {_clock(result['clock_s'])}"
    return f"{began}, {result['wall_s']:.1f} s on {result['backend']}{why}"


def _clock(seconds: float) -> str:
    day, rest = divmod(int(seconds), 86_400)
    return f"day {day} {rest // 3600:02}:{rest % 3600 // 60:02}"
