"""The whole story of one grant, over HTTP, on both databases."""

from __future__ import annotations

from tests.grants.conftest import Shop, money, person


def test_a_grant_from_the_bots_offer_to_the_last_reversal(  # noqa: PLR0915 -- one story
    shop_on_both: Shop,
) -> None:
    shop = shop_on_both
    decision = shop.decide(shop.bot)
    plan = decision["plans"][0]
    assert (plan["allowed"], plan["pending"]) == (money("10.00"), money("30.00"))
    assert plan["authority"] == {"status": "partial", "approver": "agent"}

    # The bot takes its part; the rest waits, and holds its caps.
    answer = shop.take(shop.bot, decision)
    assert answer.status_code == 201, answer.json
    grant = answer.json
    assert grant["status"] == "partly_pending"
    assert (grant["granted"], grant["pending"]) == (money("10.00"), money("30.00"))
    assert grant["approver"] == "agent"
    assert shop.cap("order_total")["used"] == money("40.00")
    assert shop.cap("order_total")["pending"] == money("30.00")
    assert shop.cap("budget")["headroom"] == money("49960.00")
    assert shop.cap("once/shipping_delay")["headroom"] == 0

    # Nobody who asked for it, or answers for who did, decides on it.
    owner = person(shop.api, "A-1", "supervisor", "approve", client="desk")
    again = person(shop.api, "BOT-1", "agent", "approve", client="other")
    for key in (owner, again):
        refused = shop.approve(key, grant)
        assert (refused.status_code, refused.json["code"]) == (403, "FOUR_EYES")

    # The supervisor does; it waits in the queue until then.
    queue = shop.api.send("GET", "/v1/grants?status=pending&approver=agent", shop.supervisor)
    assert [each["grant_id"] for each in queue.json["grants"]] == [grant["grant_id"]]
    approved = shop.approve(shop.supervisor, grant)
    assert approved.status_code == 201, approved.json
    assert approved.json["status"] == "granted"
    assert (approved.json["granted"], approved.json["pending"]) == (money("40.00"), money("0.00"))
    assert shop.cap("order_total")["used"] == money("40.00")
    assert shop.cap("once/shipping_delay")["used"] == 1

    # The shop sends the coupon, and part of it is used.
    sent = shop.move(
        shop.settle, grant, "fulfilments", remedy="coupon", status="done", external_ref="CODE-1"
    )
    assert sent.json["remedies"][0]["fulfilment"] == {"status": "done", "external_ref": "CODE-1"}
    used = shop.move(
        shop.settle,
        grant,
        "redemptions",
        remedy="coupon",
        amount=money("15.50"),
        reference="SO-2",
    )
    assert used.json["redeemed"] == money("15.50")

    # The rest is taken back, and its headroom with it.
    too_much = shop.move(shop.settle, grant, "reversals", amount=money("24.51"), reason="lost")
    assert (too_much.status_code, too_much.json["code"]) == (409, "NOT_REVERSIBLE")
    back = shop.move(shop.settle, grant, "reversals", reason="it arrived after all")
    assert back.status_code == 201, back.json
    assert back.json["reversed"] == money("24.50")
    assert back.json["status"] == "granted"
    assert shop.cap("order_total")["used"] == money("15.50")
    assert shop.cap("budget")["headroom"] == money("49984.50")
    assert shop.cap("once/shipping_delay")["used"] == 1

    shown = shop.read(shop.audit, grant)
    assert shown.json == {**back.json, "caps": shown.json["caps"]}
    movements = [each["movement"] for each in shown.json["entries"]]
    assert movements == ["post", "reserve", "post", "fulfil", "redeem", "reverse"]
    found = shop.api.send("GET", "/v1/grants?external_ref=CODE-1", shop.audit)
    assert [each["grant_id"] for each in found.json["grants"]] == [grant["grant_id"]]
    shop.check()
