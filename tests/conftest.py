"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# No example may fail for being slow: machines are noisy, and time is measured by the benchmarks.
settings.register_profile("twinloop", deadline=None)
settings.load_profile("twinloop")
