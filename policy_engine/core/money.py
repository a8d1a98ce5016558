"""Exact money: integer minor units of one ISO 4217 currency, one rounding, no floats.

Percentages are exact decimals turned into integer ratios, so nothing between the order
and the amount is ever inexact; the single rounding (half up) is the integer division in
`round_half_up`, and a percentage limit uses `round_down` instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Clamped, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import lru_cache

from policy_engine.core.currencies import DECIMALS

MAX_MINOR = 10**15
"""No amount, sum or limit goes beyond this many minor units, either way."""

EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, Clamped])
"""Every decimal of the engine is read and computed here; a result that would have to be
rounded raises instead."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,29})(\.[0-9]{1,20})?", re.ASCII)


class MoneyError(ValueError):
    """An amount that is not one: wrong form, wrong decimals, unknown currency, too large."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """`minor` integer minor units (cents, yen, fils) of `currency` (ISO 4217 code)."""

    minor: int
    currency: str

    @property
    def amount(self) -> str:
        """The amount with exactly the currency's decimals: 4000 CNY minor → `40.00`."""
        return format_minor(self.minor, self.currency)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


def decimals_of(currency: str) -> int:
    """Number of decimals of a currency; MoneyError when ISO 4217 does not list it."""
    try:
        return DECIMALS[currency]
    except KeyError:
        raise MoneyError(
            f"unknown currency `{currency}`; use an ISO 4217 code such as `CNY`"
        ) from None


@lru_cache(maxsize=16_384)
def format_minor(minor: int, currency: str) -> str:
    """4000, CNY → `40.00`; 617, JPY → `617`; -5, KWD → `-0.005`."""
    places = decimals_of(currency)
    if places == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    digits = str(abs(minor)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def parse_money(text: str, currency: str) -> Money:
    """`"40.00"`, CNY → 4000 minor units.

    The text has exactly the currency's decimals, ASCII digits, no sign, exponent or
    spaces. Raises MoneyError saying what was expected.
    """
    places = decimals_of(currency)
    match = _DECIMAL.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise MoneyError(
            f"not an amount: `{shortened(text)}`; write digits with {_places(places)}, "
            f'such as "{format_minor(4000, currency)}"'
        )
    fraction = match.group(2) or ""
    if len(fraction[1:]) != places:
        raise MoneyError(
            f"`{shortened(text)}` must have {_places(places)} in {currency}, "
            f'such as "{format_minor(4000, currency)}"'
        )
    minor = int(match.group(1) + fraction[1:])
    if minor > MAX_MINOR:
        raise MoneyError(f"`{shortened(text)}` is larger than the engine counts")
    return Money(minor, currency)


def parse_decimal(text: str, *, signed: bool = False) -> Decimal:
    """A plain decimal: `"5"`, `"12.5"`, and `"-1.5"` where `signed`. MoneyError otherwise."""
    digits = text.removeprefix("-") if signed else text
    if len(text) > 64 or _DECIMAL.fullmatch(digits) is None:
        raise MoneyError(
            f'not a decimal: `{shortened(text)}`; write plain digits, such as "5" or "12.5"'
        )
    return EXACT.create_decimal(text)


def shortened(text: str) -> str:
    """What the user wrote, cut to a length that fits a message."""
    return text if len(text) <= 40 else text[:37] + "…"


def round_half_up(numerator: int, denominator: int) -> int:
    """The one rounding of a remedy: numerator/denominator to a whole, halves away from zero.

    Both are non-negative and the denominator positive.
    """
    return (2 * numerator + denominator) // (2 * denominator)


def round_down(numerator: int, denominator: int) -> int:
    """The rounding of a percentage limit: never above the exact value."""
    return numerator // denominator


@lru_cache(maxsize=4_096)
def percent_ratio(percent: Decimal) -> tuple[int, int]:
    """12.5 % → (125, 1000): the exact ratio that an amount is multiplied by."""
    numerator, denominator = percent.as_integer_ratio()
    return numerator, denominator * 100


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` minor units over `weights` by largest remainder; the parts add up exactly.

    Ties go to the earlier weight. A part never exceeds its weight when `total` does not
    exceed their sum. With no weight at all, everything is zero.
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for index in by_remainder[:left]:
        parts[index] += 1
    return parts


def tax_inside(gross: int, rate: Decimal) -> int:
    """The tax contained in a gross amount at `rate` percent, rounded half up to the minor unit."""
    numerator, denominator = percent_ratio(rate)
    return round_half_up(gross * numerator, denominator + numerator)


def in_currency(amounts: Mapping[str, Money], currency: str) -> int | None:
    """Minor units of an amount map in one currency; None when the map lacks it."""
    money = amounts.get(currency)
    return None if money is None else money.minor


def _places(places: int) -> str:
    return "no decimals" if places == 0 else f"exactly {places} decimals"
