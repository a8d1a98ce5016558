"""Export, report, views and journal say the same as the ledger, to the minor unit."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from beancount import loader

from policy_engine.core.grants import GrantState, fold
from policy_engine.reports.exports import write_folder
from policy_engine.reports.files import FORMATS
from policy_engine.reports.journals import JOURNALS, _component
from policy_engine.usecases import journal
from policy_engine.usecases.export_rows import MOVEMENTS
from policy_engine.usecases.reporting import month_report
from tests.reports.conftest import BEGIN, END, Quarter

FIGURES = ("granted", "pending", "redeemed", "reversed", "expired", "outstanding")


def ledger_totals(states: Iterable[tuple[str, GrantState]]) -> dict[str, dict[str, int]]:
    """Currency → figures, counted from the core's states and nothing else."""
    totals: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(FIGURES, 0))
    for currency, state in states:
        for each in state.remedies.values():
            later = each.remedy.kind in ("coupon", "store_credit")
            failed = sum(post.left for post in each.posts if post.failed)
            used = each.redeemed if later else each.granted - each.reversed - failed
            gone = used + each.reversed + each.expired
            found = (each.granted, each.pending, used, each.reversed, each.expired)
            for name, minor in zip(FIGURES, (*found, each.granted - gone), strict=True):
                totals[currency][name] += minor
    return dict(totals)


@pytest.fixture(scope="module")
def states(quarter: Quarter) -> list[tuple[str, GrantState]]:
    return [
        (
            each.grant.currency,
            fold(each.grant.remedies, [e.entry for e in each.entries], each.grant.pending_until),
        )
        for each in quarter.services.ledger.history.grants(END)
    ]


@pytest.fixture(scope="module")
def expected(states: list[tuple[str, GrantState]]) -> dict[str, dict[str, int]]:
    return ledger_totals(states)


def test_the_quarter_has_every_state_in_it(states: list[tuple[str, GrantState]]) -> None:
    assert {state.status.value for _, state in states} == {
        "pending", "partly_pending", "granted", "rejected", "lapsed", "reversed",
    }  # fmt: skip
    remedies = [each for _, state in states for each in state.remedies.values()]
    assert any(0 < each.redeemed < each.granted for each in remedies)
    assert any(0 < each.redeemed == each.granted for each in remedies)
    assert any(each.expired for each in remedies)
    assert any(each.failed for each in remedies)
    assert {currency for currency, _ in states} == {"CNY", "USD", "JPY"}


def test_the_manifest_of_an_export_agrees_with_the_ledger(
    quarter: Quarter, expected: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    export = quarter.export()
    for _ in write_folder(export, FORMATS["jsonl"], tmp_path):
        pass
    manifest = json.loads((tmp_path / "manifest.json").read_text())

    found = {
        currency: {name: total["changes"][name]["minor"] for name in FIGURES}
        for currency, total in manifest["totals"].items()
    }
    assert found == expected
    assert manifest["rows"] == {
        "decisions": quarter.rows("SELECT count(*) FROM decision")[0][0],
        "grant_movements": quarter.rows("SELECT count(*) FROM grant_entry")[0][0],
    }


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
def test_the_rows_of_an_export_add_up_to_the_ledger(
    quarter: Quarter, expected: dict[str, dict[str, int]], tmp_path: Path, name: str
) -> None:
    for _ in write_folder(quarter.export(), FORMATS[name], tmp_path):
        pass
    rows = _read(tmp_path / f"grant_movements.{name}")
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        last[(row["grant"], row["remedy"])] = row
    totals: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(FIGURES, 0))
    for row in last.values():
        for figure in FIGURES:
            totals[row["currency"]][figure] += int(row[f"{figure}_minor"])
    assert totals == expected
    for row in rows:
        places = 0 if row["currency"] == "JPY" else 2
        assert Decimal(row["amount"]).scaleb(places) == int(row["minor"])


def test_the_views_agree_with_the_ledger(
    quarter: Quarter, states: list[tuple[str, GrantState]], expected: dict[str, dict[str, int]]
) -> None:
    sums = ", ".join(f"sum({name}_minor)" for name in FIGURES)
    for view in ("v_grants", "v_grant_remedies"):
        rows = quarter.rows(f"SELECT currency, {sums} FROM {view} GROUP BY currency")
        found = {row[0]: dict(zip(FIGURES, map(int, row[1:]), strict=True)) for row in rows}
        assert found == expected

    statuses = dict(quarter.rows("SELECT status, count(*) FROM v_grants GROUP BY status"))
    assert statuses == Counter(state.status.value for _, state in states)


def test_the_view_of_movements_has_the_rows_of_the_export(quarter: Quarter) -> None:
    export = quarter.export()
    at = {column.name: place for place, column in enumerate(MOVEMENTS.columns)}
    wanted = ("grant", "position", "log_index", "digest", "movement", "minor", "customer", "actor")
    exported = {tuple(row[at[name]] for name in wanted) for row in export.movements()}
    seen = quarter.rows(
        "SELECT grant_id, position, log_index, digest, movement, minor, customer, actor "
        "FROM v_grant_movements"
    )
    assert set(seen) == exported


def test_the_reports_of_the_months_add_up_to_the_ledger(
    quarter: Quarter, expected: dict[str, dict[str, int]]
) -> None:
    months = [date(2026, month, 1) for month in (4, 5, 6, 7)]
    reports = [
        month_report(quarter.services, first, after, UTC)["currencies"]
        for first, after in pairwise(months)
    ]
    for currency, figures in expected.items():
        of = [report[currency] for report in reports if currency in report]
        for name in ("granted", "redeemed", "reversed", "expired"):
            assert sum(each["happened"][name] for each in of) == figures[name]
            for tally in of[-1]["by"]:
                assert sum(row[name] for row in of[-1]["by"][tally]) == of[-1]["happened"][name]
            assert sum(week[name] for week in of[-1]["weeks"]) == of[-1]["happened"][name]
        last = of[-1]
        assert last["closing"] == {
            "pending": figures["pending"],
            "outstanding": figures["outstanding"],
        }
        assert last["weeks"][-1]["outstanding"] == figures["outstanding"]
        assert sum(row["outstanding"] for row in last["liability"]) == figures["outstanding"]
        for tally in last["by"].values():
            assert sum(row["outstanding"] for row in tally) == figures["outstanding"]
        for before, after in pairwise(of):
            assert after["opening"] == before["closing"]


def test_the_journal_agrees_with_the_ledger(
    quarter: Quarter, expected: dict[str, dict[str, int]]
) -> None:
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for transaction in journal.transactions(quarter.services.ledger.history, BEGIN, END):
        assert sum(posting.minor for posting in transaction.postings) == 0
        for posting in transaction.postings:
            totals[(transaction.currency, posting.account.type.value)] += posting.minor
    for currency, figures in expected.items():
        assert totals[(currency, "expense")] == figures["granted"] - figures["reversed"]
        assert totals[(currency, "liability")] == -figures["outstanding"]
        assert totals[(currency, "settlement")] == -figures["redeemed"]
        assert totals[(currency, "breakage")] == -figures["expired"]


@pytest.mark.parametrize("since", [BEGIN, BEGIN.replace(month=6)])
def test_beancount_finds_no_fault_in_the_journal(
    quarter: Quarter, tmp_path: Path, since: Any
) -> None:
    file = tmp_path / "journal.beancount"
    history = quarter.services.ledger.history
    text = JOURNALS["beancount"](UTC).lines(
        journal.transactions(history, since, END), journal.closings(history, END), since, END
    )
    file.write_text("".join(text), encoding="utf-8")
    assert " balance Liabilities:Compensation:Coupon  -" in file.read_text()
    assert _bean_check(file) == ""

    # One minor unit is enough.
    closing = re.search(r"(balance Liabilities:Compensation:Coupon  )(-[0-9.]+)", file.read_text())
    assert closing is not None
    other = Decimal(closing[2]) - Decimal(1).scaleb(Decimal(closing[2]).as_tuple().exponent)  # type: ignore[arg-type]
    file.write_text(file.read_text().replace(closing[0], f"{closing[1]}{other}", 1))
    assert "Balance failed" in _bean_check(file)


@pytest.mark.parametrize("name", ["_", "-", "_._", "late_parcel", "9"])
def test_every_policy_has_a_name_that_beancount_takes(name: str) -> None:
    account = _component(name)
    assert re.fullmatch("[A-Z0-9][A-Za-z0-9-]*", account)


def test_the_hledger_journal_balances_and_comes_to_its_closings(quarter: Quarter) -> None:
    history = quarter.services.ledger.history
    text = "".join(
        JOURNALS["hledger"](UTC).lines(
            journal.transactions(history, BEGIN, END), journal.closings(history, END), BEGIN, END
        )
    )
    accounts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    asserted = 0
    for block in text.split("\n\n"):
        for line in block.splitlines():
            if not line.startswith("    ") or line.strip().startswith(";"):
                continue
            account, amount = line.strip().split("  ")
            quantity, currency, *closing = amount.split()
            accounts[(account, currency)] += Decimal(quantity)
            if closing:
                asserted += 1
                assert accounts[(account, currency)] == Decimal(closing[1])
    by_currency: dict[str, Decimal] = defaultdict(Decimal)
    for (_, currency), total in accounts.items():
        by_currency[currency] += total
    assert asserted > 3
    assert set(by_currency.values()) == {Decimal(0)}


def _read(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
        return rows
    if file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as text:
            return list(csv.DictReader(text))
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def _bean_check(file: Path) -> str:
    _, errors, _ = loader.load_file(str(file))
    return "\n".join(error.message for error in errors)
