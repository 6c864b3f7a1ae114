"""`twinloop whatif`: compare, rank, find what matters, search; and submit the best. Prints what the server says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from typer.core import TyperGroup

from control import show, show_whatif
from control.cli_command import Account, Data, Json, asking
from control.client import Client
from control.places import data_folder
from twin.errors import BadRequest, Refused
from twin.when import parse_duration_s

COMPARE = "compare"


class Words(TyperGroup):
    """`twinloop whatif pump_335.status=off` compares: a scenario is never one of the other words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [COMPARE, *args]
        return super().parse_args(ctx, args)


whatif_app = typer.Typer(
    cls=Words,
    no_args_is_help=True,
    help="What happens if …, from the plant's state right now. Without a word it compares: "
    "`twinloop whatif 'pump_335.status=off for 4h'`. Ctrl-C cancels what runs.",
)
Scenarios = Annotated[list[str], typer.Argument(help="Such as 'pump_335.status=off for 4h'.")]
Ranges = Annotated[list[str], typer.Argument(help="Such as 'filler.mtbf.mean=20..40'.")]
Horizon = Annotated[str, typer.Option(help="How far to look, such as 4h or 90m.")]
Limit = Annotated[list[str] | None, typer.Option(help="Such as 'tank_1.level<3': one point and a number in its unit.")]
Goal = Annotated[str, typer.Option(help="What is better: 'max tank_1.level.min' or 'min energy_kwh'.")]
Replications = Annotated[int, typer.Option(help="Paired replications.")]
Confidence = Annotated[float, typer.Option(help="Of every interval.")]
Seed = Annotated[int, typer.Option(min=0, help="The same state, question and seed give the same answer.")]
Branch = Annotated[str, typer.Option(help="Start from this branch instead of now.")]
Identity = Annotated[str, typer.Argument(help="Id of the what-if.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before submitting.")]


@whatif_app.command(COMPARE)
def compare(
    scenarios: Scenarios,
    horizon: Horizon = "4h",
    limit: Limit = None,
    kpi: Annotated[
        list[str] | None, typer.Option(help="Figures by name, such as 'tank_1.level.mean' or 'first(tank_1.level<3)'.")
    ] = None,
    goal: Goal = "",
    replications: Annotated[int, typer.Option(help="Paired replications; the first ones with --until.")] = 64,
    until: Annotated[
        str, typer.Option(help="Double the replications until differences are so narrow: 'energy_kwh±5' (or +/-).")
    ] = "",
    replications_max: Annotated[int, typer.Option(help="Where --until gives up.")] = 1024,
    confidence: Confidence = 0.95,
    seed: Seed = 1,
    branch: Branch = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Compare up to 8 scenarios with the plant left as it is. The word `compare` can be left out."""
    body = {
        "scenarios": scenarios, "limits": limit or [], "replications": replications, "kpis": kpi or [], "goal": goal,
        "until": until, "replications_max": replications_max, "confidence": confidence,
    }  # fmt: skip
    _ask("/whatif", body, horizon, seed, branch, data, json_)


@whatif_app.command("rank")
def rank(
    scenarios: Scenarios,
    goal: Goal,
    delta: Annotated[float, typer.Option(help="kn: a smaller difference is nobody's concern.")] = 0.0,
    method: Annotated[
        str, typer.Option(help="kn: right with the confidence. ocba: the most of a budget, P(correct) estimated.")
    ] = "kn",
    budget: Annotated[
        int, typer.Option(help="Replications: kn: at most so many of one scenario; ocba: of all together.")
    ] = 4096,
    horizon: Horizon = "4h",
    confidence: Annotated[float, typer.Option(help="That the best one is selected.")] = 0.95,
    seed: Seed = 1,
    branch: Branch = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Find the best of up to 199 scenarios; the plant left as it is takes part as `baseline`."""
    body = {
        "scenarios": scenarios, "goal": goal, "delta": delta, "method": method, "budget": budget,
        "confidence": confidence,
    }  # fmt: skip
    _ask("/whatif/rank", body, horizon, seed, branch, data, json_)


@whatif_app.command("tornado")
def tornado(
    ranges: Ranges,
    kpi: Annotated[str, typer.Option(help="The figure, such as line.packed.final.")],
    horizon: Horizon = "4h",
    replications: Replications = 64,
    confidence: Confidence = 0.95,
    seed: Seed = 1,
    branch: Branch = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Find the parameters that matter to a figure: each alone at the 10 and at the 90 % end of what is believed of it."""
    body = {"ranges": ranges, "kpi": kpi, "replications": replications, "confidence": confidence}
    _ask("/whatif/tornado", body, horizon, seed, branch, data, json_)


@whatif_app.command("optimise")
def optimise(
    ranges: Annotated[
        list[str], typer.Argument(help="'crew.size=1..3': whole numbers; 'pump_335.speed=60.0..100': any between.")
    ],
    goal: Goal,
    limit: Limit = None,
    risk: Annotated[float, typer.Option(help="What passes a limit more often than this share is not taken.")] = 0.05,
    trials: Annotated[int, typer.Option(help="Combinations that are tried.")] = 60,
    replications: Annotated[int, typer.Option(help="Of each trial.")] = 64,
    horizon: Horizon = "4h",
    seed: Seed = 1,
    branch: Branch = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Search the best values of settings (the server needs the extra `optimise`), and compare them on other chance."""
    body = {
        "ranges": ranges, "goal": goal, "limits": limit or [], "risk": risk, "trials": trials,
        "replications": replications,
    }  # fmt: skip
    _ask("/whatif/optimise", body, horizon, seed, branch, data, json_)


@whatif_app.command("replay")
def replay(
    file: Annotated[Path, typer.Argument(help="What `whatif … --json` wrote.")],
    plant: Annotated[str, typer.Option(help="The plant's folder, or a shipped one's name.")] = "",
    json_: Json = False,
) -> None:
    """Run a comparison again, from the state and question in its file, without a server.

    It says whether the result is the same bit for bit (exit code 0) or what differs (exit code 3).
    """
    from control.cli_replay import replay_file

    replay_file(file, plant, json_)


@whatif_app.command("list")
def list_(data: Data = None, json_: Json = False) -> None:
    """Newest first: the last 50, until the server stops."""
    runs = Client(data_folder(data)).get("/whatif")
    show.as_json(runs) if json_ else show_whatif.listed(runs)


@whatif_app.command("show")
def show_(identity: Identity, data: Data = None, json_: Json = False) -> None:
    """The answer of an earlier one."""
    _told(Client(data_folder(data)).get(_address(identity)), json_)


@whatif_app.command("cancel")
def cancel(identity: Identity, data: Data = None, json_: Json = False) -> None:
    """Cancel one that runs."""
    run = Client(data_folder(data)).delete(_address(identity))
    show.as_json(run) if json_ else show_whatif.listed([run])


@whatif_app.command("submit")
def submit(identity: Identity, yes: Yes = False, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """Submit the best of a what-if, each step of it as a command like any other.

    Says first what each would meet now: interlocks, selection, approval. Then asks. Submitting again is the same
    commands, never second ones. It ends at the first that is refused.
    """
    with asking(data, account) as client:
        plan = client.get(f"{_address(identity)}/plan")
        if not plan["commands"]:
            show_whatif.by_hand(plan["by_hand"])
            raise BadRequest(f"what-if {identity} holds no command to submit", plan["reason"])
        show.err.print(plan["reason"], markup=False)
        for body in plan["commands"]:
            show_whatif.ordered(body, client.post("/commands?dry_run=true", body))
        show_whatif.by_hand(plan["by_hand"])
        show_whatif.risks(plan["risks"])
        if plan["overdue"]:
            raise Refused(f"the moment of a step of what-if {identity} is past", "ask again: it starts from now")
        _agreed(len(plan["commands"]), yes)
        records: list[dict[str, Any]] = []
        try:
            for body in plan["commands"]:
                records.append(client.post("/commands", body))
        finally:
            show.as_json(records) if json_ else show.commands(records)


def _agreed(count: int, yes: bool) -> None:
    """
    Raises:
        BadRequest: there is nobody to ask. typer.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest("nobody is there to agree", "look at them first; then add --yes")
    typer.confirm(f"Submit {count} command{'s' if count > 1 else ''}?", abort=True, err=True)


def _ask(path: str, body: dict[str, Any], horizon: str, seed: int, branch: str, data: Path | None, json_: bool) -> None:
    client = Client(data_folder(data))
    whole = {**body, "horizon_s": parse_duration_s(horizon, "--horizon"), "seed": seed, "branch": branch}
    _told(client.followed("/whatif", client.post(path, whole), "simulating"), json_)


def _told(run: dict[str, Any], json_: bool) -> None:
    if run["state"] in ("failed", "cancelled"):
        show.err.print(": ".join(filter(None, (run["state"], run["error"]))), markup=False)
        raise typer.Exit(1)
    if json_:
        show.as_json(run)
    elif run["state"] == "running":
        show_whatif.listed([run])
    else:
        show_whatif.whole(run)


def _address(identity: str) -> str:
    return f"/whatif/{quote(identity, safe='')}"
