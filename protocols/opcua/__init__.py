"""OPC UA over opc.tcp: codec, link and device; must not import asyncua here (loading a plant stays quick)."""

import logging

# asyncua reports every lost connection with a traceback on several loggers; a link says it once, in its own words.
logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
