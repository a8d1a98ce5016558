"""What somebody might try, over HTTP: nobody gains a minor unit, and each has its answer.

Every test ends with the ledger's own check: counters and lines are what the entries come to.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from policy_engine.usecases import packs
from tests.api.conftest import Api, app_over
from tests.grants.conftest import COUPON, PACK, Shop, money, person

REFUND, HALF, PROVEN = "broken/refund", "broken/half", "broken/proven"
BROKEN: dict[str, Any] = {"incident__types": ["broken"]}


@pytest.fixture
def shop(make_shop: Callable[..., Shop], database_url: str) -> Iterator[Shop]:
    opened = make_shop(database_url)
    yield opened
    opened.check()


@pytest.fixture
def new_pack(tmp_path: Path) -> Callable[..., None]:
    """Makes a changed pack the active one: files by name, or a change of `caps.yaml`."""

    def activate(shop: Shop, *changes: tuple[str, str], **files: str) -> None:
        folder = tmp_path / f"pack-{len(list(tmp_path.glob('pack-*')))}"
        shutil.copytree(PACK, folder)
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text)
        caps = (folder / "caps.yaml").read_text()
        for old, new in changes:
            assert old in caps
            caps = caps.replace(old, new)
        (folder / "caps.yaml").write_text(caps)
        assert packs.activate_folder(shop.api.services, folder, by="tests")

    return activate


def code(answer: TestResponse) -> tuple[int, str]:
    assert answer.json is not None
    return answer.status_code, answer.json.get("code", answer.json.get("status", ""))


def act_for(shop: Shop, *scopes: str, owner: str | None = None, client: str = "desk") -> str:
    from policy_engine.ledger.shapes import CredentialTerms

    terms = CredentialTerms(
        client=client, scopes=frozenset(scopes), ceiling="supervisor", owner=owner
    )
    return shop.api.services.ledger.credentials.create(terms, "tests").key


def used(shop: Shop, cap: str = "order_total", **whose: str) -> Any:
    """Of an order that nothing is known of, nothing."""
    found = shop.caps(shop.audit, **(whose or {"order": "SO-1"}))
    return found[cap]["used"] if cap in found else money("0.00")


AGENT = {"id": "A-7", "role": "agent"}
SUPERVISOR = {"id": "S-1", "role": "supervisor"}


# --- offers of others ----------------------------------------------------------------------------


def test_a_supervisors_offer_is_not_taken_by_a_bot(shop: Shop) -> None:
    offer = shop.decide(shop.supervisor)
    assert offer["plans"][0]["allowed"] == money("40.00")
    assert code(shop.take(shop.bot, offer)) == (404, "NO_SUCH_DECISION")
    same_client = person(shop.api, "BOT-2", "bot", "decide", "grant", client="desk")
    assert code(shop.take(same_client, offer)) == (403, "NOT_YOUR_DECISION")
    assert code(shop.take(same_client, offer, agent=SUPERVISOR)) == (403, "AGENT_MISMATCH")
    # The same human in a lower role is not who decided either.
    plug_in = act_for(shop, "decide", "grant")
    as_agent = {"id": "S-1", "role": "agent"}
    assert code(shop.take(plug_in, offer, agent=as_agent)) == (403, "NOT_YOUR_DECISION")
    assert code(shop.take(plug_in, offer, agent=AGENT)) == (403, "NOT_YOUR_DECISION")
    assert shop.take(shop.supervisor, offer).status_code == 201


def test_an_offer_of_another_role_is_not_taken_by_the_same_agent(shop: Shop) -> None:
    plug_in = act_for(shop, "decide", "grant")
    offer = shop.decide(plug_in, agent={"id": "A-7", "role": "supervisor"})
    assert code(shop.take(plug_in, offer, agent=AGENT)) == (403, "NOT_YOUR_DECISION")
    assert code(shop.take(shop.agent, offer)) == (403, "NOT_YOUR_DECISION")


# --- the same thing twice ------------------------------------------------------------------------


def test_one_decision_is_granted_once_under_twenty_fresh_keys(shop: Shop) -> None:
    offer = shop.decide(shop.agent, **BROKEN, order__lines=[{"id": "1", "paid": "100.00"}])
    tries = [(REFUND, {}), (HALF, {}), (REFUND, {"amount": money("1.00")}), (HALF, {})] * 5
    answers = [code(shop.take(shop.agent, offer, plan, **more)) for plan, more in tries]
    assert answers == [(201, "granted")] + [(409, "ALREADY_GRANTED")] * 19
    assert used(shop) == money("100.00")


def test_taking_less_forfeits_the_rest(shop: Shop) -> None:
    offer = shop.decide(shop.agent)
    assert code(shop.take(shop.agent, offer, amount=money("0.01"))) == (201, "granted")
    assert code(shop.take(shop.agent, offer, amount=money("39.99"))) == (409, "ALREADY_GRANTED")
    assert used(shop) == money("0.01")


@pytest.mark.parametrize(
    ("amount", "answer"),
    [
        (money("40.01"), (409, "AMOUNT_ABOVE_OFFER")),
        (money("40", "JPY"), (422, "INVALID_REQUEST")),
        (money("-1.00"), (422, "INVALID_REQUEST")),
        (money("0.00"), (422, "INVALID_REQUEST")),
    ],
)
def test_an_amount_outside_of_the_offer_grants_nothing(
    shop: Shop, amount: Any, answer: tuple[int, str]
) -> None:
    refused = shop.take(shop.agent, shop.decide(shop.agent), amount=amount)
    assert refused.status_code == answer[0]
    assert answer[0] == 422 or code(refused) == answer
    assert used(shop) == money("0.00")


def test_twenty_decisions_for_one_late_order_are_one_grant(shop: Shop) -> None:
    offers = [shop.decide(shop.agent) for _ in range(20)]
    answers = [code(shop.take(shop.agent, offer)) for offer in offers]
    assert answers == [(201, "granted")] + [(409, "CAP_EXHAUSTED")] * 19
    assert used(shop) == money("40.00")
    late = shop.decide(shop.agent)
    assert [each["code"] for each in late["not_offered"]] == ["CAP_EXHAUSTED"]


def test_twenty_decisions_to_refund_one_order_never_give_back_more_than_was_paid(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    # Without any cap on it: what was paid is the last bound of all.
    new_pack(shop, ('limit: {percent: "100", of: order.total_paid}', 'limit: {CNY: "99999.00"}'))
    lines = [{"id": "1", "paid": "70.01"}, {"id": "2", "paid": "30.00"}]
    offers = [shop.decide(shop.agent, **BROKEN, order__lines=lines) for _ in range(20)]
    answers = [
        code(shop.take(shop.agent, offer, HALF if number % 2 else REFUND))
        for number, offer in enumerate(offers[1:])
    ]
    assert answers == [(201, "granted")] + [(409, "CAP_EXHAUSTED")] * 18
    assert used(shop) == money("100.01")
    again = shop.decide(shop.agent, **BROKEN, order__lines=lines)
    assert {each["code"] for each in again["not_offered"]} >= {"NOTHING_LEFT"}


def test_halves_of_an_odd_amount_add_up_to_the_whole_and_no_further(shop: Shop) -> None:
    lines = [{"id": "1", "paid": "70.01"}, {"id": "2", "paid": "30.00"}]
    grants = 0
    for _ in range(20):
        offer = shop.decide(shop.agent, **BROKEN, order__lines=lines)
        if HALF not in [plan["plan"] for plan in offer["plans"]]:
            break
        grants += shop.take(shop.agent, offer, HALF).status_code == 201
    assert used(shop)["amount"] <= "100.01"
    assert grants >= 2


# --- another order than it was -------------------------------------------------------------------


def test_an_order_total_raised_between_two_decisions_is_refused(shop: Shop) -> None:
    small = shop.decide(shop.agent)
    raised = [{"id": "1", "paid": "8000.00"}]
    more_lines = [{"id": "1", "paid": "800.00"}, {"id": "2", "paid": "7200.00"}]
    before = [shop.decide(shop.agent, order__lines=lines) for lines in (raised, more_lines)]
    assert shop.take(shop.agent, small).status_code == 201
    for offer in before:
        assert code(shop.take(shop.agent, offer)) == (409, "ORDER_MISMATCH")
    for changes in (
        {"order__lines": raised},
        {"order__lines": more_lines},
        {"order__shipping_paid": "99.00"},
        {"order__lines": [{"id": "9", "paid": "800.00"}]},
        {"customer__id": "C-2"},
    ):
        body = {**changes, "incident__types": ["broken"]}
        assert code(_decided(shop, shop.agent, **body)) == (409, "ORDER_MISMATCH")
    assert used(shop) == money("40.00")


def test_one_order_id_in_two_currencies_is_one_order(shop: Shop) -> None:
    yuan = shop.decide(shop.agent, **BROKEN)
    in_yen = {"order__currency": "JPY", "order__shipping_paid": "0"}
    in_yen["order__lines"] = [{"id": "1", "paid": "800"}]  # type: ignore[assignment]
    yen = shop.decide(shop.agent, **BROKEN, **in_yen)
    assert shop.take(shop.agent, yen, REFUND).status_code == 201
    assert code(shop.take(shop.agent, yuan, HALF)) == (409, "ORDER_MISMATCH")
    assert code(_decided(shop, shop.agent, **BROKEN)) == (409, "ORDER_MISMATCH")


def _decided(shop: Shop, credential: str, **changes: Any) -> TestResponse:
    from tests.api.conftest import late_order

    body = late_order(**changes)
    del body["agent"]
    return shop.api.decide(credential, body)


# --- another time than it is ---------------------------------------------------------------------


def test_a_chosen_as_of_is_forbidden_or_can_not_be_granted(shop: Shop) -> None:
    past = "2026-06-10T00:00:00+08:00"
    assert _decided(shop, shop.agent, as_of=past).status_code == 403
    simulating = person(shop.api, "A-7", "agent", "decide", "grant", "simulate", client="desk")
    looked = shop.decide(simulating, as_of=past)
    assert looked["grantable"] is False
    assert code(shop.take(simulating, looked)) == (409, "NOT_GRANTABLE")
    assert code(shop.take(shop.agent, looked)) == (409, "NOT_GRANTABLE")
    assert used(shop) == money("0.00")


GENEROUS = """
policy: broken_before
title: {en: Broken}
reason_code: BROKEN
applies_to: [wrong_item]
date_by: incident
effective: {until: "2026-03-01T00:00:00Z"}
plans:
  - plan: back
    title: {en: Half of it back}
    remedies: [{kind: refund, percent: "50", of: order.goods_paid}]
"""
STRICT = GENEROUS.replace("{until", "{from").replace('percent: "50"', 'percent: "5"')


def test_a_back_dated_report_reaches_no_older_terms_than_the_order_is_old(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    new_pack(shop, wrong_before=GENEROUS, wrong_now=STRICT)
    wrong = {"incident__types": ["wrong_item"], "order__placed_at": "2026-05-01T00:00:00Z"}

    def reported(at: str) -> TestResponse:
        return _decided(shop, shop.agent, incident__reported_at=at, **wrong)

    honest = reported("2026-05-03T00:00:00Z")
    assert honest.json is not None
    assert honest.json["plans"][0]["allowed"] == money("40.00")
    for at, problem in (
        ("2026-02-01T00:00:00Z", "REPORTED_BEFORE_PLACED"),
        ("2026-04-30T23:59:59Z", "REPORTED_BEFORE_PLACED"),
        ("2199-01-01T00:00:00Z", "IN_THE_FUTURE"),
    ):
        refused = reported(at)
        assert refused.status_code == 422
        assert refused.json is not None
        assert [each["code"] for each in refused.json["errors"]] == [problem]
    # On an order that the shop has registered, the order is no younger than it says.
    order = {
        "id": "SO-1",
        "currency": "CNY",
        "placed_at": "2026-05-01T00:00:00Z",
        "lines": [{"id": "1", "paid": "800.00"}],
    }
    put = shop.api.send(
        "PUT",
        "/v1/orders/SO-1",
        shop.orders,
        json={"order": order, "customer": {"id": "C-1"}},
        headers={"Idempotency-Key": "registration"},
    )
    assert put.status_code == 201, put.json
    older = {"id": "SO-1", "placed_at": "2026-01-01T00:00:00Z"}
    body = {
        "order": older,
        "incident": {"types": ["wrong_item"], "reported_at": "2026-02-01T00:00:00Z"},
        "customer": {"id": "C-1"},
    }
    assert code(shop.api.decide(shop.agent, body)) == (409, "ORDER_MISMATCH")
    body["order"] = {"id": "SO-1"}
    refused = shop.api.decide(shop.agent, body)
    assert refused.status_code == 422, refused.json


@pytest.mark.parametrize("ahead", [2, -2])
def test_a_clock_of_one_process_that_is_two_seconds_off_gains_nothing(
    make_shop: Callable[..., Shop], database_url: str, ahead: int
) -> None:
    shop = make_shop(database_url)
    services = shop.api.services
    skewed = replace(services, clock=lambda: datetime.now(UTC) + timedelta(seconds=ahead))
    other = replace(shop, api=Api(app_over(skewed), skewed))
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    refused = _decided(other, shop.agent, incident__reported_at=soon.isoformat())
    # On a machine that took so long to answer, it is the past by now.
    assert refused.status_code == 422 or datetime.now(UTC) > soon, refused.json
    begin = datetime.now(UTC)
    offer = other.decide(shop.agent)
    decided = datetime.fromisoformat(offer["as_of"])
    assert begin <= decided <= datetime.now(UTC)
    late = datetime.fromisoformat(offer["expires_at"]) - decided
    assert late == timedelta(minutes=15)
    begin = datetime.now(UTC)
    grant = other.take(shop.agent, offer).json
    assert grant is not None
    assert begin <= datetime.fromisoformat(grant["entries"][0]["at"]) <= datetime.now(UTC)
    assert code(shop.take(shop.agent, shop.decide(shop.agent, **BROKEN), REFUND))[0] in (201, 409)
    shop.check()


# --- facts that aren't the caller's --------------------------------------------------------------

DERIVED = """
facts:
  incident.types: {type: set, values: [shipping_delay, wrong_item, broken]}
  customer.tier: {type: enum, values: [standard, gold]}
  shop.campaign: {type: boolean, from: request, default: false}
  case.severity:
    type: enum
    values: [low, high]
    derive:
      - {is: high, when: {fact: shop.campaign, is: true}}
      - {is: low}
"""


def test_a_computed_or_derived_fact_is_not_taken_from_the_caller(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    new_pack(shop, facts=DERIVED)
    claims: dict[str, Any] = {
        "shipping.delay": "P30D",
        "order.goods_paid": "99999.00",
        "order.total_paid": {"amount": "99999.00", "currency": "CNY"},
        "case.severity": "high",
        "order.age": "P1D",
        "customer.tier": "gold",
    }
    for name, value in claims.items():
        refused = _decided(shop, shop.agent, facts={name: value})
        assert refused.status_code == 422, name
        assert refused.json is not None
        assert refused.json["errors"][0]["pointer"].startswith("/facts"), refused.json
    assert _decided(shop, shop.agent, facts={"shop.campaign": True}).status_code == 201


# --- evidence ------------------------------------------------------------------------------------


def test_the_same_evidence_serves_one_order(shop: Shop) -> None:
    photo = [{"kind": "photo", "reference": "IMG-1", "verified": True}]
    shown = {**BROKEN, "incident__evidence": photo}
    first = shop.decide(shop.agent, **shown, order__id="SO-1")
    second = shop.decide(shop.agent, **shown, order__id="SO-2")
    assert PROVEN in [plan["plan"] for plan in second["plans"]]
    assert shop.take(shop.agent, first, PROVEN).status_code == 201
    assert code(shop.take(shop.agent, second, PROVEN)) == (409, "EVIDENCE_SPENT")
    again = shop.decide(shop.agent, **shown, order__id="SO-3")
    missing = {each["plan"]: each["code"] for each in again["not_offered"]}
    assert missing[PROVEN] == "EVIDENCE_MISSING"
    # On its own order it goes on serving.
    same = shop.decide(shop.agent, **shown, order__id="SO-1")
    assert PROVEN in [plan["plan"] for plan in same["plans"]]
    assert used(shop, order="SO-2") == money("0.00")


RECEIPT = """
policy: broken_receipt
title: {en: Shown by a receipt}
reason_code: BROKEN
applies_to: [broken]
plans:
  - plan: shown
    title: {en: Shown by a receipt}
    evidence: [{kind: receipt, needs: [reference]}]
    remedies: [{kind: compensation, amount: {CNY: "20.00"}}]
"""


def test_a_reference_serves_one_order_whatever_it_is_called(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    new_pack(shop, broken_receipt=RECEIPT)
    shown = {
        kind: {**BROKEN, "incident__evidence": [{"kind": kind, "reference": "IMG-1"}]}
        for kind in ("photo", "receipt")
    }
    as_photo = shop.decide(shop.agent, **shown["photo"], order__id="SO-1")
    as_receipt = shop.decide(shop.agent, **shown["receipt"], order__id="SO-2")
    assert shop.take(shop.agent, as_photo, PROVEN).status_code == 201
    assert code(shop.take(shop.agent, as_receipt, "broken_receipt/shown")) == (
        409,
        "EVIDENCE_SPENT",
    )
    again = shop.decide(shop.agent, **shown["receipt"], order__id="SO-3")
    refused = {each["plan"]: each["code"] for each in again["not_offered"]}
    assert refused["broken_receipt/shown"] == "EVIDENCE_MISSING"
    assert used(shop, order="SO-2") == money("0.00")


# --- approving one's own -------------------------------------------------------------------------


def test_nobody_approves_what_they_asked_for_by_another_key(shop: Shop) -> None:
    waiting = shop.granted(shop.agent, HALF, **BROKEN)
    assert waiting["status"] == "partly_pending"
    promoted = person(shop.api, "A-7", "supervisor", "approve", client="desk")
    elsewhere = person(shop.api, "A-7", "supervisor", "approve", client="elsewhere")
    owned = person(shop.api, "S-9", "supervisor", "approve", client="desk", owner="A-7")
    for key in (promoted, elsewhere, owned):
        assert code(shop.approve(key, waiting)) == (403, "FOUR_EYES")
        assert code(shop.move(key, waiting, "reject", reason="mine")) == (403, "FOUR_EYES")
    assert code(shop.approve(shop.agent, waiting)) == (403, "FOUR_EYES")
    assert shop.read(shop.audit, waiting).json["status"] == "partly_pending"  # type: ignore[index]


def test_nobody_approves_by_acting_for_somebody(shop: Shop) -> None:
    waiting = shop.granted(shop.agent, HALF, **BROKEN)
    plug_in = act_for(shop, "approve", "grant", "decide")
    refused = shop.approve(plug_in, waiting)
    assert code(refused) == (403, "PERSON_NEEDED")
    named = shop.approve(plug_in, waiting, agent=SUPERVISOR)
    assert named.status_code == 422, "an approver is the credential's, never the body's"


def test_whoever_settles_for_somebody_does_it_in_their_role_and_not_above_its_own(
    shop: Shop,
) -> None:
    grant = shop.granted(shop.agent)
    plug_in = act_for(shop, "settle")
    words = {"remedy": "coupon", "amount": money("1.00"), "reason": "r"}
    above = shop.move(plug_in, grant, "reversals", agent={"id": "F-1", "role": "finance"}, **words)
    assert code(above) == (403, "ROLE_ABOVE_CEILING")
    named = shop.move(plug_in, grant, "reversals", agent=AGENT, **words)
    assert (named.status_code, named.json["entries"][-1]["actor"]) == (201, AGENT["id"])  # type: ignore[index]
    by_itself = shop.move(plug_in, grant, "reversals", **words)
    assert by_itself.json["entries"][-1]["actor"] == "desk"  # type: ignore[index]
    shop.check()


def test_who_answers_for_the_asking_credential_does_not_approve(shop: Shop) -> None:
    # S-1 owns the plug-in and asks through it under another's name.
    plug_in = act_for(shop, "decide", "grant", owner="S-1")
    offer = shop.decide(plug_in, **BROKEN, agent=AGENT)
    waiting = shop.take(plug_in, offer, HALF, agent=AGENT).json
    assert waiting is not None
    assert code(shop.approve(shop.supervisor, waiting)) == (403, "FOUR_EYES")
    other = person(shop.api, "S-2", "supervisor", "approve", client="desk")
    assert code(shop.approve(other, waiting)) == (201, "granted")


def test_a_role_below_the_approvers_does_not_approve(shop: Shop) -> None:
    waiting = shop.granted(shop.agent, HALF, **BROKEN)
    colleague = person(shop.api, "A-8", "agent", "approve", client="desk")
    assert code(shop.approve(colleague, waiting)) == (403, "ROLE_TOO_LOW")
    bot = person(shop.api, "BOT-9", "bot", "approve", client="desk")
    assert code(shop.approve(bot, waiting)) == (403, "ROLE_TOO_LOW")


def test_an_approver_of_another_client_sees_what_their_role_decides_and_nothing_else(
    shop: Shop,
) -> None:
    waiting = shop.granted(shop.agent, HALF, **BROKEN)
    at_once = shop.granted(shop.agent, order__id="SO-2")
    absent = {"grant_id": "01969f2e-5c1a-7d20-9f6e-2b1c6a4d8e33"}

    def seen(key: str, *grants: dict[str, Any]) -> set[str]:
        """What those who are no approvers of a grant get to know of it."""
        told: set[str] = set()
        for grant in grants:
            for answer in (
                shop.read(key, grant),
                shop.approve(key, grant),
                shop.move(key, grant, "reject", reason="no"),
            ):
                assert answer.json is not None
                told.add(str({**answer.json, "request_id": None}))
        return told

    agent = person(shop.api, "A-8", "agent", "approve", client="elsewhere")
    plug_in = act_for(shop, "approve", "grant", client="elsewhere")
    supervisor = person(shop.api, "S-8", "supervisor", "approve", client="elsewhere")
    nothing = seen(agent, absent)
    assert len(nothing) == 1
    assert "NO_SUCH_GRANT" in nothing.copy().pop()
    assert seen(agent, waiting, at_once) == seen(plug_in, waiting, at_once) == nothing
    assert seen(supervisor, at_once) == nothing
    queue = "/v1/grants?status=pending"
    listed = {key: shop.api.send("GET", queue, key).json for key in (agent, supervisor)}
    assert [each["grant_id"] for each in listed[supervisor]["grants"]] == [waiting["grant_id"]]  # type: ignore[index]
    assert listed[agent]["grants"] == []  # type: ignore[index]
    # Of the client's own grants, why not is no secret.
    colleague = person(shop.api, "A-8", "agent", "approve", client="desk")
    assert code(shop.approve(colleague, waiting)) == (403, "ROLE_TOO_LOW")
    assert code(shop.approve(supervisor, waiting)) == (201, "granted")
    assert shop.read(supervisor, waiting).status_code == 200


def test_two_approvals_together_stay_within_the_approvers_cap(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    # 300.00 at once and 100.00 for a supervisor; then another 100.00: 500.00, the cap.
    first = shop.granted(shop.agent, HALF, **BROKEN)
    offer = shop.decide(shop.agent, **BROKEN)
    second = shop.take(shop.agent, offer, HALF, amount=money("100.00")).json
    assert second is not None
    assert second["approver"] == first["approver"] == "supervisor"
    assert [each["pending"] for each in (first, second)] == [money("100.00")] * 2
    # Meanwhile the supervisors' cap shrinks to 450.00: there is room for one and a half.
    new_pack(
        shop,
        (
            'roles: [supervisor], limit: {CNY: "500.00"',
            'roles: [supervisor], limit: {CNY: "450.00"',
        ),
    )
    refused = shop.approve(shop.supervisor, first)
    assert code(refused) == (409, "CAP_EXHAUSTED")
    assert refused.json is not None
    assert refused.json["left"]["allowed"] == money("50.00")
    assert refused.json["binding_cap"] == "supervisor_order"
    assert code(shop.approve(shop.supervisor, first, amount=money("50.01")))[0] == 409
    assert code(shop.approve(shop.supervisor, first, amount=money("50.00"))) == (201, "granted")
    assert code(shop.approve(shop.supervisor, second)) == (201, "granted")
    assert used(shop) == money("450.00")


# --- fresh allowances ----------------------------------------------------------------------------


def test_a_cap_renamed_in_a_new_revision_gives_no_fresh_allowance(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    stale = shop.decide(shop.agent, order__id="SO-2", order__lines=[{"id": "1", "paid": "4000.00"}])
    assert stale["plans"][0]["allowed"] == money("200.00")
    shop.granted(shop.agent, COUPON)
    changes = [("cap: once", "cap: only_once"), ("cap: customer_30d", "cap: monthly")]
    changes += [("cap: order_total", "cap: whole"), ("cap: agent_day", "cap: per_day")]
    new_pack(shop, *changes)
    caps = shop.caps(shop.audit, order="SO-1", customer="C-1", agent="A-7")
    assert caps["only_once/shipping_delay"]["used"] == 1
    assert caps["monthly"]["used"] == caps["whole"]["used"] == money("40.00")
    assert caps["per_day"]["used"] == 1
    again = shop.decide(shop.agent)
    assert [each["code"] for each in again["not_offered"]] == ["CAP_EXHAUSTED"]
    # 200.00 is above what is left of 30 days; that offer was made before the grant counted.
    refused = shop.take(shop.agent, stale)
    assert code(refused) == (409, "CAP_EXHAUSTED")
    assert refused.json is not None
    assert refused.json["left"]["allowed"] == money("160.00")
    assert refused.json["binding_cap"] == "monthly"
    assert shop.take(shop.agent, stale, amount=money("160.00")).status_code == 201
    assert used(shop, "monthly", customer="C-1") == money("200.00")


def test_a_cap_left_out_for_a_while_remembers_what_was_given_meanwhile(
    shop: Shop, new_pack: Callable[..., None]
) -> None:
    once = "  - {cap: once, scope: claim, measure: count, policies: [shipping_delay], limit: 1}\n"
    new_pack(shop, (once, ""))
    shop.granted(shop.agent, COUPON)
    shop.granted(shop.agent, COUPON)
    shop.check()
    packs.activate_folder(shop.api.services, PACK, by="tests")
    assert shop.cap("once/shipping_delay")["used"] == 2
    again = shop.decide(shop.agent)
    assert [each["code"] for each in again["not_offered"]] == ["CAP_EXHAUSTED"]


def test_a_refund_reversed_and_given_again_is_given_once(shop: Shop) -> None:
    lines = [{"id": "1", "paid": "70.01"}, {"id": "2", "paid": "30.00"}]
    for _ in range(3):
        offer = shop.decide(shop.agent, **BROKEN, order__lines=lines)
        taken = shop.take(shop.agent, offer, REFUND)
        assert code(taken) == (201, "granted")
        grant = taken.json
        assert grant is not None
        # Money that left can't be taken back, until the shop says that it didn't.
        assert code(shop.move(shop.settle, grant, "reversals", reason="x")) == (
            409,
            "NOT_REVERSIBLE",
        )
        assert (
            shop.move(
                shop.settle, grant, "fulfilments", remedy="refund", status="failed"
            ).status_code
            == 201
        )
        for amount in ("33.33", "66.68"):
            back = shop.move(
                shop.settle, grant, "reversals", amount=money(amount), reason="bank refused"
            )
            assert back.status_code == 201, back.json
        assert code(shop.move(shop.settle, grant, "reversals", reason="x"))[0] == 409
        assert code(
            shop.move(
                shop.settle, grant, "fulfilments", remedy="refund", status="done", external_ref=None
            )
        ) == (409, "NOT_GRANTED")
        assert used(shop) == money("0.00")
    last = shop.granted(shop.agent, REFUND, **BROKEN, order__lines=lines)
    assert last["granted"] == money("100.01")
    more = shop.decide(shop.agent, **BROKEN, order__lines=lines)
    assert REFUND not in [plan["plan"] for plan in more["plans"]]
