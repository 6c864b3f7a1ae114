"""What contracts say commands points: once for each event, when it is deep enough, also after a crash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.chain_rules import FILE, ChainRules
from control.registries import STEPS, device_hash
from ledger.anchors import Anchorer
from twin.anchoring import ChainRule
from twin.errors import Refused

REVOKED = ChainRule("DeviceRegistry", "Revoked", "", "plc_1", 1, (("pump.status", 0.0), ("valve.open", 0.0)))
REGISTERED = ChainRule("DeviceRegistry", "Registered", "", "", 3, (("lamp.on", 1.0),))


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def anchorer(tmp_path: Path) -> Iterator[Anchorer]:
    with Anchorer(tmp_path / "ledger", tmp_path / "chain") as made:
        (tmp_path / "ledger").mkdir()
        made.start()
        yield made


class Commands:
    """As the server's: a key that it knows is not commanded again."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []
        self.known: dict[str, tuple[str, float]] = {}
        self.refuses = False

    async def submit(self, key: str, point: str, value: float, reason: str) -> object:
        self.asked.append((key, point, value))
        if self.refuses:
            raise Refused("an interlock holds", "")
        return self.known.setdefault(key, (point, value))


def register(anchorer: Anchorer, device: str) -> None:
    step = STEPS["register_device"]
    anchorer.send(step.contract, step.function, [device_hash("works", device), hash_of("key"), anchorer.writer])


def revoke(anchorer: Anchorer, device: str) -> None:
    step = STEPS["revoke_device"]
    anchorer.send(step.contract, step.function, [device_hash("works", device), hash_of("why")])


async def test_an_event_about_the_device_commands_its_points_once(anchorer: Anchorer, tmp_path: Path) -> None:
    commands = Commands()
    rules = ChainRules("works", (REVOKED,), anchorer, tmp_path, commands.submit)
    assert await rules.look() == 0  # the registry is not even there
    for device in ("plc_1", "plc_2"):
        register(anchorer, device)
    revoke(anchorer, "plc_2")
    assert await rules.look() == 0
    revoke(anchorer, "plc_1")
    assert await rules.look() == 1
    assert [(point, value) for _, point, value in commands.asked] == [("pump.status", 0.0), ("valve.open", 0.0)]
    assert await rules.look() == 0


async def test_an_event_that_is_read_again_after_a_crash_has_the_same_key(anchorer: Anchorer, tmp_path: Path) -> None:
    commands = Commands()
    register(anchorer, "plc_1")
    revoke(anchorer, "plc_1")
    assert await ChainRules("works", (REVOKED,), anchorer, tmp_path, commands.submit).look() == 1
    again = ChainRules("works", (REVOKED,), anchorer, tmp_path, commands.submit)
    assert await again.look() == 0  # it goes on where the other ended
    (tmp_path / FILE).write_text("torn")
    assert await ChainRules("works", (REVOKED,), anchorer, tmp_path, commands.submit).look() == 1
    assert len(commands.asked) == 4 and len(commands.known) == 2


async def test_an_event_counts_when_it_is_deep_enough(anchorer: Anchorer, tmp_path: Path) -> None:
    commands = Commands()
    rules = ChainRules("works", (REGISTERED,), anchorer, tmp_path, commands.submit)
    register(anchorer, "plc_1")
    assert await rules.look() == 0
    for size in (1, 2):
        assert await rules.look() == 0
        anchorer.anchor(size, bytes([size]) * 32)
    assert await rules.look() == 1


async def test_a_refused_command_is_told_and_keeps_no_other_from_it(
    anchorer: Anchorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands = Commands()
    commands.refuses = True
    register(anchorer, "plc_1")
    revoke(anchorer, "plc_1")
    assert await ChainRules("works", (REVOKED,), anchorer, tmp_path, commands.submit).look() == 1
    assert len(commands.asked) == 2
    assert "pump.status cannot be set to 0: an interlock holds" in caplog.text


async def test_a_chain_that_cannot_be_asked_is_told_once(
    anchorer: Anchorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = ChainRules("works", (REVOKED,), anchorer, tmp_path, Commands().submit)
    anchorer.close()
    for _ in range(2):
        assert await rules.look() == 0
    assert caplog.text.count("events on the chain cannot be read") == 1
