"""The service as whoever runs it has it: real processes, and the command line beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from policy_engine.cli import main
from tests.api.conftest import SECRET

Run = Callable[..., Result]


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Run]:
    """`operator(url, CHECKPOINT_FILE=…)` gives the command line with these settings alone."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def with_settings(url: str, **settings: object) -> Run:
        for name in os.environ:
            if name.startswith("POLICY_ENGINE_"):
                monkeypatch.delenv(name)
        for name, value in {"DATABASE_URL": url, "SECRET_KEY": SECRET, **settings}.items():
            monkeypatch.setenv(f"POLICY_ENGINE_{name}", str(value))

        def run(*words: object) -> Result:
            return CliRunner().invoke(main, [str(word) for word in words])

        return run

    return with_settings
