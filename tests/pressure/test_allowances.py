"""Allowances: bursts are fine, the rate is kept, and the workers of a node count together."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.api.allowances import BURST_SECONDS, Allowances


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_burst_is_served_and_then_the_rate_is_kept() -> None:
    clock = Clock()
    allowances = Allowances(5, clock)
    assert [allowances.take("a") for _ in range(50)] == [0.0] * 50
    wait_seconds = allowances.take("a")
    assert wait_seconds == pytest.approx(0.2)
    clock.seconds += wait_seconds
    assert allowances.take("a") == 0
    assert allowances.take("a") > 0


def test_being_refused_costs_nothing() -> None:
    clock = Clock()
    allowances = Allowances(1, clock)
    allowances.take("a", 10)
    for _ in range(100):
        assert allowances.take("a") > 0
    clock.seconds += 1.001
    assert allowances.take("a") == 0


def test_one_that_is_not_empty_may_be_overdrawn_and_is_paid_back() -> None:
    clock = Clock()
    allowances = Allowances(10, clock)
    allowances.take("a")
    assert allowances.take("a", 500) == 0
    assert allowances.take("a") == pytest.approx((501 - 99) / 10)
    clock.seconds += (501 - 99) / 10 + 0.001
    assert allowances.take("a") == 0


def test_what_a_call_turns_out_to_cost_is_paid_by_later_ones() -> None:
    allowances = Allowances(10, Clock())
    allowances.overdraw("a", 1000)
    assert allowances.take("a") == pytest.approx(90.1)


def test_names_have_allowances_of_their_own_and_looking_takes_nothing() -> None:
    allowances = Allowances(1, Clock())
    allowances.take("a", 10)
    assert allowances.wait_seconds("a") == pytest.approx(1)
    assert allowances.wait_seconds("b") == 0
    assert [allowances.take("b") for _ in range(10)] == [0.0] * 10


def test_without_a_limit_nothing_is_ever_refused() -> None:
    allowances = Allowances(0)
    allowances.overdraw("a", 10**9)
    assert allowances.take("a", 10**9) == allowances.take("a") == allowances.wait_seconds("a") == 0


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), min_size=1, max_size=200),
)
def test_in_any_time_no_more_is_taken_than_came_in_and_one_call(
    a_second: int, calls: list[tuple[float, int]]
) -> None:
    clock = Clock()
    allowances = Allowances(a_second, clock)
    taken = 0
    for pause, units in calls:
        clock.seconds += pause
        if allowances.take("a", units) == 0:
            taken += units
    held = a_second * BURST_SECONDS
    came_in = a_second * (clock.seconds - 1000)
    assert taken <= held + came_in + max(units for _, units in calls)


def test_workers_that_were_forked_count_together() -> None:
    fork = multiprocessing.get_context("fork")
    allowances = Allowances(100)
    counted = fork.Queue()

    def work(into: Any) -> None:
        ends, taken = time.monotonic() + 1, 0
        while time.monotonic() < ends:
            taken += allowances.take("a") == 0
        into.put(taken)

    workers = [fork.Process(target=work, args=(counted,)) for _ in range(4)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    taken = sum(counted.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join()
    came_in = 100 * (BURST_SECONDS + time.monotonic() - began)
    assert 1000 <= taken <= came_in
