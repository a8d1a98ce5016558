"""Counters of a cap that is new are built while grants go on, and come out right."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy_engine.ledger import building
from policy_engine.ledger import packs as pack_store
from policy_engine.ledger.building import kept_classes
from policy_engine.ledger.counting import classes_of
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import load
from policy_engine.usecases import packs
from tests.grants.conftest import PACK, Shop, money
from tests.grants.test_counters import execute

NEW = (
    '  - {cap: all_time, scope: pack, measure: value, limit: {CNY: "9999999.00", JPY: "9999"}}\n'
    "  - {cap: people, scope: customer, measure: count, limit: 99}\n"
    "  - {cap: months, scope: agent, measure: value, kinds: [coupon], "
    'limit: {CNY: "99999.00", JPY: "999"}, window: {calendar: month, zone: UTC}}\n'
    "  - {cap: rolling, scope: agent, measure: count, window: P7D, limit: 9999}\n"
)


@pytest.fixture
def wider(tmp_path: Path) -> PackFiles:
    """The shop's pack with caps that count what none did before."""
    folder = tmp_path / "wider"
    folder.mkdir()
    for file in PACK.glob("*.yaml"):
        text = file.read_text()
        (folder / file.name).write_text(text + NEW if file.name == "caps.yaml" else text)
    return PackFiles.from_folder(folder)


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is one grant, a step one page."""
    monkeypatch.setattr(building, "_PAGE", 1)
    monkeypatch.setattr(pack_store, "_STEP_SECONDS", 0.0)


class Builder:
    """Builds what a pack needs, a step when asked."""

    def __init__(self, shop: Shop, files: PackFiles) -> None:
        self._store = shop.api.services.ledger.packs
        self.revision = files.revision
        self._store.store(files.revision, files.archive())
        pack = load(files).pack
        assert pack is not None
        self._counts = classes_of(pack)

    def step(self) -> bool:
        database = self._store._database
        return database.write(lambda each: self._store._build(each, self.revision, self._counts))


def waiting(shop: Shop, number: int) -> dict[str, Any]:
    return shop.granted(shop.bot, order__id=f"SO-{number}", customer__id=f"C-{number % 9}")


def moves(shop: Shop, grant: dict[str, Any]) -> list[Callable[[], Any]]:
    """Everything that can happen to a grant of which 10.00 were given and 30.00 wait."""
    used = {"remedy": "coupon", "amount": money("1.00"), "reference": "SO-2"}
    return [
        lambda: shop.move(shop.settle, grant, "redemptions", **used),
        lambda: shop.move(shop.settle, grant, "reversals", amount=money("2.00"), reason="r"),
        lambda: shop.approve(shop.supervisor, grant, amount=money("17.00")),
        lambda: shop.move(shop.settle, grant, "reversals", reason="r"),
    ]


@pytest.mark.usefixtures("one_at_a_time")
def test_what_happens_between_two_steps_is_counted_once(
    shop_on_both: Shop, wider: PackFiles
) -> None:
    shop, dice = shop_on_both, random.Random(1)
    grants = [waiting(shop, number) for number in range(6)]
    to_do = [moves(shop, grant) for grant in grants]
    builder = Builder(shop, wider)
    steps, number = 0, len(grants)
    while not builder.step():
        steps += 1
        # One that was passed, one that wasn't, and one that is new.
        for _ in range(2):
            left = dice.choice([each for each in to_do if each] or [[]])
            assert not left or left.pop(0)().status_code == 201
        if number < 9:
            grants.append(waiting(shop, number))
            to_do.append(moves(shop, grants[-1]))
            number += 1
        shop.check()
    assert steps > len(grants)
    packs.activate_files(shop.api.services, wider, by="tests")
    shop.check()
    granted = [shop.read(shop.audit, each).json for each in grants]
    held = sum(
        _minor(each["granted"]) + _minor(each["pending"]) - _minor(each["reversed"])  # type: ignore[index]
        for each in granted
    )
    assert shop.cap("all_time")["used"] == money(f"{held / 100:.2f}")
    assert shop.cap("months", agent="BOT-1")["used"] == money(f"{held / 100:.2f}")


def _minor(amount: dict[str, str]) -> int:
    return int(amount["amount"].replace(".", ""))


@pytest.mark.usefixtures("one_at_a_time")
def test_a_build_that_was_cut_short_goes_on_where_it_stopped(
    shop_on_both: Shop, wider: PackFiles
) -> None:
    shop = shop_on_both
    grants = [waiting(shop, number) for number in range(4)]
    builder = Builder(shop, wider)
    for _ in range(7):
        assert not builder.step()
    shop.check()
    assert shop.approve(shop.supervisor, grants[0]).status_code == 201
    assert shop.approve(shop.supervisor, grants[3]).status_code == 201
    shop.check()
    packs.activate_files(shop.api.services, wider, by="tests")
    assert shop.cap("all_time")["used"] == money("160.00")
    shop.check()


@pytest.mark.usefixtures("one_at_a_time")
def test_counters_of_an_earlier_time_are_thrown_away_before(
    shop_on_both: Shop, wider: PackFiles
) -> None:
    shop = shop_on_both
    waiting(shop, 0)
    for files in (wider, PackFiles.from_folder(PACK)):
        packs.activate_files(shop.api.services, files, by="tests")
    waiting(shop, 1)
    packs.activate_files(shop.api.services, wider, by="tests")
    assert shop.cap("all_time")["used"] == money("80.00")
    shop.check()


@pytest.mark.usefixtures("one_at_a_time")
def test_another_activation_in_between_makes_no_half_built_counter_count(
    shop_on_both: Shop, wider: PackFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    for number in range(3):
        waiting(shop, number)
    store = shop.api.services.ledger.packs
    first = store.build
    in_between = iter([True, False])

    def build(*arguments: Any) -> None:
        first(*arguments)
        if next(in_between, False):
            # Once everything is built, another pack becomes active that needs none of it.
            monkeypatch.setattr(store, "build", first)
            packs.activate_files(shop.api.services, PackFiles.from_folder(PACK), by="other")
            monkeypatch.setattr(store, "build", build)

    monkeypatch.setattr(store, "build", build)
    packs.activate_files(shop.api.services, wider, by="tests")
    assert shop.cap("all_time")["used"] == money("120.00")
    shop.check()


@pytest.mark.usefixtures("one_at_a_time")
def test_the_check_finds_a_difference_in_counters_that_are_being_built(
    shop_on_both: Shop, wider: PackFiles
) -> None:
    shop = shop_on_both
    for number in range(3):
        waiting(shop, number)
    builder = Builder(shop, wider)
    for _ in range(7):
        assert not builder.step()
    database = shop.api.services.ledger._database
    half = [each for each in database.read(kept_classes) if len(each.built_to or "") > 1]
    assert half
    wrong = f"UPDATE limit_counter SET amount = amount + 1 WHERE class = '{half[0].of.id}'"
    execute(shop, wrong)
    found = shop.api.services.ledger.check_counters()
    assert {each.table for each in found} == {"limit_counter"}


def test_grants_go_on_while_counters_are_built(
    shop_on_both: Shop, wider: PackFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on_both
    for number in range(20):
        waiting(shop, number)
    monkeypatch.setattr(building, "_PAGE", 1)
    monkeypatch.setattr(pack_store, "_STEP_SECONDS", 0.0)
    offers = [
        shop.decide(shop.agent, order__id=f"NEW-{n}", customer__id=f"D-{n}") for n in range(8)
    ]
    done = threading.Event()
    slow = building._page

    def page(*arguments: Any) -> None:
        time.sleep(0.02)
        slow(*arguments)

    monkeypatch.setattr(building, "_page", page)

    def activate() -> None:
        packs.activate_files(shop.api.services, wider, by="tests")
        done.set()

    thread = threading.Thread(target=activate)
    thread.start()
    meanwhile = 0
    for offer in offers:
        answer = shop.take(shop.agent, offer)
        assert answer.status_code == 201, answer.json
        meanwhile += not done.is_set()
    thread.join(timeout=60)
    assert done.is_set()
    assert meanwhile >= len(offers) // 2, "grants waited for the whole of it"
    assert shop.cap("all_time")["used"] == money(f"{28 * 40}.00")
    shop.check()
