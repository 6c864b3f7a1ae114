"""Who we are to a broker: name, password, certificates and last will, as the settings of a device say; opens no socket."""

from __future__ import annotations

import random
import ssl
from pathlib import Path

from protocols.healing import Broken
from protocols.mqtt.codec import parse_endpoint
from protocols.mqtt.packets import Options, Will
from protocols.pki import Pki, ssl_context_client
from twin.errors import TwinloopError
from twin.plant import Device

CLIENT_ID_BITS = 48  # of chance in a client id: two links with one id would throw each other out for ever
ONLINE, OFFLINE = b"online", b"offline"


def options(device: Device, chance: random.Random) -> Options:
    """A session that the broker keeps has a name that lasts; any other has a new one each time."""
    settings, at = device.settings, parse_endpoint(device.endpoint)
    expiry_s = int(settings["session_expiry_s"])
    lasting = settings["client_id"] or (f"twinloop-{device.id}" if expiry_s else None)
    status = settings["status_topic"]
    return Options(
        str(lasting or f"twinloop-{device.id}-{chance.getrandbits(CLIENT_ID_BITS):012x}"),
        str(settings["version"]),
        int(settings["keepalive_s"]),
        expiry_s == 0,
        expiry_s,
        at.user,
        at.password,
        Will(str(status), OFFLINE) if status else None,
    )


def device_tls(device: Device, pki: Path | None) -> ssl.SSLContext | None:
    """As `tls`, with what the device's settings say."""
    settings = device.settings
    shown = settings["user_certificate"], settings["user_key"]
    return tls(device.endpoint, pki, shown, bool(settings["system_trust"]))


def tls(
    endpoint: str, pki: Path | None, shown: tuple[str | None, str | None] = (None, None), system: bool = False
) -> ssl.SSLContext | None:
    """Read anew for each connection, so that a changed certificate counts at the next one; None without TLS.

    Args:
        shown: certificate and key that we show, as files in the folder of certificates.
        system: believe the system's authorities, too.

    Raises:
        Broken: a file of the certificates is missing or wrong.
    """
    if not parse_endpoint(endpoint).secure:
        return None
    folder = None if pki is None else Pki(pki)
    certificate, key = (folder.inside(str(name)) if folder and name else None for name in shown)
    try:
        return ssl_context_client(folder, system=system, certificate=certificate, key=key)
    except TwinloopError as error:
        raise Broken(str(error)) from error
    except ssl.SSLError as error:
        raise Broken(f"the certificates cannot be used: {error}") from error
