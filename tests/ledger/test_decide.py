"""A decision is recorded whole, in one transaction, before it is answered."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from policy_engine.core.ports import UsageQuestion
from policy_engine.core.request import Agent
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import Answer
from policy_engine.ledger.tables import METADATA, OUTBOX, PACK_REVISION, RECORD
from policy_engine.ledger.transaction import Transaction
from tests.ledger.given import REVISION, a_call, a_decision, deciding, decision_id_of


def rows_of(ledger: Ledger) -> dict[str, int]:
    with ledger._database.engine.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
            if table.name not in ("instance", PACK_REVISION.name)
        }


def test_a_decision_can_be_read_back_as_it_was_answered(ledger: Ledger) -> None:
    answer = ledger.decide(a_call("k1"), deciding(order="SO-8", agent="A-1"))

    stored = ledger.decisions.get(decision_id_of(answer))

    assert stored is not None
    assert stored.answer == answer.body
    assert (stored.order_id, stored.client, stored.agent) == ("SO-8", "shop", Agent("A-1", "agent"))
    assert (stored.outcome, stored.pack_revision) == ("offer", REVISION)
    assert stored.digest == "sha256:" + hashlib.sha256(b"\0" + stored.record).hexdigest()
    assert abs(stored.decided_at - datetime.now(UTC)) < timedelta(seconds=30)


def test_the_record_waits_for_the_log_in_the_outbox(ledger: Ledger) -> None:
    answer = ledger.decide(None, deciding())

    with ledger._database.engine.connect() as connection:
        waiting = connection.execute(
            select(RECORD.c.kind, RECORD.c.leaf_hash, RECORD.c.content)
            .join(OUTBOX, OUTBOX.c.record_id == RECORD.c.id)
            .where(RECORD.c.id == decision_id_of(answer))
        ).one()

    assert waiting.kind == "decision"
    assert waiting.leaf_hash == hashlib.sha256(b"\0" + waiting.content).digest()


def test_a_failing_work_leaves_nothing_behind(ledger: Ledger) -> None:
    def fail(transaction: Transaction) -> Answer:
        a_decision(transaction)
        raise LookupError("the pack is gone")

    with pytest.raises(LookupError, match="the pack is gone"):
        ledger.decide(a_call("k1"), fail)

    assert set(rows_of(ledger).values()) == {0}
    assert not ledger.decide(a_call("k1"), deciding()).replayed


def test_a_failing_work_does_not_touch_those_committed_with_it(ledger: Ledger) -> None:
    def fail(transaction: Transaction) -> Answer:
        a_decision(transaction, customer="C-bad")
        raise LookupError

    def one(number: int) -> bool:
        try:
            ledger.decide(a_call(f"k{number}"), fail if number % 3 == 0 else deciding())
        except LookupError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        answered = sum(pool.map(one, range(60)))

    assert answered == 40
    assert rows_of(ledger)["decision"] == rows_of(ledger)["idempotency"] == 40
    assert rows_of(ledger)["subject"] == 1


def test_work_that_records_nothing_leaves_only_its_answer(ledger: Ledger) -> None:
    ledger.decide(None, lambda _: Answer(404, b"{}"))
    assert set(rows_of(ledger).values()) == {0}

    ledger.decide(a_call("k1"), lambda _: Answer(404, b"{}"))
    assert {table: count for table, count in rows_of(ledger).items() if count} == {"idempotency": 1}


def test_what_the_database_refuses_halfway_leaves_nothing_behind(ledger: Ledger) -> None:
    def under_no_revision(transaction: Transaction) -> Answer:
        return Answer(201, a_decision(transaction, revision="sha256:not stored"))

    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        ledger.decide(a_call("k1"), under_no_revision)

    assert set(rows_of(ledger).values()) == {0}


def test_many_decisions_for_one_new_customer_share_one_subject(ledger: Ledger) -> None:
    together = threading.Barrier(8)

    def one(number: int) -> Answer:
        together.wait()
        return ledger.decide(a_call(f"k{number}"), deciding(customer="C-new", order=f"SO-{number}"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))

    assert rows_of(ledger)["subject"] == 1
    for answer in answers:
        stored = ledger.decisions.get(decision_id_of(answer))
        assert stored is not None
        assert stored.answer == answer.body


def test_a_batch_in_one_transaction_is_recorded_whole(ledger: Ledger) -> None:
    def batch(transaction: Transaction) -> Answer:
        answers = [
            a_decision(transaction, order=f"SO-{n}", customer=f"C-{n % 7}") for n in range(120)
        ]
        return Answer(200, b"[" + b",".join(answers) + b"]")

    first = ledger.decide(a_call("k1"), batch)
    again = ledger.decide(a_call("k1"), batch)

    assert rows_of(ledger)["decision"] == 120
    assert rows_of(ledger)["subject"] == 7
    assert again.replayed
    assert again.body == first.body


def test_ledger_time_does_not_go_back(ledger: Ledger, open_ledger: Callable[..., Ledger]) -> None:
    seen: list[datetime] = []

    def look(transaction: Transaction) -> Answer:
        seen.append(transaction.now)
        return Answer(201, a_decision(transaction))

    for _ in range(20):
        ledger.decide(None, look)
    seen.append(open_ledger().now())

    assert seen == sorted(seen)
    assert all(each.tzinfo is not None for each in seen)


def test_a_preview_sees_time_and_usage_and_records_nothing(ledger: Ledger) -> None:
    question = UsageQuestion((), "SO-1", ())
    usage = ledger.preview(lambda snapshot: snapshot.usage().read(question))
    assert usage.used == {}
    assert abs(ledger.preview(lambda snapshot: snapshot.now) - ledger.now()) < timedelta(seconds=5)
    assert set(rows_of(ledger).values()) == {0}
