"""A record can be proved and decided again, and says nowhere who the customer is."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from policy_engine.core.evaluation import Engine
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, UsageQuestion, Used
from policy_engine.wire.personal import PERSONAL, join_personal, split_personal, stand_ins
from policy_engine.wire.records import (
    Circumstances,
    canonical,
    decision_record,
    evaluation_bytes,
    leaf_digest,
)
from policy_engine.wire.replay import NotedUsage, ReplayError, recorded_request, replay
from policy_engine.wire.requests import ReadRequest
from tests.wire.conftest import NOW

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_RECORDED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=6),
    max_leaves=25,
)


@given(_RECORDED)
@example({"\ue000": 1, "😀": 2, "a": {"\uffff": [], "\U00010000": None}})
@example('\x00\x08\t\n\x0c\r\x1f"\\/\x7f\x80\u2028\u2029')
def test_canonical_bytes_are_those_of_rfc_8785(data: Any) -> None:
    assert canonical(data) == rfc8785.dumps(data)


@pytest.mark.parametrize("data", [2**53, -(2**53), {1: 2}, b"bytes", {"a": {1, 2}}])
def test_what_has_no_canonical_form_is_refused(data: Any) -> None:
    with pytest.raises((TypeError, orjson.JSONEncodeError)):
        canonical(data)


def test_a_leaf_is_hashed_after_a_zero_byte() -> None:
    # RFC 9162, test vector of the empty leaf.
    assert leaf_digest(b"") == (
        "sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


class Granted:
    """A past in which something was given of everything, and the evidence is spent."""

    def read(self, question: UsageQuestion) -> Usage:
        first = datetime(2026, 6, 1, tzinfo=UTC)
        used = {
            key: Used(100 + at, first) if key.currency else Used(0)
            for at, key in enumerate(question.counters)
            if at != 1
        }
        return Usage(used, {"line:1": 700}, frozenset(question.evidence))


@pytest.fixture
def engine(pack: Pack) -> Iterator[Engine]:
    engine = Engine(pack, Interpreter())
    yield engine
    engine.close()


Recorded = tuple[dict[str, Any], dict[str, str]]


@pytest.fixture
def recorded(
    full: dict[str, Any], read: Callable[[object], ReadRequest], engine: Engine, pack: Pack
) -> Recorded:
    """A record as it is stored and read back, and what was sealed of it."""
    answer = read(full)
    request = replace(answer.request, registered=frozenset({"order.paid_at"}))
    usage = NotedUsage(Granted())
    decision = engine.evaluate(request, NOW, usage)
    public, personal = split_personal(answer.body, pack)
    record = decision_record(
        decision,
        request,
        pack,
        public=public,
        usage=usage.as_json(),
        circumstances=Circumstances(
            id="D-1",
            at=NOW,
            client="shop",
            role_from="credential",
            matcher="interpreter",
            semantics=engine.semantics,
            engine="0.1.0",
            time_zone_data="2025b",
            settings={"require_registered_orders": False},
        ),
    )
    return json.loads(canonical(record)), personal


def test_a_record_says_what_was_decided_by_whom_and_with_what(
    recorded: Recorded, pack: Pack
) -> None:
    record, _ = recorded

    assert record["kind"] == "decision"
    assert record["at"] == record["as_of"] == "2026-06-07T04:00:00Z"
    assert record["client"] == "shop"
    assert record["agent"] == {"id": "A-7", "role": "agent", "role_from": "credential"}
    assert record["pack_revision"] == pack.revision
    assert record["versions"] == {
        "engine": "0.1.0",
        "matcher": "interpreter",
        "semantics": 1,
        "time_zone_data": "2025b",
    }
    assert record["sealed"] is None
    assert record["usage"]["money_back"] == {"line:1": 700}
    assert record["usage"]["spent_evidence"] == [0]
    assert record["usage"]["counters"][1] == {"used": 0, "oldest_at": None}


def test_a_record_holds_every_step_of_the_evaluation(recorded: Recorded) -> None:
    held = recorded[0]["evaluation"]

    assert {each["fact"]: each["source"] for each in held["facts"]} | {
        "shipping.delay": "computed",
        "case.urgent": "derived",
        "customer.tier": "asserted",
    } == {each["fact"]: each["source"] for each in held["facts"]}
    assert {"fact": "shop.pieces", "observed": {"missing": "absent"}, "required": "over 3",
            "outcome": False} in held["trace"]  # fmt: skip
    refund = next(each for each in held["plans"] if each["plan"] == "shipping_delay/refund")
    [remedy] = refund["remedies"]
    assert remedy["entitled"] == remedy["allowed"] + remedy["pending"] + remedy["uncovered"]
    given = remedy["allowed"] + remedy["pending"]
    assert sum(share["minor"] for share in remedy["shares"]) == given
    assert remedy["entitled"] == 1680
    assert {"cap": "once", "scope": "claim", "measure": "count", "policy": "shipping_delay",
            "limit": 1, "used": 0, "headroom": 1, "resets_at": None} in held["caps"]  # fmt: skip
    assert {each["code"] for each in held["not_offered"]} >= {"EVIDENCE_MISSING"}
    assert all("text" not in each for each in held["not_offered"])


PERSONAL_TEXTS = ("C-1", "王小明", "ZD-88", "TX-77", "INC-9", "storm over", "porter")


def test_nothing_outside_of_the_sealed_part_says_who_the_customer_is(recorded: Recorded) -> None:
    record, personal = recorded
    written = canonical(record).decode()

    assert [text for text in PERSONAL_TEXTS if text in written] == []
    assert all(any(text in value for value in personal.values()) for text in PERSONAL_TEXTS)
    assert set(personal) == {
        "/customer/id", "/customer/name", "/incident/id", "/incident/cause", "/reference/ticket",
        "/incident/evidence/0/reference", "/facts/shop.note",
    }  # fmt: skip


def test_a_record_evaluated_again_gives_the_same_bytes(
    recorded: Recorded, engine: Engine, pack: Pack
) -> None:
    record, personal = recorded

    replayed = replay(record, personal, engine)

    assert replayed.equal
    assert evaluation_bytes(replayed.decision, pack) == canonical(record["evaluation"])


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("usage", lambda usage: usage["money_back"].update({"line:1": 16800})),
        ("usage", lambda usage: usage["counters"][0].update({"used": 16000})),
        ("usage", lambda usage: usage.update({"spent_evidence": []})),
        ("agent", lambda agent: agent.update({"role": "supervisor"})),
        ("request", lambda request: request["order"]["lines"][0].update({"paid": "168.01"})),
        ("evaluation", lambda held: held["plans"][0].update({"allowed": 1})),
        ("registered", lambda names: names.append("customer.tier")),
    ],
)
def test_a_record_that_was_changed_does_not_replay(
    recorded: Recorded, engine: Engine, part: str, change: Callable[[Any], object]
) -> None:
    record, personal = recorded
    record["request"]["incident"]["evidence"][0]["kind"] = "photo"
    record["evaluation"] = replay(record, personal, engine).again
    assert replay(record, personal, engine).equal

    change(record[part])

    assert not replay(record, personal, engine).equal


def test_usage_that_does_not_fit_the_pack_is_an_error_and_not_a_guess(
    recorded: Recorded, engine: Engine
) -> None:
    record, personal = recorded
    record["usage"]["counters"].pop()

    with pytest.raises(ReplayError):
        replay(record, personal, engine)


def test_the_stored_request_reads_as_it_was(
    recorded: Recorded, full: dict[str, Any], read: Callable[[object], ReadRequest], pack: Pack
) -> None:
    record, personal = recorded
    first = replace(read(full).request, registered=frozenset({"order.paid_at"}))

    assert recorded_request(record, personal, pack).request == first


def test_a_narrowed_cause_is_not_personal_and_is_shown(full: dict[str, Any], pack: Pack) -> None:
    spec = replace(pack.facts["incident.cause"], values=("storm over the strait",))
    narrowed = replace(
        pack,
        facts={
            **pack.facts,
            "incident.cause": replace(spec, type=pack.facts["customer.tier"].type),
        },
    )

    public, personal = split_personal(full, narrowed)

    assert public["incident"]["cause"] == "storm over the strait"
    assert "/incident/cause" not in personal


_ID = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(
    customer=st.fixed_dictionaries({"id": _ID}, optional={"name": st.none() | _ID}),
    incident=st.fixed_dictionaries(
        {"types": st.just(["oversold"])},
        optional={
            "id": st.none() | _ID,
            "cause": st.none() | _ID,
            "evidence": st.none()
            | st.lists(
                st.fixed_dictionaries(
                    {"kind": _ID},
                    optional={"reference": st.none() | _ID, "verified": st.booleans()},
                ),
                max_size=3,
            ),
        },
    ),
    reference=st.none() | st.dictionaries(st.from_regex(r"\A[a-z.]{1,5}\Z"), _ID, max_size=3),
    note=st.none() | _ID,
)
def test_what_was_taken_out_is_put_back_exactly(
    pack: Pack,
    customer: dict[str, Any],
    incident: dict[str, Any],
    reference: dict[str, str] | None,
    note: str | None,
) -> None:
    body = {
        "customer": customer,
        "incident": incident,
        "reference": reference,
        "facts": {"shop.note": note, "shop.size": "small"},
    }
    before = copy.deepcopy(body)

    public, personal = split_personal(body, pack)

    assert body == before
    assert join_personal(json.loads(json.dumps(public)), personal) == before
    assert public["customer"]["id"] == {"personal": True}
    assert None not in personal.values()


def test_what_stands_for_an_erased_text_is_as_short_as_any_text_may_be() -> None:
    name = ".".join(["a" * 64] * 4)
    found = dict(stand_ins({"customer": {"id": PERSONAL}, "facts": {name: PERSONAL}}))
    assert found["/customer/id"] == "erased customer/id"
    assert len(found[f"/facts/{name}"]) <= 128
