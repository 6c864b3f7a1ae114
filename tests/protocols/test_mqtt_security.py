"""The MQTT link at the doors of mosquitto: TLS, certificates and passwords."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from protocols import certificate as x
from protocols.link import LinkState
from protocols.mqtt.device import MqttDevice
from protocols.mqtt.link import MqttLink
from protocols.mqtt.sparkplug_device import SparkplugDevice
from protocols.mqtt.sparkplug_link import SparkplugLink
from protocols.pki import Pki, pem_of_key, write
from tests.protocols import pki_bench as certificates
from tests.protocols.mqtt_field import POINTS, START, Field, field
from tests.protocols.protocol_bench import RecordingSink, Wished, device, free_port, point, running, seeded, until

ACL = "user guest\ntopic readwrite plant/tank/#\ntopic readwrite plant/pump/#\ntopic readwrite status\n"


class Sealed(Field):
    """A broker that speaks TLS only, and asks for a certificate where `asks` says so."""

    def __init__(self, folder: Path, asks: bool) -> None:
        super().__init__(folder, "allow_anonymous true\n")
        self.secure_port = free_port()
        self.authority = certificates.authority("authority")
        own = certificates.certificate("broker", issuer=self.authority)
        files = {
            "ca.pem": self.authority.certificate.public_bytes(Encoding.PEM),
            "broker.pem": own.public_bytes(Encoding.PEM),
            "broker_key.pem": pem_of_key(certificates.key("broker")),
        }
        for name, data in files.items():
            write(folder / name, data, private=False)
        self._more += (
            f"listener {self.secure_port} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {folder}/broker.pem\n"
            f"keyfile {folder}/broker_key.pem\nrequire_certificate {'true' if asks else 'false'}\n"
        )

    def client(self, name: str, trusts: bool = True) -> Pki:
        """A folder of certificates with one for this broker in `own/`, issued by its authority."""
        pki = certificates.folder(self.folder, name, certificates.certificate(name, issuer=self.authority))
        if trusts:
            pki.take("issuers", self.authority.certificate)
        return pki

    def secure(self, sink: RecordingSink, pki: Pki, **more: object) -> MqttLink:
        at = device("mqtt", f"mqtts://127.0.0.1:{self.secure_port}", **more)
        return MqttLink(at, POINTS, sink, time.time_ns, seeded(), pki.folder)


SHOWN = {"user_certificate": "own/certificate.der", "user_key": "own/key.pem"}


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_values_travel_over_tls_with_certificates_on_both_sides(tmp_path: Path, version: str) -> None:
    broker = Sealed(tmp_path, asks=True)
    broker.start()
    pki, sink = broker.client("twin"), RecordingSink()
    at = device("mqtt", f"mqtts://127.0.0.1:{broker.secure_port}", version=version, **SHOWN)
    simulated = MqttDevice(at, POINTS, Wished(), time.time_ns, pki.folder)
    await simulated.start()
    async with running(broker.secure(sink, pki, version=version, **SHOWN)):
        await until(lambda: sink.online, "the link is up")
        await simulated.publish(START, time.time_ns(), {})
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
    await simulated.stop()
    broker.kill()


async def test_edge_nodes_and_hosts_travel_over_tls_too(tmp_path: Path) -> None:
    broker = Sealed(tmp_path, asks=True)
    broker.start()
    pki, sink = broker.client("twin"), RecordingSink()
    points = [point(0, "spBv1.0/plant/gateway#level")]
    at = device("mqtt", f"mqtts://127.0.0.1:{broker.secure_port}", format="sparkplug", **SHOWN)
    simulated = SparkplugDevice(at, points, Wished(), time.time_ns, pki.folder)
    await simulated.start()
    await simulated.publish({0: 2.5}, time.time_ns(), {})
    async with running(SparkplugLink(at, points, sink, time.time_ns, seeded(), pki.folder)):
        await until(lambda: sink.value(0) == 2.5, "the birth is read")
    await simulated.stop()
    broker.kill()


async def test_a_broker_that_nobody_vouches_for_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Sealed(tmp_path, asks=False)
    broker.start()
    pki, sink = broker.client("twin", trusts=False), RecordingSink()
    async with running(broker.secure(sink, pki)):
        await until(lambda: "certificate is not believed" in caplog.text, "the link says why it is down")
        assert LinkState.ONLINE not in sink.states
        pki.take("issuers", broker.authority.certificate)  # somebody has looked at it
        await until(lambda: sink.online, "the link is up without a restart")
    broker.kill()


async def test_a_link_without_the_certificate_that_the_broker_asks_for_stays_out_until_it_has_one(
    tmp_path: Path,
) -> None:
    broker = Sealed(tmp_path, asks=True)
    broker.start()
    pki, sink = broker.client("twin"), RecordingSink()
    foreign = certificates.certificate("twin")
    write(pki.own_certificate_path, x.der(foreign), private=False)
    async with running(broker.secure(sink, pki, **SHOWN)):
        await until(lambda: sink.states[-1:] == [LinkState.OFFLINE], "the broker refuses")
        renewed = certificates.certificate("twin", issuer=broker.authority)
        write(pki.own_certificate_path, x.der(renewed), private=False)
        await until(lambda: sink.online, "the renewed certificate counts without a restart")
    broker.kill()


async def test_a_missing_certificate_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = RecordingSink()
    at = device("mqtt", "mqtts://127.0.0.1:1", user_certificate="own/none.der", user_key="own/none.pem")
    async with running(MqttLink(at, POINTS, sink, time.time_ns, seeded(), tmp_path)):
        await until(lambda: "none.der is missing" in caplog.text, "the file is named")


def guarded(folder: Path) -> Field:
    (folder / "acl").write_text(ACL)
    made = subprocess.run(
        ["mosquitto_passwd", "-c", "-b", str(folder / "passwords"), "guest", "open, please"], check=False
    )
    assert made.returncode == 0
    return field(folder, f"password_file {folder}/passwords\nacl_file {folder}/acl\n")


async def test_a_wrong_password_is_said_and_a_right_one_lets_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = guarded(tmp_path)
    for version, password, words in (("3.1.1", "wrong", "not authorized"), ("5", "wrong", "not authorized")):
        caplog.clear()
        at = device("mqtt", f"mqtt://guest:{password}@127.0.0.1:{broker.port}", version=version)
        async with running(MqttLink(at, POINTS, RecordingSink(), time.time_ns, seeded())):
            await until(lambda: words in caplog.text, "the broker's reason is said")  # noqa: B023
    sink = RecordingSink()
    at = device("mqtt", f"mqtt://guest:open%2C%20please@127.0.0.1:{broker.port}")
    async with running(MqttLink(at, POINTS, sink, time.time_ns, seeded())):
        await until(lambda: sink.online, "the link is up")
    broker.kill()
