"""What finance reads of grants that went an odd way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from policy_engine.packs.files import PackFiles
from policy_engine.usecases import packs
from policy_engine.usecases.accounts import Decided, steps
from policy_engine.usecases.reporting import month_report
from policy_engine.usecases.statements import statement
from tests.grants.conftest import PACK, Shop, money

LINE = {"id": "1", "paid": "10.00", "tax_rate": "13"}


def taxes(shop: Shop) -> dict[str, list[int | None]]:
    """Of each movement with an amount, as exports say them; of the only grant there is."""
    history = shop.api.services.ledger.history
    (grant,) = history.grants(shop.api.services.ledger.now() + timedelta(seconds=1))
    decided = Decided(grant.decision)
    found: dict[str, list[int | None]] = {}
    for step in steps(grant):
        if step.entry.minor:
            found.setdefault(step.entry.movement.value, []).append(decided.tax(step))
    return found


def refund_taken_back_in_parts(shop: Shop, *lines: dict[str, Any]) -> None:
    order = {"incident__types": ["broken"], "order__lines": list(lines)}
    grant = shop.granted(shop.agent, "broken/refund", **order)
    failed = shop.move(shop.settle, grant, "fulfilments", remedy="refund", status="failed")
    assert failed.status_code == 201
    for amount in ("3.33", "3.33", "3.34"):
        back = shop.move(shop.settle, grant, "reversals", amount=money(amount), reason="r")
        assert back.status_code == 201, back.json


def test_the_tax_of_all_reversals_is_that_of_what_was_given(shop: Shop) -> None:
    refund_taken_back_in_parts(shop, LINE)
    found = taxes(shop)
    assert found["post"] == [115]
    assert found["reverse"] == [38, 39, 38]


def test_where_no_tax_can_be_told_of_what_was_given_none_is_told_of_its_reversal(
    shop: Shop,
) -> None:
    refund_taken_back_in_parts(shop, LINE, {"id": "2", "paid": "0.00"})
    assert taxes(shop) == {"post": [None], "reverse": [None, None, None]}


def test_while_a_time_is_not_over_what_is_owed_is_as_old_as_it_is_now(shop: Shop) -> None:
    shop.granted(shop.agent)
    first = datetime.now(UTC).date() - timedelta(days=2)
    report = month_report(shop.api.services, first, first + timedelta(days=100), UTC)
    assert report["complete"] is False
    ages = report["currencies"]["CNY"]["liability"]
    owed = {each["age"]: each["outstanding"] for each in ages if each["outstanding"]}
    assert owed == {"up to 30 days": 4000}


def test_a_statement_has_the_facts_of_add_ons_and_all_that_was_asked_of_each(shop: Shop) -> None:
    files = dict(PackFiles.from_folder(PACK).files)
    text = files["shipping_delay.yaml"].decode()
    between = "{all: [{fact: shipping.delay, over: P5D}, {fact: shipping.delay, at_most: P9000D}]}"
    text = text.replace("{fact: shipping.delay, over: P5D}", between, 1)
    gift = '[{kind: gift, amount: {CNY: "1.00"}}]'
    added = f"\nadd_ons: [{{add_on: note, when: {{fact: channel, is: phone}}, remedies: {gift}}}]\n"
    files["shipping_delay.yaml"] = (text + added).encode()
    packs.activate_files(shop.api.services, PackFiles(files), by="tests")
    shop.granted(shop.supervisor, channel="phone")
    services = shop.api.services
    until = services.ledger.now() + timedelta(seconds=1)
    told = statement(services, "C-1", since=until - timedelta(days=1), until=until, by="tests")
    facts = {each["fact"]: each for each in told["grants"][0]["facts"]}
    assert facts["shipping.delay"]["required"] == "over P5D, at_most P9000D"
    assert (facts["channel"]["value"], facts["channel"]["required"]) == ("phone", "is phone")
    assert facts["order.goods_paid"]["required"] is None
