"""Counters followed step by step: what records say of them against what the steps come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_engine.ledger.log.running import Counter, RunningSums, Said, Step

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
BUDGET = Counter("budget")
A_DAY = Counter("a day", rolls=DAY)
GRANTS_A_DAY = Counter("grants a day", rolls=DAY, counts=True)


def step(at: datetime, change: int, before: int | None, *, counter: Counter = BUDGET) -> Step:
    """One that adds, and says what was there before and after; None: it says nothing."""
    said = None if before is None else Said("cap `budget`", before, before + change)
    name = f"G-{at:%dT%H%M%S}{change}"
    return Step(counter, at, name, f"R-{name}", None, change=change, said=said)


def rolling(
    at: datetime, amount: int, before: int | None, after: int = 0, *, grant: str = "",
    counted_at: datetime | None = None, counter: Counter = A_DAY,
) -> Step:  # fmt: skip
    said = None if before is None else Said("cap `day`", before, after)
    moved = ((counted_at or at, amount),)
    return Step(counter, at, grant or f"G-{at}", f"R-{at}", None, moved=moved, said=said)


@pytest.fixture
def sums() -> Iterator[RunningSums]:
    made = RunningSums()
    yield made
    made.close()


def untrue(sums: RunningSums, steps: Sequence[Step]) -> list[tuple[str, int, int]]:
    """(when, stated, recomputed) of what isn't so; the steps as the log has them."""
    for each in steps:
        sums.saw(each.at)
    sums.note(steps)
    return [(each.when, each.stated, each.recomputed) for each in sums.untrue()]


def test_sums_that_follow_each_other_are_true(sums: RunningSums) -> None:
    steps = [step(NOON, 5, 0), step(NOON + DAY, -2, 5), step(NOON + 2 * DAY, 4, 3)]
    assert untrue(sums, steps) == []


def test_a_sum_that_leaves_something_out_is_found_once(sums: RunningSums) -> None:
    steps = [step(NOON, 5, 0), step(NOON + DAY, 4, 0), step(NOON + 2 * DAY, 1, 9)]
    assert untrue(sums, steps) == [("before", 0, 5)]


def test_a_sum_that_the_step_does_not_lead_to_is_found(sums: RunningSums) -> None:
    wrong = replace(step(NOON, 5, 0), said=Said("cap `budget`", 0, 4))
    assert untrue(sums, [wrong]) == [("after", 4, 5)]


def test_what_nobody_speaks_of_counts_all_the_same(sums: RunningSums) -> None:
    steps = [step(NOON, 5, None), step(NOON + DAY, 1, 5), step(NOON + 2 * DAY, 1, 0)]
    assert untrue(sums, steps) == [("before", 0, 6)]


def test_what_nobody_speaks_of_counts_from_its_time_on(sums: RunningSums) -> None:
    steps = [step(NOON, 5, 0), step(NOON + 2 * SECOND, 1, None), step(NOON + SECOND, 2, 5)]
    assert untrue(sums, steps) == []


def test_each_counter_and_each_period_is_followed_by_itself(sums: RunningSums) -> None:
    june, july = (replace(BUDGET, period_us=number) for number in (1, 2))
    steps = [step(NOON, 5, 0, counter=june), step(NOON + DAY, 7, 0, counter=july)]
    assert untrue(sums, steps) == []


def test_the_log_may_have_records_in_another_order_than_the_clock(sums: RunningSums) -> None:
    steps = [step(NOON + SECOND, 1, 5), step(NOON, 5, 0)]
    assert untrue(sums, steps) == []


def test_where_the_clock_stood_still_sums_tell_the_order(sums: RunningSums) -> None:
    steps = [step(NOON, -3, 9), step(NOON, 4, 5), step(NOON, 5, 0), step(NOON, 1, 6)]
    assert untrue(sums, steps) == []


def test_where_the_clock_was_put_back_sums_tell_the_order(sums: RunningSums) -> None:
    back = NOON - 40 * SECOND
    steps = [step(NOON, 5, 0), step(back, 1, 5), step(back + SECOND, 1, 6), step(NOON + DAY, 1, 7)]
    assert untrue(sums, steps) == []


def test_a_clock_put_back_is_allowed_for_where_the_log_does_not_show_it(sums: RunningSums) -> None:
    steps = [step(NOON - 40 * SECOND, 1, 5), step(NOON, 5, 0), step(NOON + DAY, 1, 6)]
    assert untrue(sums, steps) == []


def test_an_hour_that_the_log_shows_is_waited_for(sums: RunningSums) -> None:
    hour = timedelta(hours=1)
    steps = [step(NOON, 5, 0), step(NOON - hour, 1, 5), step(NOON + SECOND, 1, 6)]
    assert untrue(sums, steps) == []


def test_no_more_than_an_amount_may_be_held(sums: RunningSums) -> None:
    paid = [replace(step(NOON + number * DAY, 6, None), most=10) for number in range(2)]
    assert untrue(sums, paid) == [("at most", 10, 12)]


def test_a_window_that_rolls_forgets(sums: RunningSums) -> None:
    steps = [
        rolling(NOON, 5, 0, 5),
        rolling(NOON + DAY / 2, 3, 5, 8),
        rolling(NOON + DAY, 2, 3, 5),  # what was given a day ago is just outside
        rolling(NOON + 3 * DAY, 1, 5, 6),
    ]
    assert untrue(sums, steps) == [("before", 5, 0)]


def test_what_is_taken_back_comes_back_to_the_window_it_was_given_in(sums: RunningSums) -> None:
    steps = [
        rolling(NOON, 5, 0, 5, grant="G-1"),
        rolling(NOON + DAY / 2, 3, 5, 8, grant="G-2"),
        rolling(NOON + DAY / 2 + SECOND, -5, 8, 3, grant="G-1", counted_at=NOON),
        rolling(NOON + DAY * 1.25, -3, 3, 0, grant="G-2", counted_at=NOON + DAY / 2),
        rolling(NOON + DAY * 1.3, 2, 0, 2, grant="G-3"),
        rolling(NOON + DAY * 9, -2, 0, 0, grant="G-3", counted_at=NOON + DAY * 1.3),
    ]
    assert untrue(sums, steps) == []


def test_what_comes_back_to_a_window_that_has_just_passed_changes_nothing(
    sums: RunningSums,
) -> None:
    late = rolling(NOON + DAY, -5, 0, 0, grant="G-1", counted_at=NOON)
    assert untrue(sums, [rolling(NOON, 5, 0, 5, grant="G-1"), late]) == []


def test_a_rolling_number_counts_grants_and_not_what_they_did(sums: RunningSums) -> None:
    def grant(
        at: datetime, presence: int, before: int, after: int, name: str, given: datetime = NOON
    ) -> Step:
        return rolling(
            at, presence, before, after, grant=name, counted_at=given, counter=GRANTS_A_DAY
        )

    steps = [
        grant(NOON, 1, 0, 1, "G-1"),
        grant(NOON + SECOND, 1, 1, 1, "G-1"),
        grant(NOON + 2 * SECOND, 1, 1, 2, "G-2"),
        grant(NOON + 3 * SECOND, -1, 2, 2, "G-1"),
        grant(NOON + 4 * SECOND, -1, 2, 1, "G-1"),
        grant(NOON + DAY, 1, 0, 1, "G-3", NOON + DAY),
    ]
    assert untrue(sums, steps) == []
    lie = replace(steps[2], at=NOON + DAY + SECOND, grant_id="G-4", said=Said("cap", 0, 1))
    assert untrue(sums, [lie]) == [("before", 0, 1)]


histories = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 90), st.integers(1, 9)), min_size=1, max_size=30
)
"""(hours since the one before, hours that it is counted back, amount)"""


@settings(deadline=None)
@given(history=histories, lie=st.integers(0, 29), less=st.integers(1, 5))
def test_rolling_sums_are_those_of_the_definition(
    history: list[tuple[int, int, int]], lie: int, less: int
) -> None:
    hour = timedelta(hours=1)
    at, given_then, steps = NOON, list[tuple[datetime, int]](), list[Step]()
    for waited, back, amount in history:
        at += waited * hour + SECOND
        counted_at = at - back * hour
        before = sum(minor for then, minor in given_then if then > at - DAY)
        given_then.append((counted_at, amount))
        after = sum(minor for then, minor in given_then if then > at - DAY)
        steps.append(rolling(at, amount, before, after, counted_at=counted_at))
    sums = RunningSums()
    assert untrue(sums, steps) == []
    sums.close()
    sums, lied = RunningSums(), steps[lie % len(steps)]
    assert lied.said is not None
    false = replace(lied, said=Said("cap", lied.said.before - less, lied.said.after))
    found = untrue(sums, [false if each is lied else each for each in steps])
    sums.close()
    assert found[0] == ("before", lied.said.before - less, lied.said.before)
