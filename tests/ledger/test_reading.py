"""Decisions are found by what people look for, page by page, and only by who may."""

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest

from policy_engine.ledger.errors import CursorError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import DecisionFilter, StoredDecision
from tests.ledger.given import deciding, decision_id_of


@pytest.fixture
def five(ledger: Ledger) -> list[str]:
    """Ids of five decisions that differ in everything, oldest first."""
    given: list[dict[str, object]] = [
        {"order": "SO-1", "customer": "C-1", "policies": ("delay", "lost")},
        {"order": "SO-1", "customer": "C-1", "policies": ("delay",), "outcome": "nothing_due"},
        {"order": "SO-2", "customer": "C-2", "references": ("ZD-88",), "policies": ()},
        {"order": "SO-3", "customer": "C-1", "agent": "A-9", "references": ("ZD-88", "ZD-89")},
        {"order": "SO-4", "customer": "C-3", "client": "help-desk"},
    ]
    return [decision_id_of(ledger.decide(None, deciding(**each))) for each in given]


def ids(decisions: tuple[StoredDecision, ...]) -> list[str]:
    return [each.id for each in decisions]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (DecisionFilter(), [4, 3, 2, 1, 0]),
        (DecisionFilter(order_id="SO-1"), [1, 0]),
        (DecisionFilter(customer_id="C-1"), [3, 1, 0]),
        (DecisionFilter(agent_id="A-9"), [3]),
        (DecisionFilter(outcome="nothing_due"), [1]),
        (DecisionFilter(policy="delay"), [1, 0]),
        (DecisionFilter(policy="lost", customer_id="C-1"), [0]),
        (DecisionFilter(reference="ZD-88"), [3, 2]),
        (DecisionFilter(reference="delay"), []),
        (DecisionFilter(client="help-desk"), [4]),
        (DecisionFilter(client=""), []),
        (DecisionFilter(order_id="SO-4", client="shop"), []),
    ],
)
def test_a_list_is_narrowed_by(
    ledger: Ledger, five: list[str], wanted: DecisionFilter, found: list[int]
) -> None:
    assert ids(ledger.decisions.list(wanted).decisions) == [five[number] for number in found]


def test_a_list_is_narrowed_by_time_from_included_to_excluded(
    ledger: Ledger, five: list[str]
) -> None:
    second = ledger.decisions.get(five[1])
    fourth = ledger.decisions.get(five[3])
    assert second is not None
    assert fourth is not None
    wanted = DecisionFilter(since=second.decided_at, until=fourth.decided_at)
    assert ids(ledger.decisions.list(wanted).decisions) == [five[2], five[1]]


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 9])
def test_pages_follow_each_other_without_a_gap(ledger: Ledger, five: list[str], limit: int) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(9):
        page = ledger.decisions.list(DecisionFilter(), limit, cursor)
        seen += ids(page.decisions)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == five[::-1]


def test_pages_hold_decisions_of_one_instant_in_order(ledger: Ledger, five: list[str]) -> None:
    def batch(transaction: object) -> object:
        work = deciding(order="SO-same")
        answers = [work(transaction) for _ in range(7)]  # type: ignore[arg-type]
        return answers[-1]

    ledger.decide(None, batch)  # type: ignore[arg-type]
    wanted = DecisionFilter(order_id="SO-same")
    whole = ids(ledger.decisions.list(wanted).decisions)
    first = ledger.decisions.list(wanted, 3)
    rest = ledger.decisions.list(wanted, 9, first.next_cursor)
    assert len(set(whole)) == 7
    assert ids(first.decisions) + ids(rest.decisions) == whole


def cursor_of(ledger: Ledger, wanted: DecisionFilter) -> str:
    cursor = ledger.decisions.list(wanted, 1).next_cursor
    assert cursor is not None
    return cursor


def test_a_cursor_that_was_changed_is_refused(ledger: Ledger, five: list[str]) -> None:
    cursor = cursor_of(ledger, DecisionFilter())
    signed = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for position in range(len(signed)):
        changed = signed.copy()
        changed[position] ^= 1
        forged = base64.urlsafe_b64encode(changed).decode().rstrip("=")
        with pytest.raises(CursorError):
            ledger.decisions.list(DecisionFilter(), 1, forged)


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "券", "A" * 5000, "e30", "bnVsbA=="])
def test_what_is_no_cursor_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(CursorError):
        ledger.decisions.list(DecisionFilter(), 1, cursor)


def test_a_cursor_is_good_for_its_own_list_only(ledger: Ledger, five: list[str]) -> None:
    cursor = cursor_of(ledger, DecisionFilter(client="shop"))
    with pytest.raises(CursorError):
        ledger.decisions.list(DecisionFilter(), 1, cursor)


def test_a_cursor_of_another_instance_is_refused(
    ledger: Ledger, five: list[str], database_url: str
) -> None:
    cursor = cursor_of(ledger, DecisionFilter())
    other = Ledger.open(database_url, InstanceSecret("b" * 40), timeout=timedelta(seconds=5))
    with pytest.raises(CursorError):
        other.decisions.list(DecisionFilter(), 1, cursor)
    other.close()


def test_another_clients_decision_looks_like_none(ledger: Ledger, five: list[str]) -> None:
    assert ledger.decisions.get(five[4], client="shop") is None
    assert ledger.decisions.get("no-such-id", client="shop") is None
    assert ledger.decisions.get(five[4], client="help-desk") is not None


def test_a_list_is_not_made_longer_by_an_odd_id(
    ledger: Ledger, five: list[str], open_ledger: Callable[..., Ledger]
) -> None:
    assert ledger.decisions.get("' OR 1=1 --") is None
    assert ledger.decisions.list(DecisionFilter(order_id="%")).decisions == ()
