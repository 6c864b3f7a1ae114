"""[chain] of plant.toml: where evidence is anchored, and every mistake in it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.plants import read_plant
from tests.twin.test_lookahead import WATER
from twin.anchoring import Anchoring, ChainRule
from twin.errors import BadPlant
from twin.plant import Plant


def plant_with(folder: Path, rows: str) -> Plant:
    for path in WATER.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    text = (WATER / "plant.toml").read_text()
    (folder / "plant.toml").unlink()
    table = rows if rows.startswith("[") else f"[chain]\n{rows}"
    (folder / "plant.toml").write_text(f"{text}\n{table}\n")
    return read_plant(folder, {})


def test_a_plant_that_says_nothing_is_anchored_on_its_own_chain_every_ten_seconds() -> None:
    assert read_plant(WATER, {}).chain == Anchoring(every_s=10.0)


def test_a_plant_may_name_a_node(tmp_path: Path) -> None:
    address = "0x" + "Ab" * 20
    rows = f'rpc = "http://10.0.0.7:8545"\nchain_id = 5\ncontract = "{address}"\nconfirmations = 12\nevery = "60s"'
    found = plant_with(tmp_path, rows + '\ntimeout = "5m"\nalarm_after = "20m"').chain
    assert found == Anchoring("http://10.0.0.7:8545", 5, address.lower(), 12, 300.0, 60.0, 1200.0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('rpc = "http://n"', "a node without chain_id"),
        ("chain_id = 3", "chain_id without rpc"),
        ('rpc = "http://n"\nchain_id = 3\ncontract = "0x12"', "contract = '0x12'"),
        ('every = "1s"', "every = '1s'"),
        ('every = "often"', "often"),
        ('every = "10m"', "alarm_after is not longer than every"),
        ("confirmations = 0", "confirmations = 0 is outside"),
        ('node = "n"', "has no setting 'node'"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(BadPlant, match=said):
        plant_with(tmp_path, rows)


EVENT = '[[chain_event]]\ncontract = "{}"\nevent = "{}"\nset = {{ {} }}\n{}'


def test_an_event_on_the_chain_may_command_points(tmp_path: Path) -> None:
    rows = EVENT.format("DeviceRegistry", "Revoked", '"pump_10.status" = 0', 'device = "plc"\nconfirmations = 3')
    assert plant_with(tmp_path, rows).chain.rules == (
        ChainRule("DeviceRegistry", "Revoked", "", "plc", 3, (("pump_10.status", 0.0),)),
    )


@pytest.mark.parametrize(
    ("contract", "event", "sets", "more", "said"),
    [
        ("DeviceRegistry", "Burnt", '"pump_10.status" = 0', "", "no event 'Burnt'"),
        ("Bank", "Revoked", '"pump_10.status" = 0', "", "Bank has no event"),
        ("Notary", "DataSet", '"nowhere.at_all" = 0', "", "no point that can be commanded"),
        ("Notary", "DataSet", '"pump_10.status" = "on"', "", "pump_10.status = 'on'"),
        ("Notary", "DataSet", '"pump_10.status" = 0', 'device = "plc"', "a device here"),
        ("Notary", "DataSet", '"pump_10.status" = 0', 'topic = "0x12"', "topic = '0x12'"),
        ("Notary", "DataSet", '"pump_10.status" = 0', "confirmations = 0", "confirmations = 0"),
    ],
)
def test_a_rule_that_could_never_act_is_a_mistake(
    tmp_path: Path, contract: str, event: str, sets: str, more: str, said: str
) -> None:
    with pytest.raises(BadPlant, match=said):
        plant_with(tmp_path, EVENT.format(contract, event, sets, more))
