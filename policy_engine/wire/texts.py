"""Short sentences of the service itself, by locale, and the choice of a locale's text.

A record holds codes and arguments only; these sentences are put to them when an answer is
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from policy_engine.core.decision import Refusal
from policy_engine.core.facts import FactSpec, FactType
from policy_engine.core.policy import Text

EVIDENCE_PREFIX: Final = "incident.evidence."


def localised(text: Text, locale: str, default_locale: str) -> str:
    """The text of the locale, else of its language, else of the default, else any; `""` of none.

    `zh-CN` is served by `zh-CN`, then `zh`, then another `zh-…`.
    """
    if locale in text:
        return text[locale]
    for wanted in (locale, default_locale):
        found = _oflanguage(text, wanted)
        if found is not None:
            return text[found]
    return next(iter(text.values()), "")


def language(locale: str) -> str:
    """The language of a locale: `zh` of `zh-CN`. Phrases are for all who speak it."""
    return locale.partition("-")[0].lower()


def _oflanguage(locales: Iterable[str], wanted: str) -> str | None:
    near = [each for each in locales if language(each) == language(wanted)]
    exact = [each for each in near if each.lower() in (wanted.lower(), language(wanted))]
    exact.sort(key=lambda each: each.lower() != wanted.lower())
    return next(iter([*exact, *near]), None)


def refusal_text(code: Refusal, lacks: Iterable[str], locale: str) -> str:
    """One sentence for a plan that is not offered; `lacks` names facts and evidence."""
    return localised(_REFUSALS[code], locale, "en").format(lacks=", ".join(lacks))


def ask_text(name: str, spec: FactSpec | None, locale: str, default_locale: str) -> str:
    """The question for a missing fact or evidence: the pack's own, else the service's."""
    if spec is not None and spec.ask:
        return localised(spec.ask, locale, default_locale)
    if name.startswith(EVIDENCE_PREFIX):
        return localised(_ASK_EVIDENCE, locale, "en").format(kind=name[len(EVIDENCE_PREFIX) :])
    return localised(_ASKS.get(name, _ASK), locale, "en").format(name=name)


def needed_type(name: str, spec: FactSpec | None) -> str:
    """What to send for something in facts_needed: a fact type, or `evidence`."""
    if spec is not None:
        return spec.type.value
    if name.startswith(EVIDENCE_PREFIX):
        return "evidence"
    return _PARTS_OF_LINES.get(name, FactType.STRING).value


_PARTS_OF_LINES: Final = {"order.lines.paid": FactType.MONEY}
"""Of each line, so not a fact of its own."""

_REFUSALS: Final[Mapping[Refusal, Text]] = {
    Refusal.NOT_EFFECTIVE: {
        "en": "No version of this policy is in force at that time.",
        "zh-CN": "该政策在此时间没有生效的版本。",
    },
    Refusal.CONDITION_FALSE: {
        "en": "Its condition is not met.",
        "zh-CN": "不符合该方案的条件。",
    },
    Refusal.FACTS_MISSING: {
        "en": "It can't be decided without: {lacks}.",
        "zh-CN": "缺少以下信息,无法判断:{lacks}。",
    },
    Refusal.EVIDENCE_MISSING: {
        "en": "It needs evidence: {lacks}.",
        "zh-CN": "需要提供凭证:{lacks}。",
    },
    Refusal.NO_AMOUNT_FOR_CURRENCY: {
        "en": "The policy sets no amount in the order's currency.",
        "zh-CN": "该政策没有设定此订单币种的金额。",
    },
    Refusal.NOTHING_LEFT: {
        "en": "It would be worth nothing for this order.",
        "zh-CN": "对该订单而言,此方案已无可补偿的金额。",
    },
    Refusal.ROLE_FORBIDDEN: {
        "en": "Neither this role nor its approvers may issue it.",
        "zh-CN": "当前角色及其审批人均无权发放。",
    },
    Refusal.NO_LIMIT_FOR_CURRENCY: {
        "en": "A cap that bounds it has no limit in the order's currency.",
        "zh-CN": "适用的额度没有设定此订单币种的上限。",
    },
    Refusal.CAP_EXHAUSTED: {
        "en": "A cap that bounds it is used up.",
        "zh-CN": "适用的额度已用完。",
    },
    Refusal.FALLBACK_NOT_NEEDED: {
        "en": "It is a fallback, and another plan of the policy can be had.",
        "zh-CN": "此为备选方案,该政策已有其他可用方案。",
    },
    Refusal.BEYOND_OFFER_AT_MOST: {
        "en": "Enough better plans are offered already.",
        "zh-CN": "已提供足够多的更优方案。",
    },
}

_ASK: Final[Text] = {"en": "Please send {name}.", "zh-CN": "请提供 {name}。"}
_ASK_EVIDENCE: Final[Text] = {
    "en": "Please provide evidence of this kind: {kind}.",
    "zh-CN": "请提供此类凭证:{kind}。",
}
_ASKS: Final[Mapping[str, Text]] = {
    "order.placed_at": {"en": "When was it ordered?", "zh-CN": "下单时间是什么时候?"},
    "order.paid_at": {"en": "When was it paid?", "zh-CN": "付款时间是什么时候?"},
    "order.promised_dispatch_by": {
        "en": "When was dispatch promised for?",
        "zh-CN": "承诺的发货时间是什么时候?",
    },
    "order.expected_dispatch_at": {
        "en": "When is dispatch expected now?",
        "zh-CN": "目前预计什么时候发货?",
    },
    "order.dispatched_at": {
        "en": "When was it dispatched, if it was?",
        "zh-CN": "是否已发货?何时发货的?",
    },
    "order.promised_delivery_by": {
        "en": "When was delivery promised for?",
        "zh-CN": "承诺的送达时间是什么时候?",
    },
    "order.last_tracking_at": {
        "en": "When did the tracking last move?",
        "zh-CN": "物流最近一次更新是什么时候?",
    },
    "order.delivered_at": {
        "en": "When was it delivered, if it was?",
        "zh-CN": "是否已送达?何时送达的?",
    },
    "order.shipping_paid": {
        "en": "How much was paid for shipping?",
        "zh-CN": "支付了多少运费?",
    },
    "order.express_cost": {
        "en": "What would express shipping cost us?",
        "zh-CN": "升级快递的成本是多少?",
    },
    "order.lines.paid": {
        "en": "How much was paid for each line?",
        "zh-CN": "每个商品行各支付了多少?",
    },
    "incident.cause": {"en": "What was the cause?", "zh-CN": "原因是什么?"},
    "incident.reported_at": {
        "en": "When did the customer report it?",
        "zh-CN": "客户是什么时候反馈的?",
    },
    "incident.trace_opened_at": {
        "en": "When was the carrier's trace opened, if it was?",
        "zh-CN": "是否已发起物流查件?何时发起的?",
    },
    "customer.tier": {
        "en": "Which tier does the customer have?",
        "zh-CN": "客户的会员等级是什么?",
    },
    "channel": {"en": "Which channel is this?", "zh-CN": "当前是哪个沟通渠道?"},
}
