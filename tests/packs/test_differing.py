"""What differs between two packs is told in words, and all that decides or is said is looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from policy_engine import resources
from policy_engine.core.policy import Pack
from policy_engine.packs.differing import Change, ChangeKind, Difference, changes, described
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import load

GRANTS_PACK = Path(__file__).parents[1] / "grants" / "pack"
Edit = Callable[[str, str, str], Pack]


def loaded(files: dict[str, bytes]) -> Pack:
    found = load(PackFiles(files))
    assert found.pack is not None, [str(each) for each in found.problems]
    return found.pack


@pytest.fixture
def pack() -> Pack:
    return loaded(dict(PackFiles.from_folder(GRANTS_PACK).files))


@pytest.fixture
def edited() -> Edit:
    """The pack with one text of one of its files replaced."""

    def edit(file: str, before: str, after: str) -> Pack:
        files = dict(PackFiles.from_folder(GRANTS_PACK).files)
        text = files[file].decode()
        assert text.count(before) == 1
        return loaded(files | {file: text.replace(before, after).encode()})

    return edit


def one(kind: ChangeKind, what: str, name: str, *differences: tuple[str, str, str]) -> Change:
    return Change(kind, what, name, tuple(Difference(*each) for each in differences))


def test_a_pack_differs_in_nothing_from_itself(pack: Pack) -> None:
    assert changes(pack, pack) == ()


def test_comments_and_the_order_of_keys_make_no_difference(pack: Pack, edited: Edit) -> None:
    again = edited("broken.yaml", "policy: broken", "# the same\npolicy: broken")
    assert again.revision != pack.revision
    assert changes(pack, again) == ()


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        (
            "shipping_delay.yaml",
            'percent: "5"',
            'percent: "6"',
            one(
                ChangeKind.CHANGED,
                "plan",
                "shipping_delay/delay_coupon",
                (
                    "gives 1",
                    "coupon: 5 % of order.goods_paid, valid for P90D",
                    "coupon: 6 % of order.goods_paid, valid for P90D",
                ),
            ),
        ),
        (
            "shipping_delay.yaml",
            "over: P5D",
            "over: P6D",
            one(
                ChangeKind.CHANGED,
                "plan",
                "shipping_delay/delay_coupon",
                ("when", "shipping.delay over P5D", "shipping.delay over P6D"),
            ),
        ),
        (
            "broken.yaml",
            "reason_code: BROKEN",
            "reason_code: ARRIVED_BROKEN",
            one(
                ChangeKind.CHANGED,
                "policy",
                "broken",
                ("reason code", "BROKEN", "ARRIVED_BROKEN"),
            ),
        ),
        (
            "broken.yaml",
            "    floor: statutory\n",
            "",
            one(
                ChangeKind.CHANGED,
                "plan",
                "broken/floor_refund",
                ("options", "statutory floor", ""),
            ),
        ),
        (
            "broken.yaml",
            "needs: [reference]",
            "needs: [reference, verified]",
            one(
                ChangeKind.CHANGED,
                "plan",
                "broken/proven",
                ("needs", "photo with reference", "photo with reference, verified"),
            ),
        ),
        (
            "roles.yaml",
            "{approver: agent, may: [coupon, gift]}",
            "{approver: supervisor, may: [coupon]}",
            one(
                ChangeKind.CHANGED,
                "role",
                "bot",
                ("may issue", "coupon, gift", "coupon"),
                ("approver", "agent", "supervisor"),
            ),
        ),
        (
            "caps.yaml",
            'limit: {CNY: "10.00", JPY: "200"}',
            'limit: {CNY: "12.00"}',
            one(
                ChangeKind.CHANGED,
                "cap",
                "bot_order",
                ("limit", "10.00 CNY, 200 JPY", "12.00 CNY"),
            ),
        ),
        (
            "facts.yaml",
            "values: [standard, gold]",
            "values: [standard, gold, black]",
            one(
                ChangeKind.CHANGED,
                "fact",
                "customer.tier",
                ("values", "standard, gold", "standard, gold, black"),
            ),
        ),
    ],
    ids=["worth", "condition", "reason", "floor", "evidence", "role", "cap", "fact"],
)
def test_a_change_is_told_where_it_is(
    pack: Pack, edited: Edit, file: str, before: str, after: str, expected: Change
) -> None:
    assert changes(pack, edited(file, before, after)) == (expected,)


def test_what_came_is_what_went_the_other_way_round(pack: Pack, edited: Edit) -> None:
    plan = "  - plan: half\n    title: {en: Half of it back}\n"
    files = dict(PackFiles.from_folder(GRANTS_PACK).files)
    text = files["broken.yaml"].decode()
    start = text.index(plan)
    end = text.index("  - plan: keep_and_credit")
    without = loaded(files | {"broken.yaml": (text[:start] + text[end:]).encode()})
    gone, come = changes(pack, without), changes(without, pack)
    assert [(each.kind, each.what, each.name) for each in gone] == [
        (ChangeKind.REMOVED, "plan", "broken/half")
    ]
    assert [(each.kind, each.what, each.name) for each in come] == [
        (ChangeKind.ADDED, "plan", "broken/half")
    ]
    assert [(x.field, x.before) for x in gone[0].differences] == [
        (x.field, x.after) for x in come[0].differences
    ]


def test_versions_of_a_policy_are_told_apart_by_when_they_begin(pack: Pack) -> None:
    files = dict(PackFiles.from_folder(GRANTS_PACK).files)
    text = files["shipping_delay.yaml"].decode()
    dated = text.replace("applies_to:", 'effective: {until: "2026-07-01T00:00:00Z"}\napplies_to:')
    second = dated.replace("{until:", "{from:").replace('percent: "5"', 'percent: "7"')
    later = loaded(
        files | {"shipping_delay.yaml": dated.encode(), "later_delay.yaml": second.encode()}
    )
    names = {(each.kind, each.what, each.name) for each in changes(pack, later)}
    assert (ChangeKind.ADDED, "plan", "shipping_delay from 2026-07-01T00:00:00Z/delay_coupon") in (
        names
    )
    assert (ChangeKind.CHANGED, "policy", "shipping_delay from always") in names


def test_everything_of_the_pack_that_ships_is_described() -> None:
    pack = loaded(dict(PackFiles.from_folder(resources.default_policies()).files))
    found = described(pack)
    kinds = {what for what, _ in found}
    assert kinds >= {
        "setting", "role", "cap", "fact", "policy", "parameter", "plan", "action", "message",
        "never say",
    }  # fmt: skip
    plans = sum(len(policy.plans) for policy in pack.policies)
    assert sum(what == "plan" for what, _ in found) == plans
    assert sum(what == "cap" for what, _ in found) == len(pack.caps)
