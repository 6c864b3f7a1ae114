"""What the fork server loads once so that every worker starts with it; must hold nothing but that."""

from __future__ import annotations

import contextlib

import sim.engine
import sim.layout_job  # noqa: F401
from sim.epanet_library import library
from twin.errors import Unavailable

with contextlib.suppress(Unavailable):  # EPANET is an extra
    library()
