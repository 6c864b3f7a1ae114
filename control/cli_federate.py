"""`twinloop federate serve` and `join`: parse words, ask, print; must not decide anything."""

from __future__ import annotations

import asyncio
import getpass
import time
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from control import show
from control.cli_learn import (
    CANCELLED,
    Columns,
    Device,
    Every,
    From,
    Json,
    Leave,
    PlantData,
    RegistryOption,
    Set,
    Time,
    To,
    Twins,
    TypeOption,
    following,
    material_of,
    registry_of,
)
from control.places import DATA_ROOT
from twin.errors import BadRequest
from twin.lists import listed

federate_app = typer.Typer(
    no_args_is_help=True, help="Train one model on the data of several sites; no data leave their site."
)
TASK = "forecast"
PkiFolder = Annotated[
    Path | None, typer.Option("--pki", help="Folder of certificates (see `certs`); needed beyond this machine.")
]


@federate_app.command("serve")
def federate_serve(
    columns: Annotated[
        str, typer.Option("--columns", help="What is forecast, as a,b,c: columns of every site's data.")
    ],
    units: Annotated[str, typer.Option("--units", help="Their units, as m3/h,kW; the first site's if none.")] = "",
    sites: Annotated[int, typer.Option(min=2, max=100, help="Sites that are awaited.")] = 3,
    sites_min: Annotated[int, typer.Option(min=2, max=100, help="Sites without which no step is made.")] = 3,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of the network; 0: the closed-form model only.")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="Batches that a site learns from in a round.")] = 30,
    clip: Annotated[float, typer.Option(min=0, help="Largest norm of a site's update; 0: the median norm.")] = 0.0,
    noise: Annotated[float, typer.Option(min=0, help="Gaussian noise in the sum of updates, in clips.")] = 0.0,
    windows_max: Annotated[int, typer.Option(min=1, help="Windows above which a site counts no more.")] = 10_000,
    scaling: Annotated[
        str, typer.Option(help="site: each by its own means and spreads; common: by those of all.")
    ] = "site",
    open_: Annotated[bool, typer.Option("--open", help="No masks: the coordinator sees each site's part.")] = False,
    set_: Set = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance in it but that of noise and masks.")] = 1,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for sites.")] = 600.0,
    answer: Annotated[float, typer.Option(min=1, help="Seconds that a site may take for a step.")] = 600.0,
    state: Annotated[
        Path | None, typer.Option("--state", help="Folder for state, token, model; var/federation if none.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8090,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Coordinate a training between sites: add up what they give, hand out the model. Needs no data.

    Sites show the token that lies in the state folder. Stopped by Ctrl-C (exit 130) or killed, it goes on after the last
    step when it is started again with the same words.
    """
    from control import learning
    from control.federation_server import TOKEN_FILE, Config, coordinate
    from control.stopping import stop_on_signals
    from ml.federated import Plan
    from ml.federated_rounds import Limits

    if sites < sites_min:
        raise BadRequest(f"--sites {sites} with --sites-min {sites_min}", "as many or more are awaited")
    wanted = learning.options(TASK, set_ or ())
    plan = Plan(
        tuple(listed(columns)), tuple(u.strip() for u in units.split(",")) if units else (), wanted, rounds, steps, clip, noise,
        windows_max, cast(Any, scaling), seed, not open_, sites_min,
    )  # fmt: skip
    folder = state or DATA_ROOT / "federation"

    async def run() -> dict[str, Any]:
        stop = asyncio.Event()
        stop_on_signals(stop)
        with coordinate(Config(plan, Limits(sites, wait, answer), folder, host, port, pki), _progress, stop) as at_work:
            return await at_work.run(lambda url: show.err.print(
                f"sites join at {url} with the token in {folder / TOKEN_FILE}", markup=False
            ))  # fmt: skip

    found = asyncio.run(run())
    if not found["done"]:
        show.err.print("stopped; started again with the same words it goes on")
        raise typer.Exit(CANCELLED)
    if json_:
        show.as_json(found)
        return
    show.out.print(f"{found['kind']} {found['model'][:12]} in {found['file']}", markup=False)
    rows = [(site, f"{o['simple_loss']:.4g}", f"{o['common_loss']:.4g}", _word(o["better"]), o["reason"])
            for site, o in found["sites"].items()]  # fmt: skip
    show.table(("site", "own simple model", "common model", "used there", "contest"), rows, "no site has judged it")


@federate_app.command("join")
def federate_join(
    url: Annotated[str, typer.Argument(help="As `federate serve` prints it: wss://HOST:PORT.")],
    site: Annotated[str, typer.Option("--site", help="Name of this site, which all others hear.")],
    files: Annotated[
        Path | None, typer.Argument(help="A CSV or Parquet file, or a folder of them; left out: history.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Holds the token; else TWINLOOP_FEDERATION_TOKEN of the environment."),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", help="A secret of the sites that the coordinator does not know.")
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Agree that the coordinator sees what this site gives.")
    ] = False,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to look for a coordinator that is away.")] = 120.0,
    time_: Time = "",
    device: Device = "",
    columns: Columns = "",
    leave: Leave = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write the better model to this file only.")] = None,
    registry: RegistryOption = None,
    scope: Annotated[str, typer.Option(help="What the model competes for, a twin type say; one champion each.")] = "",
    data: PlantData = None,
    twins: Twins = "*",
    type_: TypeOption = "",
    every: Every = "10s",
    start: From = "",
    end: To = "",
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Take part with this site's data: sums and clipped updates leave it, masked; rows never do.

    At the end the common model meets the site's own simple one on data that neither was trained on. The better of the two
    goes to --out, else to the registry of --registry or of the server's data folder.
    """
    from control.federation import TOKEN_VARIABLE, checked_url, secret_of
    from control.federation_site import Joining, Member

    checked_url(url)
    token = secret_of(token_file, TOKEN_VARIABLE)
    if not token:
        raise BadRequest("no token", f"give --token-file, or set {TOKEN_VARIABLE}; it lies with the coordinator")
    where = registry_of(files, out, registry, data)
    joining = Joining(url, site, token, secret_of(secret_file), pki, patience, open_)
    with following("joining") as course:
        given = material_of(
            TASK, files, (time_, device, columns, leave, ""), data, (twins, type_, every, start, end), course
        )
        own, common = Member(joining, given.data, course, lambda words: show.err.print(words, markup=False)).run()
    made, place = _kept(own, given, where, out, scope, url)
    told = {
        "better": own.better, "reason": own.reason, "simple_loss": own.losses[0], "common_loss": own.losses[1],
        "common": common.hash, "model": made.hash, "file": place,
    }  # fmt: skip
    if json_:
        show.as_json(told)
        return
    show.out.print(own.reason, markup=False)
    show.out.print(f"{'the common' if own.better else 'the own simple'} model {made.hash[:12]}: {place}", markup=False)


def _kept(own: Any, given: Any, where: Any, out: Path | None, scope: str, url: str) -> tuple[Any, str]:
    """The better model, with the distribution and a sketch of this site's rows, which stay here."""
    from control import learning, models
    from ml import model_file

    made = learning.described(TASK, own.model if own.better else own.simple, given.data, own.options)
    if where is None:
        assert out is not None
        model_file.write(out, made)
        return made, str(out)
    why = f"federated at {url}" if own.better else f"simple: the model of {url} is no better here"
    where.add(made, scope, getpass.getuser(), why, time.time_ns())
    models.carry(where)
    return made, str(where.path(made.hash))


def _progress(share: float, words: str) -> None:
    show.err.print(f"{share:4.0%}  {words}", markup=False)


def _word(better: bool) -> str:
    return "common" if better else "own simple"
