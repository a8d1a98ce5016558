"""What the demonstration writes of its quarter: reports, exports, journals, a statement."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

from policy_engine import bootstrap
from policy_engine.reports.exports import write_folder
from policy_engine.reports.files import FORMATS
from policy_engine.reports.journals import JOURNALS
from policy_engine.reports.pages import report_page
from policy_engine.settings import Settings
from policy_engine.usecases import exporting, journal, statements
from policy_engine.usecases.reporting import month_report
from policy_engine.usecases.services import Services

MONTHS = [date(2026, month, 1) for month in (4, 5, 6, 7)]
BEGIN, END = (datetime(day.year, day.month, 1, tzinfo=UTC) for day in (MONTHS[0], MONTHS[-1]))
BY = "the demonstration"


def write_all(settings: Settings, out: Path) -> None:
    """Writes everything into `out`, and says what is where."""
    services = bootstrap.build(settings)
    keeper = bootstrap.log_keeper(settings, services.ledger)
    keeper.start()
    try:
        _reports(services, out)
        _exports(services, out)
        _journals(services, out)
        _statement(services, out)
    finally:
        keeper.stop()
        services.packs.close()
        services.ledger.close()
    print(f"it is in {settings.database_url}; look at {out / 'report-2026-06.html'} first")


def _reports(services: Services, out: Path) -> None:
    for first, after in pairwise(MONTHS):
        counted = month_report(services, first, after, UTC)
        page = out / f"report-{first:%Y-%m}.html"
        page.write_text(report_page(counted), encoding="utf-8")
        page.with_suffix(".json").write_text(json.dumps(counted, ensure_ascii=False, indent=2))


def _exports(services: Services, out: Path) -> None:
    for output in FORMATS.values():
        export = exporting.begin(services, since=BEGIN, until=END, output=output.name, by=BY)
        for _ in write_folder(export, output, out / f"export-{output.name}"):
            pass


def _journals(services: Services, out: Path) -> None:
    history = services.ledger.history
    for name, make in JOURNALS.items():
        text = make(UTC).lines(
            journal.transactions(history, BEGIN, END), journal.closings(history, END), BEGIN, END
        )
        (out / f"journal.{name}").write_text("".join(text), encoding="utf-8")


def _statement(services: Services, out: Path) -> None:
    found = statements.statement(services, "C-1", since=BEGIN, until=END, by=BY, locale="zh-CN")
    text = json.dumps(found, ensure_ascii=False, indent=2)
    (out / "statement-C-1.json").write_text(text, encoding="utf-8")
