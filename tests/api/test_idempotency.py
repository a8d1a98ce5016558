"""One key, one answer: byte for byte, whatever happens between."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from policy_engine.core.request import Agent
from policy_engine.ledger.errors import UnavailableError
from tests.api.conftest import Api, late_order


def test_a_call_sent_again_is_answered_again_byte_for_byte(api_on_both: Api) -> None:
    key = api_on_both.key()
    first = api_on_both.decide(key, idempotency_key="k")
    again = api_on_both.decide(key, idempotency_key="k")
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert len(api_on_both.send("GET", "/v1/decisions", key).json["decisions"]) == 1


@pytest.mark.parametrize("what", ["body", "query", "path", "agent"])
def test_the_key_of_another_call_is_refused(api_on_both: Api, what: str) -> None:
    key = api_on_both.key(person=Agent("A-7", "agent"))
    api_on_both.decide(key, idempotency_key="k")
    path, body = "/v1/decisions", late_order()
    if what == "body":
        body = late_order(order__id="SO-2")
    elif what == "query":
        path += "?dry_run=false"
    elif what == "path":
        path, body = "/v1/decisions/batch", {"decisions": [late_order()]}
    else:
        key = api_on_both.key(person=Agent("A-8", "agent"))
        body["agent"]["id"] = "A-8"
    answer = api_on_both.send("POST", path, key, json=body, idempotency_key="k")
    assert (answer.status_code, answer.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_keys_are_each_clients_own(api: Api) -> None:
    first = api.decide(api.key(client="one"), idempotency_key="k")
    second = api.decide(api.key(client="two"), idempotency_key="k")
    assert second.status_code == 201
    assert first.json["decision_id"] != second.json["decision_id"]


def test_a_final_refusal_is_an_answer_of_its_key(api_on_both: Api) -> None:
    key = api_on_both.key()
    bad = late_order(order__currency="XXX")
    first = api_on_both.decide(key, bad, idempotency_key="k")
    again = api_on_both.decide(key, bad, idempotency_key="k")
    assert first.status_code == 422
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.mimetype == "application/problem+json"
    mended = api_on_both.decide(key, late_order(), idempotency_key="k")
    assert (mended.status_code, mended.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_what_can_be_mended_by_waiting_is_not_kept(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = api.key()

    def away(*_: Any) -> None:
        raise UnavailableError("the database can't serve at the moment", 3)

    with monkeypatch.context() as patch:
        patch.setattr(api.services.ledger, "decide", away)
        answer = api.decide(key, idempotency_key="k")
        assert (answer.status_code, answer.json["code"]) == (503, "UNAVAILABLE")
        assert answer.headers["Retry-After"] == "3"
    assert api.decide(key, idempotency_key="k").status_code == 201


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (None, "IDEMPOTENCY_KEY_MISSING"),
        ("", "IDEMPOTENCY_KEY_INVALID"),
        ("a b", "IDEMPOTENCY_KEY_INVALID"),
        ("é", "IDEMPOTENCY_KEY_INVALID"),
        ("x" * 129, "IDEMPOTENCY_KEY_INVALID"),
    ],
)
def test_a_writing_call_needs_a_good_key(api: Api, sent: str | None, code: str) -> None:
    answer = api.decide(api.key(), idempotency_key=sent)
    assert (answer.status_code, answer.json["code"]) == (400, code)


def test_of_many_at_once_one_decides_and_the_others_wait_or_repeat(api_on_both: Api) -> None:
    key = api_on_both.key()
    barrier = threading.Barrier(16)

    def send(_: int) -> Any:
        barrier.wait()
        return api_on_both.decide(key, idempotency_key="k")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(16)))
    decided = {each.data for each in answers if each.status_code == 201}
    assert len(decided) == 1
    for answer in answers:
        if answer.status_code != 201:
            assert (answer.status_code, answer.json["code"]) == (409, "IDEMPOTENCY_KEY_RUNNING")
            assert int(answer.headers["Retry-After"]) >= 1
    assert len(api_on_both.send("GET", "/v1/decisions", key).json["decisions"]) == 1
