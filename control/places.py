"""Where plants and data folders are found from what people type; must not read what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import scenarios
from twin.errors import BadRequest, NotFound, Unavailable
from twin.sheet import PLANT_FILE

SHIPPED = Path(scenarios.__file__).parent
DATA_ROOT = Path("var")
HISTORY_FILE = "history.duckdb"
COMMANDS_FILE = "commands.sqlite"
PREDICTIONS_FILE = "predictions.sqlite"
LOOKAHEAD_FILE = "lookahead.sqlite"
ALARMS_FILE = "alarms.sqlite"
VIEWS_FILE = "views.sqlite"
LEDGER = "ledger"
INDEX = "index"
MODELS = "models"
PKI = "pki"
LOCK_FILE = "lock"


@contextlib.contextmanager
def only_one(data: Path) -> Iterator[None]:
    """The data folder for this process alone; it is made when missing.

    Raises:
        Unavailable: another process has it.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"{data} is in use by another server", "stop it, or choose another --data") from None
        yield


def plant_folder(text: str) -> Path:
    """A folder with a plant.toml, or the name of a shipped plant such as `water`.

    Raises:
        NotFound: neither.
    """
    for folder in (Path(text), SHIPPED / text):
        if (folder / PLANT_FILE).is_file():
            return folder
    shipped = sorted(p.parent.name for p in SHIPPED.glob(f"*/{PLANT_FILE}"))
    raise NotFound(f"no plant at {text!r}", f"name a folder with a {PLANT_FILE}, or one of {', '.join(shipped)}")


def data_folder(given: Path | None) -> Path:
    """The data folder meant: the given one, else the only one below var/, else the only one with a running server.

    Raises:
        NotFound, BadRequest: none, or several.
    """
    if given is not None:
        if not given.is_dir():
            raise NotFound(f"no data folder {given}", "name the folder given to `twinloop up --data`")
        return given
    found = sorted(p for p in DATA_ROOT.glob("*") if p.is_dir())
    live = [p for p in found if (p / "server.json").is_file()]
    choice = live if len(live) == 1 else found
    if not choice:
        raise NotFound("no data folder below var/", "start a server with `twinloop up PLANT`, or name one by --data")
    if len(choice) > 1:
        raise BadRequest(f"several data folders: {', '.join(map(str, choice))}", "name one by --data")
    return choice[0]


def endpoints(texts: list[str]) -> dict[str, str]:
    """`plc=modbus://127.0.0.1:5020/1` … or `@FILE` with a JSON object, as a mapping.

    The file may also be what `twinloop fleet` printed.

    Raises:
        BadRequest: not of that form.
    """
    found: dict[str, str] = {}
    for text in texts:
        if text.startswith("@"):
            found |= _from_file(Path(text[1:]))
            continue
        name, equals, endpoint = text.partition("=")
        if not equals or not name or not endpoint:
            raise BadRequest(f"endpoint {text!r}", "write it as name=endpoint")
        found[name] = endpoint
    return found


def _from_file(path: Path) -> dict[str, str]:
    try:
        document, _ = json.JSONDecoder().raw_decode(path.read_text().lstrip())
    except (OSError, ValueError) as error:
        raise BadRequest(f"endpoints of {path}: {error}", "name a file with a JSON object") from None
    found = document.get("endpoints", document) if isinstance(document, dict) else None
    if not isinstance(found, dict) or not all(isinstance(endpoint, str) for endpoint in found.values()):
        raise BadRequest(f"{path} holds no endpoints", 'write {"plc": "modbus://127.0.0.1:5020/1"}')
    return found
