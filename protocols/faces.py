"""The protocols that can show the twin: their settings, checks and factories, one entry each; must not import their libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import protocols.modbus.address as modbus
import protocols.modbus.image as modbus_image
import protocols.modbus.map as modbus_map
import protocols.mqtt.codec as mqtt
import protocols.mqtt.sparkplug as sparkplug
import protocols.opcua.codec as opcua
from protocols.link import Clock
from protocols.served import FACE_SETTINGS, Face, FaceFactory, TwinView
from twin.plant import Serving
from twin.rules import Clash, ServingRules, Setting


@dataclass(frozen=True, slots=True)
class FaceEntry:
    """What the plant loader checks of a `[[serve]]` of one protocol, and how to make its face."""

    rules: ServingRules
    face: FaceFactory


def _listening(check: Callable[[str], None]) -> Callable[[str], None]:
    """The check of an endpoint that we listen at."""

    def checked(endpoint: str) -> None:
        check(endpoint)
        if "@" in urlsplit(endpoint).netloc:
            raise ValueError("leave user and password out; `twinloop account add` makes accounts")

    return checked


def _tcp(endpoint: str) -> None:
    if modbus.parse_endpoint(endpoint).medium is not modbus.Medium.TCP:
        raise ValueError("the twin is served over TCP only; the form is modbus://host:port/unit")


def _opcua(serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> Face:
    from protocols.opcua.northbound import OpcUaFace

    return OpcUaFace(serving, view, clock, pki)


def _modbus(serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> Face:
    from protocols.modbus.northbound import ModbusFace

    return ModbusFace(serving, view, clock, pki)


def _mqtt(serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> Face:
    from protocols.mqtt.northbound import MqttFace

    return MqttFace(serving, view, clock, pki)


def _mqtt_names(endpoint: str, settings: Mapping[str, Any]) -> Sequence[Clash]:
    """Parts of topics that no topic may have."""
    fix = "leave out +, # and NUL"
    clashes = [Clash("prefix", f"prefix {settings['prefix']!r} cannot begin a topic", fix)] * any(
        letter in str(settings["prefix"]) for letter in "+#\0"
    )
    for key in ("group_id", "node_id", "primary_host"):
        try:
            sparkplug.check_id(settings[key] or "left_out")
        except ValueError as error:
            clashes.append(Clash(key, str(error), fix + " and /"))
    return clashes


_OPCUA_SETTINGS = {
    "anonymous": Setting(str, "viewer", "what clients without an account may do", choices=("viewer", "none")),
    "security": Setting(
        list, (), "what the channel does; left out: SignAndEncrypt, on a loopback address also None",
        choices=opcua.SECURITY_MODES,
    ),
    "policies": Setting(list, opcua.POLICIES, "security policies that are offered", choices=opcua.POLICIES),
    "clients": Setting(int, 50, "connections at once", 1, 500),
}  # fmt: skip

_MODBUS_SETTINGS = {
    "map": Setting(str, None, "CSV file of the plant folder that says which point stands in which cells"),
    "bad": Setting(str, "exception", "how a value that is not good is answered", choices=modbus_image.BAD_WAYS),
    "writes": Setting(str, "none", "what writes may do; Modbus knows no users", choices=("none", "operator")),
    "writers": Setting(list, (), "addresses that may write; left out: any that can connect"),
    "wait_s": Setting(float, 0.0, "seconds that the answer to a write waits for the command's end", 0, 60),
    "clients": Setting(int, 20, "connections at once", 1, 500),
}

_MQTT_SETTINGS = {
    "format": Setting(str, "json", "how values are written", choices=("json", mqtt.SPARKPLUG)),
    "prefix": Setting(str, "twinloop", "json: what every topic begins with"),
    "qos": Setting(int, 1, "json: quality of service of all messages", 0, 2),
    "retain": Setting(bool, True, "json: the broker keeps the newest state of each point"),
    "group_id": Setting(str, "twinloop", "sparkplug: the group of our edge node"),
    "node_id": Setting(str, None, "sparkplug: the id of our edge node; that of the [[serve]] when left out"),
    "primary_host": Setting(str, None, "sparkplug: the host without which nothing is said"),
    "every_s": Setting(float, 0.5, "shortest time between two messages about one point, in s", 0, 3600),
    "writes": Setting(str, "none", "what whoever may publish there may do", choices=("none", "operator")),
    "version": Setting(str, "3.1.1", "version of MQTT", choices=("3.1.1", "5")),
    "user_certificate": Setting(str, None, "certificate to show to the broker, a file in the folder of certificates"),
    "user_key": Setting(str, None, "private key of user_certificate, a PEM file in the folder of certificates"),
    "system_trust": Setting(bool, False, "true believes the system's certificate authorities, too"),
    "keepalive_s": Setting(int, 15, "seconds of silence after which the broker is asked whether it lives", 1, 3600),
    "timeout_s": Setting(float, 4.0, "seconds after which the broker's answer counts as lost", 0.1, 60),
}

FACES: Mapping[str, FaceEntry] = {
    "opcua": FaceEntry(ServingRules({**FACE_SETTINGS, **_OPCUA_SETTINGS}, _listening(opcua.check_endpoint)), _opcua),
    "modbus": FaceEntry(ServingRules(_MODBUS_SETTINGS, _tcp, check_files=modbus_map.check_map), _modbus),
    "mqtt": FaceEntry(ServingRules({**FACE_SETTINGS, **_MQTT_SETTINGS}, mqtt.check_endpoint, _mqtt_names), _mqtt),
}
