"""A call that is sent again is answered again, and done once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from policy_engine.ledger.errors import IdempotencyMismatchError, StillRunningError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import Answer
from policy_engine.ledger.tables import DECISION, IDEMPOTENCY
from policy_engine.ledger.transaction import Transaction
from tests.ledger.given import a_call, a_decision, deciding


def test_the_first_answer_is_given_again_byte_for_byte(ledger: Ledger) -> None:
    def work(transaction: Transaction) -> Answer:
        body = b'{"decision":' + a_decision(transaction) + b',"text":"\xe5\x88\xb8"}'
        return Answer(201, body, (("Location", "/v1/decisions/1"),))

    first = ledger.decide(a_call("k1"), work)
    again = ledger.decide(a_call("k1"), work)

    assert not first.replayed
    assert again == Answer(201, first.body, (("Location", "/v1/decisions/1"),), replayed=True)


def test_a_replay_survives_a_restart(ledger: Ledger, open_ledger: Callable[..., Ledger]) -> None:
    first = ledger.decide(a_call("k1"), deciding())
    ledger.close()
    assert open_ledger().decide(a_call("k1"), deciding()).body == first.body


def test_a_final_refusal_is_kept_as_well(ledger: Ledger) -> None:
    first = ledger.decide(a_call("k1"), lambda _: Answer(422, b'{"code":"FACTS"}'))
    again = ledger.decide(a_call("k1"), deciding())
    assert (again.status, again.body, again.replayed) == (422, first.body, True)


@pytest.mark.parametrize(
    "other",
    [
        {"body": b'{"order":2}'},
        {"path": "/v1/decisions/batch"},
        {"query": "dry_run=true"},
        {"method": "PUT"},
        {"agent": "A-8 agent"},
    ],
)
def test_a_key_used_for_another_call_is_refused(ledger: Ledger, other: dict[str, str]) -> None:
    ledger.decide(a_call("k1"), deciding())
    with pytest.raises(IdempotencyMismatchError):
        ledger.decide(a_call("k1", **other), deciding())  # type: ignore[arg-type]


def test_parts_of_a_call_do_not_run_together(ledger: Ledger) -> None:
    ledger.decide(a_call("k1", path="/v1/a", query="b"), deciding())
    with pytest.raises(IdempotencyMismatchError):
        ledger.decide(a_call("k1", path="/v1/ab", query=""), deciding())


def test_the_same_key_of_another_client_is_another_key(ledger: Ledger) -> None:
    first = ledger.decide(a_call("k1"), deciding())
    other = ledger.decide(a_call("k1", client="help-desk"), deciding())
    assert not other.replayed
    assert other.body != first.body


def test_a_call_still_running_is_told_apart(
    ledger: Ledger, open_ledger: Callable[..., Ledger], database_url: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> Answer:
        begun.set()
        assert go_on.wait(10)
        return Answer(201, a_decision(transaction))

    # On PostgreSQL another process finds out as well.
    other = ledger if database_url.startswith("sqlite") else open_ledger()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ledger.decide, a_call("k1"), slow)
        assert begun.wait(10)
        with pytest.raises(StillRunningError) as refusal:
            other.decide(a_call("k1"), deciding())
        go_on.set()
        first = running.result(10)

    assert refusal.value.retry_after_seconds >= 1
    assert other.decide(a_call("k1"), deciding()) == Answer(201, first.body, replayed=True)


def test_one_key_sent_many_times_at_once_is_done_once(
    ledger: Ledger, open_ledger: Callable[..., Ledger], database_url: str
) -> None:
    others = [ledger] if database_url.startswith("sqlite") else [ledger, open_ledger()]

    def send(key: str, number: int) -> bytes | None:
        try:
            return others[number % len(others)].decide(a_call(key), deciding()).body
        except StillRunningError:
            return None

    with ThreadPoolExecutor(16) as pool:
        for round_number in range(15):
            key = f"k{round_number}"
            answers = set(pool.map(lambda number, key=key: send(key, number), range(20)))
            assert len(answers - {None}) == 1

    with ledger._database.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(DECISION)).scalar_one() == 15


def test_a_failed_call_leaves_its_key_free(ledger: Ledger) -> None:
    def fail(_: Transaction) -> Answer:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            ledger.decide(a_call("k1"), fail)
    assert not ledger.decide(a_call("k1"), deciding()).replayed


def test_keys_are_swept_after_a_day_and_not_before(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    ages = {b"old": timedelta(hours=25), b"young": timedelta(hours=23)}
    with ledger._database.engine.begin() as connection:
        for key_hash, age in ages.items():
            row = {"key_hash": key_hash, "fingerprint": b"", "answer_sealed": b""}
            connection.execute(insert(IDEMPOTENCY), {**row, "created_at_us": now - age})

    assert ledger.sweep(timedelta(seconds=1)) == 1
    assert ledger.sweep() == 0
    with ledger._database.engine.connect() as connection:
        left = connection.execute(select(IDEMPOTENCY.c.key_hash)).scalars().all()
    assert left == [b"young"]


def test_keys_are_kept_as_long_as_the_setting_says(ledger: Ledger) -> None:
    with ledger._database.engine.begin() as connection:
        row = {"key_hash": b"old", "fingerprint": b"", "answer_sealed": b""}
        age = timedelta(hours=25)
        connection.execute(insert(IDEMPOTENCY), {**row, "created_at_us": datetime.now(UTC) - age})

    assert ledger.sweep(timedelta(days=2)) == 0
