"""The answer has the shape of the contract, whatever was decided."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from policy_engine.core.decision import Decision, Refusal
from policy_engine.core.evaluation import Engine
from policy_engine.core.facts import BUILT_IN
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, UsageQuestion, Used
from policy_engine.wire.decisions import decision_body
from policy_engine.wire.requests import ReadRequest
from policy_engine.wire.texts import ask_text, localised, refusal_text

AS_OF = datetime(2026, 6, 7, tzinfo=UTC)


class Spent:
    """Of every counter 0.50 (or one grant) is used."""

    def read(self, question: UsageQuestion) -> Usage:
        first = datetime(2026, 6, 1, tzinfo=UTC)
        return Usage(
            {key: Used(50, first) if key.currency else Used(0) for key in question.counters}
        )


@pytest.fixture
def engine(pack: Pack) -> Iterator[Engine]:
    engine = Engine(pack, Interpreter())
    yield engine
    engine.close()


@pytest.fixture
def decided(
    full: dict[str, Any], read: Callable[[object], ReadRequest], engine: Engine
) -> tuple[ReadRequest, Decision]:
    del full["facts"]["shop.pieces"]
    request = read(full)
    return request, engine.evaluate(request.request, AS_OF, Spent())


@pytest.fixture
def body(decided: tuple[ReadRequest, Decision], pack: Pack) -> dict[str, Any]:
    request, decision = decided
    return decision_body(
        decision,
        request.request,
        pack,
        decision_id="D-1",
        locale=request.locale,
        grantable=True,
        script={"opening": "您好"},
        audit={"record": "D-1", "digest": "sha256:00"},
    )


def _cny(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "CNY"}


def test_the_frame_of_an_answer(body: dict[str, Any], pack: Pack) -> None:
    assert list(body) == [
        "decision_id", "outcome", "pack_revision", "as_of", "expires_at", "grantable", "dry_run",
        "plans", "not_offered", "facts_needed", "caps", "guidance", "audit",
    ]  # fmt: skip
    assert body["decision_id"] == "D-1"
    assert body["outcome"] == "offer"
    assert body["pack_revision"] == pack.revision
    assert body["as_of"] == "2026-06-07T00:00:00Z"
    assert body["expires_at"] == "2026-06-07T00:15:00Z"
    assert (body["grantable"], body["dry_run"]) == (True, False)
    assert body["audit"] == {"record": "D-1", "digest": "sha256:00"}


def test_a_plan_says_what_is_given_what_waits_and_why(body: dict[str, Any]) -> None:
    plan = next(each for each in body["plans"] if each["plan"] == "shipping_delay/delay_coupon")

    assert plan == {
        "plan": "shipping_delay/delay_coupon",
        "title": "延迟补偿券",
        "recommended": False,
        "remedies": [
            {
                "kind": "coupon",
                "from": "shipping_delay/delay_coupon",
                "status": "partial",
                "entitled": _cny("8.40"),
                "allowed": _cny("4.50"),
                "pending": _cny("3.90"),
                "uncovered": _cny("0.00"),
                "tax": None,
                "net": None,
                "floor": None,
                "valid_for": "P90D",
                "min_spend": _cny("100.00"),
                "service": None,
                "due_at": None,
            }
        ],
        "entitled": _cny("8.40"),
        "allowed": _cny("4.50"),
        "pending": _cny("3.90"),
        "uncovered": _cny("0.00"),
        "binding_cap": "agent_order",
        "authority": {"status": "partial", "approver": "supervisor"},
        "because": [
            {
                "fact": "shipping.delay",
                "observed": "P6DT8H",
                "required": "over P5D",
                "outcome": True,
            }
        ],
    }


def test_a_remedy_with_a_deadline_says_when(body: dict[str, Any]) -> None:
    refund = next(each for each in body["plans"] if each["plan"] == "shipping_delay/refund")

    assert refund["recommended"] is True
    assert refund["remedies"][0]["due_at"] == "2026-06-07T01:00:00Z"
    assert refund["title"] == "Part of the money back"


def test_what_is_not_offered_says_why_in_the_callers_language(body: dict[str, Any]) -> None:
    refused = {each["plan"].partition("/")[2]: each for each in body["not_offered"]}

    assert {name: each["code"] for name, each in refused.items()} == {
        "storm": "CONDITION_FALSE",
        "proven": "EVIDENCE_MISSING",
        "unknown": "FACTS_MISSING",
    }
    assert refused["storm"]["because"] == [
        {
            "fact": "incident.cause",
            "observed": "storm over the strait",
            "required": "is storm",
            "outcome": False,
        }
    ]
    assert refused["storm"]["text"] == "不符合该方案的条件。"
    assert "incident.evidence.photo" in refused["proven"]["text"]
    assert refused["unknown"]["because"][0]["observed"] is None
    assert refused["unknown"]["because"][0]["outcome"] is None


def test_what_is_missing_is_asked_for(body: dict[str, Any]) -> None:
    assert body["facts_needed"] == [
        {
            "fact": "incident.evidence.photo",
            "type": "evidence",
            "ask": "请提供此类凭证:photo。",
        },
        {"fact": "shop.pieces", "type": "integer", "ask": "请提供 shop.pieces。"},
    ]


def test_caps_are_shown_in_what_they_measure(body: dict[str, Any]) -> None:
    caps = {each["cap"]: each for each in body["caps"]}

    assert caps["agent_order"] == {
        "cap": "agent_order",
        "scope": "order",
        "policy": None,
        "limit": _cny("5.00"),
        "used": _cny("0.50"),
        "headroom": _cny("4.50"),
        "resets_at": None,
    }
    assert caps["once"] == {
        "cap": "once",
        "scope": "claim",
        "policy": "shipping_delay",
        "limit": 1,
        "used": 0,
        "headroom": 1,
        "resets_at": None,
    }
    assert caps["customer_30d"]["resets_at"] == "2026-07-01T00:00:00Z"


def test_caps_of_the_pack_are_for_auditors(
    body: dict[str, Any], decided: tuple[ReadRequest, Decision], pack: Pack
) -> None:
    shown = decision_body(
        decided[1], decided[0].request, pack, decision_id=None, locale="en", grantable=False,
        dry_run=True, show_pack_caps=True,
    )  # fmt: skip

    assert "budget" not in {each["cap"] for each in body["caps"]}
    assert "budget" in {each["cap"] for each in shown["caps"]}
    assert (shown["decision_id"], shown["audit"], shown["dry_run"]) == (None, None, True)


def test_guidance_goes_with_it(body: dict[str, Any]) -> None:
    assert body["guidance"] == {
        "facts": {"case.urgent": True},
        "actions": [
            {
                "action": "open_trace",
                "title": "Open a trace",
                "policy": "shipping_delay",
                "due_at": "2026-06-07T01:00:00Z",
            }
        ],
        "script": {"opening": "您好"},
        "milestones": [{"milestone": "first_reply", "due_at": "2026-06-07T00:05:00Z"}],
        "follow_ups": [
            {
                "follow_up": "say_sorry",
                "on": "granted",
                "policy": "shipping_delay",
                "plan": None,
                "after": None,
            },
            {
                "follow_up": "check_in",
                "on": "redeemed",
                "policy": "shipping_delay",
                "plan": "shipping_delay/delay_coupon",
                "after": "P1D",
            },
        ],
        "never_say": [
            {"phrase": "快了快了", "family": "fob-off", "instead": "给出明确时间", "unless": []}
        ],
    }


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("zh-CN", "甲"), ("zh", "甲"), ("zh-TW", "甲"), ("ZH-cn", "甲"),
        ("en-GB", "b"), ("en", "b"), ("fr", "b"), ("fr-FR", "b"), ("", "b"),
    ],
)  # fmt: skip
def test_a_text_is_shown_in_the_nearest_language(locale: str, text: str) -> None:
    assert localised({"zh-CN": "甲", "en": "b"}, locale, "en") == text


def test_a_text_that_has_neither_language_is_shown_all_the_same() -> None:
    assert localised({"pt-BR": "c"}, "zh-CN", "en") == "c"
    assert localised({}, "zh-CN", "en") == ""


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
def test_every_refusal_and_every_fact_has_its_sentence(locale: str) -> None:
    refusals = {refusal_text(code, ["order.paid_at"], locale) for code in Refusal}
    assert len(refusals) == len(Refusal)
    assert all("{" not in text for text in refusals)
    assert {text.isascii() for text in refusals} == {locale == "en"}
    for name, spec in BUILT_IN.items():
        ask = ask_text(name, spec, locale, "en")
        assert ask and "{" not in ask
        assert ask.isascii() is (locale == "en")
