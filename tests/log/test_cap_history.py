"""Each grant against the caps of its moment: histories that a service at fault, or somebody with
every key of it, could have written. Hashes, signatures, rows and counters all fit each other, so
nothing but following the caps finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from policy_engine.api.app import create_app
from policy_engine.core.grant_moves import approved, granted_remedies, rejected, reversed_
from policy_engine.core.granting import OfferPart, TakenPart, Taking, take
from policy_engine.core.grants import Entry, GrantRemedy, GrantState, Movement
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, Used
from policy_engine.core.request import Agent, DecisionRequest
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.shapes import CredentialTerms, StoredDecision
from policy_engine.ledger.transaction import Transaction
from policy_engine.ledger.usage import LedgerUsage
from policy_engine.packs.files import PackFiles
from policy_engine.usecases import (
    approving,
    grant_bodies,
    moving,
    packs,
    settling,
    taking,
    verifying,
)
from policy_engine.usecases.cap_states import CapStates, GrantUsage
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.library import Library
from policy_engine.usecases.principals import Principal
from policy_engine.usecases.services import Services
from policy_engine.usecases.taking import OfferTaking
from tests.api.conftest import Api
from tests.grants.conftest import PACK, Shop, money, open_shop, person
from tests.log.filling import DEAR
from tests.log.given import sequence

REFUND: dict[str, Any] = {"plan": "broken/refund", "incident__types": ["broken"]}
HALF: dict[str, Any] = {"plan": "broken/half", "incident__types": ["broken"]}


@pytest.fixture
def shop(make_services: Callable[..., Services], sqlite_url: str) -> Shop:
    services = make_services(sqlite_url)
    services.ledger.upgrade()
    packs.activate_folder(services, PACK, by="tests")
    return open_shop(Api(create_app(services), services))


def found(shop: Shop) -> list[str]:
    """What verification finds, without the grant's id before it."""
    services = shop.api.services
    assert sequence(services) > 0
    report = verifying.verify(services, (), None)
    assert {each.table for each in report.findings} <= {"record"}, report.findings
    return [each.message.partition(": ")[2] for each in report.findings]


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the service knows of nothing that was granted before."""

    def forget() -> None:
        real = LedgerUsage.read

        def read(self: LedgerUsage, question: Any) -> Usage:
            usage = real(self, question)
            return replace(usage, used=dict.fromkeys(usage.used, Used()), money_back={})

        monkeypatch.setattr(LedgerUsage, "read", read)
        monkeypatch.setattr(LedgerUsage, "expected", lambda *_: {})

    return forget


def taken_whole(part: OfferPart) -> TakenPart:
    """All of it at once."""
    return TakenPart(
        part, part.total, 0, posts=True, reserves=False, posted_shares=part.shares,
        reserved_shares=(),
    )  # fmt: skip


def test_a_history_within_its_caps_is_good(shop: Shop) -> None:
    waits = shop.granted(shop.bot, order__lines=DEAR)
    assert shop.approve(shop.supervisor, waits, amount=money("25.00")).status_code == 201
    used = {"remedy": "coupon", "amount": money("5.50"), "reference": "SO-2"}
    assert shop.move(shop.settle, waits, "redemptions", **used).status_code == 201
    assert shop.move(shop.settle, waits, "reversals", reason="it came").status_code == 201
    shop.granted(shop.agent, **REFUND)
    assert found(shop) == []


def test_what_was_given_while_no_pack_had_a_cap_counts_once_it_is_back(shop: Shop) -> None:
    services = shop.api.services
    for number, pack in enumerate((bare(), PackFiles.from_folder(PACK))):
        packs.activate_files(services, pack, by="tests")
        packs.follow(services)
        shop.granted(shop.agent, order__id=f"SO-{number}")
    assert found(shop) == []


def bare() -> PackFiles:
    """The pack without the caps of the customer and of the month."""
    files = dict(PackFiles.from_folder(PACK).files)
    kept = [
        line
        for line in files["caps.yaml"].splitlines()
        if b"customer_30d" not in line and b"budget" not in line
    ]
    return PackFiles({**files, "caps.yaml": b"\n".join(kept)})


def test_under_a_pack_that_this_release_cannot_read_nothing_is_known(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.granted(shop.agent)

    def unreadable(_library: Library, revision: str, _semantics: int | None = None) -> None:
        raise NotReadyError("PACK_UNUSABLE", f"this release can't load the pack `{revision}`")

    monkeypatch.setattr(Library, "engine", unreadable)
    services = shop.api.services
    sequence(services)
    report = verifying.verify(services, (), None, replaying=False)
    assert report.verdict == "incomplete"
    assert report.findings[0].message.startswith("its caps can't be computed again (this release")


def test_a_grant_that_says_less_was_used_than_was_is_found(
    shop: Shop, forgetful: Callable[[], None]
) -> None:
    shop.granted(shop.agent, **HALF)
    forgetful()
    shop.granted(shop.agent, **HALF)
    caps = "cap `order_total`, cap `bot_order`, cap `agent_order`, cap `supervisor_order`"
    assert f"{caps} before it: says 0, all that was granted comes to 40000" in found(shop)


def test_money_back_beyond_what_was_paid_for_a_line_is_found(
    shop: Shop, forgetful: Callable[[], None]
) -> None:
    shop.granted(shop.agent, **REFUND)
    forgetful()
    shop.granted(shop.agent, **REFUND)
    said = "money back on `line:1` at most it: says 80000, all that was granted comes to 160000"
    assert said in found(shop)


def test_a_rolling_window_that_is_said_to_be_empty_is_found(
    shop: Shop, forgetful: Callable[[], None]
) -> None:
    shop.granted(shop.agent, order__id="SO-1")
    forgetful()
    shop.granted(shop.agent, order__id="SO-2")
    assert "cap `customer_30d` before it: says 0, all that was granted comes to 4000" in found(shop)


def test_a_grant_beyond_a_cap_that_it_states_truly_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(taken: Taking) -> Taking:
        return replace(taken, parts=tuple(taken_whole(each.part) for each in taken.parts))

    monkeypatch.setattr(taking, "take", taken_and(whole))
    shop.granted(shop.bot, order__lines=DEAR)
    assert "gives, or sets aside, something else than its caps bore" in found(shop)


def test_a_grant_that_no_role_could_give_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = [shop.decide(shop.agent) for _ in range(2)]

    def generous(
        pack: Pack, request: DecisionRequest, now: datetime, asked: Any, port: GrantUsage
    ) -> Taking:
        kinds = [(each.kind.value, each.policy) for each in asked]
        port.read(CapStates.of(pack, request, now, kinds).question())
        return Taking(tuple(taken_whole(each) for each in asked), None, ())

    monkeypatch.setattr(taking, "take", generous)
    assert [shop.take(shop.agent, each).status_code for each in offers] == [201, 201]
    assert found(shop) == ["gives 4000 where the caps left `agent` and above 0; cap `once` cuts it"]


def test_a_grant_that_waits_for_too_low_a_role_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower = taken_and(lambda each: replace(each, approver="supervisor"))
    monkeypatch.setattr(taking, "take", lower)
    shop.granted(shop.agent, **REFUND, order__lines=DEAR)
    assert found(shop) == ["waits for `supervisor`, where its caps ask for `finance`"]


def taken_and(changed: Callable[[Taking], Taking]) -> Callable[..., Taking]:
    """What the caps bear, and something done to it."""

    def taken(*arguments: Any) -> Taking:
        found = take(*arguments)
        assert isinstance(found, Taking)
        return changed(found)

    return taken


def test_an_offer_that_was_taken_too_late_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = shop.decide(shop.agent)
    later = datetime.fromisoformat(offer["expires_at"])
    monkeypatch.setattr(shop.api.services.ledger._database, "now", lambda _connection: later)
    assert shop.take(shop.agent, offer).status_code == 409
    monkeypatch.setattr(taking, "_check_in_time", lambda *_: None)
    assert shop.take(shop.agent, offer).status_code == 201
    assert found(shop) == ["takes an offer that had expired"]


def test_an_offer_that_was_made_to_look_and_then_taken_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = person(shop.api, "A-7", "agent", "decide", "grant", "simulate", client="desk")
    offer = shop.decide(looks, as_of="2026-06-20T00:00:00Z")
    assert shop.take(looks, offer).status_code == 409
    real = Transaction.decision

    def grantable(transaction: Transaction, decision_id: str, client: str) -> StoredDecision:
        decision = real(transaction, decision_id, client)
        assert decision is not None
        return replace(decision, grantable=True, expires_at=datetime.max.replace(tzinfo=UTC))

    monkeypatch.setattr(Transaction, "decision", grantable)
    assert shop.take(looks, offer).status_code == 201
    assert "takes an offer that was made to look, not to be taken" in found(shop)


def test_an_offer_that_was_taken_in_another_role_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = shop.decide(shop.bot)
    real = OfferTaking._new_grant

    def promoted(taken: OfferTaking, *arguments: Any) -> Grant:
        grant = real(taken, *arguments)
        return replace(grant, agent=replace(grant.agent, role="agent"))

    monkeypatch.setattr(OfferTaking, "_new_grant", promoted)
    assert shop.take(shop.bot, offer).status_code == 201
    said = "was asked by another agent, or in another role, than the decision"
    assert said in found(shop)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"owner": "A-9"}, "was asked by another client or owner than those of its key"),
        ({"agent": Agent("A-9", "bot")}, "was asked with the key of another person"),
    ],
)
def test_a_grant_that_somebody_else_asked_for_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    real = OfferTaking._new_grant
    monkeypatch.setattr(
        OfferTaking, "_new_grant", lambda *arguments: replace(real(*arguments), **change)
    )
    shop.granted(shop.bot)
    services = shop.api.services
    sequence(services)
    findings = verifying.verify(services, (), None).findings
    assert said in {each.message.partition(": ")[2] for each in findings}


def test_a_rejection_that_is_none_is_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = shop.granted(shop.bot, order__lines=DEAR)

    def lapsed(*arguments: Any) -> tuple[Entry, ...]:
        return tuple(replace(each, movement=Movement.LAPSE) for each in rejected(*arguments))

    monkeypatch.setattr(approving, "rejected", lapsed)
    assert shop.move(shop.supervisor, waits, "reject", reason="no").status_code == 201
    assert found(shop) == ["rejects something else than what waited"]


def test_an_approval_that_is_counted_in_another_window_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.bot, order__lines=DEAR)

    def in_another_window(*arguments: Any) -> tuple[Entry, ...]:
        return tuple(
            replace(each, counted_at=datetime(2026, 1, 1, tzinfo=UTC))
            for each in approved(*arguments)
        )

    monkeypatch.setattr(approving, "approved", in_another_window)
    assert shop.approve(shop.supervisor, waits).status_code == 201
    assert "approves something else than what waited" in found(shop)


def test_a_grant_that_waits_for_longer_than_its_pack_says_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = OfferTaking._new_grant

    def patient(taken: OfferTaking, *arguments: Any) -> Grant:
        return replace(real(taken, *arguments), pending_until=datetime(2099, 1, 1, tzinfo=UTC))

    monkeypatch.setattr(OfferTaking, "_new_grant", patient)
    shop.granted(shop.bot, order__lines=DEAR)
    assert found(shop) == ["waits for longer, or shorter, than its pack says"]


def test_a_limit_that_the_pack_does_not_have_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = grant_bodies.cap_records

    def wider(readings: Any) -> list[dict[str, Any]]:
        return [
            {**each, "limit": 99_999} if each["cap"] == "budget" else each
            for each in real(readings)
        ]

    monkeypatch.setattr(grant_bodies, "cap_records", wider)
    shop.granted(shop.agent)
    assert found(shop) == [
        f"cap `budget` {when} it: says limit 99999, under its pack 5000000"
        for when in ("before", "after")
    ]


def test_a_cap_that_a_grant_is_silent_about_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = grant_bodies.cap_records
    monkeypatch.setattr(grant_bodies, "cap_records", lambda readings: real(readings)[1:])
    shop.granted(shop.agent)
    services = shop.api.services
    sequence(services)
    (finding,) = verifying.verify(services, (), None).findings
    assert finding.message.startswith("does not go with the caps of its moment (ValueError")


def test_sums_that_a_grant_does_not_lead_to_are_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LedgerUsage, "after", lambda _self, usage, _changes: usage)
    monkeypatch.setattr(LedgerUsage, "expected", lambda *_: {})
    shop.granted(shop.agent)
    assert "cap `budget` after it: says 0, all that was granted comes to 4000" in found(shop)


def test_an_approval_by_whoever_answers_for_who_asked_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.bot, order__lines=DEAR)
    owner = person(shop.api, "A-1", "agent", "approve", client="desk")
    assert shop.approve(owner, waits).status_code == 403
    monkeypatch.setattr(approving, "_by", whoever_calls)
    assert shop.approve(owner, waits).status_code == 201
    assert found(shop) == ["was decided by whoever asked for it, or answers for who did"]


def test_an_approval_with_another_key_of_ones_own_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.agent, **REFUND, order__lines=DEAR)
    other = person(shop.api, "A-7", "finance", "approve", client="desk")
    assert shop.approve(other, waits).status_code == 403
    monkeypatch.setattr(approving, "_by", whoever_calls)
    assert shop.approve(other, waits).status_code == 201
    assert found(shop) == ["was decided by whoever asked for it, or answers for who did"]


def test_an_approval_with_a_key_that_the_asker_answers_for_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.agent, **REFUND, order__lines=DEAR)
    lent = person(shop.api, "F-1", "finance", "approve", client="desk", owner="A-7")
    assert shop.approve(lent, waits).status_code == 403
    monkeypatch.setattr(approving, "_by", whoever_calls)
    assert shop.approve(lent, waits).status_code == 201
    assert found(shop) == ["was decided by whoever asked for it, or answers for who did"]


def test_an_approval_of_what_a_plug_in_asked_for_oneself_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in = shop.api.key("decide", "grant", client="desk")
    me = {"id": "F-1", "role": "agent"}
    offer = shop.decide(plug_in, incident__types=["broken"], order__lines=DEAR, agent=me)
    taken = shop.take(plug_in, offer, "broken/refund", agent=me)
    assert taken.json is not None
    own = person(shop.api, "F-1", "finance", "approve", client="desk")
    assert shop.approve(own, taken.json).status_code == 403
    monkeypatch.setattr(approving, "_by", whoever_calls)
    assert shop.approve(own, taken.json).status_code == 201
    assert found(shop) == ["was decided by whoever asked for it, or answers for who did"]


def test_an_approval_in_a_role_that_its_key_does_not_have_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.agent, **REFUND, order__lines=DEAR)

    def promoted(caller: Any, moved: Any, texts: Any) -> moving.Said:
        return replace(whoever_calls(caller, moved, texts), role="finance")

    monkeypatch.setattr(approving, "_by", promoted)
    assert shop.approve(shop.supervisor, waits).status_code == 201
    assert found(shop) == ["was decided with the key of another person, or in another role"]


def test_an_approval_in_too_low_a_role_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.agent, **REFUND, order__lines=DEAR)
    monkeypatch.setattr(approving, "_by", whoever_calls)
    monkeypatch.setattr(approving, "_met", unmet)
    assert shop.approve(shop.supervisor, waits).status_code == 201
    assert found(shop) == ["`supervisor` decided on it, which waits for `finance` or a role above"]


def test_an_approval_beyond_the_caps_of_its_moment_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.bot, order__lines=DEAR)
    packs.activate_files(shop.api.services, poorer(), by="tests")
    packs.follow(shop.api.services)
    assert shop.approve(shop.supervisor, waits).status_code == 409
    monkeypatch.setattr(approving, "_met", unmet)
    assert shop.approve(shop.supervisor, waits).status_code == 201
    left = "where the caps left `supervisor` 1000; cap `supervisor_order` cuts it"
    assert found(shop) == [f"approves 3000 of `coupon`, {left}"]


def poorer() -> PackFiles:
    """The pack, and a supervisor who may give less."""
    files = dict(PackFiles.from_folder(PACK).files)
    caps = files["caps.yaml"]
    files["caps.yaml"] = caps.replace(b'"500.00"', b'"20.00"')
    assert files["caps.yaml"] != caps
    return PackFiles(files)


def whoever_calls(caller: Any, _moved: Any, texts: dict[str, str | None]) -> moving.Said:
    """Who decides, without asking whether they may."""
    said = {name: text for name, text in texts.items() if text is not None}
    return moving.Said(caller.person.id, caller.client, caller.credential, said, caller.person.role)


def unmet(moved: moving.Moving, _added: Any, _role: str) -> GrantUsage:
    """The caps as they are read, and asked for nothing."""
    assert moved.request is not None
    kinds = moved.grant.holder.remedies.values()
    states = CapStates.of(moved.packs.active, moved.request, moved.now, kinds)
    usage = GrantUsage(moved.transaction.usage(moved.now))
    usage.read(states.question())
    return usage


@pytest.mark.parametrize("change", [{"customer": "ab" * 32}, {"order_id": "SO-9"}])
def test_a_grant_that_counts_for_somebody_else_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    real = OfferTaking._new_grant
    monkeypatch.setattr(
        OfferTaking, "_new_grant", lambda *arguments: replace(real(*arguments), **change)
    )
    answer = shop.take(shop.agent, shop.decide(shop.agent))
    assert answer.status_code == 201
    services = shop.api.services
    sequence(services)
    findings = verifying.verify(services, (), None).findings
    said = "is for another order, customer or currency than the decision"
    assert said in {each.message.partition(": ")[2] for each in findings}


@pytest.mark.parametrize("change", [{"source": "broken/refund"}, {"valid_for": None}])
def test_a_grant_of_something_else_than_was_offered_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    def others(taken: Taking) -> tuple[GrantRemedy, ...]:
        return tuple(replace(each, **change) for each in granted_remedies(taken))

    monkeypatch.setattr(taking, "granted_remedies", others)
    shop.granted(shop.agent)
    assert found(shop) == ["gives something else, or from elsewhere, than the decision offers"]


def test_a_grant_in_a_role_that_its_key_does_not_have_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Principal, "agent", lambda *_: Agent("BOT-1", "supervisor"))
    shop.granted(shop.bot)
    assert found(shop) == ["was asked in a role, or for somebody, that its key does not reach"]


@pytest.mark.parametrize(
    ("agent", "good"),
    [
        (Agent("A-1", "agent"), True),
        (Agent("A-1", "supervisor"), False),
        (Agent("B-1", "bot"), True),
        (Agent("B-1", "agent"), False),
        (Agent("C-1", "bot"), False),
    ],
)
def test_whom_a_plug_in_speaks_for_is_held_against_its_ceiling_and_roster(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, agent: Agent, good: bool
) -> None:
    terms = CredentialTerms(
        client="plug-in",
        scopes=frozenset({"decide", "grant"}),
        ceiling="agent",
        roster={"A-1": "supervisor", "B-1": "bot"},
    )
    plug_in = shop.api.services.ledger.credentials.create(terms, "tests").key
    monkeypatch.setattr(Principal, "agent", lambda *_: agent)
    shop.granted(plug_in)
    said = "was asked in a role, or for somebody, that its key does not reach"
    assert found(shop) == ([] if good else [said])


def test_a_reversal_of_what_was_used_is_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    coupon = shop.granted(shop.agent)
    used = {"remedy": "coupon", "amount": money("40.00"), "reference": "SO-2"}
    assert shop.move(shop.settle, coupon, "redemptions", **used).status_code == 201
    assert shop.move(shop.settle, coupon, "reversals", reason="no").status_code == 409

    def unused(state: GrantState, *asked: Any) -> tuple[Entry, ...]:
        remedies = {name: replace(each, redeemed=0) for name, each in state.remedies.items()}
        return reversed_(replace(state, remedies=remedies), *asked)

    monkeypatch.setattr(settling, "reversed_", unused)
    assert shop.move(shop.settle, coupon, "reversals", reason="no").status_code == 201
    assert found(shop) == ["takes back something else than could be"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"amount": money("1.00")},
        {"remedy": "coupon"},
        {"remedy": "coupon", "amount": money("1.00")},
    ],
)
def test_however_a_reversal_was_asked_for_it_is_good(shop: Shop, asked: dict[str, Any]) -> None:
    coupon = shop.granted(shop.agent)
    for _ in range(2):
        reversal = shop.move(shop.settle, coupon, "reversals", reason="no", **asked)
    assert reversal.status_code == (201 if "amount" in asked else 409)
    assert found(shop) == []


def test_headroom_that_is_given_back_by_a_report_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shop.granted(shop.bot, order__lines=DEAR)
    monkeypatch.setattr(
        settling, "fulfilled", lambda state, *_: rejected(state, state.entries[0].at)
    )
    done = {"remedy": "coupon", "status": "done", "external_ref": "CODE-1"}
    assert shop.move(shop.settle, waits, "fulfilments", **done).status_code == 201
    assert "changes what is held of caps, which no `fulfil` does" in found(shop)
