"""Trials of a fleet, of any size: short in the suite, long in tests/stress. Each asserts."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from policy_engine.ledger.errors import UnavailableError
from policy_engine.ledger.grant_shapes import GrantFilter, GrantView
from policy_engine.usecases.moving import settle
from tests.api.serving import Reply
from tests.grants.conftest import Shop, money
from tests.grants.fleet import Fleet, at_once, grant_body, offers

EVERYTHING = GrantView(everything=True)


def minor_of(amount: dict[str, str]) -> int:
    return int(amount["amount"].replace(".", ""))


def outcome(reply: Reply) -> str:
    return "granted" if reply.status == 201 else f"{reply.status} {reply.json['code']}"


def one_budget(fleet: Fleet, shop: Shop, many: int, clients: int, limit: int) -> dict[str, Any]:
    """Grants from many clients against one budget of `limit` minor units (the cap `tight`)."""
    made = offers(shop, many)
    begin = time.monotonic()
    replies = at_once(
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
    shop.check()
    return {"counted": counted, "granted": granted, "seconds": took, "again": fleet.refusals}


def one_key_at_once(fleet: Fleet, shop: Shop, rounds: int, times: int, clients: int) -> None:
    """Every round: one key, sent many times at once; one grant, one answer."""
    for number, (decision, _) in enumerate(offers(shop, rounds, "KEY")):
        call = partial(
            fleet.post, "/v1/grants", shop.agent, grant_body(decision), f"one-key-{number}"
        )
        replies = at_once([call] * times, clients)
        assert {reply.status for reply in replies} == {201}
        assert len({reply.body for reply in replies}) == 1
        first = [reply for reply in replies if "idempotent-replayed" not in reply.headers]
        # The first may have been told to ask again, and then was answered as a repetition.
        assert len(first) <= 1
    assert _grants(shop, "KEY", rounds) == rounds
    shop.check()


def cut_and_retried(fleet: Fleet, shop: Shop, many: int, clients: int) -> None:
    """The connection is cut after the request was sent; then it is sent again, twice."""

    def one(decision: str) -> tuple[Reply, Reply]:
        key, body = str(uuid4()), grant_body(decision)
        fleet.cut("/v1/grants", shop.agent, body, key, random.choice([0, 0.002, 0.01]))
        return (
            fleet.post("/v1/grants", shop.agent, body, key),
            fleet.post("/v1/grants", shop.agent, body, key),
        )

    made = offers(shop, many, "CUT")
    for first, second in at_once([lambda d=d: one(d) for d, _ in made], clients):
        assert first.status == 201, first.body
        assert second.body == first.body
        assert second.headers["idempotent-replayed"] == "true"
    assert _grants(shop, "CUT", many) == many
    shop.check()


def approve_reject_expire(fleet: Fleet, shop: Shop, races: int, at_a_time: int) -> Counter[str]:
    """At the very end of a grant's time: approved, rejected and written off, all at once.

    The pack gives approvers a few seconds, so that the three meet.
    """
    winners: Counter[str] = Counter()
    for first in range(0, races, at_a_time):
        numbers = range(first, min(first + at_a_time, races))
        grants = [
            shop.granted(shop.bot, order__id=f"RACE-{n}", customer__id=f"RACE-C-{n}")
            for n in numbers
        ]
        calls = [call for grant in grants for call in _race(fleet, shop, grant)]
        replies = at_once(calls, len(calls))
        for number, grant in enumerate(grants):
            winners[_winner(shop, grant, replies[3 * number : 3 * number + 2])] += 1
    shop.check()
    return winners


def _race(fleet: Fleet, shop: Shop, grant: dict[str, Any]) -> list[Callable[[], Any]]:
    path = f"/v1/grants/{grant['grant_id']}"
    end = datetime.fromisoformat(grant["pending_until"]).timestamp()

    def at_the_end(call: Callable[[], Any], early: float) -> Callable[[], Any]:
        def wait() -> Any:
            time.sleep(max(0.0, end - early - time.time()))
            return call()

        return wait

    early = [random.uniform(-0.01, 0.06) for _ in range(2)]
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
    """Clients that take one offer after another until they are told to stop."""

    def __init__(self, fleet: Fleet, shop: Shop, many: int, clients: int) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.surprises: list[str] = []
        self._fleet, self._shop = fleet, shop
        self._waiting = [decision for decision, _ in offers(shop, many, "FIRE")]
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

    def wait_for_more(self, seconds: float = 60) -> None:
        """Returns once something more was granted."""
        before, give_up_at = len(self.acknowledged), time.monotonic() + seconds
        while len(self.acknowledged) == before:
            assert self._waiting, "there were too few offers for this trial"
            assert self.surprises == []
            assert time.monotonic() < give_up_at, "it didn't come back"
            time.sleep(0.02)

    def _take(self) -> None:
        try:
            while not self._stop.is_set() and self._waiting:
                decision = self._waiting.pop()
                reply = self._fleet.post("/v1/grants", self._shop.agent, grant_body(decision))
                if reply.status == 201:
                    self.acknowledged[decision] = reply.body
                else:
                    self.surprises.append(reply.body.decode())
        except Exception as error:  # noqa: BLE001 - a client that dies must not pass unseen
            self.surprises.append(repr(error))


def under_fire(
    fleet: Fleet, shop: Shop, strikes: int, strike: Callable[[int], None], clients: int, many: int
) -> dict[str, Any]:
    """Grants while something is struck down again and again. Every acknowledged one is there, and
    the service is back by itself before the next strike."""
    with Takers(fleet, shop, many, clients) as takers:
        for number in range(strikes):
            strike(number)
            takers.wait_for_more()
    assert takers.surprises == []
    _all_there(shop, takers.acknowledged)
    return {"acknowledged": len(takers.acknowledged), "again": fleet.refusals}


def _all_there(shop: Shop, acknowledged: dict[str, bytes]) -> None:
    ledger = shop.api.services.ledger
    for _ in range(20):
        # Connections that broke are found out one at a time.
        with suppress(UnavailableError):
            ledger.ping()
    for body in acknowledged.values():
        told = json.loads(body)
        stored = ledger.grants.get(told["grant_id"], EVERYTHING)
        assert stored is not None, "an acknowledged grant is gone"
        granted = sum(each.granted for each in stored.state.remedies.values())
        assert granted == minor_of(told["granted"])
    decisions = [json.loads(body)["decision_id"] for body in acknowledged.values()]
    assert len(set(decisions)) == len(decisions)
    shop.check()


def _grants(shop: Shop, prefix: str, many: int) -> int:
    """How many grants there are on the orders of a trial."""
    ledger = shop.api.services.ledger
    return sum(
        len(ledger.grants.list(GrantFilter(order_id=f"{prefix}-{n}"), EVERYTHING, 100).grants)
        for n in range(many)
    )
