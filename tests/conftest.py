"""What every test needs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long a machine takes to draw an example, or to try one, says nothing about the code.
settings.register_profile("moorage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("moorage")
