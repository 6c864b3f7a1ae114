"""MQTT: codec, link, device and an embedded broker; must not import paho or amqtt here (loading a plant stays quick)."""

import logging

# The embedded broker logs every packet and every client that goes away; a link says what matters, once.
for _library in ("amqtt", "transitions"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)
