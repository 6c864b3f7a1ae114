"""A folder of models by their hash, and an append-only record of what became of them; must not know who asks, or clocks.

    FOLDER/<hash>.safetensors      the models; a changed one is not read
    FOLDER/record.jsonl            one line a promotion: SHA-256 over the digest before and the rest, a space, JSON

A line is durable before a promotion counts. A crash in the middle of a line leaves a torn tail, which the next writer
cuts off; any other line that does not fit the one before is damage and is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ml import model_file, stages
from ml.contest import Verdict
from ml.model_file import ModelFile
from ml.stages import SHARE, Contest, Life, Move, Stage, Watch
from twin.errors import BadRequest, Conflict, NotFound, Unavailable

RECORD = "record.jsonl"
SUFFIX = ".safetensors"
LOCK_WAIT_S = 10.0  # a promotion takes milliseconds
HASH_LENGTH = 64
HASH_SHORTEST = 4  # letters of a hash that name a model, if only one begins so
AUTOMATIC = "twinloop"  # who rolls back where no person did
TEXT_MAX = 2_000  # characters of a reason: it becomes part of a ledger entry


@dataclass(frozen=True, slots=True)
class Promotion:
    """One line of the record.

    Attributes:
        n: number of the line, from 0. digest: of the line and all before it.
        moves: models and the stages that they went to, all at once.
        by, why: who, and for what reason.
    """

    n: int
    time_ns: int
    task: str
    scope: str
    moves: tuple[Move, ...]
    by: str
    why: str
    contest: Contest | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    """`whole`: bytes of the file before a torn tail."""

    promotions: tuple[Promotion, ...]
    lives: dict[str, Life]
    whole: int


class Registry:
    """What is asked is read from the files every time: others may write, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / RECORD

    # --- asked -------------------------------------------------------------------------------------------------------

    def record(self) -> tuple[Promotion, ...]:
        """
        Raises:
            BadRequest: the record was changed.
        """
        return self._read().promotions

    def lives(self) -> dict[str, Life]:
        """Where every model is, by hash, in the order in which they came."""
        return self._read().lives

    def find(self, prefix: str) -> Life:
        """The model whose hash begins so.

        Raises:
            NotFound: none. BadRequest: several.
        """
        lives = self.lives()
        found = [h for h in lives if h.startswith(prefix.lower())] if len(prefix) >= HASH_SHORTEST else []
        if not found:
            raise NotFound(f"no model {prefix!r} in {self.folder}", f"{HASH_SHORTEST} or more letters of a hash")
        if len(found) > 1:
            raise BadRequest(f"{len(found)} models begin with {prefix!r}", "more letters")
        return lives[found[0]]

    def champion(self, task: str, scope: str = "") -> Life | None:
        """The live model; None before the first."""
        return stages.champion(self.lives().values(), task, scope)

    def path(self, model: str) -> Path:
        """Where a model's file is."""
        return self.folder / f"{model}{SUFFIX}"

    def read(self, model: str) -> ModelFile:
        """
        Raises:
            NotFound: the file is gone. BadRequest: it is a pickle, was changed, or is another model.
        """
        found = model_file.read(self.path(model))
        if found.hash != model:
            raise BadRequest(f"{self.path(model)} holds model {found.hash[:12]}", "take it from a back-up")
        return found

    def lineage(self, model: str) -> tuple[str, ...]:
        """Parents, nearest first, as far as this registry has them and one beyond."""
        found: list[str] = []
        while self.path(model).is_file() and (parent := self.read(model).manifest.parent):
            if parent in found:
                break
            found.append(parent)
            model = parent
        return tuple(found)

    # --- done --------------------------------------------------------------------------------------------------------

    def add(self, model: ModelFile, scope: str, by: str, why: str, now_ns: int) -> Life:
        """A trained model; added once more nothing changes.

        Raises:
            Conflict: it is here for another scope.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = model.hash
        if (known := self.lives().get(made)) is not None:
            if known.scope != scope:
                raise Conflict(f"model {made[:12]} is here for scope {known.scope!r}", "a model has one scope")
            return known
        model_file.write(self.path(made), model)
        _sync(self.path(made))
        _sync(self.folder)
        life = Life(made, model.manifest.task, scope, Stage.TRAINED)
        with self._writing() as read:
            if made not in read.lives:
                self._append(read, life, (Move(made, Stage.TRAINED),), None, by, why, now_ns)
        return life

    def promote(
        self, model: str, contest: Contest | None, by: str, why: str, now_ns: int, share: float = SHARE
    ) -> Promotion:
        """One stage on; see `ml.stages.promoted`. The model's file is read first: what cannot be served does not go on."""
        life = self.find(model)
        self.read(life.model)
        with self._writing() as read:
            moves = stages.promoted(read.lives, life.model, contest, share)
            stages.moved(read.lives, moves)
            return self._append(read, life, moves, contest, by, why, now_ns)

    def roll_back(self, model: str, by: str, why: str, now_ns: int) -> Promotion:
        """Out of service; see `ml.stages.rolled_back`."""
        life = self.find(model)
        with self._writing() as read:
            moves = stages.rolled_back(read.lives, life.model)
            for move in moves:
                if move.stage is Stage.LIVE:
                    self.read(move.model)
            return self._append(read, life, moves, None, by, why, now_ns)

    def settle(self, model: str, watch: Watch, now_ns: int) -> Promotion | None:
        """What a server does after each pair of live losses: roll back as soon as the watch says so; else nothing."""
        if not watch.worse:
            return None
        return self.roll_back(model, AUTOMATIC, watch.reason, now_ns)

    # --- the record --------------------------------------------------------------------------------------------------

    def _read(self) -> _Read:
        content = self._path.read_bytes() if self._path.is_file() else b""
        whole = content.rfind(b"\n") + 1
        promotions: list[Promotion] = []
        lives: dict[str, Life] = {}
        digest = ""
        for n, line in enumerate(content[:whole].splitlines()):
            told, _, text = line.partition(b" ")
            digest = _digest(digest, text)
            if told.decode("ascii", "replace") != digest:
                raise BadRequest(f"{self._path}, line {n + 1}: it was changed", "take the record from a back-up")
            one = _promotion(text, digest)
            promotions.append(one)
            first = [m for m in one.moves if m.stage is Stage.TRAINED]
            lives |= {m.model: Life(m.model, one.task, one.scope, m.stage) for m in first}
            lives = stages.moved(lives, [m for m in one.moves if m.stage is not Stage.TRAINED])
        return _Read(tuple(promotions), lives, whole)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[_Read]:
        """The record for this writer alone, its torn tail cut off."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not self._path.exists()
        with self._path.open("ab") as file:
            _locked(file.fileno(), self._path)
            read = self._read()
            if read.whole < file.tell():
                os.ftruncate(file.fileno(), read.whole)
            if new:
                _sync(self.folder)
            yield read

    def _append(
        self, read: _Read, life: Life, moves: tuple[Move, ...], contest: Contest | None, by: str, why: str, now_ns: int
    ) -> Promotion:
        if len(why) > TEXT_MAX:
            raise BadRequest(f"a reason of {len(why)} characters", f"at most {TEXT_MAX}")
        before = read.promotions[-1].digest if read.promotions else ""
        made = Promotion(len(read.promotions), now_ns, life.task, life.scope, moves, by, why, contest)
        kept = {k: v for k, v in asdict(made).items() if k != "digest"}
        text = json.dumps(kept, sort_keys=True, ensure_ascii=True).encode()
        digest = _digest(before, text)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            line = digest.encode() + b" " + text + b"\n"
            if os.write(descriptor, line) != len(line):
                raise Unavailable(f"{self._path} takes no more", "make room on the disk")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return replace(made, digest=digest)


def _digest(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode() + b"\n" + text).hexdigest()


def _promotion(text: bytes, digest: str) -> Promotion:
    kept = json.loads(text)
    moves = tuple(Move(m["model"], Stage(m["stage"]), m["share"], m["successor_of"]) for m in kept.pop("moves"))
    held = kept.pop("contest")
    contest = Contest(Verdict(**held.pop("verdict")), **held) if held else None
    return Promotion(**kept, moves=moves, contest=contest, digest=digest)


def _locked(descriptor: int, path: Path) -> None:
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Unavailable(f"{path} is being written by another process", "try again") from None
            time.sleep(0.01)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(promotion: Promotion) -> Mapping[str, object]:
    """A promotion as plain values, for people and the ledger."""
    told = asdict(promotion)
    return {**told, "moves": [{**m, "stage": str(m["stage"])} for m in told["moves"]]}


def trail(record: Sequence[Promotion], model: str) -> tuple[Promotion, ...]:
    """What became of one model."""
    return tuple(p for p in record if any(m.model == model for m in p.moves))
