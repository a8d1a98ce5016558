"""Everybody × every call × every state of a grant: what is allowed is one table, and nothing
else ever succeeds.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from policy_engine.core import grant_moves
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.usecases import packs
from tests.grants.conftest import PACK, Shop, money, nobody, person

REQUESTER = "A-1"


@dataclass(frozen=True)
class Who:
    """A caller, and what the table needs to know of it."""

    name: str
    scopes: tuple[str, ...] = ()
    client: str = "desk"
    person: str | None = None
    role: str | None = None
    acts: bool = False
    owner: str | None = None

    def key(self, shop: Shop) -> str | None:
        if not self.scopes:
            return None
        terms = CredentialTerms(
            client=self.client,
            scopes=frozenset(self.scopes),
            person=Agent(self.person, self.role) if self.person and self.role else None,
            ceiling="finance" if self.acts else None,
            owner=self.owner,
        )
        return shop.api.services.ledger.credentials.create(terms, "tests").key


ALL = ("decide", "grant", "approve")
EVERYBODY = (
    Who("nobody"),
    Who("the bot who asked", ALL, person="BOT-1", role="bot", owner="BOSS"),
    Who("another bot", ALL, person="BOT-2", role="bot"),
    Who("the bot's human with a key of their own", ALL, person="BOSS", role="supervisor"),
    Who("an agent", ALL, person=REQUESTER, role="agent"),
    Who("an agent who may not approve", ("decide", "grant"), person="A-2", role="agent"),
    Who("a supervisor", ALL, person="S-1", role="supervisor"),
    Who("finance", ALL, person="F-1", role="finance"),
    Who("a supervisor of another client", ALL, "other", person="S-2", role="supervisor"),
    Who("a bot of another client", ALL, "other", person="BOT-3", role="bot"),
    Who("a plug-in that acts for people", ALL, acts=True),
    Who("a key of nobody", ALL),
    Who("the shop", ("settle",), "shop"),
    Who("the auditors", ("audit",), "audit"),
    Who("the back end", ("orders",), "shop"),
    Who("the packs' keeper", ("packs", "simulate", "decide"), "ops"),
)


def used(amount: str) -> dict[str, Any]:
    return {"remedy": "coupon", "amount": money(amount), "reference": "SO-2"}


CALLS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "approve": ("POST", "approve", {"note": "n"}),
    "approve a part": ("POST", "approve", {"amount": money("1.00"), "note": "n"}),
    "reject": ("POST", "reject", {"reason": "r"}),
    "done": ("POST", "fulfilments", {"remedy": "coupon", "status": "done", "external_ref": None}),
    "failed": ("POST", "fulfilments", {"remedy": "coupon", "status": "failed"}),
    "redeem": ("POST", "redemptions", used("1.00")),
    "reverse": ("POST", "reversals", {"reason": "r"}),
    "reverse a part": ("POST", "reversals", {"reason": "r", "amount": money("1.00")}),
    "read": ("GET", "", None),
    "list": ("GET", "?", None),
}
NEEDS = {name: {"settle"} for name in CALLS} | {
    "approve": {"approve"},
    "approve a part": {"approve"},
    "reject": {"approve"},
    "read": {"grant", "approve", "settle", "audit"},
    "list": {"grant", "approve", "settle", "audit"},
}
WAITING = ("pending", "partly_pending")
# Which of the calls that settle a grant a state lets through.
SETTLING = {
    "pending": set[str](),
    "partly_pending": {"done", "failed", "redeem", "reverse", "reverse a part"},
    "granted": {"done", "failed", "redeem", "reverse", "reverse a part"},
    "used in part": {"done", "redeem", "reverse", "reverse a part"},
    "used up": {"done"},
    "failed": {"done", "failed", "redeem", "reverse", "reverse a part"},
    "expired": {"done", "failed"},
    "rejected": set[str](),
    "lapsed": set[str](),
    "reversed": set[str](),
}
ROLES_ABOVE_A_BOT = ("agent", "supervisor", "finance")


def allowed(who: Who, call: str, state: str) -> bool:
    """The one table. Grants were asked for by the bot of the client `desk`; what waits is for
    an agent or somebody above."""
    if not NEEDS[call] & set(who.scopes):
        return False
    waited = state in (*WAITING, "rejected", "lapsed")
    approves = waited and "approve" in who.scopes and who.role in ROLES_ABOVE_A_BOT
    if call in ("read", "list"):
        of_client = who.client == "desk"
        return of_client or approves or bool({"settle", "audit"} & set(who.scopes))
    if "settle" in NEEDS[call]:
        return call in SETTLING[state]
    return (
        state in WAITING
        and who.role in ROLES_ABOVE_A_BOT
        and who.person not in ("BOT-1", "BOSS")
        and not who.acts
    )


class Grants:
    """One grant of each state at hand; a new one when a call has moved it."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop = shop
        self._folder = folder
        self._bot = person(shop.api, "BOT-1", "bot", *ALL, client="desk", owner="BOSS")
        self._agent = person(shop.api, "A-9", "agent", "approve", client="desk")
        self._settle = nobody(shop.api, "settle", client="shop")
        self._at_hand: dict[str, dict[str, Any]] = {}
        self._made = 0

    def of(self, state: str) -> dict[str, Any]:
        if state not in self._at_hand:
            self._made += 1
            self._at_hand[state] = self._make(state, f"{self._made}")
        return self._at_hand[state]

    def moved(self, state: str) -> None:
        del self._at_hand[state]

    def _make(self, state: str, name: str) -> dict[str, Any]:
        shop = self.shop
        # 5 %: of 100.00 all at once, of 800.00 10.00 at once and 30.00 later.
        paid = "800.00" if state in (*WAITING, "rejected", "lapsed") else "100.00"
        if state == "lapsed":
            return self._lapsed(name)
        if state == "expired":
            return self._expired(name)
        grant = self._granted(name, paid)
        steps: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
            "pending": [(self._settle, "reversals", {"reason": "r"})],
            "rejected": [
                (self._settle, "reversals", {"reason": "r"}),
                (self._agent, "reject", {"reason": "r"}),
            ],
            "used in part": [(self._settle, "redemptions", used("2.00"))],
            "used up": [(self._settle, "redemptions", used("5.00"))],
            "failed": [(self._settle, "fulfilments", {"remedy": "coupon", "status": "failed"})],
            "reversed": [(self._settle, "reversals", {"reason": "r"})],
        }
        for key, move, body in steps.get(state, []):
            answer = shop.move(key, grant, move, **body)
            assert answer.status_code == 201, answer.json
        return grant

    def _granted(self, name: str, paid: str) -> dict[str, Any]:
        return self.shop.granted(
            self._bot,
            order__id=f"SO-{name}",
            customer__id=f"C-{name}",
            order__lines=[{"id": "1", "paid": paid}],
        )

    def _under(self, name: str, paid: str, file: str, text: str) -> dict[str, Any]:
        """Granted while one file of the pack said something else."""
        services, other = self.shop.api.services, self._folder / name
        shutil.copytree(PACK, other)
        (other / file).write_text(text)
        packs.activate_folder(services, other, by="tests")
        grant = self._granted(name, paid)
        packs.activate_folder(services, PACK, by="tests")
        return grant

    def _expired(self, name: str) -> dict[str, Any]:
        """With the test's grace of no days at all."""
        policy = (PACK / "shipping_delay.yaml").read_text()
        assert "P90D" in policy
        brief = policy.replace("P90D", "PT1S")
        grant = self._under(name, "100.00", "shipping_delay.yaml", brief)
        time.sleep(1.1)
        return grant

    def _lapsed(self, name: str) -> dict[str, Any]:
        grant = self._under(name, "800.00", "pack.yaml", "pending_for: PT1S\n")
        # What was given is taken back, so that nothing but the lapse is left.
        self.shop.move(self._settle, grant, "reversals", reason="r")
        time.sleep(1.1)
        return grant


@pytest.mark.timeout(600)
def test_nobody_does_anything_to_a_grant_that_the_table_does_not_allow(
    shop_on_both: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    monkeypatch.setattr(grant_moves, "EXPIRY_GRACE", timedelta())
    grants = Grants(shop, tmp_path)
    keys = {who: who.key(shop) for who in EVERYBODY}
    unexpected: list[str] = []
    tried: Counter[str] = Counter()
    for state in SETTLING:
        for call, (method, path, body) in CALLS.items():
            for who in EVERYBODY:
                grant = grants.of(state)
                address = f"/v1/grants/{grant['grant_id']}" + (f"/{path}" if path else "")
                if call == "list":
                    address = f"/v1/grants?order={grant['order']}"
                sent = {} if body is None else {"json": body}
                answer = shop.api.send(method, address, keys[who], **sent)
                worked = answer.status_code in (200, 201)
                if worked and call == "list":
                    worked = bool(answer.json["grants"])
                    assert worked or answer.json == {"grants": [], "next_cursor": None}
                tried["worked" if worked else str(answer.status_code)] += 1
                if worked != allowed(who, call, state):
                    unexpected.append(f"{who.name}: {call} × {state}: {answer.json}")
                refused = answer.status_code in (401, 403, 404, 409)
                assert worked or refused or call == "list", answer.json
                if worked and method == "POST":
                    grants.moved(state)
    assert unexpected == []
    assert tried.total() == len(SETTLING) * len(CALLS) * len(EVERYBODY)
    assert {"worked", "401", "403", "404", "409"} <= set(tried)
    shop.check()


OFFERS = ("open", "taken", "made to look", "expired")


@pytest.fixture
def offer_of(shop_on_both: Shop, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    shop = shop_on_both
    agent = person(shop.api, REQUESTER, "agent", *ALL, "simulate", client="desk")
    made = iter(range(1000))

    class Made:
        @cached_property
        def hasty(self) -> Path:
            folder = tmp_path / "hasty"
            shutil.copytree(PACK, folder)
            (folder / "pack.yaml").write_text("offer_valid_for: {default: PT1S}\n")
            return folder

    packed = Made()

    def make(state: str) -> dict[str, Any]:
        number = next(made)
        changes: dict[str, Any] = {"order__id": f"SO-{number}", "customer__id": f"C-{number}"}
        if state == "made to look":
            changes["as_of"] = "2026-06-20T00:00:00Z"
        if state == "expired":
            packs.activate_folder(shop.api.services, packed.hasty, by="tests")
        offer = shop.decide(agent, **changes)
        if state == "expired":
            packs.activate_folder(shop.api.services, PACK, by="tests")
            time.sleep(1.1)
        if state == "taken":
            assert shop.take(agent, offer).status_code == 201
        return offer

    return make


def test_nobody_takes_an_offer_but_who_it_was_made_to(
    shop_on_both: Shop, offer_of: Callable[[str], dict[str, Any]]
) -> None:
    shop = shop_on_both
    unexpected: list[str] = []
    for state in OFFERS:
        offer = offer_of(state)
        for who in EVERYBODY:
            more: list[dict[str, Any]] = [{}]
            if who.acts:
                more = [
                    {"agent": {"id": a, "role": r}}
                    for a in (REQUESTER, "A-7")
                    for r in ("bot", "agent", "supervisor")
                ]
            for each in more:
                key = who.key(shop)
                body = {"decision_id": offer["decision_id"], "plan": offer["plans"][0]["plan"]}
                answer = shop.post(key or "none", "/v1/grants", {**body, **each})
                worked = answer.status_code == 201
                # A plug-in of the client may name whom it asks for: the agent of the decision.
                is_agent = who.person == REQUESTER or each.get("agent") == {
                    "id": REQUESTER,
                    "role": "agent",
                }
                expected = state == "open" and "grant" in who.scopes and is_agent
                if worked != expected:
                    unexpected.append(f"{who.name} {each}: take × {state}: {answer.json}")
                if worked:
                    offer = offer_of(state)
    assert unexpected == []
    shop.check()
