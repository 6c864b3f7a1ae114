"""The plant folder of a search: read as texts, written whole or not at all; must not decide what is in it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control.discover_said import FOLDER as SAID_FOLDER
from protocols.catalog import PROTOCOLS
from twin.errors import BadPlant, Refused
from twin.plant import Plant
from twin.plantfile import PLANT_FILE, load_plant

SECRET_MODE = 0o600  # of a plant.toml with a password in it


@dataclass(frozen=True, slots=True)
class PlantFolder:
    """A plant as it lies on the disk; without a plant.toml it is empty and `plant` is None."""

    folder: Path
    plant: Plant | None = None
    head: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sheet_file(self) -> str:
        return str(self.head.get("points", "points.csv"))

    @property
    def interfaces_folder(self) -> str:
        return str(self.head.get("interfaces", "interfaces"))

    def said_file(self, device: str) -> str:
        return f"{SAID_FOLDER}/{device}.csv"

    def text(self, name: str) -> str:
        """A file's text, "" where there is none. Line ends stay as they are."""
        path = self.folder / name
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()


def open_folder(folder: Path) -> PlantFolder:
    """
    Raises:
        BadPlant: there is a plant, and it has mistakes.
        Refused: there is something else.
    """
    if not (folder / PLANT_FILE).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Refused(f"{folder} is not empty and holds no {PLANT_FILE}", "name another folder with --output")
        return PlantFolder(folder)
    plant = load_plant(folder, {name: e.rules for name, e in PROTOCOLS.items()})
    head = tomllib.loads((folder / PLANT_FILE).read_text("utf-8"))["plant"]
    return PlantFolder(folder, plant, head)


def write(target: PlantFolder, texts: Mapping[str, str], secret: bool) -> Plant:
    """Put the texts into the folder, by name, once the plant they make has been read without a mistake.

    Raises:
        Refused: it has mistakes; nothing was written.
    """
    target.folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.folder.name}.", dir=target.folder.parent))
    try:
        if target.plant is not None:
            _copy_plant(target, staged)
        for name, text in texts.items():
            _write(staged / name, text)
        if secret:
            (staged / PLANT_FILE).chmod(SECRET_MODE)
        plant = _checked(staged)
        with _undisturbed():
            if target.plant is None:
                staged.chmod(0o755)
                if target.folder.is_dir():
                    target.folder.rmdir()  # an empty one, as was seen
                staged.rename(target.folder)
            else:
                _replace(staged, target, texts)
        return plant
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _copy_plant(target: PlantFolder, staged: Path) -> None:
    for name in (PLANT_FILE, target.sheet_file):
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(target.folder / name, staged / name)
    shutil.copytree(target.folder / target.interfaces_folder, staged / target.interfaces_folder, dirs_exist_ok=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _checked(staged: Path) -> Plant:
    try:
        return load_plant(staged, {name: e.rules for name, e in PROTOCOLS.items()})
    except BadPlant as error:
        shown = "; ".join(str(m) for m in error.mistakes[:3])
        raise Refused(
            f"the plant would have {len(error.mistakes)} mistakes: {shown}", "nothing was written; mend these first"
        ) from error


def _replace(staged: Path, target: PlantFolder, texts: Mapping[str, str]) -> None:
    """File by file, each at once: what is referred to before what refers to it."""
    last = {target.sheet_file: 2, PLANT_FILE: 1}
    for name in sorted(texts, key=lambda n: last.get(n, 0)):
        there = target.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if there.exists():
            shutil.copymode(there, staged / name)
        (staged / name).replace(there)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and a polite end wait for some milliseconds."""
    blocked = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
