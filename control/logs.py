"""Log lines of our processes: ours from the level asked for, libraries' from ERROR; must not know what is logged.

To a terminal in words, else one JSON object a line. `correlation` names what a line belongs to: the id of a command
or of a request, wherever in the server the line is written.
"""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

import orjson

LEVELS = ("debug", "info", "warning", "error")
FORMS = ("auto", "words", "json")
MESSAGE_MAX = 4_000  # characters of a message, and of a traceback from its end
correlation: ContextVar[str] = ContextVar("correlation", default="")
_SECRETS = (
    (re.compile(r"(?i)(authorization|bearer|basic)([\"':= ]+)[\w.~+/=-]{8,}"), r"\1\2***"),
    (re.compile(r"(?i)\b(token|secret|password|passwd|ticket|code|client_secret|session)=([^\s&\"']+)"), r"\1=***"),
    (re.compile(r"://([^/\s:@]+):[^/\s@]+@"), r"://\1:***@"),
    (re.compile(r"\btwinloop_[\w-]{16,}"), "twinloop_***"),
)


def clean(text: str) -> str:
    """Without what lets somebody in, wherever the words come from."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class AsJson(logging.Formatter):
    """One object a line: time (UTC), level, logger, message; correlation and error where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage())[:MESSAGE_MAX],
        }
        if found := _correlation(record):
            line["correlation"] = found
        if record.exc_info:
            line["error"] = clean(self.formatException(record.exc_info))[-MESSAGE_MAX:]
        return orjson.dumps(line).decode()


class AsWords(logging.Formatter):
    """As people read them."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        found = _correlation(record)
        return clean(super().format(record)) + (f" [{found}]" if found else "")


def _correlation(record: logging.LogRecord) -> str:
    """What the line names itself goes before what it was written for."""
    return str(getattr(record, "correlation", "") or correlation.get())


def configure(level: str = "info", file: Path | None = None, form: str = "auto") -> None:
    """Once, at the start of a process. A file is opened anew when something has moved it away."""
    handler: logging.Handler = logging.StreamHandler() if file is None else WatchedFileHandler(file, "a", "utf-8")
    as_words = form == "words" or (form == "auto" and file is None and sys.stderr.isatty())
    handler.setFormatter(AsWords() if as_words else AsJson())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    logging.getLogger("twinloop").setLevel(level.upper())
