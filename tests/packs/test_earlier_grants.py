"""Earlier grants of a pack test, counted as the ledger would count them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policy_engine.core.caps import (
    Calendar,
    CalendarUnit,
    CounterKey,
    Measure,
    Rolling,
    Scope,
    Window,
)
from policy_engine.core.money import Money
from policy_engine.core.ports import UsageQuestion
from policy_engine.core.request import Agent, DecisionRequest, Line
from policy_engine.packs.earlier_grants import EarlierGrants
from policy_engine.packs.grant_entries import GrantReader
from policy_engine.packs.problems import ProblemList
from policy_engine.wire.strict_json import JsonNumber
from tests.packs.made import earlier_grants

AS_OF = datetime(2026, 6, 30, tzinfo=UTC)
GRANT = {
    "customer": "C1",
    "order": "O1",
    "at": "2026-06-29T00:00:00Z",
    "value": "10.00",
    "currency": "CNY",
}
REQUEST = DecisionRequest(
    order_id="O1",
    currency="CNY",
    customer_id="C1",
    incident_types=frozenset({"late"}),
    lines=(Line("1", Money(3000, "CNY")), Line("2", Money(6000, "CNY"))),
    agent=Agent("A1", "agent"),
    fields={"order.shipping_paid": Money(1000, "CNY")},
)


def key(
    scope: Scope = Scope.CUSTOMER,
    ids: tuple[str, ...] = ("C1",),
    *,
    window: Window = None,
    measure: Measure = Measure.VALUE,
    kinds: tuple[str, ...] | None = None,
    policies: tuple[str, ...] | None = None,
    currency: str | None = "CNY",
) -> CounterKey:
    return CounterKey(scope, ids, window, measure, kinds, policies, currency)


def used(counter: CounterKey, *grants: dict[str, str]) -> int:
    earlier = EarlierGrants(earlier_grants(*({**GRANT, **each} for each in grants)), REQUEST, AS_OF)
    usage = earlier.read(UsageQuestion((counter,), "O1", ()))
    return usage.used[counter].amount


def test_a_rolling_window_leaves_its_first_instant_out() -> None:
    month = key(window=Rolling(timedelta(days=30)))
    assert used(month, {"at": "2026-05-31T00:00:00Z"}) == 0
    assert used(month, {"at": "2026-05-31T00:00:00.000001Z"}) == 1000


def test_a_calendar_window_takes_its_first_instant_in_and_knows_its_zone() -> None:
    shanghai = key(window=Calendar(CalendarUnit.MONTH, "Asia/Shanghai"))
    assert used(shanghai, {"at": "2026-05-31T16:00:00Z"}) == 1000
    assert used(shanghai, {"at": "2026-05-31T15:59:59Z"}) == 0


@pytest.mark.parametrize(
    ("window", "counted"),
    [
        (None, 1000),
        (Rolling(timedelta(days=30)), 0),
        (Calendar(CalendarUnit.MONTH, "UTC"), 0),
    ],
)
def test_what_comes_after_as_of_counts_only_where_there_is_no_window(
    window: Window, counted: int
) -> None:
    assert used(key(window=window), {"at": "2026-06-30T00:00:01Z"}) == counted


def test_a_grant_at_as_of_counts() -> None:
    at_as_of = {"at": "2026-06-30T00:00:00Z"}
    assert used(key(window=Rolling(timedelta(days=1))), at_as_of) == 1000


def test_value_counts_in_its_own_currency_and_count_in_any() -> None:
    dollars = {"value": "7.00", "currency": "USD"}
    assert used(key(), {}, dollars) == 1000
    assert used(key(measure=Measure.COUNT, currency=None), {}, dollars) == 2


def test_what_names_no_kind_or_policy_passes_every_filter() -> None:
    coupons = key(kinds=("coupon",), policies=("late",))
    assert used(coupons, {}) == 1000
    assert used(coupons, {"kind": "coupon", "policy": "late"}) == 1000
    assert used(coupons, {"kind": "gift"}) == 0
    assert used(coupons, {"policy": "lost"}) == 0


@pytest.mark.parametrize(
    ("scope", "ids", "grant", "counted"),
    [
        (Scope.ORDER, ("O1",), {"order": "O1"}, 1000),
        (Scope.ORDER, ("O1",), {"order": "O2"}, 0),
        (Scope.CLAIM, ("O1", "late"), {"policy": "late"}, 1000),
        (Scope.CLAIM, ("O1", "late"), {}, 1000),
        (Scope.CLAIM, ("O1", "late"), {"policy": "lost"}, 0),
        (Scope.CUSTOMER, ("C1",), {"customer": "C2"}, 0),
        (Scope.AGENT, ("A1",), {"agent": "A1"}, 1000),
        (Scope.AGENT, ("A1",), {"agent": "A2"}, 0),
        (Scope.PACK, (), {"customer": "C9", "order": "O9"}, 1000),
    ],
)
def test_each_scope_counts_its_own(
    scope: Scope, ids: tuple[str, ...], grant: dict[str, str], counted: int
) -> None:
    assert used(key(scope, ids), grant) == counted


def money_back(*grants: dict[str, str]) -> dict[str, int]:
    earlier = EarlierGrants(earlier_grants(*({**GRANT, **each} for each in grants)), REQUEST, AS_OF)
    return dict(earlier.read(UsageQuestion((), "O1", ())).money_back)


def test_money_back_is_gone_from_the_lines_and_the_shipping_it_was_paid_for() -> None:
    assert money_back({"kind": "refund", "value": "10.00"}) == {
        "line:1": 300,
        "line:2": 600,
        "shipping": 100,
    }


@pytest.mark.parametrize(
    "grant", [{"kind": "coupon"}, {"kind": "refund", "order": "O2"}, {}, {"currency": "USD"}]
)
def test_nothing_else_is_money_back(grant: dict[str, str]) -> None:
    assert money_back(grant) == {}


def test_oldest_tells_when_a_rolling_window_eases() -> None:
    counter = key(window=Rolling(timedelta(days=30)))
    grants = earlier_grants(*({**GRANT, "at": f"2026-06-{day}T00:00:00Z"} for day in (20, 10, 25)))
    usage = EarlierGrants(grants, REQUEST, AS_OF).read(UsageQuestion((counter,), "O1", ()))
    assert usage.used[counter].oldest_at == datetime(2026, 6, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": None}, "expected an amount in quotes"),
        ({"value": JsonNumber("10.00")}, "`10.00` must be quoted"),
        ({"value": "1.5"}, "exactly 2 decimals"),
        ({"currency": "XXQ"}, "unknown currency `XXQ`"),
        ({"kind": "cupon"}, "unknown kind of remedy `cupon`; did you mean `coupon`?"),
        ({"at": "2026-06-01"}, "not a timestamp"),
        ({"colour": "red"}, "unknown key `colour`"),
        ({"policy": "lat"}, "unknown policy `lat`; did you mean `late`?"),
        ({"role": "agnt"}, "unknown role `agnt`; did you mean `agent`?"),
        ({"customer": ""}, "is not an id"),
    ],
)
def test_an_entry_of_a_file_that_is_none_says_which_and_why(
    change: dict[str, object], message: str
) -> None:
    problems = ProblemList()
    reader = GrantReader({"agent"}, {"late"}, problems)
    reader.read_plain([GRANT, {**GRANT, **change}], "grants.json")
    (problem,) = problems.sorted()
    assert message in problem.message
    assert problem.message.endswith(" (entry 2)")


def test_an_entry_says_all_that_it_lacks() -> None:
    problems = ProblemList()
    entry = {"order": "O1", "at": "2026-06-29T00:00:00Z", "value": "1.00"}
    assert GrantReader(None, None, problems).read_plain([entry], "grants.json") == ()
    told = [problem.message.partition(";")[0] for problem in problems.sorted()]
    assert sorted(told) == ["`currency` is missing", "`customer` is missing"]


def test_what_is_no_list_is_refused() -> None:
    problems = ProblemList()
    assert GrantReader(None, None, problems).read_plain({}, "grants.json") == ()
    assert problems.any_error
