"""Packs made of text, for tests: a small whole one, and the same with some files replaced."""

from __future__ import annotations

from collections.abc import Mapping

from policy_engine.packs.earlier_grants import EarlierGrant
from policy_engine.packs.files import PackFiles
from policy_engine.packs.grant_entries import GrantReader
from policy_engine.packs.loading import Loaded, load
from policy_engine.packs.problems import ProblemList

WHOLE = {
    "facts.yaml": """facts:
  incident.types: {type: set, values: [shipping_delay]}
  customer.tier: {type: enum, values: [standard, gold]}
""",
    "roles.yaml": "roles:\n  agent: {approver: boss, may: all}\n  boss: {may: all}\n",
    "caps.yaml": """caps:
  - {cap: order_total, scope: order, measure: value, limit: {CNY: "300.00"}}
""",
    "shipping_delay.yaml": """policy: shipping_delay
title: {en: Shipping delay}
reason_code: SHIPPING_DELAY
applies_to: [shipping_delay]
plans:
  - plan: coupon
    title: {en: Coupon}
    when: {fact: shipping.delay, over: P5D}
    remedies: [{kind: coupon, percent: "5", of: order.goods_paid}]
  - plan: gift
    title: {en: Gift}
    remedies: [{kind: gift, amount: {CNY: "15.00"}}]
""",
}
"""Loads without any problem."""


def loaded(changed: dict[str, str | None] | None = None, *, strict: bool = False) -> Loaded:
    """WHOLE with files changed, added, or (None) taken out."""
    texts = {**WHOLE, **(changed or {})}
    return load(
        PackFiles({name: text.encode() for name, text in texts.items() if text is not None}),
        strict=strict,
    )


def in_plan(rest: str) -> dict[str, str | None]:
    """The policy with one more plan whose keys are `rest`, on line 13, from column 5 on."""
    return {"shipping_delay.yaml": WHOLE["shipping_delay.yaml"] + f"  - {{plan: more, {rest}}}\n"}


def earlier_grants(*entries: Mapping[str, object]) -> tuple[EarlierGrant, ...]:
    """Earlier grants as a file of JSON holds them, of any role and policy."""
    problems = ProblemList()
    read = GrantReader(None, None, problems).read_plain(list(entries), "grants.json")
    assert problems.sorted() == ()
    return read


def found(of: Loaded) -> list[tuple[str, int, int, str]]:
    """(file, line, column, code) of every problem."""
    return [(each.file, each.line, each.column, each.code.value) for each in of.problems]
