"""The command line: parses words, asks the part that knows, prints. stdout is data, stderr is progress.

Must not decide anything. Slow imports happen inside the commands that need them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control import show
from control.cli_access import session_app, token_app
from control.cli_account import account_app
from control.cli_alarm import alarm_app
from control.cli_audit import audit_app
from control.cli_branch import branch_app
from control.cli_certs import certs_app
from control.cli_chain import chain_app
from control.cli_command import command_app, stop
from control.cli_discover import discover
from control.cli_federate import federate_app
from control.cli_fleet import fleet
from control.cli_group import group_app
from control.cli_history import backup, history_app, restore
from control.cli_learn import evaluate, train
from control.cli_lease import lease_app
from control.cli_lookahead import lookahead_app
from control.cli_model import model_app, said
from control.cli_models import models_app
from control.cli_prediction import prediction, predictions
from control.cli_serving import retrain, serving
from control.cli_twin import graph_app, twin_app
from control.cli_whatif import whatif_app
from control.client import Client, running
from control.compiled import prepare
from control.errors import codes, words
from control.places import DATA_ROOT, PKI, data_folder, endpoints, plant_folder
from control.stopping import stop_on_signals, stop_with_stdin
from twin.errors import BadPlant, BadRequest

if TYPE_CHECKING:
    from control.tls import Pair

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="A digital twin of a plant, in lock-step with its devices."
)
app.add_typer(command_app, name="command")
app.add_typer(group_app, name="group")
app.add_typer(lease_app, name="lease")
command_app.command()(predictions)
command_app.command()(prediction)
app.add_typer(alarm_app, name="alarm")
app.add_typer(audit_app, name="audit")
app.add_typer(chain_app, name="chain")
app.add_typer(account_app, name="account")
app.add_typer(session_app, name="session")
app.add_typer(token_app, name="token")
app.add_typer(branch_app, name="branch")
app.add_typer(lookahead_app, name="lookahead")
app.add_typer(model_app, name="model")
app.command()(train)
app.command()(evaluate)
models_app.command()(serving)
models_app.command()(retrain)
app.add_typer(models_app, name="models")
app.add_typer(federate_app, name="federate")
app.add_typer(history_app, name="history")
app.command()(stop)
app.command()(discover)
app.command()(backup)
app.command()(restore)
app.command()(fleet)
app.add_typer(twin_app, name="twin")
app.add_typer(graph_app, name="graph")
app.add_typer(whatif_app, name="whatif")
app.add_typer(certs_app, name="certs")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Endpoint = Annotated[list[str] | None, typer.Option("--endpoint", help="Replace a device's endpoint: device=endpoint.")]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]
LogFile = Annotated[Path | None, typer.Option(help="Write the log there, not to stderr.")]
LogForm = Annotated[
    str, typer.Option(help="words, json (an object a line), or auto: words on a terminal, json elsewhere.")
]
PlantArgument = Annotated[
    str, typer.Argument(help="Folder of a plant, or the name of a shipped one (water, bottling).")
]


@app.command()
def demo(
    check: Annotated[bool, typer.Option("--check", help="Run the whole loop once, say whether it held, stop.")] = False,
    json_: Json = False,
    speed: Annotated[float, typer.Option(help="Seconds of plant time per second.")] = 60.0,
    port: Annotated[int, typer.Option(help="Port of the console.")] = 8080,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated plant.")] = 1,
    data: Data = None,
) -> None:
    """Start the Net3 water network as simulated devices, and the server with its console."""
    from control import demo as demonstration

    prepare(show.err.print)

    if check:
        summary = demonstration.check(seed)
        show.as_json(summary) if json_ else show.out.print_json(data=summary)
        raise typer.Exit(0 if summary["ok"] else 1)
    demonstration.run(data or DATA_ROOT / "demo", port, speed, seed)


@app.command()
def up(
    plant: PlantArgument,
    data: Data = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the console; 0 takes a free one.")] = 8080,
    endpoint: Endpoint = None,
    serve: Annotated[
        list[str] | None,
        typer.Option(
            help="Serve the twin there: id=endpoint of a serve table of the plant, or protocol=endpoint to add one."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes for what-ifs.")] = 2,
    tls: Annotated[bool, typer.Option("--tls", help="HTTPS with our certificate of `twinloop certs`.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="HTTPS with this certificate, PEM or DER.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM without a password.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Another name by which browsers call this server, as behind a proxy.")
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Let other machines come without TLS: a proxy must do it.")
    ] = False,
    redirect_http: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of plain HTTP that sends browsers on to HTTPS, such as 80."),
    ] = None,
    log_level: LogLevel = "info",
    log_file: LogFile = None,
    log_form: LogForm = "auto",
    lifeline: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start the server of a plant."""
    prepare(show.err.print)
    from control import app as server

    folder = plant_folder(plant)
    config = server.Config(
        folder, data or DATA_ROOT / folder.resolve().name, host, port, endpoints(endpoint or []), workers,
        endpoints(serve or []), _pair(data or DATA_ROOT / folder.resolve().name, tls, tls_cert, tls_key),
        tuple(name or ()), plain_http, redirect_http,
    )  # fmt: skip

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        if lifeline:
            stop_with_stdin(stop)

        def ready(url: str, login: str, served: Mapping[str, str]) -> None:
            show.err.print(f"Twinloop serves {folder} at {url}\nSign in once, within 15 minutes: {login}")
            for name, where in served.items():
                show.err.print(f"{name} serves the twin at {where}")
            show.as_json({"url": url, "login": login, "serve": dict(served)})

        await server.serve(config, ready, stop)

    _run(run, log_level, log_file, log_form)


def _pair(data: Path, own: bool, certificate: Path | None, key: Path | None) -> Pair | None:
    from control.tls import Pair
    from protocols.pki import Pki

    if certificate is not None or key is not None:
        if certificate is None or key is None or own:
            raise BadRequest("TLS", "give --tls alone, or --tls-cert and --tls-key together")
        return Pair(certificate, key)
    pki = Pki(data / PKI)
    return Pair(pki.own_certificate_path, pki.own_key_path) if own else None


@app.command()
def check(plant: PlantArgument, json_: Json = False) -> None:
    """List every mistake and notice in a plant, or say that there is none."""
    from control.plants import read_plant

    try:
        made = read_plant(plant_folder(plant), {})
    except BadPlant as error:
        if json_:
            found = {key: [dataclasses.asdict(m) for m in getattr(error, key)] for key in ("mistakes", "notices")}
            show.as_json(found)
            raise typer.Exit(codes(error).exit) from None
        raise
    counts = {"plant": made.id, "devices": len(made.devices), "twins": len(made.twins), "points": len(made.points)}
    if json_:
        show.as_json({**counts, "mistakes": [], "notices": [dataclasses.asdict(n) for n in made.notices]})
    else:
        said((), made.notices)
        show.out.print(
            f"{made.name}: {counts['devices']} devices, {counts['twins']} twins, {counts['points']} points, no mistake"
        )


@app.command()
def login(
    account: Annotated[str, typer.Option(help="Sign in as this account; without it as the shared operator.")] = "",
    data: Data = None,
) -> None:
    """Print a new one-time link to the console."""
    client = Client(data_folder(data))
    show.out.print(client.url + client.post("/login-link", {"account": account})["path"])


@app.command()
def query(
    sql: Annotated[
        str,
        typer.Argument(help="One SELECT over twins, relationships, points, history, dead_letters, commands, alarms."),
    ],
    data: Data = None,
    limit: Annotated[int, typer.Option(help="Rows at most.")] = 1000,
    at: Annotated[str, typer.Option(help="The points as of a past moment: 2026-11-21T06:00Z, or -15m.")] = "",
    known: Annotated[str, typer.Option(help="… as it was known at this moment.")] = "",
    branch: Annotated[str, typer.Option(help="The points of a branch, or of a what-if as id/1.")] = "",
    json_: Json = False,
) -> None:
    """Ask the twin in SQL: the running server, or a stopped one's files.

    In the statement at('-1h'), branch('lab'), upstream_of('tank_1'), downstream_of('pump_335', hops := 2) and
    parts_of('site') are tables.
    """
    folder = data_folder(data)
    server = running(folder)
    if server is None:
        from control.offline import ask

        found = ask(folder, sql, limit, at, known, branch)
    else:
        found = server.query(sql, limit, at, known, branch)
    if json_:
        show.as_json(found)
        return
    show.table(found["columns"], found["rows"], "no rows")
    if found["truncated"]:
        show.err.print(f"only the first {len(found['rows'])} rows; ask for more with --limit")


@app.command()
def bench(name: Annotated[str, typer.Argument(help="A file of tests/bench without .py, or all.")] = "all") -> None:
    """Run a benchmark of the repository; prints one JSON line each."""
    import subprocess

    folder = Path("tests/bench")
    known = sorted(f for f in folder.glob("*.py") if f.stem != "__init__")
    files = known if name == "all" else [folder / f"{name}.py"]
    if not files or not all(f.is_file() for f in files):
        if not known:
            raise BadRequest(
                f"there is no folder {folder} here", "benchmarks are part of the repository: run them in a copy of it"
            )
        raise BadRequest(f"no benchmark {name!r} in {folder}", f"there are: {', '.join(f.stem for f in known)}")
    for file in files:
        done = subprocess.run([sys.executable, "-m", f"tests.bench.{file.stem}"], check=False)
        if done.returncode:
            raise typer.Exit(1)


def _run(main: Any, log_level: str, log_file: Path | None, log_form: str) -> None:
    import uvloop

    from control.logs import FORMS, LEVELS, configure

    for word, known in ((log_level, LEVELS), (log_form, FORMS)):
        if word not in known:
            raise BadRequest(f"{word!r}", f"one of {', '.join(known)}")
    configure(log_level, log_file, log_form)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def main() -> None:
    """Entry point: every error of ours becomes one line and its exit code."""
    try:
        app()
    except BaseExceptionGroup as group:
        _fail(_first(group))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a file that people named
        if error.filename is None:
            raise
        _fail(BadRequest(f"{error.filename}: {error.strerror}", "name a place that can be read or written"))
    except Exception as error:  # the outermost edge: one line and a code for ours, a traceback for a bug
        _fail(error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _fail(error: BaseException) -> None:
    found = codes(error)
    if found.code == "internal":
        raise error
    message, hint = words(error)
    first, *more = message.splitlines() or [""]
    show.err.print("\n".join([f"twinloop: {first} [{found.code}]", *more]), markup=False)
    if hint and not isinstance(error, BadPlant):
        show.err.print(f"  {hint}", markup=False)
    cause: BaseException | None = error
    while cause is not None:  # what its frames hold would be told as leaked at the exit
        traceback.clear_frames(cause.__traceback__)
        cause.__traceback__, cause = None, cause.__context__
    sys.exit(found.exit)
