"""`twinloop model …`: checks DTDL documents, exports models, graphs and Thing Descriptions; decides nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control import show
from control.places import plant_folder
from twin.errors import BadRequest, Mistake, NotFound, Notice
from twin.models import Models, read_models

if TYPE_CHECKING:
    from twin.plant import Plant

model_app = typer.Typer(no_args_is_help=True, help="Check DTDL documents; export models, graphs and descriptions.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
PlantOption = Annotated[
    str, typer.Option("--plant", help="Folder of a plant, or the name of a shipped one (water, bottling).")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout when left out.")]
FILES_MAX = 20_000  # documents checked at once: ten times the largest published ontology
VALUES_MAX = 100_000  # points whose values are asked for in one query, its own limit
EXIT_MISTAKES = 2


@model_app.command("check")
def model_check(
    paths: Annotated[list[Path], typer.Argument(help="DTDL files, or folders of them.")], json_: Json = False
) -> None:
    """List every mistake and every notice in DTDL documents, without a plant. Exit code 2 when there is a mistake."""
    texts: dict[str, str] = {}
    mistakes: list[Mistake] = []
    for path in _documents(paths):
        try:
            texts[str(path)] = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"not UTF-8: {error.reason} at byte {error.start}"
            mistakes.append(Mistake(str(path), 1, message, "save the file as UTF-8"))
    models = read_models(texts)
    mistakes += models.mistakes
    if json_:
        show.as_json(_found(models, mistakes, len(texts)))
    else:
        said(mistakes, models.notices)
        show.out.print(
            f"{len(texts)} files, {len(models.interfaces)} Interfaces, {len(mistakes)} mistakes, "
            f"{len(models.notices)} notices"
        )
    raise typer.Exit(EXIT_MISTAKES if mistakes else 0)


@model_app.command("export")
def model_export(
    plant: PlantOption,
    graph: Annotated[bool, typer.Option("--graph", help="Twins, relationships and models as one graph file.")] = False,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder of the plant's running server: its values go along.")
    ] = None,
    output: Output = None,
) -> None:
    """Write a plant's Interfaces as DTDL v3, or its graph as Azure Digital Twins Explorer reads it."""
    from twin.dtdl_export import export_interfaces
    from twin.graphfile import export_graph

    if data is not None and not graph:
        raise BadRequest("--data without --graph", "Interfaces hold no values; leave it out or add --graph")
    made = _plant(plant)
    document = export_graph(made, _values(made, data)) if graph else export_interfaces(made.interfaces.values())
    _write(document, output)


@model_app.command("thing")
def model_thing(
    twin: Annotated[str, typer.Argument(help="Id of a twin.")],
    plant: PlantOption,
    url: Annotated[str, typer.Option(help="Where the plant's server is reached.")] = "http://127.0.0.1:8080",
    output: Output = None,
) -> None:
    """Write a twin's W3C Thing Description."""
    from twin.thing import thing_description

    _write(thing_description(_plant(plant), twin, url), output)


def said(mistakes: Iterable[Mistake], notices: Iterable[Notice]) -> None:
    """One line each, mistakes first."""
    for mistake in mistakes:
        show.out.print(f"mistake {mistake}", markup=False, soft_wrap=True)
    for notice in notices:
        show.out.print(f"notice {notice}", markup=False, soft_wrap=True)


def _plant(text: str) -> Plant:
    from control.plants import read_plant

    return read_plant(plant_folder(text), {})


def _found(models: Models, mistakes: Iterable[Mistake], files: int) -> dict[str, Any]:
    return {
        "files": files,
        "interfaces": sorted(models.interfaces),
        "mistakes": [dataclasses.asdict(m) for m in mistakes],
        "notices": [dataclasses.asdict(n) for n in models.notices],
    }


def _documents(paths: list[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(sorted(path.rglob("*.json"))))
        elif path.is_file():
            found[path] = None
        else:
            raise NotFound(f"no file {path}", "name DTDL files, or folders of them")
    if not found:
        raise NotFound(f"no .json file in {', '.join(map(str, paths))}", "name DTDL files, or folders of them")
    if len(found) > FILES_MAX:
        raise BadRequest(f"{len(found)} files", f"at most {FILES_MAX} at once; name a smaller folder")
    return list(found)


def _values(plant: Plant, data: Path | None) -> dict[str, Any]:
    """Point name -> value as the running server holds it; {} without a server to ask."""
    if data is None:
        return {}
    from control.offline import ask
    from twin.graphfile import plain_value

    answer = ask(data, "SELECT name, value, text FROM points", VALUES_MAX)
    if answer["truncated"]:
        raise BadRequest(f"more than {VALUES_MAX} points", "export without --data")
    known = plant.point_of_name
    return {
        name: plain_value(known[name], float("nan") if value is None else float(value), text)
        for name, value, text in answer["rows"]
        if name in known
    }


def _write(document: Any, output: Path | None) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")
        show.err.print(f"wrote {output}")
