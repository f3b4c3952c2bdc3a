"""A machine that is busy makes no example of Hypothesis too slow: time is measured in tests/bench."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
