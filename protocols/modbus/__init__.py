"""Modbus TCP: codec, link and device; must not import pymodbus here (loading a plant stays quick)."""

import logging

# pymodbus logs every refused request of a client as an error of the server; refusing is what a device does.
logging.getLogger("pymodbus_internal").setLevel(logging.CRITICAL + 1)
