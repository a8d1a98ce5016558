"""Several calls handed in at once: in order, each on its own, until one doesn't answer."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from policy_engine.ledger.database import Job
from policy_engine.ledger.errors import StillRunningError, UnavailableError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.ledger.tables import DECISION
from policy_engine.ledger.transaction import Transaction
from tests.ledger.given import REVISION, a_call, deciding

Call = tuple[IdempotencyKey | None, Callable[[Transaction], Answer]]


def calls(count: int) -> list[Call]:
    return [(a_call(f"k{number}"), deciding(order=f"SO-{number}")) for number in range(count)]


def orders(ledger: Ledger) -> list[str]:
    """Of all decisions, in the order in which they were recorded."""
    query = select(DECISION.c.order_id).order_by(DECISION.c.id)
    return list(ledger._database.read(lambda each: each.execute(query).scalars().all()))


def failing(_transaction: Transaction) -> Answer:
    raise RuntimeError("no answer")


def test_all_are_answered_and_recorded_in_order(ledger: Ledger) -> None:
    answers, error = ledger.decide_first(calls(20))
    assert error is None
    assert [each.status for each in answers] == [201] * 20
    assert orders(ledger) == [f"SO-{number}" for number in range(20)]


def test_what_was_answered_before_is_answered_again(ledger: Ledger) -> None:
    once = [ledger.decide(*each) for each in calls(2)]
    again, _ = ledger.decide_first(calls(3))
    assert [each.replayed for each in again] == [True, True, False]
    assert [each.body for each in again[:2]] == [each.body for each in once]
    assert len(orders(ledger)) == 3


@pytest.mark.parametrize("place", [0, 3, 9])
def test_nothing_after_one_that_fails_is_recorded(ledger: Ledger, place: int) -> None:
    wanted = calls(10)
    wanted[place] = (a_call("bad"), failing)
    answers, error = ledger.decide_first(wanted)
    assert len(answers) == place
    assert isinstance(error, RuntimeError)
    assert orders(ledger) == [f"SO-{number}" for number in range(place)]
    # What failed left nothing behind, its key included.
    with pytest.raises(RuntimeError):
        ledger.decide(a_call("bad"), failing)
    assert not ledger.decide(a_call("bad"), deciding()).replayed


def test_one_that_wrote_before_it_failed_leaves_nothing(ledger: Ledger) -> None:
    def written_then_failing(transaction: Transaction) -> Answer:
        deciding(order="half")(transaction)
        return failing(transaction)

    wanted = calls(3)
    wanted[1] = (a_call("bad"), written_then_failing)
    assert len(ledger.decide_first(wanted)[0]) == 1
    assert orders(ledger) == ["SO-0"]


def test_those_before_a_key_that_runs_elsewhere_are_answered(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, claimed, go_on = threading.Event(), threading.Event(), threading.Event()
    write_first = ledger._database.write_first

    def noted(jobs: Sequence[Job[Answer]]) -> tuple[list[Answer], Exception | None]:
        claimed.set()
        return write_first(jobs)

    monkeypatch.setattr(ledger._database, "write_first", noted)

    def slow(transaction: Transaction) -> Answer:
        inside.set()
        go_on.wait(10)
        return deciding(order="slow")(transaction)

    with ThreadPoolExecutor() as pool:
        running = pool.submit(ledger.decide, a_call("k2"), slow)
        assert inside.wait(10)
        first = pool.submit(ledger.decide_first, calls(5))
        assert claimed.wait(10)
        if ledger._database.engine.dialect.name == "postgresql":
            assert len(first.result(10)[0]) == 2
        with pytest.raises(StillRunningError):
            ledger.decide(*calls(3)[2])
        go_on.set()
        assert running.result(10).status == 201
        answers, error = first.result(10)
        assert len(answers) == 2
        assert isinstance(error, StillRunningError)
    assert sorted(orders(ledger)) == ["SO-0", "SO-1", "slow"]


def test_a_closed_ledger_answers_none(ledger: Ledger) -> None:
    ledger.close()
    answers, error = ledger.decide_first(calls(2))
    assert answers == []
    assert isinstance(error, UnavailableError)


def test_a_commit_that_fails_leaves_none_of_those_it_was_for(
    sqlite_url: str, secret: InstanceSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Ledger.open(sqlite_url, secret)) as ledger:  # on PostgreSQL each has its own
        ledger.packs.store(REVISION, b"the bytes of a pack")
        writer = ledger._database._writer  # type: ignore[attr-defined]

        def failing_once() -> None:
            monkeypatch.undo()
            raise OperationalError("COMMIT", None, Exception("disk full"))

        monkeypatch.setattr(writer, "commit", failing_once)
        answers, error = ledger.decide_first(calls(10))
        assert answers == []
        assert isinstance(error, UnavailableError)
        assert orders(ledger) == []
        answers, error = ledger.decide_first(calls(10))
        assert [each.replayed for each in answers] == [False] * 10
        assert orders(ledger) == [f"SO-{number}" for number in range(10)]


def test_several_at_once_lose_and_repeat_nothing(ledger: Ledger) -> None:
    def handed_in(part: int) -> list[Answer]:
        wanted: list[Call] = [
            (a_call(f"{part}-{n}"), deciding(order=f"{part}-{n:02}", customer=f"C-{part}-{n}"))
            for n in range(10)
        ]
        return ledger.decide_first(wanted)[0]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(handed_in, range(8)))
    assert [len(each) for each in answers] == [10] * 8
    found = orders(ledger)
    assert len(set(found)) == len(found) == 80
    for part in range(8):
        mine = [each for each in found if each.startswith(f"{part}-")]
        assert mine == sorted(mine)
