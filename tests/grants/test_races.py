"""Many at once: a cap is never exceeded, and nothing is granted twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import late_order
from tests.grants.conftest import COUPON, Shop, money

CLIENTS = 16


def at_once(calls: Iterable[Callable[[], Any]], clients: int = CLIENTS) -> list[Any]:
    """What the calls answer, made by so many threads that start together."""
    begin = Barrier(clients, timeout=30)
    with ThreadPoolExecutor(clients, initializer=begin.wait) as pool:
        return [each.result() for each in [pool.submit(until_served, call) for call in calls]]


def until_served(call: Callable[[], Any]) -> Any:
    """Whom a busy machine turns away before it looks at the call comes again, as clients do."""
    while True:
        answer = call()
        if answer.status_code != 503 or answer.json["code"] != "OVERLOADED":
            return answer
        time.sleep(0.02)


def outcomes(answers: Iterable[Any]) -> Counter[str]:
    return Counter(
        "granted" if each.status_code == 201 else f"{each.status_code} {each.json['code']}"
        for each in answers
    )


@pytest.fixture
def tight(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a pack whose budget has one more row."""

    def make(cap: str) -> Path:
        folder = tmp_path / "pack"
        folder.mkdir()
        for file in (Path(__file__).parent / "pack").glob("*.yaml"):
            text = file.read_text()
            (folder / file.name).write_text(text + cap if file.name == "caps.yaml" else text)
        return folder

    return make


CALENDAR = "window: {calendar: day, zone: Asia/Shanghai},"


@pytest.mark.parametrize(
    ("database", "window"),
    [
        ("sqlite_url", ""),
        ("postgres_url", ""),
        ("postgres_url", "window: P7D,"),
        ("postgres_url", CALENDAR),
    ],
)
def test_400_grants_from_16_clients_never_exceed_one_budget(
    make_shop: Callable[..., Shop],
    tight: Callable[[str], Path],
    request: pytest.FixtureRequest,
    database: str,
    window: str,
) -> None:
    pack = tight(
        f"  - {{cap: tight, scope: pack, measure: value, {window} "
        'policies: [shipping_delay], limit: {CNY: "1003.00"}}\n'
    )
    url = request.getfixturevalue(database)
    shop = make_shop(url, pack)
    nodes = [shop] if database == "sqlite_url" else [shop, make_shop(url, pack)]

    def decide(n: int) -> Any:
        body = late_order(
            order__id=f"SO-{n}", customer__id=f"C-{n}", order__lines=one_line("100.00")
        )
        del body["agent"]
        return unchecked(shop, "/v1/decisions", body)

    def take(n: int, decided: Any) -> Any:
        taken = {"decision_id": decided.json["decision_id"], "plan": COUPON}
        return unchecked(nodes[n % len(nodes)], "/v1/grants", taken)

    decisions = at_once([lambda n=n: decide(n) for n in range(400)])
    answers = at_once([lambda n=n: take(n, decisions[n]) for n in range(400)])
    # Each is worth 5.00: two hundred fit, and nobody can take the 3.00 that are left.
    assert outcomes(answers) == {"granted": 200, "409 CAP_EXHAUSTED": 200}
    shop.check()


def unchecked(shop: Shop, path: str, body: Any) -> Any:
    """A call whose answer is not compared with the API document, which would take longest."""
    headers = {"Authorization": f"Bearer {shop.agent}", "Idempotency-Key": str(uuid4())}
    return shop.api.app.test_client().post(path, json=body, headers=headers)


def one_line(paid: str) -> list[dict[str, Any]]:
    return [{"id": "1", "quantity": 1, "paid": paid}]


def test_one_decision_taken_by_all_at_once_is_one_grant(shop_on_both: Shop) -> None:
    shop = shop_on_both
    decision = shop.decide(shop.agent)
    counted = outcomes(at_once([lambda: shop.take(shop.agent, decision)] * 32))
    assert counted == {"granted": 1, "409 ALREADY_GRANTED": 31}
    shop.check()


def test_one_key_sent_by_all_at_once_is_one_grant_and_one_answer(shop_on_both: Shop) -> None:
    shop = shop_on_both
    decision = shop.decide(shop.agent)
    answers = at_once([lambda: shop.take(shop.agent, decision, idempotency_key="k-1")] * 32)
    counted = outcomes(answers)
    assert set(counted) <= {"granted", "409 IDEMPOTENCY_KEY_RUNNING"}
    assert len({each.data for each in answers if each.status_code == 201}) == 1
    again = shop.take(shop.agent, decision, idempotency_key="k-1")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.data in {each.data for each in answers}
    shop.check()


def test_of_approve_and_reject_at_once_exactly_one_wins(shop_on_both: Shop) -> None:
    shop = shop_on_both
    for n in range(10):
        grant = shop.granted(shop.bot, order__id=f"SO-{n}", customer__id=f"C-{n}")
        calls = [
            partial(shop.approve, shop.supervisor, grant),
            partial(shop.move, shop.supervisor, grant, "reject", reason="no"),
        ] * 2
        counted = outcomes(at_once(calls, clients=4))
        assert counted == {"granted": 1, "409 NOT_PENDING": 3}
    shop.check()


def test_twenty_decisions_for_one_late_order_are_one_grant(shop_on_both: Shop) -> None:
    shop = shop_on_both
    decisions = [shop.decide(shop.agent) for _ in range(20)]
    answers = at_once([lambda d=d: shop.take(shop.agent, d, COUPON) for d in decisions])
    assert outcomes(answers) == {"granted": 1, "409 CAP_EXHAUSTED": 19}
    assert shop.cap("order_total")["used"] == money("40.00")
    shop.check()
