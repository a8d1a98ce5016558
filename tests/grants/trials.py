"""Trials of a fleet, of any size: short in the suite, long in tests/stress. Each asserts."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from policy_engine.core.grants import Movement
from policy_engine.ledger.errors import UnavailableError
from policy_engine.ledger.grant_shapes import GrantFilter, GrantView
from policy_engine.usecases import verifying
from policy_engine.usecases.moving import settle
from tests.api.serving import Reply
from tests.grants.conftest import Shop, money
from tests.grants.fleet import Fleet, a_late_order, grant_body, offers

EVERYTHING = GrantView(everything=True)


def minor_of(amount: dict[str, str]) -> int:
    return int(amount["amount"].replace(".", ""))


def check(shop: Shop, granted: int | None = None) -> None:
    """So many grants and no other, if they were counted; every counter what the entries come to,
    every row what its record says and every record in the log: nothing is half there."""
    log, give_up_at = shop.api.services.ledger.log, time.monotonic() + 30
    while log.status().waiting:
        assert time.monotonic() < give_up_at, "records don't get their places in the log"
        time.sleep(0.1)
    # Counters, movements and states against the entries are a part of it.
    report = verifying.verify(shop.api.services, (), None, sample=100)
    assert report.verdict == "good", report.findings
    assert granted in (None, report.counts["grants"])
    assert _deadlocks(shop) == 0


def _deadlocks(shop: Shop) -> int:
    """Those that PostgreSQL had to break; its figures are at most a few seconds late."""
    with shop.api.services.ledger._database.engine.connect() as connection:
        if connection.dialect.name != "postgresql":
            return 0
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        found: int = connection.execute(text(query)).scalar_one()
        return found


def outcome(reply: Reply) -> str:
    return "granted" if reply.status == 201 else f"{reply.status} {reply.json['code']}"


def one_budget(fleet: Fleet, shop: Shop, many: int, clients: int, limit: int) -> dict[str, Any]:
    """Grants from many clients against one budget of `limit` minor units (the cap `tight`)."""
    made = offers(fleet, shop.agent, many)
    begin = time.monotonic()
    replies = fleet.at_once(
        [lambda d=d: fleet.post("/v1/grants", shop.agent, grant_body(d)) for d, _ in made],
        clients,
    )
    took = time.monotonic() - begin
    counted = Counter(outcome(reply) for reply in replies)
    assert set(counted) <= {"granted", "409 CAP_EXHAUSTED"}, counted
    granted = sum(
        minor for (_, minor), reply in zip(made, replies, strict=True) if reply.status == 201
    )
    refused = [
        minor for (_, minor), reply in zip(made, replies, strict=True) if reply.status != 201
    ]
    assert granted <= limit
    assert min(refused, default=limit + 1) > limit - granted, "somebody was refused what fitted"
    assert shop.cap("tight", customer="nobody")["used"] == money(f"{granted / 100:.2f}")
    check(shop, counted["granted"])
    return {"counted": counted, "granted": granted, "seconds": took, "again": fleet.refusals}


def one_key_at_once(fleet: Fleet, shop: Shop, rounds: int, times: int, clients: int) -> None:
    """Every round: one key, sent many times at once; one grant, one answer."""
    for number, (decision, _) in enumerate(offers(fleet, shop.agent, rounds, "KEY")):
        call = partial(
            fleet.post, "/v1/grants", shop.agent, grant_body(decision), f"one-key-{number}"
        )
        replies = fleet.at_once([call] * times, clients)
        assert {reply.status for reply in replies} == {201}
        assert len({reply.body for reply in replies}) == 1
        first = [reply for reply in replies if "idempotent-replayed" not in reply.headers]
        # The first may have been told to ask again, and then was answered as a repetition.
        assert len(first) <= 1
    assert _grants(shop, "KEY", rounds) == rounds
    check(shop, rounds)


def cut_and_retried(fleet: Fleet, shop: Shop, many: int, clients: int) -> int:
    """The connection is cut after the request was sent; then it is sent again, twice. Returns how
    many had been granted in spite of the cut."""

    def one(decision: str) -> tuple[Reply, Reply]:
        key, body = str(uuid4()), grant_body(decision)
        fleet.cut("/v1/grants", shop.agent, body, key, random.choice([0, 0.002, 0.01]))
        return (
            fleet.post("/v1/grants", shop.agent, body, key),
            fleet.post("/v1/grants", shop.agent, body, key),
        )

    made = offers(fleet, shop.agent, many, "CUT")
    granted = 0
    for first, second in fleet.at_once([lambda d=d: one(d) for d, _ in made], clients):
        assert first.status == 201, first.body
        assert second.body == first.body
        assert second.headers["idempotent-replayed"] == "true"
        granted += "idempotent-replayed" in first.headers
    assert _grants(shop, "CUT", many) == many
    check(shop)
    return granted


def approve_reject_expire(fleet: Fleet, shop: Shop, races: int, at_a_time: int) -> Counter[str]:
    """At the very end of a grant's time: approved, rejected and written off, all at once.

    The pack gives approvers a few seconds, so that the three meet.
    """
    winners: Counter[str] = Counter()
    made = offers(fleet, shop.bot, races, "RACE", paid="800.00")
    for first in range(0, races, at_a_time):
        some = made[first : first + at_a_time]
        taken = fleet.at_once(
            [partial(fleet.post, "/v1/grants", shop.bot, grant_body(d)) for d, _ in some], 4
        )
        grants = [each.json for each in taken]
        calls = [call for grant in grants for call in _race(fleet, shop, grant)]
        replies = fleet.at_once(calls, len(calls))
        for number, grant in enumerate(grants):
            winners[_winner(shop, grant, replies[3 * number : 3 * number + 2])] += 1
    check(shop, races)
    return winners


def _race(fleet: Fleet, shop: Shop, grant: dict[str, Any]) -> list[Callable[[], Any]]:
    path = f"/v1/grants/{grant['grant_id']}"
    end = datetime.fromisoformat(grant["pending_until"]).timestamp()

    def at_the_end(call: Callable[[], Any], early: float) -> Callable[[], Any]:
        def wait() -> Any:
            time.sleep(max(0.0, end - early - time.time()))
            return call()

        return wait

    early = [random.uniform(-0.01, 0.3) for _ in range(2)]
    note, reason = {"note": "yes"}, {"reason": "no"}
    return [
        at_the_end(lambda: fleet.post(f"{path}/approve", shop.supervisor, note), early[0]),
        at_the_end(lambda: fleet.post(f"{path}/reject", shop.supervisor, reason), early[1]),
        at_the_end(lambda: settle(shop.api.services, grant["grant_id"]), -0.002),
    ]


def _winner(shop: Shop, grant: dict[str, Any], replies: list[Reply]) -> str:
    stored = shop.api.services.ledger.grants.get(grant["grant_id"], EVERYTHING)
    assert stored is not None
    ends = [each.movement.value for each in stored.state.entries if each.against is not None]
    assert len(ends) == 1, f"not exactly one wins: {ends}"
    assert [reply.status for reply in replies] == [
        201 if ends[0] == won else 409 for won in ("post", "reject")
    ], ends
    assert {reply.json["code"] for reply in replies if reply.status == 409} <= {"NOT_PENDING"}
    return ends[0]


class Takers:
    """Clients that ask for one decision after another and take its offer, until told to stop."""

    def __init__(self, fleet: Fleet, shop: Shop, clients: int) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.surprises: list[str] = []
        self._fleet, self._shop = fleet, shop
        self._numbers = count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._take) for _ in range(clients)]

    def __enter__(self) -> Takers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def wait_for_more(self, many: int = 1, seconds: float = 60) -> float:
        """Returns once so many more were granted: after how many seconds."""
        enough, begin = len(self.acknowledged) + many, time.monotonic()
        while len(self.acknowledged) < enough:
            assert self.surprises == []
            assert time.monotonic() < begin + seconds, "it didn't come back"
            time.sleep(0.01)
        return time.monotonic() - begin

    def _take(self) -> None:
        try:
            while not self._stop.is_set():
                self._take_one(a_late_order("FIRE", next(self._numbers)))
        except Exception as error:  # noqa: BLE001 - a client that dies must not pass unseen
            self.surprises.append(repr(error))

    def _take_one(self, request: dict[str, Any]) -> None:
        decided = self._fleet.post("/v1/decisions", self._shop.agent, request)
        assert decided.status == 201, decided.body
        taken = grant_body(decided.json["decision_id"])
        reply = self._fleet.post("/v1/grants", self._shop.agent, taken)
        assert reply.status == 201, reply.body
        self.acknowledged[taken["decision_id"]] = reply.body


def under_fire(
    fleet: Fleet, shop: Shop, strikes: int, strike: Callable[[int], str], clients: int
) -> dict[str, Any]:
    """Grants while something is struck down again and again. Every acknowledged one is there, and
    the service is back by itself before the next strike."""
    struck: Counter[str] = Counter()
    back = []
    with Takers(fleet, shop, clients) as takers:
        for number in range(strikes):
            takers.wait_for_more(20)
            struck[strike(number)] += 1
            back.append(takers.wait_for_more())
    assert takers.surprises == []
    _all_there(shop, takers.acknowledged)
    return {
        "struck": struck,
        "acknowledged": len(takers.acknowledged),
        "longest wait for the next grant": max(back),
        "again": fleet.refusals,
    }


def _all_there(shop: Shop, acknowledged: dict[str, bytes]) -> None:
    ledger = shop.api.services.ledger
    for _ in range(20):
        # Connections that broke are found out one at a time.
        with suppress(UnavailableError):
            ledger.ping()
    told = [json.loads(body) for body in acknowledged.values()]
    stored = {
        each.grant.id: sum(
            one.entry.minor for one in each.entries if one.entry.movement is Movement.POST
        )
        for each in ledger.history.grants(ledger.now() + timedelta(days=1))
    }
    # Who took it asked until they were told: so nothing is lost, and nothing is there that nobody
    # knows of.
    assert stored == {each["grant_id"]: minor_of(each["granted"]) for each in told}
    check(shop, len(told))


def _grants(shop: Shop, prefix: str, many: int) -> int:
    """How many grants there are on the orders of a trial."""
    ledger = shop.api.services.ledger
    return sum(
        len(ledger.grants.list(GrantFilter(order_id=f"{prefix}-{n}"), EVERYTHING, 100).grants)
        for n in range(many)
    )
