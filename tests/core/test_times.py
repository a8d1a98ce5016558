"""Timestamps and durations: what is read, what is refused, what is written back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.core.times import (
    TimeFormatError,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_timestamp,
    whole_periods,
)

# Days of the calendar that every offset leaves in it.
INSTANTS = st.timedeltas(timedelta(0), timedelta(days=3_652_000)).map(
    lambda since: datetime(1, 1, 3, tzinfo=UTC) + since
)
DURATIONS = st.timedeltas(timedelta(days=-99_999), timedelta(days=99_999))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-06-01T00:00:00Z", datetime(2026, 6, 1, tzinfo=UTC)),
        ("2026-06-01T00:00:00+08:00", datetime(2026, 5, 31, 16, tzinfo=UTC)),
        ("2026-06-01T00:00:00-03:30", datetime(2026, 6, 1, 3, 30, tzinfo=UTC)),
        ("2026-06-01t00:00:00z", datetime(2026, 6, 1, tzinfo=UTC)),
        ("2026-06-01T00:00:00.5Z", datetime(2026, 6, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-06-01T00:00:00.000001Z", datetime(2026, 6, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_timestamp_is_rfc_3339_with_an_offset(text: str, instant: datetime) -> None:
    parsed = parse_timestamp(text)
    assert parsed == instant
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01T00:00:00",
        "2026-06-01",
        "2026-06-01 00:00:00Z",
        "2026-06-01T00:00Z",
        "2026-06-01T00:00:00+0800",
        "2026-06-01T00:00:00+08",
        "2026-06-01T00:00:00+24:00",
        "2026-06-01T24:00:00Z",
        "2026-06-01T00:60:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+08:00",
        "9999-12-31T23:59:59-01:00",
        "20260601T000000Z",
        "2026-W23-1T00:00:00Z",
        "２０２６-06-01T00:00:00Z",
        "2026-06-01T00:00:00.Z",
        "2026-06-01T00:00:00,5Z",
        "2026-06-01T00:00:00Z\n",
        " 2026-06-01T00:00:00Z",
        "1780272000",
        "",
        "2026-06-01T00:00:00." + "0" * 5000 + "Z",
    ],
)
def test_anything_else_is_no_timestamp(text: str) -> None:
    with pytest.raises(TimeFormatError):
        parse_timestamp(text)


@given(INSTANTS)
def test_an_instant_written_and_read_is_the_same(instant: datetime) -> None:
    text = format_timestamp(instant)
    assert text.endswith("Z")
    assert parse_timestamp(text) == instant


@given(INSTANTS, st.integers(-14 * 60, 14 * 60))
def test_the_offset_changes_how_an_instant_is_written_and_not_which(
    instant: datetime, minutes: int
) -> None:
    local = instant.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_timestamp(local.isoformat()) == instant
    assert format_timestamp(local) == format_timestamp(instant)


def test_microseconds_are_written_only_where_there_are_any() -> None:
    assert format_timestamp(datetime(2026, 6, 1, tzinfo=UTC)) == "2026-06-01T00:00:00Z"
    late = datetime(2026, 6, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert format_timestamp(late) == "2026-06-01T00:00:00.000001Z"


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("P5D", timedelta(days=5)),
        ("PT1S", timedelta(seconds=1)),
        ("PT0S", timedelta(0)),
        ("P1W", timedelta(weeks=1)),
        ("P1W2DT3H4M5S", timedelta(9, 3 * 3600 + 4 * 60 + 5)),
        ("PT1H30M", timedelta(minutes=90)),
        ("PT36H", timedelta(hours=36)),
        ("PT0.5S", timedelta(milliseconds=500)),
        ("-PT5M", timedelta(minutes=-5)),
        ("-P5D", timedelta(days=-5)),
    ],
)
def test_a_duration_is_iso_8601_and_a_day_is_24_hours(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "P1Y",
        "P1M",
        "P1Y2M3D",
        "P",
        "PT",
        "P5DT",
        "5D",
        "P5",
        "PT5",
        "P5H",
        "PT5D",
        "P1D2W",
        "PT1M1H",
        "p5d",
        "P 5D",
        "P5D ",
        "P5D\n",
        "P+5D",
        "P-5D",
        "--P5D",
        "+P5D",
        "P1.5D",
        "PT1.5H",
        "PT1,5S",
        "PT.5S",
        "P５D",
        "",
        "P" + "9" * 5000 + "D",
        "PT" + "9" * 5000 + "S",
        "P0001-00-05T00:00:00",
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(TimeFormatError):
        parse_duration(text)


@given(DURATIONS)
def test_a_duration_written_and_read_is_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=5), "P5D"),
        (timedelta(days=5, seconds=1), "P5DT1S"),
        (timedelta(0), "PT0S"),
        (timedelta(hours=24), "P1D"),
        (timedelta(weeks=1), "P7D"),
        (timedelta(minutes=90), "PT1H30M"),
        (timedelta(milliseconds=1500), "PT1.5S"),
        (timedelta(microseconds=-1), "-PT0.000001S"),
        (timedelta(days=-5, seconds=-1), "-P5DT1S"),
    ],
)
def test_a_duration_is_written_in_its_shortest_form(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    ("duration", "periods"),
    [
        (timedelta(hours=23, minutes=59, seconds=59), 0),
        (timedelta(days=1), 1),
        (timedelta(days=6, hours=12), 6),
        (timedelta(0), 0),
        (timedelta(days=-3), 0),
        (timedelta(microseconds=-1), 0),
    ],
)
def test_only_whole_periods_count_and_never_fewer_than_none(
    duration: timedelta, periods: int
) -> None:
    assert whole_periods(duration, timedelta(days=1)) == periods
