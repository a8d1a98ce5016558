"""The service against a naive model of it, through made-up histories. Longer: tests/stress."""

from hypothesis import HealthCheck, settings

from tests.grants.machine import GrantMachine

TestGrantsAgainstTheModel = GrantMachine.TestCase
TestGrantsAgainstTheModel.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
