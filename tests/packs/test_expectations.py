"""What a pack test expects, against what a decision says."""

from __future__ import annotations

import pytest

from policy_engine.packs.expectations import Difference, differences

BODY = {
    "outcome": "offer",
    "grantable": True,
    "plans": [
        {"plan": "p/a", "recommended": True, "allowed": {"amount": "40.00", "currency": "CNY"}},
        {"plan": "p/b", "recommended": False, "allowed": {"amount": "5.00", "currency": "CNY"}},
    ],
    "not_offered": [
        {"plan": "p/c", "code": "CONDITION_FALSE", "because": [{"fact": "x", "observed": "1"}]},
        {"plan": "p/d", "code": "FACTS_MISSING", "because": []},
    ],
    "facts_needed": [{"fact": "order.paid_at", "type": "timestamp"}],
    "caps": [{"cap": "once", "limit": 1, "resets_at": None}],
    "guidance": {"follow_ups": [{"follow_up": "a"}, {"follow_up": "b"}]},
}


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"outcome": "offer"},
        {"plans": [{"plan": "p/a", "allowed": {"amount": "40.00"}}, {"plan": "p/b"}]},
        {"not_offered": [{"plan": "p/d"}]},
        {"not_offered": [{"plan": "p/d"}, {"plan": "p/c", "because": [{"fact": "x"}]}]},
        {"not_offered": []},
        {"facts_needed": [{"fact": "order.paid_at"}]},
        {"caps": [{"cap": "once", "limit": 1, "resets_at": None}]},
        {"guidance": {"follow_ups": [{"follow_up": "a"}, {}]}},
    ],
)
def test_only_what_is_named_is_compared(expected: dict[str, object]) -> None:
    assert differences(expected, BODY) == []


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ({"outcome": "nothing_due"}, ("outcome", '"nothing_due"', '"offer"')),
        ({"outcom": "offer"}, ("outcom", '"offer"', "nothing there")),
        (
            {"plans": [{"allowed": {"amount": "40.01"}}, {}]},
            ("plans[0].allowed.amount", '"40.01"', '"40.00"'),
        ),
        ({"plans": [{"plan": "p/a"}]}, ("plans", "1: p/a", "2: p/a, p/b")),
        ({"plans": []}, ("plans", "none", "2: p/a, p/b")),
        ({"facts_needed": []}, ("facts_needed", "none", "1: order.paid_at")),
        (
            {"not_offered": [{"plan": "p/c", "code": "CAP_EXHAUSTED"}]},
            ("not_offered[p/c].code", '"CAP_EXHAUSTED"', '"CONDITION_FALSE"'),
        ),
        (
            {"not_offered": [{"plan": "p/z"}]},
            ("not_offered", '{"plan": "p/z"}', "not found among 2: p/c, p/d"),
        ),
        ({"caps": [{"limit": 1, "cap": "twice"}]}, None),
        (
            {"guidance": {"follow_ups": [{"follow_up": "b"}, {"follow_up": "a"}]}},
            ("guidance.follow_ups[0].follow_up", '"b"', '"a"'),
        ),
        (
            {"guidance": {"follow_ups": [{"follow_up": "a"}]}},
            ("guidance.follow_ups", '1: {"follow_up": "a"}', None),
        ),
    ],
)
def test_a_difference_says_where_what_was_expected_and_what_came(
    expected: dict[str, object], difference: tuple[str, str, str | None] | None
) -> None:
    found = differences(expected, BODY)
    assert found
    if difference is not None:
        path, wanted, got = difference
        assert (found[0].path, found[0].expected) == (path, wanted)
        assert got is None or found[0].got == got


def test_the_order_of_plans_counts() -> None:
    assert differences({"plans": [{"plan": "p/b"}, {"plan": "p/a"}]}, BODY) == [
        Difference("plans[0].plan", '"p/b"', '"p/a"'),
        Difference("plans[1].plan", '"p/a"', '"p/b"'),
    ]


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        ({"x": 1}, {"x": True}),
        ({"x": True}, {"x": 1}),
        ({"x": "1"}, {"x": 1}),
        ({"x": None}, {"x": ""}),
        ({"x": None}, {}),
        ({"x": []}, {"x": None}),
        ({"x": {}}, {"x": []}),
    ],
)
def test_types_are_strict(expected: dict[str, object], body: dict[str, object]) -> None:
    assert len(differences(expected, body)) == 1
