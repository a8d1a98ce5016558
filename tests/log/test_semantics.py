"""Decisions evaluate again by the rules that they were made by, whichever are current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
import pytest

from policy_engine.core.decision import Decision
from policy_engine.core.evaluation import Engine
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.policy import Pack
from policy_engine.core.ports import UsagePort
from policy_engine.core.request import DecisionRequest
from policy_engine.core.semantics import EVALUATORS, Evaluators, current_engine
from policy_engine.ledger.log.findings import Severity
from policy_engine.packs.holder import ActivePack
from policy_engine.usecases import packs, replaying, verifying
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.library import Library
from policy_engine.usecases.services import Services
from tests.log.given import CALLER, begin, decide_one, sequence


class Frugal(Engine):
    """Made up: rules of another number, by which nothing is ever offered."""

    semantics = 2

    def evaluate(self, request: DecisionRequest, as_of: datetime, usage: UsagePort) -> Decision:
        decision = super().evaluate(request, as_of, usage)
        return replace(decision, plans=(), expires_at=None)


AFTER: Evaluators = {**EVALUATORS, 2: Frugal}


@pytest.fixture
def both(
    make_services: Callable[..., Services], sqlite_url: str
) -> tuple[Services, Callable[[Evaluators], Services]]:
    """A service of today with five decisions, and a way to open a release with other rules."""
    services = make_services(sqlite_url)
    begin(services)
    for number in range(5):
        decide_one(services, number)

    def release(evaluators: Evaluators) -> Services:
        def engine(pack: Pack) -> Engine:
            return current_engine(pack, Interpreter(), evaluators)

        opened = make_services(sqlite_url)
        library = Library(opened.ledger.packs, evaluators)
        newer = replace(opened, packs=ActivePack(engine), library=library)
        packs.follow(newer)
        return newer

    return services, release


Both = tuple[Services, Callable[[Evaluators], Services]]


def semantics_of(services: Services, decision_id: str) -> int:
    entry = services.ledger.log.record(decision_id)
    assert entry is not None
    number: int = orjson.loads(entry.content)["versions"]["semantics"]
    return number


def test_a_release_with_new_rules_replays_what_the_old_ones_decided(both: Both) -> None:
    services, release = both
    old = decide_one(services, 5)
    newer = release(AFTER)
    new = decide_one(newer, 6)
    sequence(newer)
    assert [semantics_of(newer, each) for each in (old, new)] == [1, 2]
    assert outcome(newer, old)["evaluation"]["plans"] != []
    assert outcome(newer, new)["evaluation"]["plans"] == []
    report = verifying.verify(newer, (), None)
    assert (report.findings, report.verdict) == ([], "good")
    assert report.counts["replayed"] == 7


def test_without_its_own_rules_a_decision_is_neither_good_nor_broken(both: Both) -> None:
    services, release = both
    newer = release(AFTER)
    new = decide_one(newer, 6)
    sequence(newer)
    report = verifying.verify(services, (), None)
    assert report.verdict == "incomplete"
    assert [(each.row, each.severity) for each in report.findings] == [(new, Severity.INCOMPLETE)]
    assert report.findings[0].message == "this release has no evaluator of semantics 2"
    assert report.counts["replayed"] == 5


def test_by_other_rules_than_its_own_a_decision_would_come_to_something_else(both: Both) -> None:
    """So it is the number that decides by which rules a record is evaluated."""
    services, release = both
    sequence(services)
    forgetful = release({1: Frugal})
    report = verifying.verify(forgetful, (), None)
    assert report.verdict == "broken"
    assert report.found[Severity.BROKEN] == 5


def test_over_http_a_decision_replays_by_its_own_rules_and_asks_what_if_by_those_of_today(
    both: Both,
) -> None:
    services, release = both
    old = decide_one(services, 5)
    newer = release(AFTER)
    assert replaying.replayed(newer, CALLER, old, None)["equal"] is True
    new = decide_one(newer, 6)
    with pytest.raises(NotReadyError, match="no evaluator of semantics 2"):
        replaying.replayed(services, CALLER, new, None)


def outcome(services: Services, decision_id: str) -> dict[str, Any]:
    entry = services.ledger.log.record(decision_id)
    assert entry is not None
    record: dict[str, Any] = orjson.loads(entry.content)
    return record
