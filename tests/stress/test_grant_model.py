"""The service against a naive model of it: long histories, many of them."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.grants.machine import GrantMachine


@pytest.mark.stress
@pytest.mark.timeout(7200)
class TestLongHistories(GrantMachine.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(
        max_examples=int(os.environ.get("STRESS_EXAMPLES", "500")),
        stateful_step_count=int(os.environ.get("STRESS_STEPS", "50")),
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
