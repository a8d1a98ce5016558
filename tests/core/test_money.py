"""Money: exact minor units, one rounding, splits that add up (CONTRACT §4 (1)-(3))."""

from decimal import ROUND_HALF_UP, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policy_engine.core.money import (
    EXACT,
    MAX_MINOR,
    Money,
    MoneyError,
    decimals_of,
    format_minor,
    parse_decimal,
    parse_money,
    percent_ratio,
    round_down,
    round_half_up,
    split,
    tax_inside,
)

CURRENCIES = st.sampled_from(["CNY", "USD", "JPY", "KWD", "BRL", "CLF"])
AMOUNTS = st.integers(0, MAX_MINOR)
PERCENTS = st.decimals(0, 1000, places=4, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("40.00", "CNY", 4000),
        ("0.00", "CNY", 0),
        ("0.05", "USD", 5),
        ("617", "JPY", 617),
        ("0", "JPY", 0),
        ("0.617", "KWD", 617),
        ("12.330", "KWD", 12330),
        ("10000000000000.00", "CNY", MAX_MINOR),
        ("1000000000000000", "JPY", MAX_MINOR),
    ],
)
def test_an_amount_has_exactly_the_decimals_of_its_currency(
    text: str, currency: str, minor: int
) -> None:
    assert parse_money(text, currency) == Money(minor, currency)
    assert Money(minor, currency).amount == text


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("5", "CNY"),
        ("5.0", "CNY"),
        ("5.000", "CNY"),
        ("5.", "CNY"),
        (".50", "CNY"),
        ("5.0", "JPY"),
        ("5.00", "JPY"),
        ("0.50", "KWD"),
        ("1e3", "CNY"),
        ("1e3", "JPY"),
        ("1.00e1", "CNY"),
        ("-5.00", "CNY"),
        ("+5.00", "CNY"),
        ("-0.00", "CNY"),
        (" 5.00", "CNY"),
        ("5.00 ", "CNY"),
        ("5.00\n", "CNY"),
        ("05.00", "CNY"),
        ("00", "JPY"),
        ("1,000.00", "CNY"),
        ("1_000.00", "CNY"),
        ("5,00", "CNY"),
        ("５.００", "CNY"),
        ("٥.٠٠", "CNY"),
        ("5.0０", "CNY"),
        ("", "CNY"),
        ("NaN", "CNY"),
        ("Infinity", "CNY"),
        ("0x10", "JPY"),
        ("5.00\x00", "CNY"),
        ("9" * 5000, "JPY"),
        ("9" * 5000 + ".00", "CNY"),
        ("0." + "0" * 5000, "CNY"),
        ("10000000000000.01", "CNY"),
        ("1000000000000001", "JPY"),
    ],
)
def test_anything_else_is_no_amount(text: str, currency: str) -> None:
    with pytest.raises(MoneyError) as caught:
        parse_money(text, currency)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("currency", ["XXX", "cny", "", "CNYY", "ＣＮＹ", "BTC"])
def test_a_currency_that_iso_4217_does_not_list_is_refused(currency: str) -> None:
    with pytest.raises(MoneyError, match="unknown currency"):
        parse_money("5.00", currency)
    with pytest.raises(MoneyError, match="unknown currency"):
        decimals_of(currency)


def test_yen_have_no_decimals_and_dinars_three() -> None:
    assert [decimals_of(code) for code in ("CNY", "JPY", "KWD")] == [2, 0, 3]


@given(AMOUNTS, CURRENCIES)
def test_an_amount_written_and_read_is_the_same(minor: int, currency: str) -> None:
    assert parse_money(format_minor(minor, currency), currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(-5, "KWD", "-0.005"), (-4000, "CNY", "-40.00"), (-7, "JPY", "-7"), (5, "CNY", "0.05")],
)
def test_a_difference_may_be_negative(minor: int, currency: str, text: str) -> None:
    assert format_minor(minor, currency) == text


@given(st.integers(0, 10**20), st.integers(1, 10**20))
def test_a_remedy_is_rounded_half_up(numerator: int, denominator: int) -> None:
    with localcontext() as context:
        context.prec = 100
        exact = Fraction(numerator, denominator)
        floor, rest = divmod(exact, 1)
        assert round_half_up(numerator, denominator) == floor + (rest >= Fraction(1, 2))


@given(st.integers(0, 10**12), PERCENTS)
def test_a_percentage_rounds_like_decimal_half_up(minor: int, percent: Decimal) -> None:
    numerator, denominator = percent_ratio(percent)
    with localcontext() as context:
        context.prec = 100
        expected = (minor * percent / 100).quantize(Decimal(1), ROUND_HALF_UP)
    assert round_half_up(minor * numerator, denominator) == expected


@pytest.mark.parametrize(
    ("minor", "percent", "rounded"),
    [
        (12330, "5", 617),  # 616.5
        (12329, "5", 616),  # 616.45
        (1, "50", 1),
        (1, "49.99", 0),
        (100, "0", 0),
        (8000, "12.5", 1000),
    ],
)
def test_halves_go_up(minor: int, percent: str, rounded: int) -> None:
    numerator, denominator = percent_ratio(parse_decimal(percent))
    assert round_half_up(minor * numerator, denominator) == rounded


@given(st.integers(0, 10**15), st.integers(1, 10**6))
def test_a_limit_is_never_rounded_above_its_exact_value(numerator: int, denominator: int) -> None:
    rounded = round_down(numerator, denominator)
    assert rounded <= Fraction(numerator, denominator) < rounded + 1


@pytest.mark.parametrize("text", ["5", "0", "12.5", "0.0001", "100", "13.00"])
def test_a_decimal_is_plain_digits(text: str) -> None:
    assert parse_decimal(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        *("-5", "+5", "5e1", "1E2", ".5", "5.", " 5", "5 ", "", "NaN", "Infinity", "５"),
        *("1_0", "05", "9" * 5000, "0." + "1" * 5000, "5%", "5,0"),
    ],
)
def test_anything_else_is_no_decimal(text: str) -> None:
    with pytest.raises(MoneyError):
        parse_decimal(text)


def test_the_context_of_the_engine_never_rounds_silently() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))


WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=20)


@given(st.integers(0, 10**12), WEIGHTS)
def test_a_split_adds_up(total: int, weights: list[int]) -> None:
    assume(sum(weights))
    parts = split(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)


@given(st.data(), WEIGHTS)
def test_no_part_of_a_split_is_above_its_weight(data: st.DataObject, weights: list[int]) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    assert all(0 <= part <= most for part, most in zip(split(total, weights), weights, strict=True))


@given(st.integers(0, 10**12), WEIGHTS)
def test_each_part_is_its_exact_share_within_one_unit(total: int, weights: list[int]) -> None:
    assume(sum(weights))
    for part, weight in zip(split(total, weights), weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1


@given(st.integers(0, 10**12), WEIGHTS)
def test_the_units_left_over_go_to_the_largest_remainders(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    assume(whole)
    remainders = [Fraction(total * weight, whole) % 1 for weight in weights]
    floors = [total * weight // whole for weight in weights]
    raised = [part - floor for part, floor in zip(split(total, weights), floors, strict=True)]
    given_to = [rest for rest, up in zip(remainders, raised, strict=True) if up]
    passed_over = [rest for rest, up in zip(remainders, raised, strict=True) if not up]
    assert not given_to or not passed_over or min(given_to) >= max(passed_over)


def test_a_tie_goes_to_the_earlier_part() -> None:
    assert split(1, [1, 1, 1]) == [1, 0, 0]
    assert split(2, [1, 1, 1]) == [1, 1, 0]
    assert split(5, [2, 2]) == [3, 2]


def test_a_split_over_nothing_is_nothing() -> None:
    assert split(5, [0, 0]) == [0, 0]
    assert split(0, [3, 4]) == [0, 0]
    assert split(5, []) == []


@pytest.mark.parametrize(
    ("gross", "rate", "tax"),
    [(16800, "13", 1933), (11300, "13", 1300), (10000, "0", 0), (1, "13", 0), (10600, "6", 600)],
)
def test_tax_lies_inside_the_gross_amount(gross: int, rate: str, tax: int) -> None:
    assert tax_inside(gross, Decimal(rate)) == tax


@given(st.integers(0, 10**12), PERCENTS)
def test_net_and_tax_make_the_gross_amount(gross: int, rate: Decimal) -> None:
    tax = tax_inside(gross, rate)
    exact = Fraction(gross) * Fraction(rate) / (100 + Fraction(rate))
    assert 0 <= tax <= gross
    assert abs(tax - exact) <= Fraction(1, 2)
