"""Runs the command line as a user would, in this process, away from the user's environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from policy_engine.cli import main
from tests.packs.made import WHOLE

Run = Callable[..., Result]

TESTS = """suite: made
cases:
  - name: late
    given: {order: {id: O1, currency: CNY, promised_delivery_by: "2026-06-01T00:00:00Z",
      shipping_paid: "0.00", lines: [{id: "1", quantity: 1, paid: "100.00"}]},
      incident: {types: [shipping_delay]}, customer: {id: C1}, agent: {id: A1, role: agent},
      as_of: "2026-06-07T00:00:00Z"}
    expect: {plans: [{plan: shipping_delay/gift}, {plan: shipping_delay/coupon}]}
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests reaches them, and files land in the test's folder."""
    for name in os.environ:
        if name.startswith("POLICY_ENGINE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Run:
    """`run("pack", "check", folder)` → the exit code, stdout and stderr."""

    def invoke(*words: object, given: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], input=given)

    return invoke


@pytest.fixture
def write_pack(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small pack with files changed or added, and gives its folder."""

    def write(changed: dict[str, str] | None = None) -> Path:
        folder = tmp_path / "pack"
        for name, text in {**WHOLE, "tests/made.yaml": TESTS, **(changed or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return folder

    return write


@pytest.fixture
def pack(write_pack: Callable[..., Path]) -> Path:
    """The folder of a small pack without problems."""
    return write_pack()
