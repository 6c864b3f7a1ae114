"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No example may fail for being slow, and none for being slow to make: machines are noisy, and time is measured by the
# benchmarks.
settings.register_profile("twinloop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("twinloop")
