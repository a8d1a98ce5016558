"""Who calls too often is told so, and nobody else notices."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from policy_engine.ledger.credentials import KeyRing
from tests.api.conftest import Api, late_order
from tests.api.serving import Server
from tests.pressure.conftest import MakeApi


def refused(answer: TestResponse) -> bool:
    """Is it a 429 as documented?"""
    if answer.status_code != 429:
        return False
    assert answer.mimetype == "application/problem+json"
    assert (answer.json["status"], answer.json["code"]) == (429, "RATE_LIMITED")
    assert answer.json["request_id"]
    assert int(answer.headers["Retry-After"]) >= 1
    return True


def until_refused(call: Callable[[], TestResponse], most: int = 40) -> int:
    """How many calls were served."""
    for served in range(most):
        if refused(call()):
            return served
    pytest.fail(f"{most} calls, and none refused")


def test_a_client_that_calls_too_often_is_refused_and_others_are_served(make_api: MakeApi) -> None:
    api = make_api(rate_limit=1)
    eager, calm = api.key("decide", client="eager"), api.key("decide", client="calm")
    again = api.key("decide", client="eager")
    served = until_refused(lambda: api.decide(eager))
    assert 10 <= served <= 25, "ten at once, and one more a second"
    assert refused(api.decide(again)), "another key of the same client"
    assert api.decide(calm).status_code == 201
    listed = api.send("GET", "/v1/decisions?limit=100", api.key("audit", client="auditor"))
    assert len(listed.json["decisions"]) == served + 1


def test_after_waiting_as_long_as_told_a_client_is_served(make_api: MakeApi) -> None:
    api = make_api(rate_limit=2)
    key = api.key("decide")
    until_refused(lambda: api.decide(key), 60)
    answer = api.decide(key, idempotency_key="k")
    if refused(answer):
        time.sleep(int(answer.headers["Retry-After"]))
        answer = api.decide(key, idempotency_key="k")
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers, "a 429 is not kept under the key"


def test_a_batch_costs_as_much_as_its_requests(make_api: MakeApi) -> None:
    api = make_api(rate_limit=2)
    key = api.key("decide")

    def batch(many: int) -> TestResponse:
        body = {"decisions": [late_order(order__id=f"SO-{each}") for each in range(many)]}
        return api.send("POST", "/v1/decisions/batch", key, json=body)

    assert batch(60).status_code == 200, "overdrawn rather than cut short"
    waits = api.decide(key)
    assert refused(waits)
    # 60 of 20 were taken: what is missing comes in at two a second.
    assert 10 <= int(waits.headers["Retry-After"]) <= 21


def test_probes_are_always_answered(make_api: MakeApi) -> None:
    api = make_api(rate_limit=1, rate_limit_anonymous=1)
    until_refused(lambda: api.send("GET", "/openapi.yaml"))
    for _ in range(30):
        assert api.send("GET", "/livez").status_code == 200
        assert api.send("GET", "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("path", "credential"),
    [
        ("/docs", None),
        ("/v1/pack", None),
        ("/v1/pack", "nonsense"),
        ("/v1/pack", "pe_0123456789abcdef_" + "x" * 43),
        ("/v1/pack", "a.b.c"),
        ("/nowhere", None),
    ],
)
def test_strangers_are_limited_by_address(
    make_api: MakeApi, path: str, credential: str | None
) -> None:
    api = make_api(rate_limit_anonymous=1)

    def call(address: str = "192.0.2.1") -> TestResponse:
        return api.send("GET", path, credential, environ_base={"REMOTE_ADDR": address})

    assert 10 <= until_refused(call) <= 25
    assert not refused(call("192.0.2.2"))


def test_a_network_of_ipv6_is_one_address(make_api: MakeApi) -> None:
    api = make_api(rate_limit_anonymous=1)
    hosts = iter(range(1, 100))

    def call(network: str = "2001:db8:0:1") -> TestResponse:
        where = {"REMOTE_ADDR": f"{network}::{next(hosts):x}"}
        return api.send("GET", "/docs", environ_base=where)

    until_refused(call)
    assert not refused(call("2001:db8:0:2"))


def test_who_guesses_keys_has_none_looked_up_and_keeps_nobody_out(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that tells no addresses: everybody comes from the same one."""
    api = make_api(rate_limit_anonymous=1)
    good = api.key("decide")
    assert api.decide(good).status_code == 201
    numbers = iter(range(1000))

    def guess() -> TestResponse:
        return api.decide(f"pe_{next(numbers):016x}_{'x' * 43}")

    until_refused(guess)
    looked_up: list[str] = []
    real: Any = KeyRing._look_up

    def noticed(ring: KeyRing, credential_id: str) -> Any:
        looked_up.append(credential_id)
        return real(ring, credential_id)

    monkeypatch.setattr(KeyRing, "_look_up", noticed)
    assert refused(guess())
    assert looked_up == []
    assert api.decide(good).status_code == 201
    wrong_secret = good[:-43] + "x" * 43
    assert refused(api.decide(wrong_secret))


def test_forwarded_addresses_count_only_behind_as_many_proxies_as_are_trusted(
    make_api: MakeApi,
) -> None:
    def call(api: Api, forwarded: str) -> TestResponse:
        return api.send("GET", "/docs", headers={"X-Forwarded-For": forwarded})

    untrusting = make_api(rate_limit_anonymous=1)
    numbers = iter(range(256))
    until_refused(lambda: call(untrusting, f"192.0.2.{next(numbers)}"))

    trusting = make_api(rate_limit_anonymous=1, trusted_proxies=1)
    # What the caller itself wrote stands to the left of what the proxy has seen.
    until_refused(lambda: call(trusting, f"192.0.2.{next(numbers)}, 198.51.100.7"))
    assert not refused(call(trusting, "198.51.100.7, 198.51.100.8"))


def test_a_client_without_the_scope_pays_too(make_api: MakeApi) -> None:
    api = make_api(rate_limit=1)
    key = api.key("audit")
    until_refused(lambda: api.decide(key))


@pytest.mark.slow
def test_over_real_http_the_address_is_that_of_the_connection(
    sqlite_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    with Server(sqlite_url, free_port(), tmp_path, variables={"RATE_LIMIT_ANONYMOUS": "1"}) as node:
        # Each on a connection, so from a port, of its own.
        statuses = [node.send("GET", "/v1/pack").status for _ in range(60)]
        key = node.key("decide")
        assert node.send("POST", "/v1/decisions", key, late_order()).status == 429
    assert statuses[:10] == [401] * 10
    assert 429 in statuses


@pytest.mark.slow
def test_the_workers_of_a_node_count_together(
    postgres_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    limits = {"RATE_LIMIT": "2", "DRAIN": "PT0S"}
    with Server(postgres_url, free_port(), tmp_path, workers=2, variables=limits) as node:
        key = node.key("decide")
        began = time.monotonic()
        # Each on a connection of its own, which the kernel gives to either worker.
        calls = [node.send("GET", "/v1/decisions?limit=1", key) for _ in range(12)]
        served = sum(each.status == 200 for each in calls)
        # A list costs ten units; two come in each second, and twenty at once.
        assert 2 <= served <= 3 + (time.monotonic() - began) * 2 / 10
    assert {each.status for each in calls} == {200, 429}
