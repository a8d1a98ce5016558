"""`policy-engine evaluate`: many requests offline, one line in, one line out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click
import orjson
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from policy_engine.cli.frame import ExitCode, notes, verb
from policy_engine.cli.pack_folder import pack_option, usable_pack
from policy_engine.packs.offline import OfflineEngine
from policy_engine.rete import best_matcher
from policy_engine.wire.problems import BadBodyError, InputProblem, InvalidInputError
from policy_engine.wire.strict_json import JsonLine, read_json_lines

_SHOWN_EVERY = 256
"""Lines between two looks at the progress bar; drawing it costs more than deciding."""


@verb("policy-engine evaluate --pack policies < requests.jsonl > decisions.jsonl", one_result=False)
@pack_option
@click.option(
    "--matcher",
    type=click.Choice(["auto", "rete", "interpreter"]),
    default="auto",
    show_default=True,
    help="Which matcher decides.",
)
@click.argument("requests", type=click.File("rb"), default="-")
@click.pass_context
def evaluate(
    ctx: click.Context, folder: Path, matcher: Any, requests: BinaryIO, output: str
) -> None:
    """Decide the requests of a JSON Lines file (or the standard input) without recording
    anything, one decision per line, in order.

    `agent` and `as_of` count as given; without an as_of a request is decided now. Blank lines
    are skipped. A line that can't be decided gives an error object with its line number, and
    the rest goes on; the exit code is then 1. Decisions are always JSON Lines; with --format
    table a count is shown on the standard error output.
    """
    pack, _ = usable_pack(folder)
    counts = {"decided": 0, "refused": 0}
    out = sys.stdout.buffer
    with OfflineEngine(pack, best_matcher(matcher)) as engine, _progress() as advance:
        for line in read_json_lines(requests):
            answer, decided = _answer(engine, line)
            out.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
            counts["decided" if decided else "refused"] += 1
            if line.number % _SHOWN_EVERY == 0:
                advance(line.number)
    out.flush()
    if output == "table" and sys.stderr.isatty():
        notes().print(f"{counts['decided']} decided, {counts['refused']} refused")
    if counts["refused"]:
        ctx.exit(ExitCode.FAILURE)


def _answer(engine: OfflineEngine, line: JsonLine) -> tuple[object, bool]:
    if line.error is not None:
        return _bad_body(line.number, line.error), False
    try:
        return engine.body(engine.decide(line.data, datetime.now(UTC))), True
    except InvalidInputError as error:
        return _invalid(line.number, error), False
    except Exception as error:  # noqa: BLE001 -- nothing is granted, and the lines after it go on
        detail = f"the line can't be decided: {type(error).__name__}; please report it"
        return _problem(line.number, 500, "INTERNAL_ERROR", detail, []), False


def _bad_body(number: int, error: BadBodyError) -> dict[str, object]:
    errors = [InputProblem(error.pointer, error.code, error.message)] if error.pointer else []
    return _problem(number, error.status, error.code, error.message, errors)


def _invalid(number: int, error: InvalidInputError) -> dict[str, object]:
    problems = error.problems
    count = "one thing is" if len(problems) == 1 else f"{len(problems)} things are"
    detail = f"{count} wrong with the line; see `errors`"
    return _problem(number, 422, "INVALID_REQUEST", detail, problems)


def _problem(number: int, status: int, code: str, detail: str, errors: Any) -> dict[str, object]:
    """The shape of the API's problems, with the number of the line."""
    return {
        "type": "about:blank",
        "status": status,
        "code": code,
        "detail": detail,
        "line": number,
        "errors": [
            {"pointer": each.pointer, "code": each.code, "message": each.message} for each in errors
        ],
    }


@contextmanager
def _progress() -> Iterator[Any]:
    """A counter on a terminal; nothing elsewhere, or where the decisions themselves scroll by."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda _: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,} lines"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notes(), transient=True) as progress:
        task = progress.add_task("", total=None, speed="")

        def advance(number: int) -> None:
            elapsed = progress.tasks[0].elapsed or 0
            speed = f"{number / elapsed:,.0f}/s" if elapsed else ""
            progress.update(task, completed=number, speed=speed)

        yield advance
