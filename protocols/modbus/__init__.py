"""Modbus over TCP, RTU over TCP and serial lines; must not import pymodbus here (loading a plant stays quick)."""

import logging

# pymodbus logs every refused request of a client, and every client that goes away, as an error of the server; refusing
# is what a device does, and clients come and go.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)
