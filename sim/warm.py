"""What the fork server imports once so that every worker starts with it; must hold nothing but imports."""

from __future__ import annotations

import contextlib

import sim.layout_job

with contextlib.suppress(ImportError):  # EPANET is an extra
    import wntr.epanet.toolkit  # noqa: F401

    import sim.engine  # noqa: F401
