"""One page answers why a customer got something in June, and who allowed it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from policy_engine.core.money import parse_money
from policy_engine.usecases.errors import UseCaseError
from policy_engine.usecases.statements import statement
from tests.reports.conftest import BEGIN, END, Quarter

RAISED = datetime(2026, 5, 15, 12, tzinfo=UTC)
"""By then the delay coupon had been raised from 5 % to 6 %."""


def of(quarter: Quarter, customer: str, **other: Any) -> dict[str, Any]:
    span = {"since": BEGIN, "until": END, "by": "an auditor"} | other
    return statement(quarter.services, customer, **span)


@pytest.fixture(scope="module")
def everybody(quarter: Quarter) -> list[dict[str, Any]]:
    found = [of(quarter, f"C-{number}") for number in range(1, 23)]
    return [each for each in found if each["grants"]]


def test_the_statements_of_all_customers_add_up_to_the_ledger(
    quarter: Quarter, everybody: list[dict[str, Any]]
) -> None:
    totals: Counter[str] = Counter()
    for found in everybody:
        for total in found["totals"]:
            money = parse_money(total["granted"]["amount"], total["granted"]["currency"])
            totals[money.currency] += money.minor
    ledger = dict(
        quarter.rows(
            "SELECT currency, sum(minor) FROM v_grant_movements WHERE movement = 'post' "
            "GROUP BY currency"
        )
    )
    assert totals == {currency: int(str(minor)) for currency, minor in ledger.items()}


def test_a_rule_is_worded_as_it_was_when_it_decided(everybody: list[dict[str, Any]]) -> None:
    grants = [
        grant
        for found in everybody
        for grant in found["grants"]
        if grant["plan"] == "shipping_delay/delay_coupon"
    ]
    seen = set()
    for grant in grants:
        rule = grant["rules"][0]
        later = grant["granted_at"] > RAISED.isoformat()
        seen.add(later)
        title = "A larger coupon for the wait" if later else "Coupon for the wait"
        assert rule["title"] == title
        assert rule["gives"][0].startswith(f"coupon: {6 if later else 5} % of order.goods_paid")
        assert rule["when"] == "shipping.delay over P5D"
        assert rule["policy"] == "Shipping delay"
        facts = {each["fact"]: each for each in grant["facts"]}
        assert facts["shipping.delay"]["source"] == "computed"
        assert facts["shipping.delay"]["required"] == "over P5D"
        assert "order.goods_paid" in facts
    assert seen == {True, False}


def test_it_says_who_asked_who_allowed_it_and_where_it_is_proved(
    quarter: Quarter, everybody: list[dict[str, Any]]
) -> None:
    approved = [
        grant
        for found in everybody
        for grant in found["grants"]
        if any(each["as"] == "approver" for each in grant["allowed_by"])
    ]
    assert approved
    for grant in approved:
        by = next(each for each in grant["allowed_by"] if each["as"] == "approver")
        assert by["who"] in ("Jonas", "陈静", "Amélie", "Grace")
        assert by["who"] != grant["requested"]["agent"]
        move = next(each for each in grant["moves"] if each["proof"]["record"] == by["record"])
        assert move["said"] == {"note": "请按此处理 · as agreed with the customer"}
        cap = next(each for each in move["caps"] if each["cap"] == "supervisor_order")
        assert cap["limit"] is not None
        entry = quarter.services.ledger.log.record(by["record"])
        assert entry is not None
        assert (entry.digest, entry.index) == (move["proof"]["digest"], move["proof"]["log_index"])


def test_looking_is_recorded_under_the_pseudonym(quarter: Quarter) -> None:
    found = of(quarter, "C-1")
    entry = quarter.services.ledger.log.record(found["record"])
    assert entry is not None
    assert entry.kind == "statement"
    event = json.loads(entry.content)
    assert (event["by"], event["customer"]) == ("an auditor", found["customer"])
    assert b"C-1" not in entry.content


def test_nobody_knows_an_unknown_customer_and_an_empty_time_is_refused(quarter: Quarter) -> None:
    assert of(quarter, "nobody")["grants"] == []
    with pytest.raises(UseCaseError):
        of(quarter, "C-1", until=BEGIN)


def test_only_what_happened_in_the_time_is_shown(quarter: Quarter) -> None:
    june = datetime(2026, 6, 1, tzinfo=UTC)
    whole = {each["grant_id"]: each for each in of(quarter, "C-1")["grants"]}
    part = of(quarter, "C-1", since=june)["grants"]
    assert {each["grant_id"] for each in part} == {
        grant_id
        for grant_id, each in whole.items()
        if any(move["at"] >= "2026-06-01" for move in each["moves"])
    }
