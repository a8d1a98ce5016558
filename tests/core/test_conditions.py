"""Three-valued conditions (CONTRACT §4 (6), (8)), compared with every way to fill in the gaps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.core.conditions import (
    All,
    Any,
    Both,
    Comparison,
    Condition,
    Either,
    Formula,
    Leaf,
    Literal,
    Not,
    Op,
    comparisons,
    evaluate,
    formula,
    negated,
    reasons,
)
from policy_engine.core.facts import ABSENT, UNKNOWN, FactType, Value
from policy_engine.core.money import Money

LEAVES = [Comparison(f"fact.{n}", Op.IS, FactType.BOOLEAN, True) for n in range(5)]

CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Any, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=10,
)
TRUTHS = st.dictionaries(st.integers(0, len(LEAVES) - 1), st.booleans())


def kleene(condition: Condition, truth: dict[int, bool]) -> bool | None:
    """The textbook: false < unknown < true; `all` is the least, `any` the greatest."""
    if isinstance(condition, Comparison):
        return truth.get(LEAVES.index(condition))
    if isinstance(condition, Not):
        part = kleene(condition.part, truth)
        return None if part is None else not part
    ranks = {False: 0, None: 1, True: 2}
    choose = min if isinstance(condition, All) else max
    return choose((kleene(part, truth) for part in condition.parts), key=lambda at: ranks[at])


def completions(truth: dict[int, bool]) -> list[dict[int, bool]]:
    gaps = [n for n in range(len(LEAVES)) if n not in truth]
    return [
        {**truth, **dict(zip(gaps, filled, strict=True))}
        for filled in product((False, True), repeat=len(gaps))
    ]


def of(condition: Condition) -> Formula:
    return formula(condition, LEAVES.index)


@given(CONDITIONS, TRUTHS)
def test_a_condition_follows_kleene(condition: Condition, truth: dict[int, bool]) -> None:
    assert evaluate(of(condition), truth) is kleene(condition, truth)


@given(CONDITIONS, TRUTHS)
def test_a_definite_outcome_stays_whatever_the_unknown_facts_turn_out_to_be(
    condition: Condition, truth: dict[int, bool]
) -> None:
    outcome = evaluate(of(condition), truth)
    if outcome is not None:
        assert {evaluate(of(condition), full) for full in completions(truth)} == {outcome}


@given(CONDITIONS, TRUTHS)
def test_with_every_fact_known_nothing_is_unknown(
    condition: Condition, truth: dict[int, bool]
) -> None:
    for full in completions(truth):
        assert evaluate(of(condition), full) is not None


@given(CONDITIONS, TRUTHS)
def test_not_turns_true_and_false_round_and_leaves_unknown(
    condition: Condition, truth: dict[int, bool]
) -> None:
    plain = evaluate(of(condition), truth)
    turned = None if plain is None else not plain
    assert evaluate(of(Not(condition)), truth) is turned
    assert evaluate(negated(of(condition)), truth) is turned
    assert of(Not(Not(condition))) == of(condition)


def test_not_is_pushed_down_to_the_comparisons() -> None:
    a, b, c = LEAVES[:3]
    condition = Not(All((a, Any((b, Not(c))))))
    assert of(condition) == Either((Leaf(0, False), Both((Leaf(1, False), Leaf(2)))))


def test_an_unknown_comparison_is_unknown_under_not_too() -> None:
    assert evaluate(of(Not(LEAVES[0])), {}) is None


@pytest.mark.parametrize(
    ("kind", "known", "outcome"),
    [(All, False, False), (All, True, None), (Any, True, True), (Any, False, None)],
)
def test_one_part_may_decide_alone(
    kind: type[All] | type[Any], known: bool, outcome: bool | None
) -> None:
    assert evaluate(of(kind((LEAVES[0], LEAVES[1]))), {1: known}) is outcome


@given(CONDITIONS, TRUTHS)
def test_the_reasons_alone_lead_to_the_outcome(
    condition: Condition, truth: dict[int, bool]
) -> None:
    outcome = evaluate(of(condition), truth)
    because = reasons(of(condition), truth)
    assert because
    if outcome is None:
        assert all(index not in truth for index in because)
    else:
        assert evaluate(of(condition), {i: truth[i] for i in because if i in truth}) is outcome


@given(CONDITIONS, TRUTHS)
def test_filling_in_every_unknown_reason_settles_the_condition(
    condition: Condition, truth: dict[int, bool]
) -> None:
    """Else the facts asked for would not be enough, one round after the other."""
    while evaluate(of(condition), truth) is None:
        asked = [index for index in reasons(of(condition), truth) if index not in truth]
        assert asked
        truth = {**truth, **dict.fromkeys(asked, True)}


def test_reasons_stand_in_the_order_written_and_once() -> None:
    a, b, c = LEAVES[:3]
    condition = All((c, Any((a, b)), c))
    assert reasons(of(condition), {0: True, 1: False, 2: True}) == [2, 0]
    assert reasons(of(condition), {0: False, 1: False, 2: True}) == [0, 1]
    assert reasons(of(condition), {2: True, 1: False}) == [0]


def test_comparisons_are_listed_left_to_right_with_repeats() -> None:
    a, b = LEAVES[:2]
    assert list(comparisons(All((a, Not(Any((b, a))))))) == [a, b, a]
    assert list(comparisons(None)) == []


DAY = timedelta(days=1)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
YUAN, YEN = Money(1000, "CNY"), Money(200, "JPY")


def outcome(op: Op, type_: FactType, literal: Literal, value: Value) -> bool | None:
    return Comparison("some.fact", op, type_, literal).outcome(value)


ORDERED: list[tuple[FactType, Literal, tuple[Value, Value, Value]]] = [
    (FactType.INTEGER, 5, (4, 5, 6)),
    (FactType.DECIMAL, Decimal("5.0"), (Decimal("4.9"), Decimal(5), Decimal("5.01"))),
    (FactType.DURATION, 5 * DAY, (5 * DAY - DAY / 86400, 5 * DAY, 5 * DAY + DAY / 86400)),
    (FactType.TIMESTAMP, NOON, (NOON - DAY, NOON, NOON + DAY)),
    (FactType.MONEY, (YUAN, YEN), (Money(999, "CNY"), YUAN, Money(1001, "CNY"))),
    (FactType.MONEY, (YUAN, YEN), (Money(199, "JPY"), YEN, Money(201, "JPY"))),
]


@pytest.mark.parametrize(("type_", "literal", "values"), ORDERED)
@pytest.mark.parametrize(
    ("op", "wanted"),
    [
        (Op.OVER, (False, False, True)),
        (Op.AT_LEAST, (False, True, True)),
        (Op.UNDER, (True, False, False)),
        (Op.AT_MOST, (True, True, False)),
        (Op.IS, (False, True, False)),
        (Op.IS_NOT, (True, False, True)),
    ],
)
def test_over_and_under_are_strict(
    type_: FactType,
    literal: Literal,
    values: tuple[Value, Value, Value],
    op: Op,
    wanted: tuple[bool, bool, bool],
) -> None:
    assert tuple(outcome(op, type_, literal, value) for value in values) == wanted


CASES: list[tuple[FactType, Literal, Value]] = [
    (FactType.BOOLEAN, True, True),
    (FactType.ENUM, "gold", "gold"),
    (FactType.STRING, "a", "b"),
    (FactType.INTEGER, 5, 6),
    (FactType.MONEY, (YUAN,), YUAN),
    (FactType.DURATION, DAY, 2 * DAY),
]


@pytest.mark.parametrize(("type_", "literal", "value"), CASES)
def test_is_not_is_not_is(type_: FactType, literal: Literal, value: Value) -> None:
    for each in (value, ABSENT):
        plain = outcome(Op.IS, type_, literal, each)
        assert outcome(Op.IS_NOT, type_, literal, each) is (not plain)
    assert outcome(Op.IS_NOT, type_, literal, UNKNOWN) is None


LITERALS: dict[Op, tuple[FactType, Literal]] = {
    Op.IS: (FactType.ENUM, "gold"),
    Op.IS_NOT: (FactType.ENUM, "gold"),
    Op.IN: (FactType.ENUM, ("gold", "silver")),
    Op.NOT_IN: (FactType.ENUM, ("gold", "silver")),
    Op.OVER: (FactType.DURATION, DAY),
    Op.AT_LEAST: (FactType.DURATION, DAY),
    Op.UNDER: (FactType.DURATION, DAY),
    Op.AT_MOST: (FactType.DURATION, DAY),
    Op.CONTAINS: (FactType.SET, "oversold"),
    Op.PRESENT: (FactType.ENUM, True),
    Op.ABSENT: (FactType.ENUM, True),
}


@pytest.mark.parametrize("op", Op)
def test_an_omitted_fact_makes_every_comparison_unknown(op: Op) -> None:
    assert outcome(op, *LITERALS[op], UNKNOWN) is None


@pytest.mark.parametrize("op", Op)
def test_a_null_fact_is_absent_is_not_and_not_in_and_nothing_else(op: Op) -> None:
    assert outcome(op, *LITERALS[op], ABSENT) is (op in {Op.ABSENT, Op.IS_NOT, Op.NOT_IN})


@pytest.mark.parametrize("value", [False, 0, "", Decimal(0), timedelta(0), frozenset[str]()])
def test_a_value_is_present_however_empty(value: Value) -> None:
    assert outcome(Op.PRESENT, FactType.STRING, True, value) is True
    assert outcome(Op.ABSENT, FactType.STRING, True, value) is False


def test_a_set_contains_its_members_only() -> None:
    types = frozenset({"oversold", "shipping_delay"})
    assert outcome(Op.CONTAINS, FactType.SET, "oversold", types) is True
    assert outcome(Op.CONTAINS, FactType.SET, "over", types) is False
    assert outcome(Op.CONTAINS, FactType.SET, "oversold", frozenset[str]()) is False


def test_in_and_not_in_are_each_others_opposite() -> None:
    for value, inside in (("gold", True), ("bronze", False)):
        assert outcome(Op.IN, FactType.ENUM, ("gold", "silver"), value) is inside
        assert outcome(Op.NOT_IN, FactType.ENUM, ("gold", "silver"), value) is not inside


@pytest.mark.parametrize("op", [Op.IS, Op.IS_NOT, Op.OVER, Op.AT_LEAST, Op.UNDER, Op.AT_MOST])
def test_money_in_a_currency_the_literal_lacks_is_unknown_and_never_converted(op: Op) -> None:
    comparison = Comparison("order.goods_paid", op, FactType.MONEY, (YUAN, YEN))
    assert comparison.outcome(Money(1000, "USD")) is None
    assert comparison.lacks_currency(Money(1000, "USD"))
    assert not comparison.lacks_currency(Money(1000, "CNY"))
    assert not comparison.lacks_currency(UNKNOWN)


def test_money_in_a_list_compares_each_amount_in_the_orders_currency() -> None:
    literal = ((YUAN, YEN), (Money(2000, "CNY"), Money(300, "JPY")))
    assert outcome(Op.IN, FactType.MONEY, literal, Money(2000, "CNY")) is True
    assert outcome(Op.IN, FactType.MONEY, literal, Money(300, "CNY")) is False
    assert outcome(Op.NOT_IN, FactType.MONEY, literal, Money(300, "JPY")) is False
    assert outcome(Op.IN, FactType.MONEY, literal, Money(300, "USD")) is None


@pytest.mark.parametrize(
    ("op", "type_", "literal", "text"),
    [
        (Op.OVER, FactType.DURATION, 5 * DAY, "over P5D"),
        (Op.IS, FactType.ENUM, "gold", "is gold"),
        (Op.IS, FactType.BOOLEAN, True, "is true"),
        (Op.PRESENT, FactType.STRING, True, "present"),
        (Op.ABSENT, FactType.STRING, True, "absent"),
        (Op.AT_MOST, FactType.TIMESTAMP, NOON, "at_most 2026-06-01T12:00:00Z"),
    ],
)
def test_what_is_required_reads_as_it_was_written(
    op: Op, type_: FactType, literal: Literal, text: str
) -> None:
    assert Comparison("some.fact", op, type_, literal).required() == text


def test_required_money_is_shown_in_the_orders_currency() -> None:
    comparison = Comparison("order.goods_paid", Op.OVER, FactType.MONEY, (YUAN, YEN))
    assert comparison.required("JPY") == "over 200 JPY"
    assert comparison.required("CNY") == "over 10.00 CNY"
