"""Every way a well-formed body can be wrong, one by one, with its place and code."""

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_engine.core.money import MAX_MINOR
from policy_engine.core.policy import Pack
from policy_engine.core.request import Agent
from policy_engine.wire.problems import InvalidInputError, steps_of
from policy_engine.wire.requests import AgentClaim, read_decision
from policy_engine.wire.strict_json import JsonNumber, read_json
from tests.wire.conftest import NOW, as_named

Refused = Callable[[object], list[tuple[str, str]]]


def put(body: dict[str, Any], pointer: str, value: object) -> dict[str, Any]:
    """The body with another value at a place."""
    *path, last = steps_of(pointer)
    at: Any = body
    for step in path:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[int(last) if isinstance(at, list) else last] = value
    return body


@pytest.mark.parametrize(
    "pointer",
    [
        "/order", "/order/id", "/order/currency", "/order/lines", "/order/lines/0/id",
        "/incident", "/incident/types", "/incident/evidence/0/kind",
        "/customer", "/customer/id", "/agent/id", "/agent/role",
        "/facts/shop.deposit/amount", "/facts/shop.deposit/currency",
    ],
)  # fmt: skip
def test_a_required_field_that_is_missing_is_named(
    full: dict[str, Any], refused: Refused, pointer: str
) -> None:
    *path, last = steps_of(pointer)
    at: Any = full
    for step in path:
        at = at[int(step)] if isinstance(at, list) else at[step]
    del at[last]

    assert refused(full) == [(pointer, "MISSING_FIELD")]


@pytest.mark.parametrize(
    "place",
    ["", "/order", "/order/lines/1", "/incident", "/incident/evidence/0", "/customer", "/agent",
     "/facts/shop.deposit"],
)  # fmt: skip
def test_an_unknown_field_is_refused_wherever_it_stands(
    full: dict[str, Any], refused: Refused, place: str
) -> None:
    assert refused(put(full, f"{place}/surprise", 1)) == [(f"{place}/surprise", "UNKNOWN_FIELD")]


AMOUNTS: list[tuple[object, str]] = [
    (5, "WRONG_TYPE"),
    (True, "WRONG_TYPE"),
    (JsonNumber("1.0"), "WRONG_TYPE"),
    (JsonNumber("1e3"), "WRONG_TYPE"),
    (JsonNumber("9" * 5_000), "WRONG_TYPE"),
    (1.0, "WRONG_TYPE"),
    ([], "WRONG_TYPE"),
    ("", "NOT_AN_AMOUNT"),
    ("5,00", "NOT_AN_AMOUNT"),
    ("1e3", "NOT_AN_AMOUNT"),
    (" 5.00", "NOT_AN_AMOUNT"),
    ("5.00\n", "NOT_AN_AMOUNT"),
    ("+5.00", "NOT_AN_AMOUNT"),
    ("-5.00", "NOT_AN_AMOUNT"),
    ("05.00", "NOT_AN_AMOUNT"),
    ("５.００", "NOT_AN_AMOUNT"),
    ("٥.٠٠", "NOT_AN_AMOUNT"),
    ("NaN", "NOT_AN_AMOUNT"),
    ("9" * 5_000, "NOT_AN_AMOUNT"),
    ("5", "WRONG_DECIMALS"),
    ("5.0", "WRONG_DECIMALS"),
    ("5.000", "WRONG_DECIMALS"),
    ("10000000000000.01", "AMOUNT_TOO_LARGE"),
]


@pytest.mark.parametrize(
    ("money", "at", "code"),
    [
        ({"amount": "1.0", "currency": "CNY"}, "/amount", "WRONG_DECIMALS"),
        ({"amount": "1.00", "currency": "USD"}, "/currency", "WRONG_CURRENCY"),
        ({"amount": "1.00"}, "/currency", "MISSING_FIELD"),
        ({"amount": 1, "currency": "CNY"}, "/amount", "WRONG_TYPE"),
        ({"amount": "1.00", "currency": "CNY", "tax": "0"}, "/tax", "UNKNOWN_FIELD"),
    ],
)
def test_a_money_object_in_the_order_is_held_to_its_form(
    full: dict[str, Any], refused: Refused, money: dict[str, Any], at: str, code: str
) -> None:
    pointer = "/order/shipping_paid"
    assert refused(put(full, pointer, money)) == [(pointer + at, code)]


@pytest.mark.parametrize("pointer", ["/order/lines/0/paid", "/order/shipping_paid"])
@pytest.mark.parametrize(("amount", "code"), AMOUNTS)
def test_what_is_no_amount_is_refused(
    full: dict[str, Any], refused: Refused, pointer: str, amount: object, code: str
) -> None:
    assert refused(put(full, pointer, amount)) == [(pointer, code)]


def test_decimals_are_those_of_the_currency(full: dict[str, Any], refused: Refused) -> None:
    put(full, "/order/currency", "JPY")
    del full["facts"]

    assert refused(full) == [
        ("/order/express_cost", "WRONG_DECIMALS"),
        ("/order/lines/0/paid", "WRONG_DECIMALS"),
        ("/order/lines/1/paid", "WRONG_DECIMALS"),
        ("/order/shipping_paid", "WRONG_DECIMALS"),
    ]


def test_amounts_that_add_up_to_more_than_is_counted_are_refused(
    full: dict[str, Any], refused: Refused
) -> None:
    most = f"{MAX_MINOR // 100}.00"
    assert refused(put(put(full, "/order/lines/0/paid", most), "/order/lines/1/paid", "0.01")) == [
        ("/order", "AMOUNT_TOO_LARGE")
    ]


CASES: list[tuple[str, object, str]] = [
    ("/order", None, "WRONG_TYPE"),
    ("/order", [], "WRONG_TYPE"),
    ("/order/id", 7, "WRONG_TYPE"),
    ("/order/id", "", "EMPTY"),
    ("/order/id", "x" * 129, "TOO_LONG"),
    ("/order/id", "单" * 43, "TOO_LONG"),
    ("/order/id", "a\nb", "CONTROL_CHARACTER"),
    ("/order/id", "a\x7f", "CONTROL_CHARACTER"),
    ("/order/id", "a\x85", "CONTROL_CHARACTER"),
    ("/order/id", "a\ud800", "CONTROL_CHARACTER"),
    ("/order/id", None, "WRONG_TYPE"),
    ("/order/currency", "XYZ", "UNKNOWN_CURRENCY"),
    ("/order/currency", "cny", "UNKNOWN_CURRENCY"),
    ("/order/currency", 156, "WRONG_TYPE"),
    ("/order/placed_at", "2026-06-01T00:00:00", "NOT_A_TIMESTAMP"),
    ("/order/placed_at", "2026-06-01", "NOT_A_TIMESTAMP"),
    ("/order/placed_at", "2026-02-30T00:00:00Z", "NOT_A_TIMESTAMP"),
    ("/order/placed_at", "0001-01-01T00:00:00+23:59", "NOT_A_TIMESTAMP"),
    ("/order/placed_at", 1780000000, "WRONG_TYPE"),
    ("/order/lines", [], "EMPTY"),
    ("/order/lines", {}, "WRONG_TYPE"),
    ("/order/lines", None, "WRONG_TYPE"),
    ("/order/lines/0", None, "WRONG_TYPE"),
    ("/order/lines/0/quantity", 0, "OUT_OF_RANGE"),
    ("/order/lines/0/quantity", -1, "OUT_OF_RANGE"),
    ("/order/lines/0/quantity", "2", "WRONG_TYPE"),
    ("/order/lines/0/quantity", True, "WRONG_TYPE"),
    ("/order/lines/0/quantity", JsonNumber("1.0"), "WRONG_TYPE"),
    ("/order/lines/0/quantity", 1.0, "WRONG_TYPE"),
    ("/order/lines/0/tax_rate", "100.01", "OUT_OF_RANGE"),
    ("/order/lines/0/tax_rate", "-1", "NOT_A_DECIMAL"),
    ("/order/lines/0/tax_rate", "13%", "NOT_A_DECIMAL"),
    ("/order/lines/0/tax_rate", 13, "WRONG_TYPE"),
    ("/incident/types", [], "EMPTY"),
    ("/incident/types", "shipping_delay", "WRONG_TYPE"),
    ("/incident/types/0", "earthquake", "NOT_IN_VALUES"),
    ("/incident/types/0", 1, "WRONG_TYPE"),
    ("/incident/lines/0", "9", "UNKNOWN_LINE"),
    ("/incident/lines/0", 1, "WRONG_TYPE"),
    ("/incident/cause", "x" * 257, "TOO_LONG"),
    ("/incident/cause", "a\tb", "CONTROL_CHARACTER"),
    ("/incident/evidence/0", "payment_proof", "WRONG_TYPE"),
    ("/incident/evidence/0/verified", "yes", "WRONG_TYPE"),
    ("/incident/evidence/0/verified", 1, "WRONG_TYPE"),
    ("/incident/evidence", [{"kind": "photo"}] * 51, "TOO_MANY_ITEMS"),
    ("/incident/reported_at", "2026-05-20T09:59:59+08:00", "REPORTED_BEFORE_PLACED"),
    ("/incident/reported_at", "2026-06-07T00:00:01+08:00", "IN_THE_FUTURE"),
    ("/customer/id", "", "EMPTY"),
    ("/customer/tier", "platinum", "NOT_IN_VALUES"),
    ("/customer/locale", "chinese, simplified", "NOT_A_LOCALE"),
    ("/customer/locale", "zh-" + "x-" * 20 + "x", "NOT_A_LOCALE"),
    ("/customer/name", "x" * 257, "TOO_LONG"),
    ("/agent", "A-7", "WRONG_TYPE"),
    ("/agent/role", "emperor", "UNKNOWN_ROLE"),
    ("/channel", 1, "WRONG_TYPE"),
    ("/reference", "ZD-88", "WRONG_TYPE"),
    ("/reference/ticket", 88, "WRONG_TYPE"),
    ("/reference/ticket", None, "WRONG_TYPE"),
    ("/reference/bad key", "x", "NOT_A_NAME"),
    ("/reference", {f"k{n}": "x" for n in range(21)}, "TOO_MANY_REFERENCES"),
    ("/facts", [], "WRONG_TYPE"),
    ("/facts/shop.unheard_of", 1, "UNKNOWN_FACT"),
    ("/facts/shipping.delay", "P9D", "UNKNOWN_FACT"),
    ("/facts/case.urgent", True, "UNKNOWN_FACT"),
    ("/facts/customer.tier", "gold", "UNKNOWN_FACT"),
    ("/facts", {f"f{n}": 1 for n in range(101)}, "TOO_MANY_FACTS"),
    ("/facts/shop.campaign", 1, "WRONG_TYPE"),
    ("/facts/shop.campaign", "true", "WRONG_TYPE"),
    ("/facts/shop.pieces", "5", "WRONG_TYPE"),
    ("/facts/shop.pieces", True, "WRONG_TYPE"),
    ("/facts/shop.pieces", JsonNumber("5.0"), "WRONG_TYPE"),
    ("/facts/shop.pieces", 10**16, "OUT_OF_RANGE"),
    ("/facts/shop.weight", 12, "WRONG_TYPE"),
    ("/facts/shop.weight", "1e2", "NOT_A_DECIMAL"),
    ("/facts/shop.deposit", "40.00", "WRONG_TYPE"),
    ("/facts/shop.deposit/amount", "40", "WRONG_DECIMALS"),
    ("/facts/shop.deposit/amount", 40, "WRONG_TYPE"),
    ("/facts/shop.deposit/currency", "USD", "WRONG_CURRENCY"),
    ("/facts/shop.waited", "P1M", "NOT_A_DURATION"),
    ("/facts/shop.waited", 5, "WRONG_TYPE"),
    ("/facts/shop.called_at", "yesterday", "NOT_A_TIMESTAMP"),
    ("/facts/shop.size", "huge", "NOT_IN_VALUES"),
    ("/facts/shop.tags", "fragile", "WRONG_TYPE"),
    ("/facts/shop.tags/0", 1, "WRONG_TYPE"),
    ("/facts/shop.tags/1", "fragile", "DUPLICATE_VALUE"),
    ("/facts/shop.note", 1, "WRONG_TYPE"),
    ("/as_of", "now", "NOT_A_TIMESTAMP"),
    ("/as_of", "9999-12-31T23:59:59Z", "OUT_OF_RANGE"),
    ("/as_of", "3000-01-01T00:00:00Z", "OUT_OF_RANGE"),
]


@pytest.mark.parametrize(
    ("pointer", "value", "code"), CASES, ids=[f"{where} {code}" for where, _, code in CASES]
)
def test_a_bad_value_is_refused_at_its_place(
    full: dict[str, Any], refused: Refused, pointer: str, value: object, code: str
) -> None:
    assert refused(put(full, pointer, value)) == [(pointer, code)]


def test_two_hundred_lines_are_read_and_one_more_is_not(
    full: dict[str, Any], read: Callable[[object], Any], refused: Refused
) -> None:
    lines = [{"id": str(number), "paid": "1.00"} for number in range(1, 201)]
    assert len(read(put(full, "/order/lines", lines)).request.lines) == 200
    assert refused(put(full, "/order/lines", [*lines, {"id": "201"}])) == [
        ("/order/lines", "TOO_MANY_LINES")
    ]


def test_line_ids_differ(full: dict[str, Any], refused: Refused) -> None:
    lines = [{"id": "1"}, {"id": "2"}, {"id": "1"}, {"id": "2", "paid": 5}]

    assert refused(put(full, "/order/lines", lines)) == [
        ("/order/lines/2/id", "DUPLICATE_LINE"),
        ("/order/lines/3/paid", "WRONG_TYPE"),
    ]


@pytest.mark.parametrize("body", [None, [], "x", 1, True, JsonNumber("1.5")])
def test_a_body_that_is_no_object_is_refused(refused: Refused, body: object) -> None:
    assert refused(body) == [("", "WRONG_TYPE")]


def test_all_problems_are_named_at_once_and_in_order(
    full: dict[str, Any], refused: Refused
) -> None:
    full["order"]["lines"] = [
        {"id": str(n), "paid": "1.0" if n in (2, 10) else "1.00"} for n in range(12)
    ]
    full["order"]["currency"] = "CNY"
    full["incident"]["lines"] = ["99", "2"]
    full["incident"]["reported_at"] = "2030-01-01T00:00:00Z"
    full["customer"] = {"name": 7}
    full["agent"]["role"] = "emperor"
    full["typo"] = 1

    assert refused(full) == [
        ("/agent/role", "UNKNOWN_ROLE"),
        ("/customer/id", "MISSING_FIELD"),
        ("/customer/name", "WRONG_TYPE"),
        ("/incident/lines/0", "UNKNOWN_LINE"),
        ("/incident/reported_at", "IN_THE_FUTURE"),
        ("/order/lines/2/paid", "WRONG_DECIMALS"),
        ("/order/lines/10/paid", "WRONG_DECIMALS"),
        ("/typo", "UNKNOWN_FIELD"),
    ]


def test_no_more_than_a_hundred_problems_are_named(full: dict[str, Any], refused: Refused) -> None:
    lines = [{"id": str(n), "paid": 1, "sku": 1} for n in range(200)]

    assert len(refused(put(full, "/order/lines", lines))) == 100


def test_a_wrong_currency_is_one_problem_and_not_one_for_each_amount(
    full: dict[str, Any], refused: Refused
) -> None:
    put(full, "/order/lines/0/paid", "-1")

    assert refused(put(full, "/order/currency", "???")) == [
        ("/order/currency", "UNKNOWN_CURRENCY"),
        ("/order/lines/0/paid", "NOT_AN_AMOUNT"),
    ]


def test_what_the_credential_refuses_is_refused_before_the_body(
    full: dict[str, Any], pack: Pack
) -> None:
    class AboveCeilingError(Exception):
        pass

    def refuse(claim: AgentClaim | None) -> Agent:
        assert claim == AgentClaim("A-7", "agent")
        raise AboveCeilingError

    with pytest.raises(AboveCeilingError):
        read_decision({**full, "typo": 1}, pack, resolve_agent=refuse, now=NOW)


def test_a_message_never_shows_more_than_a_bit_of_what_was_sent(
    full: dict[str, Any], pack: Pack
) -> None:
    huge = "9" * 60_000
    for pointer in (
        "/order/lines/0/paid",
        "/order/currency",
        "/customer/tier",
        "/as_of",
        "/incident/lines/0",
        "/facts/shop.size",
    ):
        with pytest.raises(InvalidInputError) as caught:
            read_decision(
                put(copy.deepcopy(full), pointer, huge), pack, resolve_agent=as_named, now=NOW
            )
        assert all(len(each.message) < 300 for each in caught.value.problems)


_PLACES = [
    "/order", "/order/id", "/order/currency", "/order/lines", "/order/lines/0", "/incident/types",
    "/order/lines/0/id", "/order/lines/0/paid", "/incident", "/incident/lines", "/customer",
    "/incident/evidence", "/agent", "/reference", "/facts", "/facts/shop.deposit", "/as_of",
    "/order/placed_at", "/incident/reported_at",
]  # fmt: skip
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.builds(JsonNumber, st.just("1.5")) | st.just("CNY") | st.just("2026-06-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "kind", "lines", "amount", "currency"]), inner),
    max_leaves=6,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.dictionaries(st.sampled_from(_PLACES), _ANYTHING, min_size=1, max_size=3))
def test_whatever_stands_in_a_body_it_is_read_or_refused_with_problems(
    full: dict[str, Any], pack: Pack, changes: dict[str, object]
) -> None:
    body = copy.deepcopy(full)
    for pointer, value in changes.items():
        try:
            put(body, pointer, value)
        except (KeyError, TypeError, IndexError, ValueError):
            continue
    with suppress(InvalidInputError):
        read_decision(body, pack, resolve_agent=as_named, now=NOW)


@given(st.binary(max_size=100))
def test_random_json_is_no_request(pack: Pack, body: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_decision(
            read_json(b'{"order": "' + body.hex().encode() + b'"}'),
            pack,
            resolve_agent=as_named,
            now=NOW,
        )


def test_an_agent_that_the_pack_narrows_away_is_refused(full: dict[str, Any], pack: Pack) -> None:
    facts = {**pack.facts, "agent.role": replace(pack.facts["agent.role"], values=("bot",))}
    narrowed = replace(pack, facts=facts)
    with pytest.raises(InvalidInputError) as error:
        read_decision(full, narrowed, resolve_agent=as_named, now=NOW)
    assert [(each.pointer, each.code) for each in error.value.problems] == [
        ("/agent/role", "NOT_IN_VALUES")
    ]
