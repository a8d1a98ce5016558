"""`grants`, `caps` and `ledger check`: offers of real decisions, on a real ledger of each kind."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result
from sqlalchemy import text

from policy_engine import bootstrap
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import IdempotencyKey
from policy_engine.settings import read_settings
from policy_engine.usecases import deciding, grants, packs, settling
from policy_engine.usecases.principals import ActFor, Principal, Scope
from policy_engine.usecases.services import Services
from tests.cli.conftest import Run
from tests.log.tampering import unguarded
from tests.ready import SECRET

PACK = {
    "pack.yaml": "pending_for: P3D\n",
    "roles.yaml": """roles:
  agent: {approver: supervisor, may: all}
  supervisor: {approver: finance, may: all}
  finance: {may: all}
""",
    "caps.yaml": """caps:
  - {cap: agent_order, scope: order, measure: value, roles: [agent], limit: {CNY: "10.00"}}
  - {cap: supervisor_order, scope: order, measure: value, roles: [supervisor],
     limit: {CNY: "35.00"}}
  - {cap: once, scope: claim, measure: count, limit: 1}
  - {cap: customer_30d, scope: customer, measure: value, window: P30D, limit: {CNY: "500.00"}}
  - {cap: budget, scope: pack, measure: value, window: {calendar: month, zone: Asia/Shanghai},
     limit: {CNY: "50000.00"}}
""",
    "shipping_delay.yaml": """policy: shipping_delay
title: {en: Shipping delay}
reason_code: SHIPPING_DELAY
applies_to: [shipping_delay]
plans:
  - plan: coupon
    title: {en: Coupon for the wait}
    when: {fact: shipping.delay, over: P5D}
    remedies: [{kind: coupon, percent: "5", of: order.goods_paid, valid_for: P90D}]
""",
}
DESK = Principal(
    "desk", frozenset(Scope), act_for=ActFor("supervisor"), credential="desk-key", owner="B-1"
)
NOBODY = "01969f2e-5c1a-7d20-9f6e-2b1c6a4d8e33"


def call(caller: Principal) -> IdempotencyKey:
    return IdempotencyKey(caller.client, str(uuid4()), "POST", "/", "", "", b"")


@dataclass
class Shop:
    """A ledger that the verbs work on, and others who work on it at the same time."""

    url: str
    run: Run
    services: Services

    def offer(self, paid: str = "600.00", agent: str = "A-7", **ids: str) -> str:
        """Takes the offer for a late order: 5 %, of which an agent gives 10.00; the grant's id."""
        named = {"order": "SO-1", "customer": "C-1", **ids}
        body = {
            "order": {
                "id": named["order"],
                "currency": "CNY",
                "promised_delivery_by": "2026-06-01T00:00:00+08:00",
                "shipping_paid": "0.00",
                "lines": [{"id": "1", "quantity": 1, "paid": paid}],
            },
            "incident": {"types": ["shipping_delay"]},
            "customer": {"id": named["customer"]},
            "agent": {"id": agent, "role": "agent"},
        }
        decided = deciding.decide(self.services, DESK, body, call(DESK)).answer
        wanted = grants.Wanted(
            json.loads(decided.body)["decision_id"],
            "shipping_delay/coupon",
            agent=Agent(agent, "agent"),
        )
        granted: str = json.loads(grants.grant(self.services, DESK, wanted, call(DESK)).body)[
            "grant_id"
        ]
        return granted

    def key(self, person: str, role: str, *scopes: str, client: str = "office") -> str:
        """A person's key, made as the message tells people to."""
        words = [word for scope in scopes or ("approve",) for word in ("--scope", scope)]
        made = self.run(
            "keys", "create", "--client", client, *words, "--person", person, "--role", role
        )
        assert made.exit_code == 0, made.stderr
        key: str = made.stdout.strip()
        return key

    def json(self, *words: object) -> Any:
        result = self.run(*words, "--format", "json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def listed(self, *words: object) -> list[str]:
        return [each["grant_id"] for each in self.json("grants", "list", *words)["grants"]]

    def cap(self, name: str) -> dict[str, Any]:
        found = self.json("caps", "--order", "SO-1", "--customer", "C-1")["caps"]
        (row,) = (each for each in found if each["cap"] == name)
        return dict(row)


@pytest.fixture
def open_shop(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Shop]]:
    opened: list[Services] = []

    def make(url: str, **changed: str) -> Shop:
        monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", url)
        monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
        folder = tmp_path / "pack"
        folder.mkdir()
        for name, content in {**PACK, **changed}.items():
            (folder / name).write_text(content, "utf-8")
        assert run("db", "upgrade").exit_code == 0
        activated = run("pack", "activate", folder)
        assert activated.exit_code == 0, activated.stderr
        opened.append(bootstrap.build(read_settings()))
        packs.follow(opened[-1])
        return Shop(url, run, opened[-1])

    yield make
    for each in opened:
        each.packs.close()
        each.ledger.close()


@pytest.fixture
def shop_on_both(open_shop: Callable[..., Shop], database_url: str) -> Shop:
    return open_shop(database_url)


@pytest.fixture
def shop(open_shop: Callable[..., Shop], sqlite_url: str) -> Shop:
    """For what doesn't depend on the database."""
    return open_shop(sqlite_url)


def amounts(grant: dict[str, Any]) -> dict[str, str]:
    return {name: grant[name]["amount"] for name in ("granted", "pending", "reversed", "redeemed")}


def money(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "CNY"}


def refused(result: Result, code: str) -> str:
    assert result.exit_code == 1, result.output
    assert f"[{code}]" in result.stderr
    assert result.stdout == ""
    return result.stderr


def test_a_grant_waits_in_the_queue_until_a_supervisor_approves_it(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant = shop.offer()
    assert shop.listed("--status", "pending", "--approver", "supervisor") == [grant]
    assert shop.listed("--status", "pending", "--approver", "finance") == []
    before = shop.json("grants", "show", grant)
    assert amounts(before) == amounts(
        {**before, "granted": money("10.00"), "pending": money("20.00")}
    )
    assert (shop.cap("budget")["used"], shop.cap("budget")["pending"]) == (
        money("30.00"),
        money("20.00"),
    )
    key = shop.key("S-1", "supervisor")
    after = shop.json("grants", "approve", grant, "--note", "the parcel is lost", "--key", key)
    assert after["status"] == "granted"
    assert amounts(after) == {
        "granted": "30.00",
        "pending": "0.00",
        "reversed": "0.00",
        "redeemed": "0.00",
    }
    assert (after["entries"][-1]["actor"], after["entries"][-1]["note"]) == (
        "S-1",
        "the parcel is lost",
    )
    shown = shop.json("grants", "show", grant)
    assert {**shown, "caps": None} == {**after, "caps": None}
    # What the door shows of the budget needs `audit`; whoever reads the database has that.
    assert {each["cap"] for each in shown["caps"]} - {each["cap"] for each in after["caps"]} == {
        "budget"
    }
    assert shop.listed("--status", "pending") == []
    assert shop.cap("budget")["pending"] == money("0.00")
    assert shop.run("ledger", "check").exit_code == 0


def test_tables_show_what_people_ask_for(shop: Shop) -> None:
    grant = shop.offer()
    listed = shop.run("grants", "list").stdout
    for each in (grant, "partly_pending", "SO-1", "C-1", "A-7 (agent)", "10.00 CNY", "supervisor"):
        assert each in listed.replace("\n", "") or each[:8] in listed
    page = shop.run("grants", "show", grant).stdout
    assert page.startswith(f"grant {grant}: partly_pending\n")
    assert "20.00 CNY waits for supervisor, or a role above it, until " in page
    assert "reserve" in page
    assert "once (shipping_delay)" in page
    caps = shop.run("caps", "--order", "SO-1").stdout
    assert "agent_order" in caps
    assert "everybody" in caps
    assert "customer_30d" not in caps


def test_an_id_is_shown_whole_however_narrow_the_screen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = shop.offer()
    monkeypatch.setenv("COLUMNS", "90")
    assert grant in shop.run("grants", "list").stdout


def test_what_forbids_a_move_is_told_in_the_grants_own_currency(shop: Shop) -> None:
    grant, key = shop.offer(), shop.key("S-1", "supervisor")
    words = ("grants", "approve", grant, "--note", "x", "--key", key)
    assert "20.00 CNY waits" in refused(
        shop.run(*words, "--amount", "20.01"), "AMOUNT_ABOVE_PENDING"
    )
    assert shop.run(*words).exit_code == 0
    assert "nothing waits; the grant is `granted`" in refused(shop.run(*words), "NOT_PENDING")


def test_an_empty_id_is_a_mistake_and_not_left_out(shop: Shop) -> None:
    result = shop.run("caps", "--order", "")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--order" in result.stderr


def test_a_list_is_narrowed_to_what_is_asked_for(shop_on_both: Shop) -> None:
    shop = shop_on_both
    first = shop.offer()
    second = shop.offer(paid="100.00", agent="A-8", order="SO-2", customer="C-2")
    settling.report_fulfilment(
        shop.services, DESK, second, call(DESK), remedy="coupon", done=True, external_ref="CODE-1"
    )
    assert shop.listed() == [first, second]
    for option, of_first, of_second in (
        ("--order", "SO-1", "SO-2"),
        ("--customer", "C-1", "C-2"),
        ("--agent", "A-7", "A-8"),
        ("--status", "partly_pending", "granted"),
    ):
        assert shop.listed(option, of_first) == [first]
        assert shop.listed(option, of_second) == [second]
    assert shop.listed("--external-ref", "CODE-1") == [second]
    assert shop.listed("--external-ref", "CODE-2") == []
    page = shop.json("grants", "list", "--limit", 1)
    assert shop.listed("--limit", 1, "--cursor", page["next_cursor"]) == [second]
    assert f"--cursor {page['next_cursor']}" in shop.run("grants", "list", "--limit", 1).stderr
    wrong = shop.run("grants", "list", "--cursor", "made up")
    assert (wrong.exit_code, "--cursor" in wrong.stderr) == (2, True)
    assert shop.run("grants", "list", "--order", "x" * 129).exit_code == 2


def test_a_part_is_approved_and_the_rest_is_given_back(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant, key = shop.offer(), shop.key("S-1", "supervisor")
    for wrong in ("5", "5.000", "-5.00", "five", "５.00", "1e1"):
        result = shop.run(
            "grants", "approve", grant, "--amount", wrong, "--note", "x", "--key", key
        )
        assert (result.exit_code, "--amount" in result.stderr) == (2, True), wrong
    above = shop.run("grants", "approve", grant, "--amount", "20.01", "--note", "x", "--key", key)
    assert "`partly_pending`" in refused(above, "AMOUNT_ABOVE_PENDING")
    after = shop.json(
        "grants", "approve", grant, "--amount", "5.00", "--note", "a part", "--key", key
    )
    assert amounts(after) == amounts({**after, "granted": money("15.00"), "pending": money("0.00")})
    assert shop.cap("budget")["used"] == money("15.00")
    assert shop.run("ledger", "check").exit_code == 0


def test_nobody_approves_who_may_not_and_nothing_changes(shop: Shop) -> None:
    grant = shop.offer()
    before = shop.json("grants", "show", grant)

    def approve(key: str) -> Result:
        return shop.run("grants", "approve", grant, "--note", "fine", "--key", key)

    # Whoever asked for it, whichever key they use; whoever answers for the desk's key.
    refused(approve(shop.key("A-7", "supervisor")), "FOUR_EYES")
    refused(approve(shop.key("B-1", "supervisor")), "FOUR_EYES")
    # Somebody whose role is too low; from another desk they don't even see it.
    refused(approve(shop.key("A-9", "agent", client="desk")), "ROLE_TOO_LOW")
    refused(approve(shop.key("A-9", "agent")), "NO_SUCH_GRANT")
    settles = shop.key("S-2", "supervisor", "settle")
    assert "lacks the scope `approve`" in approve(settles).stderr
    unbound = shop.run("keys", "create", "--client", "desk", "--scope", "approve").stdout.strip()
    assert "bound to no person" in approve(unbound).stderr
    several = shop.run(
        "keys", "create", "--client", "d", "--scope", "approve", "--act-for", "supervisor"
    ).stdout.strip()
    assert "bound to no person" in approve(several).stderr
    revoked = shop.key("S-1", "supervisor")
    shop.run("keys", "revoke", revoked.split("_")[1])
    for key in (revoked, revoked[:-1], "pe_made_up", "a.b.c"):
        result = approve(key)
        assert (result.exit_code, "not accepted" in result.stderr) == (1, True)
        assert key.split("_", 2)[-1] not in result.output
    after = shop.json("grants", "show", grant)
    assert after == before


def test_without_a_key_people_are_told_how_to_get_one(shop: Shop) -> None:
    grant = shop.offer()
    for words in (
        ("approve", grant, "--note", "x"),
        ("reject", grant, "--reason", "x"),
        ("reverse", grant, "--reason", "x"),
    ):
        result = shop.run("grants", *words)
        assert result.exit_code == 2
        assert "POLICY_ENGINE_KEY" in result.stderr
        assert "keys create" in result.stderr
        assert "--person" in result.stderr
    assert shop.listed("--status", "pending") == [grant]


def test_a_key_comes_from_the_environment_or_the_standard_input(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = shop.key("S-1", "supervisor")
    first, second = shop.offer(), shop.offer(order="SO-2", customer="C-2")
    asked = shop.run("grants", "approve", first, "--note", "x", "--key", "-", given=f"{key}\n")
    assert asked.exit_code == 0, asked.stderr
    monkeypatch.setenv("POLICY_ENGINE_KEY", key)
    found = shop.run("grants", "approve", second, "--note", "x")
    assert found.exit_code == 0, found.stderr
    assert key not in asked.output + found.output


def test_the_caps_of_the_approvers_role_are_met_once_more(shop: Shop) -> None:
    grant = shop.offer(paid="1000.00")
    # 50.00 in all, 35.00 of it within a supervisor's own cap: finance has to decide.
    assert shop.json("grants", "show", grant)["approver"] == "finance"
    result = shop.run(
        "grants", "approve", grant, "--note", "x", "--key", shop.key("S-1", "supervisor")
    )
    refused(result, "NO_SUCH_GRANT")
    finance = shop.key("F-1", "finance")
    assert shop.run("grants", "approve", grant, "--note", "x", "--key", finance).exit_code == 0


def test_what_is_left_is_told_where_the_caps_no_longer_bear_it(shop: Shop, tmp_path: Path) -> None:
    grant = shop.offer()
    folder = tmp_path / "pack"
    lower = PACK["caps.yaml"].replace('CNY: "35.00"', 'CNY: "12.00"')
    (folder / "caps.yaml").write_text(lower)
    assert shop.run("pack", "activate", folder).exit_code == 0
    key = shop.key("S-1", "supervisor")
    told = refused(
        shop.run("grants", "approve", grant, "--note", "x", "--key", key), "CAP_EXHAUSTED"
    )
    assert "left allowed 2.00 CNY" in told
    assert "binding cap `supervisor_order`" in told


def test_what_waits_is_rejected_once(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant, key = shop.offer(), shop.key("S-1", "supervisor")
    after = shop.json("grants", "reject", grant, "--reason", "it was on time", "--key", key)
    assert (after["status"], amounts(after)["pending"]) == ("granted", "0.00")
    again = shop.run("grants", "reject", grant, "--reason", "x", "--key", key)
    assert "state `granted`" in refused(again, "NOT_PENDING")
    assert shop.cap("budget")["used"] == money("10.00")
    unknown = shop.run("grants", "reject", NOBODY, "--reason", "x", "--key", key)
    refused(unknown, "NO_SUCH_GRANT")
    refused(shop.run("grants", "show", NOBODY), "NO_SUCH_GRANT")


def test_what_was_given_is_taken_back_in_parts_and_its_headroom_comes_back(
    shop_on_both: Shop,
) -> None:
    shop = shop_on_both
    grant, key = shop.offer(paid="200.00"), shop.key("S-1", "supervisor", "settle")
    reverse = ("grants", "reverse", grant, "--reason", "sent twice", "--key", key)
    part = shop.json(*reverse, "--remedy", "coupon", "--amount", "4.00")
    assert (part["status"], amounts(part)["reversed"]) == ("granted", "4.00")
    assert part["entries"][-1]["actor"] == "S-1"
    assert shop.cap("budget")["used"] == money("6.00")
    refused(shop.run(*reverse, "--amount", "6.01"), "NOT_REVERSIBLE")
    refused(shop.run(*reverse, "--remedy", "gift"), "UNKNOWN_REMEDY")
    rest = shop.json(*reverse)
    assert (rest["status"], amounts(rest)["reversed"]) == ("reversed", "10.00")
    assert shop.cap("budget")["used"] == money("0.00")
    assert shop.cap("once")["used"] == 0
    approves = shop.key("S-2", "supervisor")
    lacking = shop.run("grants", "reverse", grant, "--reason", "x", "--key", approves)
    assert "lacks the scope `settle`" in lacking.stderr
    assert shop.run("ledger", "check").exit_code == 0


def test_one_idempotency_key_reverses_once(shop_on_both: Shop) -> None:
    shop = shop_on_both
    grant, key = shop.offer(paid="200.00"), shop.key("S-1", "supervisor", "settle")
    reverse = ("grants", "reverse", grant, "--reason", "x", "--key", key)
    words = (*reverse, "--amount", "4.00", "--idempotency-key", "K-1")
    first, again = shop.run(*words), shop.run(*words)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout == again.stdout
    assert "happened already" in again.stderr
    assert amounts(shop.json("grants", "show", grant))["reversed"] == "4.00"
    other = shop.run(*reverse, "--amount", "5.00", "--idempotency-key", "K-1")
    assert other.exit_code == 1
    assert "used for another call" in other.stderr
    assert "doctor" not in other.stderr


def test_what_a_busy_database_did_not_answer_can_be_repeated_safely(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant, key = shop.offer(), shop.key("S-1", "supervisor")
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_TIMEOUT", "PT0.2S")
    busy = sqlite3.connect(shop.url.removeprefix("sqlite:///"), isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    result = shop.run("grants", "approve", grant, "--note", "x", "--key", key)
    busy.execute("ROLLBACK")
    busy.close()
    assert result.exit_code == 1
    again = result.stderr.partition("--idempotency-key ")[2].partition(":")[0]
    words = ("grants", "approve", grant, "--note", "x", "--key", key, "--idempotency-key", again)
    assert shop.run(*words).exit_code == 0


def test_caps_tell_limit_use_and_what_waits(shop_on_both: Shop) -> None:
    shop = shop_on_both
    shop.offer()
    rows = {
        each["cap"]: each
        for each in shop.json("caps", "--order", "SO-1", "--customer", "C-1")["caps"]
    }
    assert list(rows) == ["agent_order", "supervisor_order", "once", "customer_30d", "budget"]
    assert {
        name: rows["agent_order"][name] for name in ("limit", "used", "pending", "headroom")
    } == {
        "limit": money("10.00"),
        "used": money("30.00"),
        "pending": money("20.00"),
        "headroom": money("0.00"),
    }
    assert rows["customer_30d"]["headroom"] == money("470.00")
    assert rows["customer_30d"]["resets_at"] is not None
    assert (rows["once"]["policy"], rows["once"]["used"]) == ("shipping_delay", 1)
    alone = shop.json("caps")["caps"]
    assert [(each["cap"], each["used"]) for each in alone] == [("budget", money("30.00"))]
    fresh = shop.json("caps", "--customer", "C-9")["caps"]
    assert fresh[0]["used"] == money("0.00")


def test_without_an_active_pack_caps_say_what_to_do(
    run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    run("db", "upgrade")
    result = run("caps")
    assert (result.exit_code, "pack activate" in result.stderr) == (1, True)
    assert run("grants", "list").exit_code == 0
    assert run("ledger", "check").exit_code == 0


PLANTED = {
    "limit_counter": "UPDATE limit_counter SET amount = amount + 1 "
    "WHERE described LIKE '[\"order\",%' AND amount > 0",
    "limit_counter of a month": "UPDATE limit_counter SET amount = amount - 1 "
    "WHERE described LIKE '[\"pack\",%' AND amount > 0",
    "limit_counter that is gone": "DELETE FROM limit_counter WHERE amount = 1",
    "cap_movement": "UPDATE cap_movement SET minor = minor + 1 WHERE minor > 0",
    "cap_movement that is gone": "DELETE FROM cap_movement WHERE minor > 0",
    "grant_state": "UPDATE grant_state SET status = 'granted'",
    "grant_entry": "UPDATE grant_entry SET minor = minor - 1",
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_found_and_named(shop_on_both: Shop, planted: str) -> None:
    shop = shop_on_both
    shop.offer()
    clean = shop.run("ledger", "check")
    assert (clean.exit_code, clean.stdout[:5]) == (0, "clean")
    assert shop.json("ledger", "check") == {"clean": True, "differences": []}
    with unguarded(shop.url) as connection:
        changed = connection.execute(text(PLANTED[planted])).rowcount
    assert changed >= 1
    result = shop.run("ledger", "check", "--format", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["clean"] is False
    tables = {each["table"] for each in found["differences"]}
    # An entry is what all else follows from: what was right is then what differs.
    assert tables & {planted.split(maxsplit=1)[0]} or planted == "grant_entry"
    assert tables
    shown = shop.run("ledger", "check")
    assert (shown.exit_code, f"{len(found['differences'])} differences" in shown.stdout) == (
        1,
        True,
    )


def test_a_difference_names_its_limit_and_both_amounts(shop: Shop) -> None:
    shop.offer()
    with unguarded(shop.url) as connection:
        connection.execute(text(PLANTED["limit_counter of a month"]))
    (found,) = json.loads(shop.run("ledger", "check", "--format", "json").stdout)["differences"]
    assert found["table"] == "limit_counter"
    assert found["where"].startswith('["pack",[],')
    assert " from 20" in found["where"]
    assert (found["expected"], found["stored"]) == ("3000", "2999")


def test_the_check_tells_how_far_it_is(shop: Shop) -> None:
    shop.offer()
    shop.offer(order="SO-2")
    told: list[tuple[int, int]] = []
    assert shop.services.ledger.check_counters(lambda done, total: told.append((done, total))) == ()
    assert told[-1] == (2, 2)


def test_on_a_restored_backup_people_look_and_change_nothing(shop: Shop, tmp_path: Path) -> None:
    grant, key = shop.offer(), shop.key("S-1", "supervisor")
    Path(f"{tmp_path / 'policy-engine.db'}.checkpoints").write_text(
        "policy-engine/another\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— policy-engine/another Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
        "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    result = shop.run("grants", "approve", grant, "--note", "x", "--key", key)
    assert (result.exit_code, "nothing is written" in result.stderr) == (1, True)
    assert shop.listed("--status", "pending") == [grant]
    assert shop.run("caps", "--order", "SO-1").exit_code == 0
    assert shop.run("ledger", "check").exit_code == 0


def finding(shop: Shop, check: str) -> tuple[str, str]:
    told = json.loads(shop.run("doctor", "--format", "json").stdout)
    (found,) = (each for each in told if each["check"] == check)
    return found["state"], found["detail"]


def test_the_doctor_tells_what_waits_and_what_ran_out_unnoticed(
    open_shop: Callable[..., Shop], database_url: str
) -> None:
    shop = open_shop(database_url, **{"pack.yaml": "pending_for: PT1S\n"})
    assert finding(shop, "grants") == ("ok", "none waits for approval")
    shop.offer()
    assert "for `supervisor` to approve" in finding(shop, "grants")[1]
    time.sleep(1.1)
    # Within a minute the service itself sees to it.
    assert finding(shop, "grants")[0] == "ok"
    with unguarded(database_url) as connection:
        connection.execute(text("UPDATE grant_state SET due_at_us = due_at_us - 60000000"))
    assert finding(shop, "grants") == (
        "warning",
        "1 have run out, and nobody has written that down",
    )
    (listed,) = shop.json("grants", "list")["grants"]
    assert (listed["status"], listed["pending"]) == ("granted", money("0.00"))
    assert finding(shop, "grants") == ("ok", "none waits for approval")


def test_the_doctor_sees_that_no_checkpoint_leaves_the_database(shop: Shop) -> None:
    shop.offer()
    signing = bootstrap.open_log(shop.services.settings, shop.services.ledger, by="tests")
    sequencer = shop.services.ledger.log.sequencer(signing)
    while sequencer.run_once().moved:
        pass
    state, detail = finding(shop, "checkpoints")
    assert (state, "ends at 0 of" in detail) == ("warning", True)
    latest = shop.services.ledger.log.checkpoint()
    assert latest is not None
    path = shop.services.settings.checkpoint_path
    assert path is not None
    path.write_text(latest.note)
    assert finding(shop, "checkpoints")[0] == "ok"
