"""Times on the command line: a date, or a timestamp with its offset."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from policy_engine.core.times import TimeFormatError, parse_timestamp

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


class Zone(click.ParamType[ZoneInfo]):
    """A time zone by its IANA name."""

    name = "zone"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ZoneInfo:
        if isinstance(value, ZoneInfo):
            return value
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"`{value}` is no time zone; write one such as `Asia/Shanghai`", param, ctx)


class When(click.ParamType["date | datetime"]):
    """`2026-06-01`, or `2026-06-01T08:00:00+08:00`."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> date | datetime:
        if isinstance(value, date):
            return value
        try:
            if _DATE.fullmatch(value):
                return date.fromisoformat(value)
            return parse_timestamp(value)
        except (TimeFormatError, ValueError):
            self.fail(
                f"`{value}` is no time; write `2026-06-01` or `2026-06-01T08:00:00+08:00`",
                param,
                ctx,
            )


class Month(click.ParamType["tuple[date, date]"]):
    """`2026-06` → its first day and that of the next month."""

    name = "month"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[date, date]:
        if isinstance(value, tuple):
            return value
        match = _MONTH.fullmatch(value)
        if match is None or match[1] in ("0000", "9999"):
            self.fail(f"`{value}` is no month; write one such as `2026-06`", param, ctx)
        year, month = int(match[1]), int(match[2])
        following = date(year + 1, 1, 1) if month == 12 else date(year, month + 1, 1)
        return date(year, month, 1), following


def instant(when: date | datetime, zone: tzinfo) -> datetime:
    """The instant that was meant; a date is its first instant in the zone."""
    if isinstance(when, datetime):
        return when
    return datetime.combine(when, time(), zone).astimezone(UTC)


zone_option: Final[Callable[[Any], Any]] = click.option(
    "--zone",
    type=Zone(),
    default="UTC",
    show_default=True,
    help="The time zone that dates are meant in.",
)


def span_options(function: Any) -> Any:
    """`--from`, `--to` and `--zone`; the function gets `since`, `until` and `zone`."""
    for option in (
        zone_option,
        click.option(
            "--to", "until", type=When(), metavar="WHEN", help="Before it; now if left out."
        ),
        click.option(
            "--from", "since", type=When(), metavar="WHEN", required=True, help="At it or later."
        ),
    ):
        function = option(function)
    return function
