"""Requests made from the API document; tests/stress sends very many more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.conftest import Fortress
from tests.hostile.fuzzing import fuzz


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_answer_is_as_the_document_says(fortress: Fortress, tmp_path: Path) -> None:
    """Its examples, and some requests of each operation: good ones and bad ones."""
    outcome = fuzz(fortress, tmp_path, 4, "--phases", "examples,fuzzing", "--seed", "5")
    assert outcome.passed, outcome.told[-8000:]
    assert outcome.cases >= 100
