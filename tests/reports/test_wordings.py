"""Of several versions of a policy, the one that decided is the one that is quoted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.demo import demo_pack
from policy_engine.ledger.history import Place, RecordedDecision
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import load
from policy_engine.usecases.accounts import Decided
from policy_engine.usecases.library import Library
from policy_engine.usecases.wordings import Wordings

CHANGED = "2026-05-01T00:00:00+08:00"
POLICY = "shipping_delay.yaml"


def two_versions(date_by: str) -> PackFiles:
    files = dict(demo_pack().files)
    text = files[POLICY].decode()
    start = 'effective: {from: "2026-01-01T00:00:00+08:00"}'
    assert start in text
    dated = f"date_by: {date_by}\n"
    files[POLICY] = text.replace(
        start, f'{dated}effective: {{from: "2026-01-01T00:00:00+08:00", until: "{CHANGED}"}}'
    ).encode()
    files["shipping_delay_later.yaml"] = (
        text.replace(start, f'{dated}effective: {{from: "{CHANGED}"}}')
        .replace("reason_code: SHIPPING_DELAY", "reason_code: LATE_PARCEL")
        .encode()
    )
    return PackFiles(files)


def decided(as_of: str, reported_at: str | None) -> Decided:
    record: dict[str, Any] = {
        "as_of": as_of,
        "pack_revision": "sha256:made-up",
        "request": {"incident": {"types": ["shipping_delay"], "reported_at": reported_at}},
    }
    place = Place("made-up", datetime(2026, 5, 2, tzinfo=UTC), "sha256:made-up", 1)
    content = json.dumps(record).encode()
    return Decided(RecordedDecision(place, "desk", "SO-1", "someone", True, None, content))


def wordings(files: PackFiles) -> Wordings:
    loaded = load(files)
    assert loaded.pack is not None, loaded.problems
    engine = SimpleNamespace(pack=loaded.pack)
    return Wordings(cast("Library", SimpleNamespace(engine=lambda _revision: engine)))


@pytest.mark.parametrize(
    ("as_of", "code"),
    [("2026-04-30T15:59:59Z", "SHIPPING_DELAY"), ("2026-04-30T16:00:00Z", "LATE_PARCEL")],
)
def test_the_version_of_the_decision_is_the_one_effective_then(as_of: str, code: str) -> None:
    of = wordings(two_versions("decision"))
    assert of.reason_code(decided(as_of, None), "shipping_delay") == code


def test_a_policy_dated_by_the_incident_goes_by_when_that_was_reported() -> None:
    of = wordings(two_versions("incident"))
    reported = decided("2026-05-10T00:00:00Z", "2026-04-20T00:00:00Z")
    assert of.reason_code(reported, "shipping_delay") == "SHIPPING_DELAY"
    assert of.reason_code(decided("2026-05-10T00:00:00Z", None), "shipping_delay") is None


def test_an_unknown_policy_has_no_words_but_its_name() -> None:
    of = wordings(two_versions("decision"))
    rule = of.rule(decided("2026-04-01T00:00:00Z", None), "gone", "gone/plan", None)
    assert rule.body == {"from": "gone/plan", "revision": "sha256:made-up"}
