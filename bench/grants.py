"""Grants on PostgreSQL against raw transactions of the same server.

Spread: each grant is on an order and for a customer of its own, so no two touch the same counter.
Hot: the same under one budget over all of them, so each adds to one row. Raw commits insert one
row each; raw hot-row updates update one row, insert one, and commit: pgbench, 8 connections.
Everything waits for the disk. The service has two workers, and 16 connections that each take one
offer after the other, every one with a key of its own. The decisions are made beforehand, through
the batch, and the log has caught up before anything is measured.

At the end the budget is set to a little above what was given, and many more offers are asked for
at once than it has room for. Then what was given is held against the budget, each 201 against the
grants on record, and `policy-engine ledger check` rebuilds every counter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from random import random
from typing import Any
from uuid import uuid4

from bench import made, postgres, service
from bench.load import CONNECTIONS, FailedRequestsError, Given, load
from bench.measuring import Bench, Row, at_least, interleaved

_PLAN = "incident_0/plan_0"
_MINOR = 840
"""What the plan gives: 5 % of 168.00."""
_AGENT = {"id": "A-7", "role": "agent"}
_BUDGET_MINOR = 10**12
_ROOM = 40
"""Grants that the budget has room for at the end, and a part of another one."""
_BATCH = 500
_PATIENCE = 30
"""Times that a call outside of what is measured is sent under its key, while it gets 503."""
_FIRST_RATE = 1_000
"""Grants a second, as long as nothing is known."""
_SPARE = 3
"""So many times the decisions that would do are made beforehand."""


def measure(bench: Bench) -> list[Row]:
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.running())
        bench.peers.versions["PostgreSQL"] = cluster.version()
        raw = postgres.raw(cluster, bench.folder)

        def shop(name: str, pack: dict[str, str]) -> _Shop:
            return stack.enter_context(_open(cluster.database(), bench.folder / name, pack))

        spread = shop("spread", made.fifty_questions())
        hot = shop("hot", _under_budget(_BUDGET_MINOR))
        subjects = {
            "raw commits": raw.commits,
            "spread": spread.rate,
            "raw hot-row updates": raw.hot_updates,
            "hot": hot.rate,
        }
        for rate in subjects.values():
            rate(1)
        for each in (spread, hot):
            postgres.analyze(each.service.database)
        timed = {name: partial(rate, bench.seconds) for name, rate in subjects.items()}
        found = interleaved(bench.rounds, timed)
        proofs = [_budget_held(hot), _all_there("spread", spread), _all_there("hot", hot)]
    commits, updates = "raw commits", "raw hot-row updates"
    return [
        at_least("grants, spread", found["spread"], commits, found[commits], 0.25, "/s"),
        at_least("grants, one hot budget", found["hot"], updates, found[updates], 0.4, "/s"),
        *proofs,
    ]


@dataclass
class _Shop:
    """A running service, and what it has answered so far."""

    service: service.Service
    port: int
    told: list[str] = field(default_factory=list)
    """Ids of the grants that were answered with 201."""
    fastest: float | None = None
    """The highest rate so far."""

    def rate(self, seconds: float) -> float:
        """Grants a second."""
        expected = (self.fastest or _FIRST_RATE) * max(1, seconds)
        offers = self.offers(round(expected * _SPARE))
        self.service.settle()
        measured = load(
            f"http://127.0.0.1:{self.port}/v1/grants",
            _taking("@LINE@"),
            self.service.headers(),
            seconds,
            self.service.folder,
            given=Given(offers, "grant_id"),
        )
        self.service.settle()
        self.told += measured.told
        self.fastest = max(self.fastest or 0, measured.rate)
        return measured.rate

    def offers(self, count: int) -> list[str]:
        """Ids of at least so many new decisions, each about an order and a customer of its own."""
        batches = range(-(-count // _BATCH))
        with ThreadPoolExecutor(service.WORKERS) as pool:
            return [each for batch in pool.map(self._decide, batches) for each in batch]

    def _decide(self, _number: int) -> list[str]:
        name = uuid4().hex
        text = json.dumps(made.question_body())
        bodies = [json.loads(text.replace("@ID@", f"{name}-{at}")) for at in range(_BATCH)]
        status, answer = self.post("/v1/decisions/batch", {"decisions": bodies})
        if status != 200:
            raise FailedRequestsError(f"a batch was answered {status} {answer.get('code')}")
        return [each["body"]["decision_id"] for each in answer["results"]]

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Status and final answer of one call; a service that is busy is asked again."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
        headers |= self.service.headers()
        for _ in range(_PATIENCE):
            connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
            try:
                connection.request("POST", path, json.dumps(body), headers)
                answer = connection.getresponse()
                read = json.loads(answer.read())
            finally:
                connection.close()
            if answer.status != 503:
                break
            time.sleep(random())
        return answer.status, read


@contextmanager
def _open(database: str, folder: Path, pack: dict[str, str]) -> Iterator[_Shop]:
    files = service.pack_folder(folder / "pack", pack)
    ours = service.set_up(folder / "service", files, database, ("decide", "grant"))
    with ours.serving() as up:
        yield _Shop(ours, up.port)


def _under_budget(minor: int) -> dict[str, str]:
    """The pack with one cap more, over everything that is ever given."""
    files = made.fifty_questions()
    limit = f'limit: {{CNY: "{minor // 100}.{minor % 100:02d}"}}'
    files["caps.yaml"] += f"  - {{cap: budget, scope: pack, measure: value, {limit}}}\n"
    return files


def _taking(decision_id: str) -> dict[str, Any]:
    return {"decision_id": decision_id, "plan": _PLAN, "agent": _AGENT}


def _budget_held(shop: _Shop) -> Row:
    """Ask for many times what the budget still has room for: it is used up, and not exceeded."""
    offers = shop.offers(1)
    budget = shop.service.ask(_GIVEN) + _ROOM * _MINOR + _MINOR // 2
    files = service.pack_folder(shop.service.folder / "tight", _under_budget(budget))
    shop.service.command("pack", "activate", str(files))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        answers = list(pool.map(lambda each: shop.post("/v1/grants", _taking(each)), offers))
    refused = [body["code"] for status, body in answers if status == 409]
    shop.told += [body["grant_id"] for status, body in answers if status == 201]
    left = budget - shop.service.ask(_GIVEN)
    held = 0 <= left < _MINOR and refused == ["CAP_EXHAUSTED"] * (len(answers) - _ROOM)
    return Row(
        "given beyond the budget, in minor units",
        f"{max(0, -left)}",
        f"budget of {budget:,}, {left} left; {len(refused)} of {len(answers)} more were refused",
        target="0 over",
        met=held,
    )


def _all_there(name: str, shop: _Shop) -> Row:
    """Each grant that was answered with 201 is on record, and every counter follows from them."""
    shop.service.settle()
    lost = set(shop.told) - set(shop.service.column("SELECT grant_id FROM v_grants"))
    try:
        shop.service.command("ledger", "check")
        checked = "good"
    except service.ServerFailedError:
        checked = "differences found"
    return Row(
        f"acknowledged grants that are missing, {name}",
        f"{len(lost)} of {len(shop.told):,}",
        f"ledger check: {checked}",
        target="0, and good",
        met=not lost and checked == "good",
    )


_GIVEN = "SELECT sum(granted_minor + pending_minor) FROM v_grants"
