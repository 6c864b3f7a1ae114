"""Log lines of our processes: ours from INFO, libraries' from ERROR, to stderr; must not know what is logged."""

from __future__ import annotations

import logging


def configure() -> None:
    """Once, at the start of a process."""
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("twinloop").setLevel(logging.INFO)
