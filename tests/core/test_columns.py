"""Comparisons and rules evaluated as bit sets come out as one by one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.core.bits import RuleOutcomes, Truth, set_bits
from policy_engine.core.columns import arranged, columns, exclusive
from policy_engine.core.conditions import Both, Comparison, Either, Leaf, Op, evaluate
from policy_engine.core.facts import ABSENT, UNKNOWN, FactType, Value
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.late import Late
from policy_engine.core.money import Money
from policy_engine.core.ports import RuleBook

_EQUALITIES = (Op.IS, Op.IS_NOT, Op.IN, Op.NOT_IN)
_ORDERS = (Op.OVER, Op.AT_LEAST, Op.UNDER, Op.AT_MOST)
_VALUES = {
    FactType.BOOLEAN: st.booleans(),
    FactType.INTEGER: st.integers(0, 6),
    FactType.DECIMAL: st.sampled_from([Decimal(text) for text in ("0", "1", "1.0", "1.5", "2")]),
    FactType.DURATION: st.integers(0, 6).map(lambda days: timedelta(days=days)),
    FactType.TIMESTAMP: st.integers(1, 6).map(lambda day: datetime(2026, 6, day, tzinfo=UTC)),
    FactType.ENUM: st.sampled_from("abcd"),
    FactType.MONEY: st.builds(Money, st.integers(0, 4), st.sampled_from(["CNY", "JPY"])),
    FactType.SET: st.frozensets(st.sampled_from("abcd")),
}


@st.composite
def comparisons_of_one_fact(draw: st.DrawFn) -> tuple[list[Comparison], Value]:
    type_ = draw(st.sampled_from(list(_VALUES)))
    values = _VALUES[type_]
    literals = values
    if type_ is FactType.MONEY:
        literals = values.map(lambda money: (money,))
    if type_ is FactType.SET:
        ops, literals = [Op.CONTAINS], st.sampled_from("abcd")
    elif type_ in (FactType.BOOLEAN, FactType.ENUM):
        ops = [*_EQUALITIES]
    else:
        ops = [*_EQUALITIES, *_ORDERS]
    made = []
    for op in draw(st.lists(st.sampled_from([*ops, Op.PRESENT, Op.ABSENT]), min_size=1)):
        many = st.lists(literals, min_size=1, max_size=3).map(tuple)
        literal = draw(many if op in (Op.IN, Op.NOT_IN) else literals)
        if op in (Op.PRESENT, Op.ABSENT):
            literal = True
        made.append(Comparison("a.fact", op, type_, literal))
    return made, draw(values | st.sampled_from([ABSENT, UNKNOWN]))


@given(comparisons_of_one_fact())
def test_a_column_finds_what_its_comparisons_come_to(
    drawn: tuple[list[Comparison], Value],
) -> None:
    made, value = drawn
    ordered = arranged(made)
    assert set(ordered) == set(made)
    assert len(ordered) == len(set(made))
    (column,) = columns(ordered)
    truth = Truth(*column.outcomes(value))
    assert [truth.outcome(number) for number in range(len(ordered))] == [
        each.outcome(value) for each in ordered
    ]


@given(st.data())
def test_guards_change_nothing_of_what_the_interpreter_finds(data: st.DataObject) -> None:
    leaves = st.builds(Leaf, st.integers(0, 5), st.booleans())
    formulas = st.recursive(
        leaves,
        lambda parts: st.builds(
            lambda kind, some: kind(tuple(some)),
            st.sampled_from([Both, Either]),
            st.lists(parts, min_size=1, max_size=3),
        ),
        max_leaves=6,
    )
    rules = {f"r{i}": each for i, each in enumerate(data.draw(st.lists(formulas, max_size=6)))}
    truth = data.draw(st.dictionaries(st.integers(0, 5), st.booleans()))
    outcomes = {rule: evaluate(of, truth) for rule, of in rules.items()}
    expected = {rule: outcome for rule, outcome in outcomes.items() if outcome is not None}
    for groups in ((), (0b000111,), (0b000111, 0b111000)):
        network = Interpreter().prepare(RuleBook("b", rules, groups))
        assert network.match(truth) == expected
        assert network.match(Truth.of(truth)) == expected


def test_only_equalities_of_one_fact_exclude_each_other() -> None:
    made = [
        Comparison("a", Op.IS, FactType.ENUM, "x"),
        Comparison("b", Op.IS, FactType.ENUM, "x"),
        Comparison("a", Op.IS, FactType.ENUM, "y"),
        Comparison("a", Op.IS_NOT, FactType.ENUM, "z"),
    ]
    assert exclusive(made) == (0b101, 0b010)


def test_outcomes_are_read_back_as_they_were_put_in() -> None:
    truth = Truth.of({0: True, 3: False})
    assert dict(truth) == {0: True, 3: False}
    assert (len(truth), truth.get(1), truth.outcome(3)) == (2, None, False)
    rules = RuleOutcomes.of(("a", "b", "c"), {"a": False, "c": True})
    assert dict(rules) == {"a": False, "c": True}
    with pytest.raises(KeyError):
        rules["b"]
    assert list(set_bits(0b1010)) == [1, 3]


def test_what_is_late_is_written_once_and_equals_a_tuple() -> None:
    written = []

    def write() -> tuple[int, ...]:
        written.append(1)
        return 1, 2

    late = Late(write)
    assert not written
    assert late == (1, 2) == tuple(late)
    assert (late[0], len(late), late) == (1, 2, Late(lambda: (1, 2)))
    assert len(written) == 1
