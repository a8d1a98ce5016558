"""A decision over HTTP: answered, recorded, read again."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from policy_engine.core.request import Agent
from policy_engine.wire.records import leaf_digest
from tests.api.conftest import Api, late_order


def test_an_order_six_days_late_gets_the_coupon(api_on_both: Api) -> None:
    answer = api_on_both.decide(api_on_both.key())
    assert answer.status_code == 201
    body = answer.json
    assert body["outcome"] == "offer"
    assert body["plans"][0]["plan"] == "shipping_delay/delay_coupon"
    assert body["plans"][0]["allowed"] == {"amount": "40.00", "currency": "CNY"}
    assert body["grantable"] is True
    assert answer.headers["Location"] == f"/v1/decisions/{body['decision_id']}"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_decision_reads_back_byte_for_byte(api_on_both: Api) -> None:
    key = api_on_both.key()
    decided = api_on_both.decide(key)
    read = api_on_both.send("GET", decided.headers["Location"], key)
    assert read.status_code == 200
    assert read.data == decided.data


def test_the_answer_names_the_digest_of_its_record(api_on_both: Api) -> None:
    body = api_on_both.decide(api_on_both.key()).json
    stored = api_on_both.services.ledger.decisions.get(body["decision_id"])
    assert stored is not None
    assert leaf_digest(stored.record) == body["audit"]["digest"] == stored.digest


def test_a_record_holds_no_customer_in_the_clear(api: Api) -> None:
    body = late_order(customer__id="Cust-4711", customer__name="Li Hua", reference={"t": "ZD-88"})
    decided = api.decide(api.key(), body).json
    stored = api.services.ledger.decisions.get(decided["decision_id"])
    assert stored is not None
    for secret in (b"Cust-4711", b"Li Hua", b"ZD-88"):
        assert secret not in stored.record


def test_the_record_says_where_the_role_came_from(api: Api) -> None:
    def role_from(credential: str) -> str:
        stored = api.services.ledger.decisions.get(api.decide(credential).json["decision_id"])
        assert stored is not None
        return str(orjson.loads(stored.record)["agent"]["role_from"])

    assert role_from(api.key()) == "body"
    assert role_from(api.key(roster={"A-7": "agent"})) == "roster"
    assert role_from(api.key(person=Agent("A-7", "agent"))) == "credential"


def test_a_refusal_is_a_decision_like_any_other(api: Api) -> None:
    key = api.key()
    body = late_order(order__promised_delivery_by="2099-01-01T00:00:00Z")
    answer = api.decide(key, body)
    assert answer.status_code == 201
    assert answer.json["outcome"] == "nothing_due"
    assert api.send("GET", answer.headers["Location"], key).data == answer.data


def test_a_dry_run_records_nothing_says_so_and_needs_no_key(api_on_both: Api) -> None:
    key = api_on_both.key("decide")
    answer = api_on_both.send(
        "POST", "/v1/decisions?dry_run=true", key, json=late_order(), idempotency_key=None
    )
    assert answer.status_code == 200
    assert answer.json["dry_run"] is True
    assert answer.json["grantable"] is False
    assert answer.json["decision_id"] is None
    assert answer.json["audit"] is None
    assert api_on_both.send("GET", "/v1/decisions", key).json["decisions"] == []


def test_a_chosen_as_of_is_not_grantable(api: Api) -> None:
    answer = api.decide(api.key("decide", "simulate"), late_order(as_of="2026-06-07T00:00:00Z"))
    assert answer.status_code == 201
    assert answer.json["grantable"] is False
    assert answer.json["as_of"] == "2026-06-07T00:00:00Z"


def test_caps_of_the_whole_pack_are_for_auditors(api: Api) -> None:
    def caps(body: Any) -> set[str]:
        return {cap["cap"] for cap in body["caps"]}

    plain, auditor = api.key(), api.key("decide", "audit")
    by_plain, by_auditor = api.decide(plain), api.decide(auditor)
    assert "budget" not in caps(by_plain.json)
    assert "budget" in caps(by_auditor.json)
    # Whoever reads it, not whoever asked, says what is shown.
    assert "budget" in caps(api.send("GET", by_plain.headers["Location"], auditor).json)
    assert "budget" not in caps(api.send("GET", by_auditor.headers["Location"], plain).json)
    shown = api.send("GET", by_plain.headers["Location"], auditor).json["caps"]
    assert shown == by_auditor.json["caps"]


def test_another_clients_decision_looks_like_none(api_on_both: Api) -> None:
    decided = api_on_both.decide(api_on_both.key(client="one"))
    other = api_on_both.key(client="two")
    hidden = api_on_both.send("GET", decided.headers["Location"], other)
    absent = api_on_both.send("GET", "/v1/decisions/01a200c0-0000-7000-8000-000000000000", other)
    assert hidden.status_code == absent.status_code == 404
    for answer in (hidden, absent):
        answer.json.pop("request_id")
    strip = [{k: v for k, v in each.json.items() if k != "request_id"} for each in (hidden, absent)]
    assert strip[0] == strip[1]
    assert hidden.json["code"] == "NO_SUCH_DECISION"
    auditor = api_on_both.key("audit", client="two")
    assert api_on_both.send("GET", decided.headers["Location"], auditor).status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3),
        ("order=SO-1", 1),
        ("customer=C-1", 2),
        ("customer=C-9", 0),
        ("agent=A-8", 1),
        ("policy=shipping_delay", 3),
        ("policy=oversold", 0),
        ("outcome=offer", 3),
        ("outcome=nothing_due", 0),
        ("reference=ZD-88", 1),
        ("from=2026-01-01T00:00:00Z", 3),
        ("to=2026-01-01T00:00:00Z", 0),
        ("order=SO-1&customer=C-2", 0),
    ],
)
def test_decisions_are_found_by(api: Api, query: str, found: int) -> None:
    key = api.key()
    api.decide(key, late_order(reference={"ticket": "ZD-88"}))
    api.decide(key, late_order(order__id="SO-2", agent={"id": "A-8", "role": "bot"}))
    api.decide(key, late_order(order__id="SO-3", customer__id="C-2"))
    api.decide(api.key(client="other"), late_order(order__id="SO-4"))
    assert len(api.send("GET", f"/v1/decisions?{query}", key).json["decisions"]) == found


def test_pages_join_without_gap_or_repeat(api_on_both: Api) -> None:
    key = api_on_both.key()
    decided = [api_on_both.decide(key).json["decision_id"] for _ in range(5)]
    seen: list[str] = []
    path = "/v1/decisions?limit=2"
    while True:
        page = api_on_both.send("GET", path, key).json
        seen += [each["decision_id"] for each in page["decisions"]]
        if page["next_cursor"] is None:
            break
        path = f"/v1/decisions?limit=2&cursor={page['next_cursor']}"
    assert seen == decided[::-1]


def test_a_cursor_is_good_for_its_own_list_only(api: Api) -> None:
    key = api.key()
    for _ in range(2):
        api.decide(key)
    cursor = api.send("GET", "/v1/decisions?limit=1", key).json["next_cursor"]
    other = api.key(client="other")
    for path, credential in (
        (f"/v1/decisions?cursor={cursor}&order=SO-1", key),
        (f"/v1/decisions?cursor={cursor}", other),
        (f"/v1/decisions?cursor={cursor[:-2]}AA", key),
        ("/v1/decisions?cursor=!", key),
    ):
        answer = api.send("GET", path, credential)
        assert answer.status_code == 422
        assert answer.json["errors"][0]["pointer"] == "/cursor"
        assert answer.json["errors"][0]["code"] == "INVALID_CURSOR"


class TestBatch:
    def send(self, api: Api, key: str, requests: list[Any], **options: Any) -> Any:
        body = {"decisions": requests}
        return api.send("POST", "/v1/decisions/batch", key, json=body, **options)

    def test_each_is_answered_and_recorded_in_order(self, api_on_both: Api) -> None:
        key = api_on_both.key()
        bad = late_order(order__currency="XXX")
        answer = self.send(api_on_both, key, [late_order(), bad, late_order(order__id="SO-2")])
        assert answer.status_code == 200
        results = answer.json["results"]
        assert [each["status"] for each in results] == [201, 422, 201]
        assert results[1]["body"]["code"] == "INVALID_REQUEST"
        assert results[1]["body"]["errors"][0]["pointer"] == "/order/currency"
        ids = [results[index]["body"]["decision_id"] for index in (0, 2)]
        listed = api_on_both.send("GET", "/v1/decisions", key).json["decisions"]
        assert [each["decision_id"] for each in listed] == ids[::-1]

    def test_refusals_among_many_change_neither_order_nor_the_others(
        self, api_on_both: Api
    ) -> None:
        key = api_on_both.key()
        refused = {3, 10, 11, 19, 24}
        requests = [late_order(order__id=f"SO-{index}") for index in range(25)]
        for index in refused:
            requests[index]["order"]["currency"] = "XXX"
        results = self.send(api_on_both, key, requests, idempotency_key="b").json["results"]
        assert {index for index, each in enumerate(results) if each["status"] == 422} == refused
        ids = [each["body"]["decision_id"] for each in results if each["status"] == 201]
        pages = api_on_both.send("GET", "/v1/decisions?limit=50", key).json["decisions"]
        assert [each["decision_id"] for each in pages] == ids[::-1]
        again = self.send(api_on_both, key, requests, idempotency_key="b")
        assert again.json["results"] == results

    def test_sent_again_it_is_answered_again_byte_for_byte(self, api_on_both: Api) -> None:
        key = api_on_both.key()
        requests = [late_order(), late_order(customer__id=5)]
        first = self.send(api_on_both, key, requests, idempotency_key="b")
        again = self.send(api_on_both, key, requests, idempotency_key="b")
        assert again.data == first.data
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(api_on_both.send("GET", "/v1/decisions", key).json["decisions"]) == 1

    def test_the_key_of_one_batch_is_no_key_of_another(self, api: Api) -> None:
        key = api.key()
        self.send(api, key, [late_order()], idempotency_key="b")
        longer = self.send(api, key, [late_order(), late_order()], idempotency_key="b")
        assert longer.status_code == 422
        assert longer.json["code"] == "IDEMPOTENCY_KEY_REUSED"

    @pytest.mark.parametrize(
        ("body", "pointer", "code"),
        [
            ({"decisions": []}, "/decisions", "EMPTY"),
            ({"decisions": [late_order()] * 501}, "/decisions", "TOO_MANY_ITEMS"),
            ({"decisions": [late_order(), 5]}, "/decisions/1", "WRONG_TYPE"),
            ({}, "/decisions", "MISSING_FIELD"),
            ({"decisions": [late_order()], "more": 1}, "/more", "UNKNOWN_FIELD"),
        ],
    )
    def test_a_batch_that_is_none(self, api: Api, body: Any, pointer: str, code: str) -> None:
        answer = api.send("POST", "/v1/decisions/batch", api.key(), json=body)
        assert answer.status_code == 422
        assert (answer.json["errors"][0]["pointer"], answer.json["errors"][0]["code"]) == (
            pointer,
            code,
        )

    def test_five_hundred_at_once(self, api: Api) -> None:
        requests = [late_order(order__id=f"SO-{index}") for index in range(500)]
        results = self.send(api, api.key(), requests).json["results"]
        assert [each["status"] for each in results] == [201] * 500


class TestReplay:
    def test_under_its_own_revision_it_comes_to_the_same(self, api_on_both: Api) -> None:
        key = api_on_both.key()
        decided = api_on_both.decide(key, late_order(customer__name="Li", facts=None))
        replayed = api_on_both.send("POST", decided.headers["Location"] + "/replay", key)
        assert replayed.status_code == 200
        assert replayed.json["equal"] is True
        assert replayed.json["differences"] == []

    def test_under_another_the_difference_is_told(self, api: Api) -> None:
        key = api.key("decide", "packs", "simulate")
        decided = api.decide(key)
        revision = activate(api, key, {"shipping_delay.yaml": ('"5"', '"6"')})
        path = decided.headers["Location"] + "/replay"
        replayed = api.send("POST", path, key, json={"revision": revision})
        assert replayed.status_code == 200
        assert replayed.json["equal"] is False
        pointer = "/plans/shipping_delay~1delay_coupon/allowed"
        changed = {each["pointer"]: each for each in replayed.json["differences"]}
        assert (changed[pointer]["recorded"], changed[pointer]["now"]) == (4000, 4800)

    def test_another_revision_needs_a_scope(self, api: Api) -> None:
        key = api.key()
        decided = api.decide(key)
        replay = decided.headers["Location"] + "/replay"
        own = api.send("POST", replay, key, json={"revision": decided.json["pack_revision"]})
        assert (own.status_code, own.json["equal"]) == (200, True)
        answer = api.send("POST", replay, key, json={"revision": "sha256:" + "0" * 64})
        assert (answer.status_code, answer.json["code"]) == (403, "SCOPE_MISSING")

    def test_a_revision_nobody_stored(self, api: Api) -> None:
        key = api.key("decide", "simulate")
        decided = api.decide(key)
        body = {"revision": "sha256:" + "0" * 64}
        answer = api.send("POST", decided.headers["Location"] + "/replay", key, json=body)
        assert (answer.status_code, answer.json["code"]) == (404, "NO_SUCH_REVISION")


def activate(api: Api, key: str, changes: dict[str, tuple[str, str]]) -> str:
    from tests.api.conftest import PACK

    files = {path.name: path.read_text() for path in PACK.glob("*.yaml")}
    for name, (old, new) in changes.items():
        assert old in files[name]
        files[name] = files[name].replace(old, new)
    answer = api.send("POST", "/v1/packs/activate", key, json={"files": files})
    assert answer.status_code == 200, json.dumps(answer.json)
    return str(answer.json["revision"])
