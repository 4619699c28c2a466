"""Random histories of PaasApps; see `paasapp_histories`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from paasapp_histories import Histories

TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
