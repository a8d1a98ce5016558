"""`policy-engine log verify`: proves the whole record again."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import (
    CommandError,
    ExitCode,
    progress_bar,
    show_json,
    show_table,
    verb,
)
from policy_engine.ledger.log.findings import Report
from policy_engine.ledger.log.notes import NoteError, VerifierKey
from policy_engine.ledger.log.outside import CheckpointFile
from policy_engine.usecases import verifying

_CODES = {"good": 0, "broken": 1, "incomplete": 2}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@verb(
    """
    policy-engine log verify
    policy-engine log verify --checkpoint held.txt --key log.pub --sample 1000
    """
)
@click.option("--checkpoint", type=_FILE, help="Checkpoints that you hold, one after another.")
@click.option("--key", type=_FILE, help="The log's public key as you know it (`log key`).")
@click.option("--sample", type=click.IntRange(1), help="Evaluate only so many decisions again.")
@click.option("--no-replay", is_flag=True, help="Evaluate no decision again.")
@click.pass_context
def verify(
    ctx: click.Context,
    checkpoint: Path | None,
    key: Path | None,
    sample: int | None,
    no_replay: bool,
    output: str,
) -> None:
    """Prove from the stored bytes that nothing on record was changed, removed or added.

    Recomputes every leaf, their order, the tree and the signatures; compares every row with its
    record; holds each grant against what its caps had come to at its moment, and against the role
    and the people who could give it; and evaluates decisions again under their own pack. With
    --checkpoint also that the log goes on from what you hold; without --key the key in the
    database is taken at its word.

    Exits 0 when all is good, 1 when something is broken (and says where), 2 when something
    could not be looked at.
    """
    known = None if key is None else _key(key)
    held = () if checkpoint is None else _held(checkpoint)
    with opened_services() as services, progress_bar("verifying") as progress:
        report = verifying.verify(
            services,
            held,
            known,
            replaying=not no_replay,
            sample=sample,
            progress=progress,
        )
    if output == "json":
        show_json(_as_json(report))
    else:
        _show(report)
    ctx.exit(_CODES[report.verdict])


def _held(path: Path) -> Iterator[str]:
    def warn() -> None:
        text = f"warning: text in `{path}` that is no whole checkpoint is passed over"
        click.echo(text, err=True)

    notes = CheckpointFile(path).notes(warn)
    first = next(notes, None)
    if first is None:
        raise CommandError(
            f"`{path}` holds no checkpoint, so there is nothing to compare the log with",
            "save what `policy-engine log checkpoint` prints, as it is",
            ExitCode.USAGE,
        )
    return itertools.chain((first,), notes)


def _key(path: Path) -> VerifierKey:
    try:
        return VerifierKey.parse(path.read_text("utf-8"))
    except (NoteError, UnicodeError) as error:
        raise CommandError(f"`{path}`: {error}", code=ExitCode.USAGE) from None


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "verdict": report.verdict,
        "size": report.size,
        "root": base64.b64encode(report.root).decode(),
        "counts": report.counts,
        "found": {severity.value: number for severity, number in report.found.items()},
        "findings": [asdict(finding) for finding in report.findings],
    }


def _show(report: Report) -> None:
    if report.findings:
        show_table(
            ("", "table", "row", "index", "finding"),
            [
                (
                    each.severity.value,
                    each.table,
                    each.row or "-",
                    "-" if each.index is None else str(each.index),
                    each.message,
                )
                for each in report.findings
            ],
        )
    beyond = sum(report.found.values()) - len(report.findings)
    if beyond > 0:
        click.echo(f"and {beyond} more")
    counted = ", ".join(f"{number} {name}" for name, number in report.counts.items())
    click.echo(f"{report.verdict}: {report.size} entries; {counted}")
    click.echo(f"root {base64.b64encode(report.root).decode()}")
