"""A quarter of decisions and grants with everything in it that can happen, and what is made of it.

    python -m bench.demo [--orders 800] [--database URL] [--out var/demo]

A made-up shop lives through April to June 2026 in some minutes: every decision, grant, approval,
redemption, reversal and expiry goes through the service's own use cases, under a clock that is set
from one event to the next. Then the report, an export of each kind and both journals are written.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from policy_engine import bootstrap, resources
from policy_engine.core.money import Money, format_minor, parse_money
from policy_engine.core.request import Agent
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import Answer, CredentialTerms, IdempotencyKey
from policy_engine.packs.files import PackFiles
from policy_engine.settings import Settings
from policy_engine.usecases import approving, deciding, grants, packs, settling
from policy_engine.usecases.due import settle_due
from policy_engine.usecases.errors import ConflictError
from policy_engine.usecases.principals import Principal
from policy_engine.usecases.services import Services
from policy_engine.wire.problems import InvalidInputError

FIRST, AFTER = date(2026, 4, 1), date(2026, 7, 1)
BEGIN, END = (datetime(*day.timetuple()[:3], tzinfo=UTC) for day in (FIRST, AFTER))
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SECRET = "the secret of a demonstration, for nothing else"

AGENTS = (
    ("desk-bot", "bot"), ("李娜", "agent"), ("Maria", "agent"), ("Tomás", "agent"),
    ("王芳", "agent"), ("Priya", "supervisor"),
)  # fmt: skip
APPROVERS = {
    "agent": (Agent("Jonas", "agent"),),
    "supervisor": (Agent("陈静", "supervisor"), Agent("Amélie", "supervisor")),
    "finance": (Agent("Grace", "finance"),),
}
CHANNELS = ("whatsapp", "email", "shop_chat", "电话", None)
CURRENCIES = ("CNY",) * 7 + ("USD",) * 2 + ("JPY",)
UNIT_MINOR = {"CNY": 100, "USD": 15, "JPY": 20}
"""What something that costs one yuan costs, roughly, in minor units."""


class Clock:
    """The ledger's clock, set by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def turn(self, ledger: Ledger) -> None:
        """From now on the ledger lives by this clock."""
        database: Any = ledger._database  # noqa: SLF001 -- nobody else sets a ledger's clock
        opened = database.open
        database.now = lambda _connection: self.now
        database.open = lambda connection, key: replace(opened(connection, key), now=self.now)


@dataclass(order=True)
class Event:
    at: datetime
    number: int
    happen: Callable[[], None] = field(compare=False)


class Quarter:
    """The made-up shop. The same seed makes the same quarter, but for ids."""

    def __init__(self, services: Services, clock: Clock, orders: int, seed: int) -> None:
        self._services = services
        self._clock = clock
        self._chance = random.Random(seed)
        self._numbers = itertools.count()
        self._events: list[Event] = []
        self._orders = orders
        self._customers = [f"C-{number}" for number in range(1, max(8, orders // 4))]
        self._desk = self._key("helpdesk", {"decide", "grant"}, ceiling="supervisor")
        self._shop = self._key("shop", {"settle"})
        self._approvers = {
            person.id: self._key("back-office", {"approve"}, person=person)
            for people in APPROVERS.values()
            for person in people
        }
        self._answers = itertools.cycle(("reject", "all", "none", "all", "part", "all"))

    def live(self, progress: Callable[[datetime], None] = lambda _at: None) -> None:
        """Runs all that happens until the quarter is over."""
        for _ in range(self._orders):
            self._plan(BEGIN + self._chance.random() * (END - BEGIN), self._complaint)
        for day in range((AFTER - FIRST).days):
            self._plan(BEGIN + day * DAY + 4 * HOUR, self._sweep)
        self._plan(BEGIN + 44 * DAY, self._new_pack)
        # Some are still open when the quarter ends.
        for minutes, (agent, role) in zip((20, 30, 35, 40), AGENTS, strict=False):
            self._plan(END - minutes * MINUTE, self._large(agent, role))
        while self._events:
            event = heapq.heappop(self._events)
            if event.at >= END:
                return
            self._clock.now = event.at
            event.happen()
            progress(event.at)

    # --- What happens ----------------------------------------------------------------------------

    def _complaint(self) -> None:
        kinds = ("shipping_delay",) * 5 + ("oversold",) * 2 + ("wrong_item",) * 2
        agent, role = self._chance.choice(AGENTS)
        self._complain(self._chance.choice((*kinds, "not_dispatched")), agent, role)

    def _large(self, agent: str, role: str) -> Callable[[], None]:
        return lambda: self._complain("oversold", agent, role, paid=[700.0])

    def _complain(
        self, incident: str, agent: str, role: str, paid: list[float] | None = None
    ) -> None:
        body = self._request(incident, agent, role, paid)
        answer = deciding.decide(self._services, self._desk, body, self._call("decide")).answer
        decision = _read(answer)
        plans = decision["plans"]
        if plans and paid:
            plan = max(plans, key=lambda each: _money(each["pending"]).minor)
        elif plans and self._chance.random() < 0.85:
            plan = self._chance.choice(plans)
        else:
            return
        self._in(3 * MINUTE, lambda: self._take(decision, plan, body["agent"]))

    def _take(self, decision: dict[str, Any], plan: dict[str, Any], agent: dict[str, str]) -> None:
        offered = [_money(plan[part]) for part in ("allowed", "pending")]
        amount = Money(sum(each.minor for each in offered), offered[0].currency)
        less = self._chance.random() < 0.08 and amount.minor > 10 and self._clock.now < END - HOUR
        wanted = grants.Wanted(
            decision["decision_id"],
            plan["plan"],
            Money(amount.minor // 2, amount.currency) if less else None,
            Agent(agent["id"], agent["role"]),
        )
        granted = self._try(
            lambda: grants.grant(self._services, self._desk, wanted, self._call("grant"))
        )
        if granted is not None:
            self._what_comes_after(granted)

    def _what_comes_after(self, granted: dict[str, Any]) -> None:
        grant_id = granted["grant_id"]
        pending = _money(granted["pending"])
        answer = next(self._answers) if pending.minor else "none"
        if answer != "none":
            person = self._chance.choice(APPROVERS[granted["approver"]]).id
            part = Money(max(1, pending.minor // 3), pending.currency)
            act = self._reject if answer == "reject" else self._approve
            self._in(
                HOUR * self._chance.uniform(0.7, 20),
                lambda: act(grant_id, person, part if answer == "part" else None),
            )
        for remedy in granted["remedies"]:
            if remedy["kind"] == "coupon":
                self._coupon(grant_id, remedy["remedy"])
            else:
                self._carried_out(grant_id, remedy["remedy"])

    def _coupon(self, grant_id: str, remedy: str) -> None:
        fate = self._chance.random()
        later = DAY * self._chance.uniform(1.2, 17)
        if fate < 0.4:
            self._in(later, lambda: self._redeem(grant_id, remedy, 1))
        elif fate < 0.6:
            self._in(later, lambda: self._redeem(grant_id, remedy, 2))
            if fate < 0.47:
                self._in(later + DAY, lambda: self._reverse(grant_id, remedy))
        elif fate < 0.72:
            self._in(later, lambda: self._reverse(grant_id, remedy))
        # All others expire.

    def _carried_out(self, grant_id: str, remedy: str) -> None:
        failed = self._chance.random() < 0.1
        later = DAY * self._chance.uniform(1, 3)
        self._in(later, lambda: self._fulfil(grant_id, remedy, not failed))
        if failed and next(self._numbers) % 2:
            self._in(later + DAY, lambda: self._reverse(grant_id, remedy))
        elif failed:
            self._in(later + DAY, lambda: self._fulfil(grant_id, remedy, True))

    def _approve(self, grant_id: str, person: str, part: Money | None) -> None:
        who = self._approvers[person]
        self._try(
            lambda: approving.approve(
                self._services, who, grant_id, self._call("approve"), amount=part,
                note="请按此处理 · as agreed with the customer",
            )
        )  # fmt: skip

    def _reject(self, grant_id: str, person: str, _part: Money | None) -> None:
        who, key = self._approvers[person], self._call("reject")
        self._try(
            lambda: approving.reject(self._services, who, grant_id, key, reason="too much for this")
        )

    def _redeem(self, grant_id: str, remedy: str, parts: int) -> None:
        left = self._left(grant_id, remedy)
        if left.minor:
            amount = Money(max(1, left.minor // parts), left.currency)
            self._try(
                lambda: settling.redeem(
                    self._services, self._shop, grant_id, self._call("redeem"), remedy=remedy,
                    amount=amount, reference=f"order-{next(self._numbers)}",
                )
            )  # fmt: skip

    def _reverse(self, grant_id: str, remedy: str) -> None:
        key = self._call("reverse")
        self._try(
            lambda: settling.reverse(
                self._services, self._shop, grant_id, key, remedy=remedy, amount=None,
                reason="order cancelled",
            )
        )  # fmt: skip

    def _fulfil(self, grant_id: str, remedy: str, done: bool) -> None:
        key = self._call("fulfil")
        self._try(
            lambda: settling.report_fulfilment(
                self._services, self._shop, grant_id, key, remedy=remedy, done=done,
                external_ref=f"WH-{next(self._numbers)}",
            )
        )  # fmt: skip

    def _sweep(self) -> None:
        while settle_due(self._services, 500):
            pass

    def _new_pack(self) -> None:
        packs.activate_files(self._services, demo_pack(raised=True), by="ops")

    # --- How it is said --------------------------------------------------------------------------

    def _request(
        self, incident: str, agent: str, role: str, paid: list[float] | None
    ) -> dict[str, Any]:
        chance, now = self._chance, self._clock.now
        number, currency = next(self._numbers), chance.choice(CURRENCIES)

        def money(yuan: float) -> str:
            return format_minor(round(yuan * UNIT_MINOR[currency]), currency)

        late = DAY * chance.uniform(1, 14)
        placed = now - late - 9 * DAY
        if paid is None:
            paid = [chance.lognormvariate(4.8, 0.7) for _ in range(chance.choice((1, 1, 2)))]
        order: dict[str, Any] = {
            "id": f"SO-{number}",
            "currency": currency,
            "placed_at": format_timestamp(placed),
            "paid_at": format_timestamp(placed + HOUR),
            "shipping_paid": money(12 if chance.random() < 0.5 else 0),
            "express_cost": money(25),
            "dispatched_at": None,
            "lines": [
                {"id": str(at), "quantity": 1, "paid": money(each), "tax_rate": "13"}
                for at, each in enumerate(paid, 1)
            ],
        }
        facts: dict[str, Any] = {}
        if incident == "shipping_delay":
            order |= {
                "dispatched_at": format_timestamp(placed + 2 * DAY),
                "promised_delivery_by": format_timestamp(now - late),
                "last_tracking_at": format_timestamp(now - min(late, 3 * DAY)),
                "delivered_at": None,
            }
        elif incident == "oversold":
            facts["stock.restock_in"] = None
        elif incident == "wrong_item":
            off = {"amount": money(min(paid) / 3), "currency": currency}
            facts |= {"case.price_difference": off, "case.recall_needed": chance.random() < 0.2}
        else:
            facts["stock.available"] = True
        body = {
            "order": order,
            "incident": {"types": [incident]},
            "customer": {"id": chance.choice(self._customers), "name": "顾客 Müller"},
            "agent": {"id": agent, "role": role},
            "facts": facts,
            "reference": {"ticket": f"ZD-{number}"},
        }
        channel = chance.choice(CHANNELS)
        return body if channel is None else body | {"channel": channel}

    def _left(self, grant_id: str, remedy: str) -> Money:
        found = grants.show(self._services, self._shop, grant_id)
        state = next(each for each in found["remedies"] if each["remedy"] == remedy)
        gone = sum(_money(state[part]).minor for part in ("redeemed", "reversed", "expired"))
        granted = _money(state["granted"])
        return Money(granted.minor - gone, granted.currency)

    def _try(self, call: Callable[[], Answer]) -> dict[str, Any] | None:
        """A refusal is part of life: a cap is full, a coupon is used up, half of a parcel can't be
        sent."""
        try:
            answer = call()
        except (ConflictError, InvalidInputError):
            return None
        return _read(answer)

    def _call(self, what: str) -> IdempotencyKey:
        key = f"{what}-{next(self._numbers)}"
        return IdempotencyKey("demo", key, "POST", f"/{what}", "", "", key.encode())

    def _key(
        self,
        client: str,
        scopes: set[str],
        *,
        ceiling: str | None = None,
        person: Agent | None = None,
    ) -> Principal:
        terms = CredentialTerms(client, frozenset(scopes), person, ceiling)
        key = self._services.ledger.credentials.create(terms, "ops").key
        return self._services.credentials.principal(key)

    def _plan(self, at: datetime, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, Event(at, len(self._events) + next(self._numbers), happen))

    def _in(self, wait: timedelta, happen: Callable[[], None]) -> None:
        self._plan(self._clock.now + wait, happen)


def demo_pack(*, raised: bool = False) -> PackFiles:
    """The pack that ships, with coupons that expire within a quarter; `raised`: a later one."""
    files = PackFiles.from_folder(resources.default_policies()).files
    changes = [(b"coupon_valid_for: P90D", b"coupon_valid_for: P21D")]
    if raised:
        changes += [
            (b'delay_coupon_percent: "5"', b'delay_coupon_percent: "6"'),
            (b"en: Coupon for the wait", b"en: A larger coupon for the wait"),
        ]
    shipped = {}
    for name, text in files.items():
        for before, after in changes:
            text = text.replace(before, after)  # noqa: PLW2901 -- one change after the other
        if not name.startswith("tests/"):
            shipped[name] = text
    return PackFiles(shipped)


def fill(
    services: Services,
    orders: int,
    *,
    seed: int = 2026,
    progress: Callable[[datetime], None] = lambda _at: None,
) -> None:
    """Fills an upgraded, empty ledger with the quarter, and gives its records their places."""
    clock = Clock(BEGIN - HOUR)
    clock.turn(services.ledger)
    living = replace(services, clock=lambda: clock.now)
    packs.activate_files(living, demo_pack(), by="ops")
    Quarter(living, clock, orders, seed).live(progress)
    keeper = bootstrap.log_keeper(services.settings, services.ledger)
    keeper.start()
    keeper.stop()


def _read(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body


def _money(body: dict[str, str]) -> Money:
    return parse_money(body["amount"], body["currency"])


def _say(at: datetime, last: list[date]) -> None:
    if last[-1].isocalendar().week != at.date().isocalendar().week:
        print(f"  {at:%Y-%m-%d}", flush=True)
    last[:] = [at.date()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=800, help="how many orders went wrong")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("var/demo"), help="the folder to fill")
    parser.add_argument("--database", help="an empty database; a file in the folder if left out")
    asked = parser.parse_args()
    make(asked.out, asked.orders, asked.seed, asked.database)


def make(out: Path, orders: int, seed: int, database: str | None) -> None:
    from bench.demo_files import write_all

    out.mkdir(parents=True, exist_ok=True)
    url = database or f"sqlite:///{out / 'demo.db'}"
    if database is None:
        for old in out.glob("demo.db*"):
            old.unlink()
    settings = Settings(database_url=url, secret_key=SECRET, checkpoint_file=out / "checkpoints")
    services = bootstrap.build(settings)
    try:
        services.ledger.upgrade()
        print(f"a quarter with {orders} orders that went wrong:", flush=True)
        last = [FIRST]
        fill(services, orders, seed=seed, progress=lambda at: _say(at, last))
    finally:
        services.packs.close()
        services.ledger.close()
    write_all(settings, out)


if __name__ == "__main__":
    main()
