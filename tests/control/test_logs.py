"""A log line names what it belongs to and lets nobody in who reads it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from control.logs import AsJson, AsWords, clean, configure, correlation


def line(message: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("twinloop.x", logging.WARNING, "x.py", 1, message, args, None)
    made.__dict__.update(more)
    return made


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("GET /login?token=abcDEF123-_x failed", "GET /login?token=*** failed"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("mqtt://plc:s3cret@broker:1883 is down", "mqtt://plc:***@broker:1883 is down"),
        ("code=4/0AX4&state=x", "code=***&state=x"),
        ("token twinloop_0123456789abcdefXYZ is over", "token twinloop_*** is over"),
        ("tank_1.level is stale", "tank_1.level is stale"),
    ],
)
def test_what_lets_somebody_in_is_blotted_out(said: str, left: str) -> None:
    assert clean(said) == left
    assert json.loads(AsJson().format(line("%s", said)))["message"] == left
    assert left in AsWords().format(line("%s", said))


def test_a_line_belongs_to_what_it_names_or_else_to_what_it_was_written_for() -> None:
    assert "correlation" not in json.loads(AsJson().format(line("x")))
    held = correlation.set("request-1")
    try:
        assert json.loads(AsJson().format(line("x")))["correlation"] == "request-1"
        assert json.loads(AsJson().format(line("x", correlation="command-2")))["correlation"] == "command-2"
        assert AsWords().format(line("x")).endswith("[request-1]")
    finally:
        correlation.reset(held)


def test_a_message_of_many_lines_is_one_line_and_not_endless() -> None:
    said = AsJson().format(line("a\nb" * 5_000))
    assert "\n" not in said and len(said) < 10_000


def test_a_log_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    root = logging.getLogger()
    before, levels = root.handlers[:], (root.level, logging.getLogger("twinloop").level)
    path = tmp_path / "server.log"
    try:
        configure("debug", path)
        logging.getLogger("twinloop.x").debug("first")
        path.rename(tmp_path / "server.log.1")
        logging.getLogger("twinloop.x").info("second")
        logging.getLogger("somebody.else").warning("noise")
        (kept,) = path.read_text().splitlines()
        assert json.loads(kept)["message"] == "second"
    finally:
        for handler in root.handlers[:]:
            handler.close()
        root.handlers[:] = before
        root.setLevel(levels[0])
        logging.getLogger("twinloop").setLevel(levels[1])
