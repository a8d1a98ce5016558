"""The service against a naive model of it, through made-up histories. Longer: tests/stress."""

from hypothesis import HealthCheck, settings

from tests.grants.machine import GrantMachine


# A class of its own: `TestCase` is one for all who ask for it, its settings too.
class TestGrantsAgainstTheModel(GrantMachine.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(
        max_examples=12,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
