"""Scripts: a decision's figures and times in the pack's words, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from policy_engine.core.policy import Pack
from policy_engine.packs.offline import Answer, OfflineEngine
from policy_engine.packs.problems import Code
from policy_engine.packs.sandbox import parsed, template_error
from policy_engine.packs.scripts import render_script, rendered
from policy_engine.rete import best_matcher
from tests.packs.made import WHOLE, loaded

NOW = datetime(2026, 6, 7, tzinfo=UTC)
REQUEST = {
    "order": {
        "id": "SO-1",
        "currency": "CNY",
        "promised_delivery_by": "2026-06-01T00:00:00Z",
        "shipping_paid": "0.00",
        "lines": [{"id": "1", "quantity": 1, "paid": "24690.00"}],
    },
    "incident": {"types": ["shipping_delay"]},
    "customer": {"id": "C1", "name": "Li & <b>Hua</b>"},
    "agent": {"id": "A1", "role": "agent"},
    "channel": "whatsapp",
    "as_of": "2026-06-07T00:00:00Z",
}


def pack_with(opening: str, **more: str) -> Pack:
    parts = "".join(
        f"\n      {name}: {text}" for name, text in {"opening": opening, **more}.items()
    )
    messages = f"scripts:\n  late:\n    offer:{parts}\n"
    policy = WHOLE["shipping_delay.yaml"].replace("plans:", "message: late\nplans:")
    policy = policy.replace("{en: Coupon}", "{en: Coupon, zh-CN: 优惠券}")
    settings = (
        "default_locale: en\n"
        "milestones: [{milestone: first_reply, within: PT5M}, {milestone: resolved, within: PT1H}]"
    )
    found = loaded(
        {
            "pack.yaml": settings,
            "caps.yaml": None,
            "shipping_delay.yaml": policy,
            "messages/en.yaml": messages,
            "messages/zh-CN.yaml": messages,
        }
    )
    assert found.pack is not None, [str(each) for each in found.problems]
    return found.pack


def decided(pack: Pack, **change: object) -> Answer:
    with OfflineEngine(pack, best_matcher("interpreter")) as engine:
        return engine.decide({**REQUEST, **change}, NOW)


def script(opening: str, locale: str = "en", **change: object) -> str:
    pack = pack_with(opening)
    answer = decided(pack, **change)
    result = rendered(pack, answer.decision, answer.request, locale)
    assert result.error is None, result.error
    return result.parts["opening"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('"Hi {{ customer_name }}, {{ order_id }}"', "Hi Li & <b>Hua</b>, SO-1"),
        ('"{{ agent_id }} on {{ channel }}"', "A1 on whatsapp"),
        (
            "'{% for p in plans %}{{ p.letter }} {{ p.title }} {{ p.allowed }}; {% endfor %}'",
            "A Coupon CN¥1,234.50; B Gift CN¥15.00;",
        ),
        ('"{{ plans[0].id }} {{ plans[0].remedies[0].kind }}"', "shipping_delay/coupon coupon"),
        (
            '"by {{ first_reply_by }}, {{ resolved_by }}"',
            "by 2026-06-07 00:05 UTC, 2026-06-07 01:00 UTC",
        ),
        ("\"{{ facts['shipping.delay'] }}\"", "P6D"),
        ('"{{ facts_needed | length }}{{ follow_ups | length }}"', "00"),
    ],
)
def test_slots(template: str, text: str) -> None:
    assert script(template) == text


def test_a_script_can_show_every_declared_fact_that_has_a_value() -> None:
    # No rule looks at these, so the decision itself doesn't hold them.
    assert script("\"{{ facts['order.total_paid'] }}\"") == "24690.00 CNY"
    assert script("\"{{ facts.get('customer.tier', 'none') }}\"") == "none"
    tier = {"id": "C1", "tier": "gold"}
    assert script("\"{{ facts.get('customer.tier') }}\"", customer=tier) == "gold"


def test_a_fact_that_nobody_declares_is_an_error_of_the_pack() -> None:
    template = "{{ facts['customer.teir'] }} {{ facts.get('shop.nothing', '') }}"
    messages = f'scripts:\n  late:\n    offer:\n      opening: "{template}"\n'
    result = loaded({"messages/en.yaml": messages})
    unknown = [each for each in result.problems if each.code is Code.UNKNOWN_FACT]
    assert [each.line for each in unknown] == [4, 4]
    assert "did you mean `customer.tier`?" in unknown[0].message


def test_titles_are_those_of_the_version_that_decided() -> None:
    policy = WHOLE["shipping_delay.yaml"].replace("plans:", "message: late\nplans:")
    bounds = 'effective: {{{}: "2026-07-01T00:00:00Z"}}\n'
    old = bounds.format("until") + policy.replace("    title: {en: Gift}\n", "")
    new = bounds.format("from") + policy.replace("{en: Coupon}", "{en: Later}")
    template = "'{% for p in plans %}{{ p.title }} {% endfor %}'"
    messages = f"scripts:\n  late:\n    offer:\n      opening: {template}\n"
    pack = loaded(
        {
            "caps.yaml": None,
            "shipping_delay.yaml": old,
            "next.yaml": new,
            "messages/en.yaml": messages,
        }
    ).pack
    assert pack is not None
    answer = decided(pack)
    assert rendered(pack, answer.decision, answer.request, "en").parts == {"opening": "Coupon gift"}


def test_amounts_and_titles_are_in_the_locale() -> None:
    template = '"{{ plans[0].title }} {{ plans[0].allowed }}"'
    assert script(template, "zh-CN") == "优惠券 ¥1,234.50"
    assert script(template, "zh") == "优惠券 ¥1,234.50"
    assert script(template, "fr") == "Coupon CN¥1,234.50"


@pytest.mark.parametrize(
    ("currency", "paid", "text"),
    [("JPY", "24690", "¥1,235"), ("KWD", "24690.000", "KWD1,234.500")],
)
def test_amounts_have_the_decimals_of_their_currency(currency: str, paid: str, text: str) -> None:
    order = {**REQUEST["order"], "currency": currency}  # type: ignore[dict-item]
    order |= {
        "lines": [{"id": "1", "quantity": 1, "paid": paid}],
        "shipping_paid": "0" if currency == "JPY" else "0.000",
    }
    shown = script('"{{ plans[0].allowed }}"', order=order)
    assert shown == text


def test_times_are_shown_in_the_zone_asked_for() -> None:
    pack = pack_with('"{{ first_reply_by }}"')
    answer = decided(pack)
    zone = ZoneInfo("Asia/Shanghai")
    parts = render_script(pack, answer.decision, answer.request, "en", zone=zone)
    assert parts["opening"].startswith("2026-06-07 08:05")


def test_parts_come_in_the_order_they_are_said() -> None:
    pack = pack_with("a", compensation="e", solution="d", explanation="c", empathy="b")
    answer = decided(pack)
    parts = render_script(pack, answer.decision, answer.request, "en")
    assert list(parts.items()) == [
        ("opening", "a"),
        ("empathy", "b"),
        ("explanation", "c"),
        ("solution", "d"),
        ("compensation", "e"),
    ]


def test_without_a_script_for_the_outcome_there_is_none() -> None:
    pack = pack_with("a")
    answer = decided(
        pack,
        agent={"id": "A1", "role": "agent"},
        order={
            **REQUEST["order"],
            "currency": "USD",
            "promised_delivery_by": None,  # type: ignore[dict-item]
        },
    )
    assert answer.decision.outcome.value == "nothing_due"
    assert rendered(pack, answer.decision, answer.request, "en").parts == {}


@pytest.mark.parametrize(
    "template",
    [
        "{{ facts['no.such'] }}",
        "{{ plans[9].title }}",
        "{{ 1 // 0 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ plans.append(1) }}",
        "{{ 'x' * 100000000 }}",
        "{{ 'x'.ljust(9) }}",
        "{{ '%0100000000d' % 1 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% for a in range(1000000000) %}x{% endfor %}",
        "{% for a in range(99) %}{% for b in range(99) %}xx{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_fails_leaves_the_decision_and_an_empty_script(template: str) -> None:
    """The pack's check refuses most of these already; here none got that far."""
    scripts = {"en": {"late": {"offer": {"opening": "Hi", "empathy": template}}}}
    pack = replace(pack_with("Hi"), scripts=scripts)
    answer = decided(pack)
    result = rendered(pack, answer.decision, answer.request, "en")
    assert result.parts == {}
    assert result.error
    with OfflineEngine(pack, best_matcher("interpreter")) as engine:
        body = engine.body(answer)
    assert body["outcome"] == "offer"
    assert body["guidance"]["script"] == {}


def test_what_a_customer_is_called_is_never_run() -> None:
    name = "{{ 7 * 7 }}{% for x in y %}"
    assert script('"{{ customer_name }}"', customer={"id": "C1", "name": name}) == name


def test_a_template_that_cannot_be_compiled_is_told_when_the_pack_is_checked() -> None:
    assert template_error(parsed("{{ order_id }}")) is None
    assert template_error(parsed("{{ order_id | shout }}")) is not None
