"""Security settings of OPC UA devices that do not go together are mistakes of the plant, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.catalog import PROTOCOLS
from protocols.opcua import codec
from tests.protocols.protocol_bench import device
from tests.twin.plants import PLANT, POINTS, write
from twin.errors import BadPlant
from twin.plantfile import load_plant

RULES = {"opcua": PROTOCOLS["opcua"].rules}
OPEN = "opc.tcp://plc.local:4840"
NAMED = "opc.tcp://operator:secret@plc.local:4840"
PAIR = {"user_certificate": "own/operator.der", "user_key": "own/operator.pem"}


def clashes(endpoint: str, **settings: Any) -> list[str]:
    return [
        f"{c.key}: {c.message}; {c.fix}"
        for c in codec.check_settings(endpoint, device("opcua", endpoint, **settings).settings)
    ]


@pytest.mark.parametrize("endpoint", [OPEN, NAMED])
@pytest.mark.parametrize("security", codec.SECURITY_MODES)
def test_every_mode_goes_with_every_endpoint(endpoint: str, security: str) -> None:
    assert clashes(endpoint, security=security) == []
    if security != "None":
        assert [clashes(endpoint, security=security, policy=policy) for policy in codec.POLICIES] == [[], [], []]
    if endpoint == OPEN:
        assert clashes(endpoint, security=security, **PAIR) == []


def test_a_policy_without_a_mode_protects_nothing() -> None:
    (said,) = clashes(OPEN, policy="Basic256Sha256")
    assert said.startswith("policy: policy = 'Basic256Sha256' with security = \"None\" protects nothing; add security")


@pytest.mark.parametrize("alone", PAIR)
def test_a_user_certificate_and_its_key_go_together(alone: str) -> None:
    (said,) = clashes(OPEN, **{alone: PAIR[alone]})
    assert said.startswith(f"{alone}: {alone} without user_")


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.pem", "own/../../x", "", " "])
def test_a_user_key_lies_in_the_folder_of_certificates(path: str) -> None:
    (said,) = clashes(OPEN, user_certificate="own/operator.der", user_key=path)
    assert "leads out of the folder of certificates" in said


def test_a_device_is_signed_in_to_in_one_way() -> None:
    (said,) = clashes(NAMED, **PAIR)
    assert "by password or by certificate, not both" in said and "secret" not in said


def mistakes(folder: Path, settings: str) -> tuple[int, list[str]]:
    """(line of the first setting, what the loader says)."""
    text = PLANT.replace('"wire"', '"opcua"').replace('"wire://here"', f'"{OPEN}"').replace("poll_s = 0.5", settings)
    with pytest.raises(BadPlant) as caught:
        load_plant(write(folder, text, POINTS.replace("plc,a", "plc,ns=2;s=a")), RULES)
    return text.splitlines().index(settings.splitlines()[0]) + 1, [str(m) for m in caught.value.mistakes]


def test_mistakes_name_file_line_and_fix_all_at_once(tmp_path: Path) -> None:
    line, said = mistakes(tmp_path, 'policy = "Basic256Sha256"\nuser_key = "../key.pem"')
    assert said == [
        f"plant.toml:{line}: policy = 'Basic256Sha256' with security = \"None\" protects nothing; "
        'add security = "SignAndEncrypt", or remove policy',
        f"plant.toml:{line + 1}: user_key without user_certificate; add user_certificate = …",
        f"plant.toml:{line + 1}: user_key = '../key.pem' leads out of the folder of certificates; "
        'name a file in it, such as "own/operator.der"',
    ]


def test_a_wrong_value_is_not_told_of_twice(tmp_path: Path) -> None:
    line, said = mistakes(tmp_path, 'security = "Encrypt"\npolicy = "Basic256Sha256"')
    assert said == [f"plant.toml:{line}: security = 'Encrypt'; one of None, Sign, SignAndEncrypt"]
