"""The protocols there are: their settings, checks and factories, one entry each; must not import their libraries."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protocols.modbus.address as modbus
import protocols.mqtt.codec as mqtt
import protocols.mqtt.layout as packed
import protocols.mqtt.sparkplug as sparkplug
import protocols.opcua.codec as opcua
from protocols.link import Clock, Link, Sink
from protocols.served import OnWrite, ServedDevice
from twin.plant import Device
from twin.points import Point
from twin.rules import AddressCheck, ProtocolRules, Setting

LinkFactory = Callable[[Device, Sequence[Point], Sink, Clock, random.Random, Path | None], Link]
DeviceFactory = Callable[[Device, Sequence[Point], OnWrite, Clock, Path | None], ServedDevice]
"""Of both the last is the folder of certificates; None: there are none."""


@dataclass(frozen=True, slots=True)
class ProtocolEntry:
    """One protocol: what the plant loader checks, and how to make its two sides."""

    rules: ProtocolRules
    link: LinkFactory
    device: DeviceFactory


def _opcua_link(
    device: Device, points: Sequence[Point], sink: Sink, clock: Clock, chance: random.Random, pki: Path | None
) -> Link:
    from protocols.opcua.link import OpcUaLink

    return OpcUaLink(device, points, sink, clock, chance, pki)


def _opcua_device(
    device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None
) -> ServedDevice:
    from protocols.opcua.device import OpcUaDevice

    return OpcUaDevice(device, points, on_write, clock, pki)


def _modbus_link(
    device: Device, points: Sequence[Point], sink: Sink, clock: Clock, chance: random.Random, pki: Path | None
) -> Link:
    from protocols.modbus.link import ModbusLink

    return ModbusLink(device, points, sink, clock, chance, pki)


def _modbus_device(
    device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None
) -> ServedDevice:
    from protocols.modbus.device import ModbusDevice

    return ModbusDevice(device, points, on_write, clock, pki)


def _mqtt_link(
    device: Device, points: Sequence[Point], sink: Sink, clock: Clock, chance: random.Random, pki: Path | None
) -> Link:
    from protocols.mqtt.link import MqttLink
    from protocols.mqtt.sparkplug_link import SparkplugLink

    link = SparkplugLink if device.settings["format"] == mqtt.SPARKPLUG else MqttLink
    return link(device, points, sink, clock, chance, pki)


def _mqtt_device(
    device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None
) -> ServedDevice:
    from protocols.mqtt.device import MqttDevice
    from protocols.mqtt.sparkplug_device import SparkplugDevice

    served = SparkplugDevice if device.settings["format"] == mqtt.SPARKPLUG else MqttDevice
    return served(device, points, on_write, clock, pki)


_MQTT_ADDRESS_CHECKS: Mapping[str, AddressCheck] = {
    mqtt.SPARKPLUG: sparkplug.check_address,
    "packed": mqtt.check_packed_address,
}


def _mqtt_address_check(settings: Mapping[str, Any]) -> AddressCheck:
    return _MQTT_ADDRESS_CHECKS.get(str(settings.get("format")), mqtt.check_address)


def _modbus_misfit(point: Point, value: float) -> str:
    from protocols.modbus.misfit import misfit

    return misfit(point, value)


_OPCUA_SETTINGS = {
    "publishing_ms": Setting(float, 100.0, "how often the server publishes changes, in ms", 10, 60_000),
    "sampling_ms": Setting(
        float, None, "how often the server looks for changes, as publishing_ms when left out; 0: always", 0, 60_000
    ),
    "queue_size": Setting(int, 10, "changes of one node that the server keeps between two publishes", 1, 10_000),
    "publishes": Setting(int, 4, "requests kept at the server for it to publish with", 1, 16),
    "heartbeat_s": Setting(float, 1.0, "seconds between two questions whether the server lives", 0.05, 60),
    "timeout_s": Setting(float, 4.0, "seconds after which an answer counts as lost", 0.1, 60),
    "security": Setting(str, "None", "what the channel does with every message", choices=opcua.SECURITY_MODES),
    "policy": Setting(
        str, None, "algorithms of a channel that signs, Basic256Sha256 when left out", choices=opcua.POLICIES
    ),
    "user_certificate": Setting(str, None, "certificate to sign in with, a file in the folder of certificates"),
    "user_key": Setting(str, None, "private key of user_certificate, a PEM file in the folder of certificates"),
    "plain_password": Setting(bool, False, "true lets the password travel so that others on the wire may read it"),
}

_MODBUS_SETTINGS = {
    "poll_s": Setting(float, 0.5, "seconds between two readings of everything", 0.01, 3600),
    "timeout_s": Setting(float, 1.0, "seconds after which an answer counts as lost", 0.05, 60),
    "outstanding": Setting(int, 1, "requests under way at a time", 1, modbus.OUTSTANDING_MAX),
    "shared": Setting(bool, True, "devices of one host and port take turns on one connection"),
    "connect_delay_s": Setting(float, 0.0, "seconds to leave the device alone after connecting", 0, 60),
    "request_delay_s": Setting(float, 0.0, "seconds to leave the device alone between two requests", 0, 60),
    "merge": Setting(bool, True, "false asks for each value alone"),
    "gap": Setting(int, 0, "unasked cells that one request may read across; 0 reads none", 0, 124),
    "max_registers": Setting(int, 125, "registers of one request", 4, modbus.REGISTERS_MAX),
    "max_bits": Setting(int, 2000, "coils or discrete inputs of one request", 1, modbus.BITS_MAX),
    "match_transaction": Setting(bool, True, "false for gateways that do not echo transaction ids"),
    "single_coil_writes": Setting(bool, True, "false writes one coil with function 15 instead of 5"),
    "single_register_writes": Setting(bool, True, "false writes one register with function 16 instead of 6"),
    "bit_writes": Setting(str, "mask", "how a bit of a register is written", choices=("mask", "rewrite")),
    "read_back": Setting(bool, True, "what was written is read right after the device's answer"),
}

_MQTT_SETTINGS = {
    "format": Setting(str, "auto", "how payloads are written", choices=mqtt.FORMATS),
    "layout": Setting(str, "f64", "what a packed payload holds", choices=packed.LAYOUTS),
    "qos": Setting(int, 1, "quality of service of the subscriptions", 0, 2),
    "version": Setting(str, "3.1.1", "version of MQTT", choices=("3.1.1", "5")),
    "prefix": Setting(str, None, "subscribe to everything below this topic; unknown topics become dead letters"),
    "set_suffix": Setting(str, "/set", "what a point's topic ends with when it is written to"),
    "client_id": Setting(str, None, "our name at the broker; without one each connection has a new one"),
    "session_expiry_s": Setting(
        int, 0, "seconds for which the broker keeps messages for us while we are away; 0 keeps none", 0, 2_592_000
    ),
    "share": Setting(str, None, "group whose members share the messages; each goes to one of them"),
    "status_topic": Setting(str, None, "topic at which the broker keeps whether this link is online or offline"),
    "user_certificate": Setting(str, None, "certificate to show to the broker, a file in the folder of certificates"),
    "user_key": Setting(str, None, "private key of user_certificate, a PEM file in the folder of certificates"),
    "system_trust": Setting(bool, False, "true believes the system's certificate authorities, too"),
    "keepalive_s": Setting(int, 15, "seconds of silence after which the broker is asked whether it lives", 1, 3600),
    "timeout_s": Setting(float, 4.0, "seconds after which connecting counts as failed", 0.1, 60),
    "host_id": Setting(str, None, "sparkplug: who we are to edge nodes; the device's id when left out"),
    "reorder_s": Setting(float, 2.0, "sparkplug: seconds for which a missing message is waited for", 0, 60),
    "rebirth_s": Setting(
        float, 10.0, "sparkplug: seconds between two requests to one edge node to be born again", 1, 3600
    ),
    "retain": Setting(bool, False, "a simulated device lets the broker keep its last values"),
    "pace_per_s": Setting(float, 1000.0, "messages a simulated device publishes in a second at most", 1, 1_000_000),
}

PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "opcua": ProtocolEntry(
        ProtocolRules(_OPCUA_SETTINGS, opcua.check_endpoint, opcua.check_address, opcua.check_settings),
        _opcua_link,
        _opcua_device,
    ),
    "modbus": ProtocolEntry(
        ProtocolRules(_MODBUS_SETTINGS, modbus.check_endpoint, modbus.check_address, misfit=_modbus_misfit),
        _modbus_link,
        _modbus_device,
    ),
    "mqtt": ProtocolEntry(
        ProtocolRules(
            _MQTT_SETTINGS, mqtt.check_endpoint, mqtt.check_address, mqtt.check_settings, _mqtt_address_check
        ),
        _mqtt_link,
        _mqtt_device,
    ),
}
