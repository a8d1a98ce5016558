"""/v1/log: what an auditor's program reads, checked with nothing but the answers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from policy_engine import bootstrap
from policy_engine.ledger.log.notes import VerifierKey
from policy_engine.ledger.log.tree import check_consistency, check_inclusion
from tests.api.conftest import Api, app_over
from tests.log.given import begin, close, decide_one, open_services, sequence


@pytest.fixture
def audited(api_of: Callable[[str], Api], database_url: str) -> Api:
    return api_of(database_url)


@pytest.fixture
def api_of() -> Iterator[Callable[[str], Api]]:
    """The API over a database with a few entries in its log and one record that waits."""
    made = []

    def make(url: str) -> Api:
        services = open_services(url)
        made.append(services)
        begin(services)
        for number in range(5):
            decide_one(services, number)
            if number % 2 == 0:
                sequence(services)
        api = Api(app_over(services), services)
        api.auditor = api.key("audit")  # type: ignore[attr-defined]
        sequence(services)
        return api

    yield make
    for each in made:
        close(each)


def get(api: Api, path: str, **options: Any) -> Any:
    return api.send("GET", path, api.auditor, **options)  # type: ignore[attr-defined]


def b64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def test_the_log_is_listed_in_order_and_page_by_page(audited: Api) -> None:
    whole = get(audited, "/v1/log?limit=100").json
    entries = whole["entries"]
    assert [each["index"] for each in entries] == list(range(len(entries)))
    assert whole["next_cursor"] is None
    assert [each["kind"] for each in entries[:2]] == ["log_opened", "activation"]
    paged, cursor = [], ""
    while cursor is not None:
        page = get(audited, f"/v1/log?limit=3{cursor and '&cursor=' + cursor}").json
        paged += page["entries"]
        cursor = page["next_cursor"]
    assert paged == entries
    after = get(audited, "/v1/log?after=2&kind=decision&content=true").json["entries"]
    assert [each["index"] for each in after] == [
        each["index"] for each in entries if each["index"] > 2 and each["kind"] == "decision"
    ]
    assert after[0]["content"]["id"] == after[0]["record"]


def test_an_entry_holds_the_bytes_that_were_hashed(audited: Api) -> None:
    for index in range(4):
        entry = get(audited, f"/v1/log/{index}").json
        assert get(audited, f"/v1/log/records/{entry['record']}").json == entry
        content = orjson.dumps(entry["content"], option=orjson.OPT_SORT_KEYS)
        assert entry["digest"] == "sha256:" + hashlib.sha256(b"\0" + content).hexdigest()


def test_a_decision_leads_to_its_proof_and_the_proof_to_the_signed_root(audited: Api) -> None:
    decide = audited.key("decide", "audit")
    decided = audited.decide(decide).json
    record = decided["audit"]["record"]
    waiting = get(audited, f"/v1/log/records/{record}").json
    assert waiting["index"] is None
    early = get(audited, f"/v1/log/proof/inclusion?record={record}")
    assert (early.status_code, early.json["code"]) == (409, "NOT_IN_LOG_YET")

    sequence(audited.services)

    proof = get(audited, f"/v1/log/proof/inclusion?record={record}").json
    leaf = b64(proof["leaf_hash"])
    assert decided["audit"]["digest"] == f"sha256:{leaf.hex()}"
    check_inclusion(
        leaf, proof["index"], proof["size"], [b64(x) for x in proof["hashes"]], b64(proof["root"])
    )
    latest = get(audited, "/v1/log/checkpoint").json
    key = VerifierKey.parse(get(audited, "/v1/log/key").json["key"])
    signed = key.open(latest["note"])
    assert (signed.size, signed.root) == (proof["size"], b64(proof["root"]))
    assert (latest["size"], b64(latest["root"]), latest["origin"]) == (
        signed.size,
        signed.root,
        signed.origin,
    )


def test_the_checkpoint_comes_as_plain_text_too(audited: Api) -> None:
    note = get(audited, "/v1/log/checkpoint", headers={"Accept": "text/plain"})
    assert note.mimetype == "text/plain"
    assert note.text == get(audited, "/v1/log/checkpoint").json["note"]
    assert get(audited, "/v1/log/checkpoint", headers={"Accept": "text/html"}).status_code == 406


def test_an_earlier_log_is_proved_to_be_the_beginning_of_a_later_one(audited: Api) -> None:
    size = get(audited, "/v1/log/checkpoint").json["size"]
    for first in range(size + 1):
        proof = get(audited, f"/v1/log/proof/consistency?from={first}").json
        assert (proof["from"], proof["to"]) == (first, size)
        roots = b64(proof["from_root"]), b64(proof["to_root"])
        check_consistency(first, size, *roots, [b64(each) for each in proof["hashes"]])


@pytest.mark.parametrize(
    ("path", "status", "code", "pointer"),
    [
        ("/v1/log/999", 404, "BEYOND_LOG", None),
        ("/v1/log/99999999999999999999", 404, "NOT_FOUND", None),
        ("/v1/log/records/nobody", 404, "NO_SUCH_RECORD", None),
        ("/v1/log/proof/inclusion?record=nobody", 404, "NO_SUCH_RECORD", None),
        ("/v1/log/proof/inclusion?index=999", 404, "BEYOND_LOG", None),
        ("/v1/log/proof/inclusion?index=0&size=999", 404, "BEYOND_LOG", None),
        ("/v1/log/proof/inclusion?index=2&size=2", 404, "BEYOND_LOG", None),
        ("/v1/log/proof/inclusion", 422, "ONE_OF", ""),
        ("/v1/log/proof/inclusion?index=1&record=x", 422, "ONE_OF", ""),
        ("/v1/log/proof/inclusion?index=-1", 422, "NOT_A_NUMBER", "/index"),
        ("/v1/log/proof/inclusion?index=1e3", 422, "NOT_A_NUMBER", "/index"),
        ("/v1/log/proof/inclusion?index=9999999999999999", 422, "OUT_OF_RANGE", "/index"),
        ("/v1/log/proof/consistency", 422, "MISSING_FIELD", "/from"),
        ("/v1/log/proof/consistency?from=3&to=2", 422, "OUT_OF_RANGE", "/to"),
        ("/v1/log?from=2026-06-07T00:00:00Z&to=2026-06-07T00:00:00Z", 422, "EMPTY_TIME", "/to"),
        ("/v1/log/proof/consistency?from=0&to=999", 404, "BEYOND_LOG", None),
        ("/v1/log?cursor=made-up", 422, "INVALID_CURSOR", "/cursor"),
        ("/v1/log?colour=red", 422, "UNKNOWN_PARAMETER", "/colour"),
        ("/v1/log?limit=0", 422, "OUT_OF_RANGE", "/limit"),
    ],
)
def test_what_is_not_there_or_not_in_order_is_said(
    api_of: Callable[[str], Api], sqlite_url: str, path: str, status: int, code: str, pointer: str
) -> None:
    answer = get(api_of(sqlite_url), path)
    found = answer.json["errors"][0] if "errors" in answer.json else answer.json
    assert (answer.status_code, found["code"], found.get("pointer")) == (status, code, pointer)


def test_the_log_is_for_auditors_alone(audited: Api) -> None:
    other = audited.key("decide", "grant", "packs")
    for path in ("", "/0", "/checkpoint", "/key", "/proof/inclusion?index=0", "/records/x"):
        assert audited.send("GET", f"/v1/log{path}", other).status_code == 403
        assert audited.send("GET", f"/v1/log{path}").status_code == 401


def test_an_empty_log_says_that_it_is_empty(api_of: Callable[[str], Api], sqlite_url: str) -> None:
    services = open_services(sqlite_url)
    api = Api(app_over(services), services)
    api.auditor = api.key("audit")  # type: ignore[attr-defined]
    assert get(api, "/v1/log").json == {"entries": [], "next_cursor": None}
    assert get(api, "/v1/log/checkpoint").json["code"] == "NO_CHECKPOINT"
    assert get(api, "/v1/log/key").json["code"] == "NO_LOG_KEY"
    bootstrap.open_log(services.settings, services.ledger, by="tests")
    assert get(api, "/v1/log/key").status_code == 200
    close(services)
