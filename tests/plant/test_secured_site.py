"""A site whose devices sign and encrypt, as its engineer sets it up: certificates first, then trust, then renewal."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from control.cli import app
from protocols.pki import Pki
from tests.plant.site import Site, live, site, until
from tests.twin.plants import POINTS, write

PLANT = """
[plant]
id = "sealed"

[[device]]
id = "plc"
protocol = "opcua"
endpoint = "opc.tcp://operator:s%3Acret@127.0.0.1:0"
security = "SignAndEncrypt"
policy = "Aes256_Sha256_RsaPss"
publishing_ms = 50.0
timeout_s = 10.0

[[device]]
id = "meter"
protocol = "opcua"
endpoint = "opc.tcp://127.0.0.1:0"
security = "Sign"
user_certificate = "own/certificate.der"
user_key = "own/key.pem"
timeout_s = 10.0

[[twin]]
id = "site"
interface = "dtmi:test:Site;1"

[[twin]]
id = "tank"
interface = "dtmi:test:Tank;1"
"""
HEAD, CLOCK, LEVEL, *_ = POINTS.splitlines()
SHEET = "\n".join([HEAD, CLOCK.replace("plc,a", "meter,ns=2;s=a"), LEVEL.replace("plc,a", "plc,ns=2;s=a"), ""])


def certs(*words: str | Path) -> str:
    done = CliRunner().invoke(app, ["certs", *map(str, words)])
    assert done.exit_code == 0, done.exception
    return done.stdout


def start_fleet(at: Site, plant: Path, pki: Path, endpoints: dict[str, str] | None = None) -> dict[str, str]:
    words = ["fleet", str(plant), "--pki", str(pki)]
    for name, endpoint in (endpoints or {}).items():
        words += ["--endpoint", f"{name}={endpoint}"]
    at.fleet = at._child(words)
    at.endpoints = at.fleet.first_line()["endpoints"]
    return at.endpoints


def test_a_sealed_site_runs_once_both_sides_trust_each_other_and_again_after_a_renewal(tmp_path: Path) -> None:
    plant, ours, theirs = write(tmp_path, PLANT, SHEET), tmp_path / "data" / "pki", tmp_path / "fleet-pki"
    certs("init", "--data", tmp_path / "data", "--host", "127.0.0.1")
    certs("init", "--pki", theirs, "--name", "fleet", "--host", "127.0.0.1")
    with site(tmp_path) as at:
        endpoints = start_fleet(at, plant, theirs)
        assert endpoints["plc"].startswith("opc.tcp://operator:s%3Acret@")
        client = at.start_server(str(plant))

        def told() -> list[str]:
            return re.findall(r"twinloop certs trust (\w+) --pki '([^']+)'", (tmp_path / "messages.log").read_text())

        def trust() -> None:
            """As the log says: our side first, then, where the devices have turned us away, theirs."""
            for folder in (ours, theirs):
                until(Pki(folder).rejected, bool)
                for held in Pki(folder).rejected():
                    certs("trust", held.path, "--pki", folder)

        assert live(client) == (2, 0)
        trust()
        assert {folder for _, folder in told()} == {str(ours), str(theirs)}
        until(lambda: live(client), lambda found: found == (2, 2))
        assert at.fleet is not None and at.fleet.stop() == 0
        certs("renew", "--new-key", "--pki", theirs)
        start_fleet(at, plant, theirs, endpoints)
        until(Pki(ours).rejected, bool)
        assert Pki(ours).rejected()[0].certificate == Pki(theirs).own_certificate
        until(lambda: live(client), lambda found: found[1] < 2)
        certs("trust", Pki(ours).rejected()[0].path, "--pki", ours)
        until(lambda: live(client), lambda found: found == (2, 2))
        assert "s%3Acret" not in (tmp_path / "messages.log").read_text()
