"""Instants and durations in the two notations of the contract.

RFC 3339 timestamps with an offset; ISO 8601 durations of weeks, days, hours, minutes and
seconds (a day is 24 hours; months and years have no fixed length and are refused).
Precision is the microsecond.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)
_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<weeks>[0-9]{1,6})W)?(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,7})H)?(?:(?P<minutes>[0-9]{1,9})M)?"
    r"(?:(?P<seconds>[0-9]{1,10})(?:\.(?P<fraction>[0-9]{1,6}))?S)?)?",
    re.ASCII,
)
_MICROSECOND = timedelta(microseconds=1)


class TimeFormatError(ValueError):
    """Text that is no timestamp or no duration in the contract's notation."""


def parse_timestamp(text: str) -> datetime:
    """RFC 3339 with an offset → an aware datetime in UTC, cut to the microsecond."""
    match = _TIMESTAMP.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise TimeFormatError(
            "not a timestamp with an offset; write RFC 3339, such as `2026-06-01T00:00:00+08:00`"
        )
    try:
        clock, fraction, offset = match.groups(default="")
        # Nanoseconds, which some callers' clocks write, are cut to what a datetime holds.
        return datetime.fromisoformat(clock.upper() + fraction[:7] + offset.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise TimeFormatError("no such date or time in the calendar") from None


def format_timestamp(instant: datetime) -> str:
    """An aware datetime → RFC 3339 in UTC: `2026-06-01T00:00:00Z`, microseconds only if any."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat()[:-6] + "Z"


def parse_duration(text: str) -> timedelta:
    """ISO 8601 → timedelta: `P5D`, `PT1H30M`, `P1W`, `-PT5M`."""
    match = _DURATION.fullmatch(text) if len(text) <= 40 else None
    if match is None or text.endswith(("P", "T")):
        raise TimeFormatError(
            "not a duration; write ISO 8601 without months or years, such as `P5D` or `PT15M`"
        )
    part = {
        name: int(value)
        for name, value in match.groupdict(default="0").items()
        if name not in ("sign", "fraction")
    }
    fraction = (match["fraction"] or "").ljust(6, "0")
    try:
        duration = timedelta(**part, microseconds=int(fraction))
    except OverflowError:
        raise TimeFormatError("a duration longer than the calendar") from None
    return -duration if match["sign"] else duration


@lru_cache(maxsize=4096)
def format_duration(duration: timedelta) -> str:
    """timedelta → its shortest ISO 8601 form in days, hours, minutes, seconds: `P5DT1S`, `PT0S`."""
    if duration < timedelta(0):
        return "-" + format_duration(-duration)
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    date = f"{duration.days}D" if duration.days else ""
    clock = "".join(f"{value}{unit}" for value, unit in ((hours, "H"), (minutes, "M")) if value)
    if duration.microseconds:
        clock += f"{seconds}.{duration.microseconds:06d}".rstrip("0") + "S"
    elif seconds or not (date or clock):
        clock += f"{seconds}S"
    return "P" + date + (f"T{clock}" if clock else "")


def whole_periods(duration: timedelta, period: timedelta) -> int:
    """How many whole periods fit; never negative."""
    return max(0, (duration // _MICROSECOND) // (period // _MICROSECOND))
