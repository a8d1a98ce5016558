"""Exports and statements over HTTP and on the command line; erased customers; the page itself."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from click.testing import CliRunner, Result
from flask import Flask

from bench.demo import fill
from policy_engine import bootstrap
from policy_engine.api.app import create_app
from policy_engine.api.statements import StatementSchema
from policy_engine.cli import main
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.reports.pages import report_page
from policy_engine.settings import Settings
from policy_engine.usecases.privacy import erase
from policy_engine.usecases.reporting import month_report
from policy_engine.usecases.services import Services
from policy_engine.usecases.statements import statement
from tests.reports.conftest import BEGIN, END, SECRET, keeping

SPAN = "from=2026-04-01T00:00:00Z&to=2026-07-01T00:00:00Z"


@dataclass(frozen=True)
class House:
    services: Services
    app: Flask
    url: str

    def get(self, path: str, *scopes: str) -> Any:
        terms = CredentialTerms("finance", frozenset(scopes))
        key = self.services.ledger.credentials.create(terms, "tests").key
        headers = {"Authorization": f"Bearer {key}"}
        return self.app.test_client().get(path, headers=headers)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    url = f"sqlite:///{tmp_path_factory.mktemp('doors') / 'policy-engine.db'}"
    settings = Settings(database_url=url, secret_key=SECRET)
    filling = bootstrap.build(settings)
    filling.ledger.upgrade()
    fill(filling, 30)
    filling.packs.close()
    filling.ledger.close()
    services = bootstrap.build(settings)
    yield House(services, create_app(services), url)
    services.packs.close()
    services.ledger.close()


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", house.url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, words, catch_exceptions=False)


@pytest.fixture(scope="module")
def customer(house: House) -> str:
    """Somebody who got something."""
    by_pseudonym = {house.services.ledger.history.customer(f"C-{n}"): f"C-{n}" for n in range(1, 9)}
    grants = house.services.ledger.history.grants(END)
    return next(by_pseudonym[each.grant.customer] for each in grants)


def test_an_auditor_downloads_the_export(house: House) -> None:
    with keeping(house.services):
        answer = house.get(f"/v1/log/export?{SPAN}&format=csv", "audit")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert answer.headers["Cache-Control"] == "no-store"
    with ZipFile(io.BytesIO(answer.data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.read("decisions.csv").startswith(b"\xef\xbb\xbflog_index,record,digest")
    assert manifest["rows"]["decisions"] > 30
    assert re.fullmatch(r"finance \(.+\)", manifest["by"])


@pytest.mark.parametrize(
    ("path", "status", "pointer"),
    [
        (f"/v1/log/export?{SPAN}&format=pdf", 422, "/format"),
        ("/v1/log/export", 422, "/from"),
        ("/v1/log/export?from=2026-04-01", 422, "/from"),
        (f"/v1/log/export?{SPAN}&more=1", 422, "/more"),
        ("/v1/customers/C-1/statement", 422, "/from"),
        (f"/v1/customers/C-1/statement?{SPAN}&to=2026-07-02T00:00:00Z", 422, "/to"),
    ],
)
def test_a_wrong_query_is_told_by_its_parameter(
    house: House, path: str, status: int, pointer: str
) -> None:
    answer = house.get(path, "audit")
    assert answer.status_code == status
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("path", ["/v1/log/export", "/v1/customers/C-1/statement"])
def test_only_auditors_may_look(house: House, path: str) -> None:
    others = ("decide", "grant", "approve", "orders", "settle", "packs", "simulate", "admin")
    assert house.get(f"{path}?{SPAN}", *others).status_code == 403
    assert house.app.test_client().get(f"{path}?{SPAN}").status_code == 401


def test_an_auditor_reads_a_statement_and_that_is_recorded(house: House, customer: str) -> None:
    answer = house.get(f"/v1/customers/{customer}/statement?{SPAN}&locale=zh-CN", "audit")
    assert answer.status_code == 200
    assert answer.json["grants"]
    assert any(
        re.search("[一-鿿]", rule["title"])
        for grant in answer.json["grants"]
        for rule in grant["rules"]
    )
    entry = house.services.ledger.log.record(answer.json["record"])
    assert entry is not None
    assert b"finance (" in entry.content


def test_the_statement_is_as_the_document_says(house: House, customer: str) -> None:
    answer = house.get(f"/v1/customers/{customer}/statement?{SPAN}", "audit")
    assert StatementSchema().validate(answer.json) == {}


def test_the_command_line_exports(run: Callable[..., Result], tmp_path: Path) -> None:
    done = run("log", "export", "--from", "2026-04-01", "--to", "2026-07-01", "--out", "q2")
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "q2" / "manifest.json").read_text())
    assert f"{sum(manifest['rows'].values())} rows" in done.output
    assert {each.name for each in (tmp_path / "q2").iterdir()} == {
        "decisions.jsonl", "grant_movements.jsonl", "manifest.json",
    }  # fmt: skip


def test_the_command_line_writes_the_report(run: Callable[..., Result], tmp_path: Path) -> None:
    done = run("report", "--month", "2026-06", "--zone", "Asia/Shanghai", "--out", "june.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "june.html").read_text("utf-8")
    data = json.loads((tmp_path / "june.json").read_text("utf-8"))
    assert data["zone"] == "Asia/Shanghai"
    assert data["since"] == "2026-05-31T16:00:00Z"
    assert page.count("<svg ") == 2 * len(data["currencies"])
    printed = run("report", "--month", "2026-06", "--format", "json")
    assert json.loads(printed.output)["zone"] == "UTC"


def test_the_command_line_prints_the_statement_on_a_page(
    run: Callable[..., Result], customer: str
) -> None:
    done = run("statement", customer, "--from", "2026-04-01", "--to", "2026-07-01", "--by", "Ada")
    assert done.exit_code == 0, done.output
    for said in ("asked for by", "allowed by", "rule ", "facts ", "decided ", "cap ", "digest "):
        assert said in done.output
    asked = ("statement", customer, "--from", "2026-04-01", "--format", "json")
    assert json.loads(run(*asked).output)["grants"]


def test_the_command_line_prints_a_journal(run: Callable[..., Result]) -> None:
    done = run("journal", "--from", "2026-04-01", "--to", "2026-07-01", "--format", "beancount")
    assert done.exit_code == 0, done.output
    assert " open Liabilities:Compensation:Coupon" in done.output


@pytest.mark.parametrize(
    "words",
    [
        ("log", "export", "--from", "June"),
        ("report", "--month", "2026-13"),
        ("report", "--month", "2026-06", "--zone", "Mars/Olympus"),
        ("journal", "--from", "2026-07-01", "--to", "2026-06-01"),
    ],
)
def test_a_wrong_word_is_a_usage_error(run: Callable[..., Result], words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


def test_an_erased_customer_stays_in_every_total_and_says_nothing(house: House) -> None:
    history = house.services.ledger.history
    by_pseudonym = {history.customer(f"C-{n}"): f"C-{n}" for n in range(1, 9)}
    noted = [
        by_pseudonym[each.grant.customer]
        for each in history.grants(END)
        if any(entry.actor in ("Jonas", "陈静", "Amélie", "Grace") for entry in each.entries)
    ]
    span = {"since": BEGIN, "until": END, "by": "tests"}
    before = statement(house.services, noted[0], **span)  # type: ignore[arg-type]
    assert erase(house.services, noted[0], "tests")
    after = statement(house.services, noted[0], **span)  # type: ignore[arg-type]

    assert after["totals"] == before["totals"]
    assert [each["rules"] for each in after["grants"]] == [e["rules"] for e in before["grants"]]
    said = [move["said"] for grant in after["grants"] for move in grant["moves"]]
    assert None in said
    assert not any(said)


def test_the_page_loads_nothing_and_shows_names_as_text(house: House) -> None:
    report = month_report(house.services, date(2026, 6, 1), date(2026, 7, 1), UTC)
    currency = next(iter(report["currencies"].values()))
    currency["agents"][0]["key"] = "<script>alert(1)</script>"
    currency["agents"][-1]["key"] = "李娜 & 王芳"
    page = report_page(report)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "李娜 &amp; 王芳" in page
    loads = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', page)
    assert [each for each in loads if not each.startswith("#")] == []
