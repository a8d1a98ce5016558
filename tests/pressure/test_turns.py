"""Turns: nobody waits in vain, and nobody is passed over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from policy_engine.api.turns import Turns
from tests.api.conftest import late_order
from tests.pressure.conftest import MakeApi


def until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def test_so_many_work_at_once_and_the_next_is_refused_where_nobody_may_wait() -> None:
    turns = Turns(working=2, waiting=0, patience_seconds=5)
    assert turns.take()
    assert turns.take()
    assert not turns.take()
    turns.give_back()
    assert turns.take()


def test_those_who_wait_come_in_the_order_they_came() -> None:
    turns = Turns(working=1, waiting=10, patience_seconds=20)
    assert turns.take()
    order: list[int] = []

    def work(number: int) -> None:
        assert turns.take()
        order.append(number)
        turns.give_back()

    with ThreadPoolExecutor(10) as pool:
        for number in range(10):
            pool.submit(work, number)
            until(lambda: turns.waiting == number + 1)  # noqa: B023 -- used at once
        turns.give_back()
    assert order == list(range(10))


def test_when_the_queue_is_full_the_next_is_refused_at_once() -> None:
    turns = Turns(working=1, waiting=1, patience_seconds=20)
    assert turns.take()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(turns.take)
        until(lambda: turns.waiting == 1)
        began = time.monotonic()
        assert not turns.take()
        assert time.monotonic() - began < 5
        turns.give_back()
        assert waiting.result(10)


def test_who_has_waited_long_enough_is_refused_and_takes_no_turn_later() -> None:
    turns = Turns(working=1, waiting=5, patience_seconds=0.2)
    assert turns.take()
    began = time.monotonic()
    assert not turns.take()
    assert time.monotonic() - began >= 0.2
    assert turns.waiting == 0
    turns.give_back()
    assert turns.take(), "the turn went to nobody who had left"


def test_while_nobody_comes_to_an_end_nobody_waits() -> None:
    turns = Turns(working=1, waiting=5, patience_seconds=0.3)
    assert turns.take()
    time.sleep(0.4)
    began = time.monotonic()
    assert not turns.take()
    assert time.monotonic() - began < 0.2
    turns.give_back()
    assert turns.take()


def test_a_turn_that_comes_at_the_last_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(working=1, waiting=1, patience_seconds=5)
    assert turns.take()

    class Late:
        """Time is over at the very moment at which the turn comes."""

        def acquire(self, timeout: float = -1) -> bool:
            if timeout > 0:
                turns.give_back()
            return timeout < 0

        def release(self) -> None: ...

    monkeypatch.setattr("policy_engine.api.turns.Lock", Late)
    assert turns.take()
    assert turns.working == 1
    turns.give_back()
    assert turns.working == 0


def test_at_a_slow_pace_only_so_many_wait_as_can_be_served_in_time() -> None:
    turns = Turns(working=1, waiting=100, patience_seconds=0.5)
    stop = threading.Event()
    refused: list[float] = []

    def come() -> None:
        while not stop.is_set():
            began = time.monotonic()
            if turns.take():
                time.sleep(0.05)
                turns.give_back()
            else:
                refused.append(time.monotonic() - began)
                time.sleep(0.01)

    threads = [threading.Thread(target=come) for _ in range(40)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    learned = len(refused)
    time.sleep(1)
    waiting = turns.waiting
    stop.set()
    for thread in threads:
        thread.join()
    # Ten come to an end in the time that one may wait, so about as many wait.
    assert waiting <= 15
    late = refused[learned:]
    assert sum(seconds < 0.25 for seconds in late) > 0.9 * len(late) > 0


def test_turns_are_neither_lost_nor_made_up() -> None:
    turns = Turns(working=3, waiting=4, patience_seconds=0.002)
    lock, inside, most, served = threading.Lock(), 0, 0, 0

    def come() -> None:
        nonlocal inside, most, served
        for _ in range(300):
            if not turns.take():
                continue
            with lock:
                inside += 1
                served += 1
                most = max(most, inside)
            time.sleep(0.0005)
            with lock:
                inside -= 1
            turns.give_back()

    threads = [threading.Thread(target=come) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3
    assert served > 100
    assert [turns.take() for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("waiting", [0, 3])
def test_what_finds_no_room_is_refused_before_it_is_looked_at(
    make_api: MakeApi, waiting: int
) -> None:
    api = make_api(threads=2, queue=waiting)
    key = api.key()
    entered, go_on = threading.Semaphore(0), threading.Event()
    real = api.services.ledger.decide

    def slow(*words: object) -> object:
        entered.release()
        assert go_on.wait(20)
        return real(*words)  # type: ignore[arg-type]

    api.services.ledger.decide = slow  # type: ignore[method-assign, assignment]
    with ThreadPoolExecutor(2 + waiting) as pool:
        running = [
            pool.submit(api.decide, key, late_order(order__id=f"SO-{each}"))
            for each in range(2 + waiting)
        ]
        for _ in range(2):
            assert entered.acquire(timeout=20)
        turns = api.app.wsgi_app._turns  # type: ignore[attr-defined]
        until(lambda: turns.waiting == waiting)
        refused = api.send(
            "POST", "/v1/decisions", "nonsense", data=b"{", headers={"X-Request-Id": "mine"}
        )
        assert (refused.status_code, refused.json["code"]) == (503, "OVERLOADED")
        assert refused.mimetype == "application/problem+json"
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json["request_id"] == refused.headers["X-Request-Id"] == "mine"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert api.send("GET", "/livez").status_code == 200
        assert api.send("GET", "/readyz").status_code == 200
        go_on.set()
        assert {each.result(20).status_code for each in running} == {201}
    assert api.decide(key).status_code == 201
