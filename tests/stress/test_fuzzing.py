"""The API document's own requests, very many of them, one operation after another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hostile.conftest import Fortress, fortress  # noqa: F401 -- the fixture
from tests.hostile.fuzzing import fuzz, operations

CASES = int(os.environ.get("STRESS_CASES", "10000"))
"""An operation."""


@pytest.mark.stress
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("operation", operations(ROOT / "openapi.yaml"))
def test_no_request_of_an_operation_is_answered_wrongly(
    operation: str,
    fortress: Fortress,  # noqa: F811 -- see above
    tmp_path: Path,
) -> None:
    outcome = fuzz(
        fortress, tmp_path, CASES, "--phases", "fuzzing", "--include-operation-id", operation
    )
    print(f"{operation}: {outcome.cases} cases")  # noqa: T201 -- figures of a long run
    assert outcome.passed, outcome.told[-8000:]
    assert outcome.cases > 0  # fewer than asked for where there is nothing to vary
    assert "unexpected error" not in fortress.log
