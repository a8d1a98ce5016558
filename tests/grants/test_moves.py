"""What becomes of a grant: approved, rejected, used, taken back, lapsed, expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from policy_engine.usecases.due import settle_due
from policy_engine.usecases.sweeping import Sweeper
from tests.grants.conftest import COUPON, Shop, money, nobody, person

BROKEN = {"incident__types": ["broken"], "order__lines": [{"id": "1", "paid": "800.00"}]}


@contextmanager
def later(shop: Shop, by: timedelta, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The ledger's clock, so much ahead."""
    database = shop.api.services.ledger._database
    right = database.now
    opened = database.open

    def now(connection: Any) -> datetime:
        return right(connection) + by

    with monkeypatch.context() as patched:
        patched.setattr(database, "now", now)
        patched.setattr(
            database,
            "open",
            lambda connection, key: _moved(opened(connection, key), by),
        )
        yield


def _moved(opening: Any, by: timedelta) -> Any:
    return type(opening)(opening.now + by, opening.kept)


def test_part_of_what_waits_is_approved_and_the_rest_is_given_back(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.bot)
    answer = shop.approve(shop.supervisor, grant, amount=money("12.34"))
    assert answer.status_code == 201, answer.json
    assert (answer.json["granted"], answer.json["pending"]) == (money("22.34"), money("0.00"))
    assert shop.cap("order_total")["used"] == money("22.34")
    approved = [each for each in answer.json["entries"] if each["note"] == "fine"]
    assert [(each["amount"], each["settles"]) for each in approved] == [
        (money("12.34"), money("30.00"))
    ]
    again = shop.approve(shop.supervisor, grant)
    assert (again.status_code, again.json["code"], again.json["state"]) == (
        409,
        "NOT_PENDING",
        "granted",
    )
    shop.check()


def test_a_rejected_grant_holds_nothing(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.bot, order__lines=[{"id": "1", "paid": "800.00"}])
    rejected = shop.move(shop.supervisor, grant, "reject", reason="too much")
    assert rejected.status_code == 201
    assert (rejected.json["status"], rejected.json["pending"]) == ("granted", money("0.00"))
    assert rejected.json["entries"][-1]["note"] == "too much"
    assert rejected.json["entries"][-1]["settles"] == grant["pending"]
    assert shop.cap("order_total")["used"] == money("10.00")
    shop.check()


def test_more_than_waits_is_not_approved(shop: Shop) -> None:
    grant = shop.granted(shop.bot)
    answer = shop.approve(shop.supervisor, grant, amount=money("30.01"))
    assert (answer.status_code, answer.json["code"]) == (409, "AMOUNT_ABOVE_PENDING")


def test_an_agent_does_not_decide_on_what_the_agents_role_may_not_give(shop: Shop) -> None:
    grant = shop.granted(shop.agent, "broken/refund", **BROKEN)
    assert (grant["granted"], grant["pending"]) == (money("300.00"), money("500.00"))
    assert grant["approver"] == "finance"
    refused = shop.approve(shop.supervisor, grant)
    assert (refused.status_code, refused.json["code"]) == (403, "ROLE_TOO_LOW")
    finance = person(shop.api, "F-1", "finance", "approve", client="finance")
    assert shop.approve(finance, grant).json["granted"] == money("800.00")
    shop.check()


def test_a_role_above_the_approvers_decides_as_well(shop: Shop) -> None:
    finance = person(shop.api, "F-1", "finance", "approve", client="finance")
    assert shop.approve(finance, shop.granted(shop.bot)).status_code == 201


@pytest.mark.parametrize(
    "key",
    [
        lambda shop: nobody(shop.api, "approve", client="desk"),
        lambda shop: shop.api.key("approve", client="desk", ceiling="supervisor"),
    ],
)
def test_only_one_person_may_approve(shop: Shop, key: Callable[[Shop], str]) -> None:
    # Their client asked for it, so they can see it.
    grant = shop.granted(shop.agent, "broken/refund", **BROKEN)
    answer = shop.approve(key(shop), grant)
    assert (answer.status_code, answer.json["code"]) == (403, "PERSON_NEEDED")


def test_a_grant_of_another_client_looks_like_none(shop: Shop) -> None:
    grant = shop.granted(shop.agent)
    other = person(shop.api, "B-1", "agent", "grant", client="elsewhere")
    seen = shop.read(other, grant)
    absent = shop.api.send("GET", "/v1/grants/00000000-0000-7000-8000-000000000000", other)
    assert seen.status_code == absent.status_code == 404
    assert {**seen.json, "request_id": ""} == {**absent.json, "request_id": ""}
    listed = shop.api.send("GET", "/v1/grants", other)
    assert listed.json["grants"] == []


def test_an_approver_sees_what_waits_for_the_role_and_no_other(shop: Shop) -> None:
    waits = shop.granted(shop.bot)
    done = shop.granted(shop.agent, order__id="SO-2", customer__id="C-2")
    approver = person(shop.api, "S-2", "supervisor", "approve", client="elsewhere")
    assert shop.read(approver, waits).status_code == 200
    assert shop.read(approver, done).status_code == 404
    below = person(shop.api, "B-2", "bot", "approve", client="elsewhere")
    assert shop.read(below, waits).status_code == 404


def test_the_queue_is_oldest_first_and_goes_on_page_by_page(shop_on_both: Shop) -> None:
    shop = shop_on_both
    made = [
        shop.granted(shop.bot, order__id=f"SO-{n}", customer__id=f"C-{n}")["grant_id"]
        for n in range(5)
    ]
    seen: list[str] = []
    cursor = ""
    while True:
        page = shop.api.send(
            "GET", f"/v1/grants?status=pending&approver=agent&limit=2{cursor}", shop.supervisor
        ).json
        seen += [each["grant_id"] for each in page["grants"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made
    forged = shop.api.send("GET", "/v1/grants?cursor=AAAA", shop.supervisor)
    assert forged.json["errors"][0]["code"] == "INVALID_CURSOR"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("order=SO-1", 1),
        ("order=SO-9", 0),
        ("customer=C-1", 1),
        ("customer=C-9", 0),
        ("agent=BOT-1", 1),
        ("status=granted", 0),
        ("status=partly_pending", 1),
        ("approver=supervisor", 0),
        ("external_ref=none", 0),
    ],
)
def test_a_list_is_narrowed(shop: Shop, query: str, found: int) -> None:
    shop.granted(shop.bot)
    answer = shop.api.send("GET", f"/v1/grants?{query}", shop.audit)
    assert len(answer.json["grants"]) == found


def test_what_nobody_decides_lapses_and_gives_its_caps_back(
    shop_on_both: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.bot)
    with later(shop, timedelta(days=3, seconds=1), monkeypatch):
        too_late = shop.approve(shop.supervisor, grant)
        assert (too_late.status_code, too_late.json["code"], too_late.json["state"]) == (
            409,
            "NOT_PENDING",
            "granted",
        )
        shown = shop.read(shop.audit, grant).json
        assert [each["movement"] for each in shown["entries"]] == ["post", "reserve", "lapse"]
        assert shown["entries"][-1]["actor"] is None
        assert shop.cap("order_total")["used"] == money("10.00")
    shop.check()


def test_a_decision_counts_nothing_that_has_lapsed(
    shop_on_both: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    shop.granted(shop.agent, "broken/refund", **BROKEN)

    def refunds() -> list[dict[str, Any]]:
        plans = shop.decide(shop.agent, **BROKEN)["plans"]
        return [each for each in plans if each["plan"] == "broken/refund"]

    assert refunds() == []
    with later(shop, timedelta(days=3, seconds=1), monkeypatch):
        assert [each["pending"] for each in refunds()] == [money("500.00")]


def test_an_unused_coupon_expires_after_three_days_of_grace(
    shop_on_both: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.agent)
    use = {"remedy": "coupon", "amount": money("10.00"), "reference": "SO-2"}
    with later(shop, timedelta(days=92), monkeypatch):
        late = shop.move(shop.settle, grant, "redemptions", **use)
        assert late.json["redeemed"] == money("10.00")
    with later(shop, timedelta(days=93, seconds=1), monkeypatch):
        assert Sweeper(shop.api.services).go_round() == 1
        shown = shop.read(shop.audit, grant).json
        assert (shown["expired"], shown["status"]) == (money("30.00"), "granted")
        # Value comes back, the count doesn't.
        assert shop.cap("order_total")["used"] == money("10.00")
        assert shop.cap("once/shipping_delay")["used"] == 1
        gone = shop.move(shop.settle, grant, "redemptions", **use)
        assert (gone.status_code, gone.json["code"]) == (409, "AMOUNT_ABOVE_LEFT")
        assert settle_due(shop.api.services, 10) == 0
    shop.check()


def test_a_refund_is_reversed_only_after_it_failed(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.agent, "broken/half", **BROKEN)
    finance = person(shop.api, "F-1", "supervisor", "approve", client="finance")
    assert shop.approve(finance, grant).json["granted"] == money("400.00")
    early = shop.move(shop.settle, grant, "reversals", reason="lost")
    assert (early.status_code, early.json["code"]) == (409, "NOT_REVERSIBLE")
    failed = shop.move(shop.settle, grant, "fulfilments", remedy="refund", status="failed")
    assert failed.json["redeemed"] == money("0.00")
    back = shop.move(shop.settle, grant, "reversals", remedy="refund", reason="card closed")
    assert (back.json["status"], back.json["reversed"]) == ("reversed", money("400.00"))
    assert shop.cap("order_total")["used"] == money("0.00")
    assert shop.decide(shop.agent, **BROKEN)["outcome"] == "offer"
    shop.check()


def test_an_act_and_the_credit_beside_it_are_one_grant(shop: Shop) -> None:
    grant = shop.granted(shop.agent, "broken/keep_and_credit", **BROKEN)
    assert [each["remedy"] for each in grant["remedies"]] == ["keep_item", "store_credit"]
    assert grant["granted"] == money("80.00")
    used = {"remedy": "keep_item", "amount": money("1.00"), "reference": "SO-2"}
    refused = shop.move(shop.settle, grant, "redemptions", **used)
    assert (refused.status_code, refused.json["code"]) == (409, "NOT_REDEEMABLE")
    unknown = shop.move(shop.settle, grant, "reversals", remedy="coupon", reason="?")
    assert (unknown.status_code, unknown.json["code"]) == (409, "UNKNOWN_REMEDY")


def test_money_back_on_a_line_is_never_more_than_was_paid_whatever_the_floor(
    shop_on_both: Shop,
) -> None:
    shop = shop_on_both
    lines = [{"id": "1", "paid": "100.00"}, {"id": "2", "paid": "50.00"}]
    case = {"incident__types": ["broken"], "incident__lines": ["1"], "order__lines": lines}
    shop.granted(shop.agent, "broken/refund", **case)
    rest = shop.granted(shop.agent, "broken/floor_refund", **case)
    assert rest["granted"] == money("50.00")
    assert "broken/floor_refund" not in {
        each["plan"] for each in shop.decide(shop.agent, **case)["plans"]
    }
    shop.check()


def test_moves_are_kept_under_their_keys(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.bot)
    path = f"/v1/grants/{grant['grant_id']}/approve"
    first = shop.post(shop.supervisor, path, {"note": "ok"}, idempotency_key="k")
    again = shop.post(shop.supervisor, path, {"note": "ok"}, idempotency_key="k")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    other = shop.post(shop.supervisor, path, {"note": "no"}, idempotency_key="k")
    assert (other.status_code, other.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    none = shop.post(shop.supervisor, path, {}, idempotency_key=None)
    assert (none.status_code, none.json["code"]) == (400, "IDEMPOTENCY_KEY_MISSING")


def test_a_refusal_is_the_answer_of_its_key_as_well(shop: Shop) -> None:
    decision = shop.decide(shop.agent)
    refused = shop.take(shop.agent, decision, amount=money("99.00"), idempotency_key="k")
    shop.take(shop.agent, decision)
    again = shop.take(shop.agent, decision, amount=money("99.00"), idempotency_key="k")
    assert (again.data, again.json["code"]) == (refused.data, "AMOUNT_ABOVE_OFFER")


def test_an_erased_customer_leaves_caps_and_states_and_no_words(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.bot, customer__id="Cust-4711")
    first = shop.move(shop.supervisor, grant, "reject", reason="known to Cust-4711")
    assert first.json["customer"] == "Cust-4711"
    shop.api.services.ledger.subjects.erase("Cust-4711", "privacy")
    shown = shop.read(shop.audit, grant)
    assert shown.status_code == 200
    assert "Cust-4711" not in shown.text
    assert (shown.json["customer"], shown.json["granted"]) == (None, money("10.00"))
    assert shop.cap("order_total")["used"] == money("10.00")
    back = shop.move(shop.settle, grant, "reversals", reason="closed")
    assert back.json["status"] == "reversed"
    shop.check()


def test_an_offer_lapses_with_its_time_to_live(
    shop_on_both: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    decision = shop.decide(shop.agent)
    with later(shop, timedelta(minutes=15), monkeypatch):
        late = shop.take(shop.agent, decision)
    assert (late.status_code, late.json["code"]) == (409, "OFFER_EXPIRED")
    assert shop.take(shop.agent, decision, COUPON).status_code == 201


def test_a_second_taking_is_first_of_all_that(shop: Shop) -> None:
    decision = shop.decide(shop.agent)
    taken = shop.take(shop.agent, decision)
    for plan, more in ((COUPON, {}), (COUPON, {"amount": money("99.00")}), ("no/such", {})):
        again = shop.take(shop.agent, decision, plan, **more)
        assert (again.status_code, again.json["code"]) == (409, "ALREADY_GRANTED")
        assert again.json["grant_id"] == taken.json["grant_id"]


@pytest.mark.parametrize(
    ("move", "body", "pointer"),
    [
        ("approve", {}, "/note"),
        ("approve", {"note": ""}, "/note"),
        ("approve", {"note": None}, "/note"),
        ("redemptions", {"remedy": "coupon", "amount": money("1.00")}, "/reference"),
        ("fulfilments", {"remedy": "coupon", "status": "done"}, "/external_ref"),
        ("reject", {}, "/reason"),
        ("reversals", {}, "/reason"),
    ],
)
def test_whoever_moves_a_grant_says_why_or_what_for(
    shop: Shop, move: str, body: dict[str, Any], pointer: str
) -> None:
    grant = shop.granted(shop.bot)
    key = shop.supervisor if move in ("approve", "reject") else shop.settle
    answer = shop.move(key, grant, move, **body)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


def test_a_failure_needs_no_reference_of_the_shops(shop: Shop) -> None:
    grant = shop.granted(shop.bot)
    failed = shop.move(shop.settle, grant, "fulfilments", remedy="coupon", status="failed")
    assert failed.status_code == 201
    assert failed.json["remedies"][0]["fulfilment"] == {"status": "failed", "external_ref": None}


def test_what_is_approved_after_a_failure_has_not_failed(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.granted(shop.agent, "broken/refund", **BROKEN)
    assert (grant["granted"], grant["pending"]) == (money("300.00"), money("500.00"))
    shop.move(shop.settle, grant, "fulfilments", remedy="refund", status="failed")
    finance = person(shop.api, "F-1", "finance", "approve", client="finance")
    approved = shop.approve(finance, grant).json
    assert (approved["granted"], approved["redeemed"]) == (money("800.00"), money("500.00"))

    def viewed() -> tuple[int, ...]:
        """As tools that read SQL see it."""
        query = text(
            "SELECT granted_minor, redeemed_minor, reversed_minor, outstanding_minor "
            "FROM v_grant_remedies WHERE grant_id = :grant"
        )
        with shop.api.services.ledger._database.engine.connect() as connection:
            return tuple(connection.execute(query, {"grant": grant["grant_id"]}).one())

    assert viewed() == (80000, 50000, 0, 30000)
    words = {"amount": money("300.01"), "reason": "r"}
    assert shop.move(shop.settle, grant, "reversals", **words).status_code == 409
    back = shop.move(shop.settle, grant, "reversals", reason="r").json
    assert (back["reversed"], back["redeemed"]) == (money("300.00"), money("500.00"))
    assert viewed() == (80000, 50000, 30000, 0)
    shop.check()
