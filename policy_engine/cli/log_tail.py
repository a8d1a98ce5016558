"""`policy-engine log tail`: the last entries, and those that come."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
import orjson

from policy_engine.cli.database import opened_ledger
from policy_engine.cli.frame import verb
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.log.reading import LogEntry, LogFilter

_PAGE = 500
_PAUSE_SECONDS = 0.5


@verb(
    """
    policy-engine log tail
    policy-engine log tail --follow --kind decision --format json
    """,
    one_result=False,
)
@click.option("--lines", "-n", type=click.IntRange(0), default=10, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--kind", help="Only records of this kind, such as `decision`.")
def tail(lines: int, follow: bool, kind: str | None, output: str) -> None:
    """Print the last entries of the log, one a line; in JSON with the whole record."""
    with opened_ledger() as ledger:
        ledger.check_schema()
        for entry in _entries(ledger, lines, kind, follow=follow):
            click.echo(_line(entry, output))


def _entries(ledger: Ledger, lines: int, kind: str | None, *, follow: bool) -> Iterator[LogEntry]:
    last = -1
    for entry in ledger.log.last(lines, kind):
        yield entry
        last = entry.index if entry.index is not None else last
    last = max(last, ledger.log.status().size - 1) if lines == 0 else last
    while follow:
        page = ledger.log.list(LogFilter(kind=kind, after=last), _PAGE)
        for entry in page.entries:
            yield entry
            assert entry.index is not None
            last = entry.index
        if len(page.entries) < _PAGE:
            time.sleep(_PAUSE_SECONDS)


def _line(entry: LogEntry, output: str) -> str:
    at = format_timestamp(entry.recorded_at)
    if output == "table":
        return f"{entry.index:>10}  {at:<27}  {entry.kind:<20}  {entry.record_id}"
    return orjson.dumps(
        {
            "index": entry.index,
            "record": entry.record_id,
            "kind": entry.kind,
            "recorded_at": at,
            "digest": entry.digest,
            "content": orjson.Fragment(entry.content),
        }
    ).decode()
