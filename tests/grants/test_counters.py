"""Counters follow from the entries: checked, rebuilt, and built for caps that are new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from policy_engine.usecases import packs
from tests.grants.conftest import PACK, Shop, money


def execute(shop: Shop, statement: str) -> None:
    """Writes past the ledger, as somebody with the database in their hands would."""
    with shop.api.services.ledger._database.engine.begin() as connection:
        guarded = ("cap_movement", "line_movement", "grant_entry")
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        else:
            for table in guarded:
                for verb in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_{verb}"))
        connection.execute(text(statement))
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = DEFAULT"))


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE limit_counter SET amount = amount + 1 WHERE amount > 1", "limit_counter"),
        ("DELETE FROM limit_counter WHERE amount > 1", "limit_counter"),
        ("UPDATE cap_movement SET minor = minor - 1", "cap_movement"),
        ("UPDATE cap_movement SET counted_at_us = counted_at_us + 1", "cap_movement"),
        ("DELETE FROM line_movement", "line_movement"),
        ("UPDATE line_movement SET minor = 0", "line_movement"),
        ("UPDATE grant_state SET status = 'rejected'", "grant_state"),
        ("UPDATE grant_state SET due_at_us = NULL", "grant_state"),
        ("UPDATE order_pin SET first_grant_id = NULL", "order_pin"),
        ("UPDATE grant_entry SET minor = minor + 1", "limit_counter"),
    ],
)
def test_a_planted_difference_is_found(shop_on_both: Shop, statement: str, table: str) -> None:
    shop = shop_on_both
    shop.granted(shop.bot)
    shop.granted(
        shop.agent,
        "broken/refund",
        incident__types=["broken"],
        order__id="SO-2",
        order__lines=[{"id": "1", "paid": "20.00"}],
    )
    shop.check()
    execute(shop, statement)
    found = shop.api.services.ledger.check_counters()
    assert table in {each.table for each in found}


def with_caps(tmp_path: Path, text_of: Callable[[str], str]) -> Path:
    folder = tmp_path / "other"
    folder.mkdir(exist_ok=True)
    for file in PACK.glob("*.yaml"):
        content = file.read_text()
        (folder / file.name).write_text(text_of(content) if file.name == "caps.yaml" else content)
    return folder


def test_a_cap_that_is_new_counts_what_was_granted_before(
    shop_on_both: Shop, tmp_path: Path
) -> None:
    shop = shop_on_both
    shop.granted(shop.bot)
    shop.granted(shop.agent, order__id="SO-2")
    new = (
        "  - {cap: year, scope: customer, measure: value, policies: [shipping_delay, broken], "
        'limit: {CNY: "100.00"}}\n'
        "  - {cap: days, scope: customer, measure: count, limit: 9, "
        "window: {calendar: month, zone: UTC}}\n"
    )
    folder = with_caps(tmp_path, lambda caps: caps + new)
    packs.activate_folder(shop.api.services, folder, by="tests")
    assert shop.cap("year", customer="C-1")["used"] == money("80.00")
    assert shop.cap("days", customer="C-1")["used"] == 2
    shop.check()
    refused = shop.decide(shop.agent, order__id="SO-3")["plans"][0]
    assert (refused["allowed"], refused["binding_cap"]) == (money("20.00"), "year")


def test_a_cap_that_comes_back_counts_what_was_granted_meanwhile(
    shop_on_both: Shop, tmp_path: Path
) -> None:
    shop = shop_on_both
    shop.granted(shop.agent)
    without = with_caps(
        tmp_path, lambda caps: "".join(x for x in caps.splitlines(True) if "cap: budget" not in x)
    )
    packs.activate_folder(shop.api.services, without, by="tests")
    shop.granted(shop.agent, order__id="SO-2", customer__id="C-2")
    shop.check()
    packs.activate_folder(shop.api.services, PACK, by="tests")
    assert shop.cap("budget")["used"] == money("80.00")
    shop.check()


def test_a_grant_meets_the_caps_of_the_pack_that_is_active_by_then(
    make_shop: Callable[..., Shop], database_url: str, tmp_path: Path
) -> None:
    shop, other = make_shop(database_url), make_shop(database_url)
    decision = shop.decide(shop.agent)
    tight = with_caps(tmp_path, lambda caps: caps.replace('CNY: "200.00"', 'CNY: "39.99"'))
    packs.activate_folder(other.api.services, tight, by="tests")
    # This node hasn't heard of it yet.
    refused = shop.take(shop.agent, decision)
    assert (refused.status_code, refused.json["code"]) == (409, "CAP_EXHAUSTED")
    assert refused.json["binding_cap"] == "customer_30d"
    assert refused.json["left"]["allowed"] == money("39.99")
    taken = shop.take(shop.agent, decision, amount=money("39.99"))
    assert taken.status_code == 201, taken.json


def test_caps_say_when_their_headroom_comes_back(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.agent)
    caps: dict[str, Any] = {each["cap"]: each for each in grant["caps"]}
    assert caps["customer_30d"]["used"] == money("40.00")
    assert caps["customer_30d"]["headroom"] == money("160.00")
    assert caps["customer_30d"]["resets_at"] is not None
    assert caps["agent_day"]["used"] == 1
    assert "budget" not in caps
    assert (
        shop.cap("customer_30d", customer="C-1")["resets_at"] == (caps["customer_30d"]["resets_at"])
    )
    decided = {each["cap"]: each for each in shop.decide(shop.agent)["caps"]}
    assert decided["customer_30d"] == caps["customer_30d"]


def test_caps_of_the_pack_are_for_auditors(shop: Shop) -> None:
    assert "budget" in shop.caps(shop.audit, order="SO-1")
    assert "budget" not in shop.caps(shop.agent, order="SO-1")
    missing = shop.api.send("GET", "/v1/caps", shop.agent)
    assert (missing.status_code, missing.json["errors"][0]["code"]) == (422, "MISSING_PARAMETER")
