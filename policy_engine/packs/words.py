"""Amounts and instants as people of one locale write them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, tzinfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_currency

from policy_engine.core.money import EXACT, MAX_MINOR, format_minor


class Words:
    def __init__(self, locale: str, zone: tzinfo | None) -> None:
        self.locale = locale
        self._zone = zone

    def money(self, minor: int, currency: str) -> str:
        return _money(minor, currency, self.locale)

    def time(self, instant: datetime | None) -> str:
        if instant is None:
            return ""
        return _time(instant, self.locale, self._zone)


@functools.lru_cache(maxsize=256)
def _babel_locale(locale: str) -> Locale:
    try:
        return Locale.parse(locale, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@functools.lru_cache(maxsize=16_384)
def _money(minor: int, currency: str, locale: str) -> str:
    assert -MAX_MINOR * 1_000 <= minor <= MAX_MINOR * 1_000
    text = format_minor(minor, currency)
    digits = [each for each in text if each.isdigit()]
    sign, integer = ("-" if minor < 0 else ""), len(text.lstrip("-").partition(".")[0])
    form = _money_form(sign, integer, len(digits) - integer, currency, locale)
    return _formatted(text, currency, locale) if form is None else form % tuple(digits)


@functools.lru_cache(maxsize=4_096)
def _money_form(sign: str, integer: int, decimals: int, currency: str, locale: str) -> str | None:
    """How amounts of so many digits are written, with `%s` for each digit: where the symbol, the
    separators and the sign stand depends on nothing else. None if that can't be told."""
    point = "." if decimals else ""
    ones = _formatted(f"{sign}{'1' * integer}{point}{'1' * decimals}", currency, locale)
    form = "%s".join(ones.replace("%", "%%").split("1"))
    # Some locales leave zeros at the end out.
    whole = ("1",) * integer + ("0",) * decimals
    even = _formatted(f"{sign}{'1' * integer}{point}{'0' * decimals}", currency, locale)
    return form if form.count("%s") == len(whole) and form % whole == even else None


def _formatted(amount: str, currency: str, locale: str) -> str:
    return format_currency(
        EXACT.create_decimal(amount),
        currency,
        locale=_babel_locale(locale),
        decimal_quantization=False,
    )


@functools.lru_cache(maxsize=4_096)
def _time(instant: datetime, locale: str, zone: tzinfo | None) -> str:
    if zone is None:
        return f"{instant.astimezone(UTC).isoformat(' ')[:16]} UTC"
    return format_datetime(instant, "yyyy-MM-dd HH:mm z", tzinfo=zone, locale=_babel_locale(locale))
