"""The service against a naive model of it, through made-up histories. Longer: tests/stress."""

import pytest
from hypothesis import HealthCheck, settings

from tests.grants.machine import GrantMachine

TestGrantsAgainstTheModel = GrantMachine.TestCase
TestGrantsAgainstTheModel.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# A time limit inside an example looks to hypothesis like a test that answers differently each time.
pytestmark = pytest.mark.timeout(600)
