"""Caps: filters, limits, windows in a zone, and what makes two counters one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.core.caps import (
    Calendar,
    CalendarUnit,
    Cap,
    Measure,
    PercentLimit,
    Rolling,
    Scope,
    ScopeIds,
    counter_key,
)
from policy_engine.core.money import Money

IDS = ScopeIds(order="O1", customer="C1", agent="A1")
CAP = Cap("cap", Scope.CUSTOMER, Measure.VALUE, {"CNY": Money(5000, "CNY")})


def utc(*parts: int) -> datetime:
    year, month, day, *clock = parts
    return datetime(year, month, day, *clock, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cap", "holds"),
    [
        (CAP, True),
        (replace(CAP, roles=frozenset({"agent"})), True),
        (replace(CAP, roles=frozenset({"bot"})), False),
        (replace(CAP, kinds=frozenset({"coupon", "gift"})), True),
        (replace(CAP, kinds=frozenset({"refund"})), False),
        (replace(CAP, policies=frozenset({"shipping_delay"})), True),
        (replace(CAP, policies=frozenset({"oversold"})), False),
        (replace(CAP, roles=frozenset({"agent"}), kinds=frozenset({"refund"})), False),
    ],
)
def test_a_cap_holds_where_every_filter_lets_through(cap: Cap, holds: bool) -> None:
    assert cap.holds_for("agent", "coupon", "shipping_delay") is holds


@pytest.mark.parametrize(
    ("percent", "base", "limit"),
    [("100", 12345, 12345), ("50", 101, 50), ("33.3", 1000, 333), ("0", 500, 0), ("99.99", 1, 0)],
)
def test_a_percentage_limit_rounds_down(percent: str, base: int, limit: int) -> None:
    assert PercentLimit(Decimal(percent), "order.total_paid").minor(base) == limit


def test_a_counter_is_known_by_what_it_counts_and_not_by_the_caps_name() -> None:
    key = counter_key(CAP, IDS, "shipping_delay", "CNY")
    renamed = replace(CAP, name="other", limit={"CNY": Money(1, "CNY")})
    assert counter_key(renamed, IDS, "shipping_delay", "CNY") == key


@pytest.mark.parametrize(
    "other",
    [
        replace(CAP, scope=Scope.AGENT),
        replace(CAP, window=Rolling(timedelta(days=30))),
        replace(CAP, window=Calendar(CalendarUnit.DAY, "Asia/Shanghai")),
        replace(CAP, measure=Measure.COUNT),
        replace(CAP, kinds=frozenset({"coupon"})),
        replace(CAP, policies=frozenset({"oversold"})),
    ],
)
def test_scope_window_measure_and_filters_each_make_another_counter(other: Cap) -> None:
    assert counter_key(other, IDS, "p", "CNY") != counter_key(CAP, IDS, "p", "CNY")


def test_roles_do_not_make_another_counter_for_whoever_granted_it_counts() -> None:
    other = replace(CAP, roles=frozenset({"agent"}))
    assert counter_key(other, IDS, "p", "CNY") == counter_key(CAP, IDS, "p", "CNY")


def test_each_currency_has_its_own_value_counter_and_a_count_has_one_for_all() -> None:
    assert counter_key(CAP, IDS, "p", "CNY") != counter_key(CAP, IDS, "p", "JPY")
    count = replace(CAP, measure=Measure.COUNT, limit=3)
    assert counter_key(count, IDS, "p", "CNY") == counter_key(count, IDS, "p", "JPY")


def test_the_order_in_which_filters_are_written_does_not_matter() -> None:
    ab = replace(CAP, kinds=frozenset(["coupon", "gift"]))
    ba = replace(CAP, kinds=frozenset(["gift", "coupon"]))
    assert counter_key(ab, IDS, "p", "CNY") == counter_key(ba, IDS, "p", "CNY")


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (Scope.ORDER, ("O1",)),
        (Scope.CLAIM, ("O1", "oversold")),
        (Scope.CUSTOMER, ("C1",)),
        (Scope.AGENT, ("A1",)),
        (Scope.PACK, ()),
    ],
)
def test_a_scope_is_keyed_by_its_ids(scope: Scope, key: tuple[str, ...]) -> None:
    assert counter_key(replace(CAP, scope=scope), IDS, "oversold", "CNY").key == key


SHANGHAI_DAY = Calendar(CalendarUnit.DAY, "Asia/Shanghai")
SHANGHAI_MONTH = Calendar(CalendarUnit.MONTH, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        (SHANGHAI_DAY, utc(2026, 6, 1, 15, 59, 59), utc(2026, 5, 31, 16), utc(2026, 6, 1, 16)),
        (SHANGHAI_DAY, utc(2026, 6, 1, 16), utc(2026, 6, 1, 16), utc(2026, 6, 2, 16)),
        (SHANGHAI_MONTH, utc(2026, 5, 31, 15, 59), utc(2026, 4, 30, 16), utc(2026, 5, 31, 16)),
        (SHANGHAI_MONTH, utc(2026, 5, 31, 16), utc(2026, 5, 31, 16), utc(2026, 6, 30, 16)),
        (SHANGHAI_MONTH, utc(2026, 12, 31, 16), utc(2026, 12, 31, 16), utc(2027, 1, 31, 16)),
        (SHANGHAI_MONTH, utc(2026, 12, 15), utc(2026, 11, 30, 16), utc(2026, 12, 31, 16)),
    ],
)
def test_a_calendar_window_includes_its_first_instant(
    window: Calendar, now: datetime, start: datetime, end: datetime
) -> None:
    assert window.start(now) == start
    assert window.end(now) == end


@pytest.mark.parametrize(
    ("zone", "now", "hours"),
    [
        ("Europe/Berlin", utc(2026, 3, 29, 12), 23),
        ("Europe/Berlin", utc(2026, 10, 25, 12), 25),
        ("America/New_York", utc(2026, 3, 8, 12), 23),
        ("America/New_York", utc(2026, 11, 1, 12), 25),
        ("America/Santiago", utc(2025, 9, 7, 12), 23),  # midnight does not exist
        ("America/Havana", utc(2025, 11, 2, 12), 25),  # 00:30 comes twice
        ("Africa/Cairo", utc(2025, 10, 30, 12), 25),  # 23:30 comes twice
        ("Asia/Shanghai", utc(2026, 6, 1), 24),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(zone: str, now: datetime, hours: int) -> None:
    day = Calendar(CalendarUnit.DAY, zone)
    assert day.end(now) - day.start(now) == timedelta(hours=hours)


def test_a_day_whose_midnight_does_not_exist_begins_with_its_first_instant() -> None:
    day = Calendar(CalendarUnit.DAY, "America/Santiago")
    assert day.start(utc(2025, 9, 7, 12)) == utc(2025, 9, 7, 4)  # 01:00 local
    assert day.end(utc(2025, 9, 6, 12)) == utc(2025, 9, 7, 4)


ZONES = st.sampled_from(
    [
        *("Asia/Shanghai", "Europe/Berlin", "America/Santiago", "America/Havana", "UTC"),
        *("Africa/Cairo", "Australia/Lord_Howe", "Asia/Beirut", "America/Sao_Paulo"),
    ]
)


@given(
    ZONES,
    st.sampled_from(CalendarUnit),
    st.integers(0, 30 * 365 * 24 * 3600).map(lambda s: utc(2005, 1, 1) + timedelta(seconds=s)),
)
def test_windows_follow_each_other_without_gap_or_overlap(
    zone: str, unit: CalendarUnit, now: datetime
) -> None:
    window = Calendar(unit, zone)
    start, end = window.start(now), window.end(now)
    assert start <= now < end
    assert window.start(start) == start
    assert window.start(end) == end
    assert window.end(start) == end
    before = start - timedelta(microseconds=1)
    assert window.end(before) == start
    local = (start.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)))
    assert len({at.strftime("%Y-%m" if unit is CalendarUnit.MONTH else "%F") for at in local}) == 1
