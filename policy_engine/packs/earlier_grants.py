"""What a pack test says was granted earlier, answering as the ledger would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from policy_engine.core.caps import Calendar, CounterKey, Measure, Rolling, Scope
from policy_engine.core.entitlement import SHIPPING_SHARE
from policy_engine.core.headroom import line_key
from policy_engine.core.money import Money, split
from policy_engine.core.policy import MONEY_BACK, RemedyKind
from policy_engine.core.ports import Usage, UsageQuestion, Used
from policy_engine.core.request import DecisionRequest


@dataclass(frozen=True, slots=True)
class EarlierGrant:
    """One grant made before the decision. What is None counts towards every filter."""

    customer: str
    order: str
    at: datetime
    value: Money
    agent: str | None = None
    role: str | None = None
    policy: str | None = None
    kind: RemedyKind | None = None


class EarlierGrants:
    """A UsagePort over the earlier grants of one case, read as of that case's instant.

    Grants after `as_of` count in caps without a window, and in no other (CONTRACT §4 (4)).
    Money back of the same order is spread over the lines and the shipping that the request
    says were paid, by largest remainder.
    """

    def __init__(
        self, grants: Sequence[EarlierGrant], request: DecisionRequest, as_of: datetime
    ) -> None:
        self._grants = grants
        self._request = request
        self._as_of = as_of

    def read(self, question: UsageQuestion) -> Usage:
        used = {key: self._used(key) for key in question.counters} if self._grants else {}
        return Usage(used=used, money_back=self.money_back())

    def _used(self, key: CounterKey) -> Used:
        counting = [grant for grant in self._grants if self._counts(key, grant)]
        if not counting:
            return Used()
        by_value = key.measure is Measure.VALUE
        amount = sum(grant.value.minor for grant in counting) if by_value else len(counting)
        return Used(amount, min(grant.at for grant in counting))

    def _counts(self, key: CounterKey, grant: EarlierGrant) -> bool:
        return (
            _in_scope(key, grant)
            and (key.currency is None or key.currency == grant.value.currency)
            and _passes(key.kinds, grant.kind)
            and _passes(key.policies, grant.policy)
            and self._in_window(key, grant.at)
        )

    def _in_window(self, key: CounterKey, at: datetime) -> bool:
        match key.window:
            case None:
                return True
            case Rolling(length):
                return self._as_of - length < at <= self._as_of
            case Calendar():
                return key.window.start(self._as_of) <= at <= self._as_of

    def money_back(self) -> dict[str, int]:
        """What was given back on the request's order, in minor units by `line_key`."""
        weights = _paid(self._request)
        back = dict.fromkeys(weights, 0)
        for grant in self._grants:
            same_order = grant.order == self._request.order_id
            same_currency = grant.value.currency == self._request.currency
            if same_order and same_currency and grant.kind in MONEY_BACK:
                parts = split(grant.value.minor, list(weights.values()))
                for place, part in zip(weights, parts, strict=True):
                    back[place] += part
        return {place: minor for place, minor in back.items() if minor}


def _in_scope(key: CounterKey, grant: EarlierGrant) -> bool:
    match key.scope:
        case Scope.ORDER:
            return key.key == (grant.order,)
        case Scope.CLAIM:
            order, policy = key.key
            return grant.order == order and grant.policy in (None, policy)
        case Scope.CUSTOMER:
            return key.key == (grant.customer,)
        case Scope.AGENT:
            return key.key == (grant.agent,)
        case Scope.PACK:
            return True


def _passes(wanted: tuple[str, ...] | None, name: str | None) -> bool:
    return wanted is None or name is None or name in wanted


def _paid(request: DecisionRequest) -> dict[str, int]:
    """What was paid for lines and shipping, by `line_key`, as far as the request says; minor."""
    paid = {
        line_key(line.id): line.paid.minor for line in request.lines if isinstance(line.paid, Money)
    }
    shipping = request.fields.get("order.shipping_paid")
    if isinstance(shipping, Money):
        paid[line_key(SHIPPING_SHARE)] = shipping.minor
    return paid
