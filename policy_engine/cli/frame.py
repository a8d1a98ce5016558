"""What every verb shares: `--format`, `--debug`, exit codes, and how a failure is told."""

from __future__ import annotations

import functools
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from importlib import import_module
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from policy_engine import __version__

_DEBUG = "policy_engine.debug"
_JSON = "policy_engine.json"
_WIDTH_WITHOUT_TERMINAL = 140


class ExitCode(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    PACK_ERRORS = 3
    TESTS_FAILED = 4


class CommandError(Exception):
    """A verb cannot go on. `hint` says what to do about it; `data` is what `--format json` shows,
    where that is more than the message and the hint."""

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        code: ExitCode = ExitCode.FAILURE,
        data: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
        self.data = data or {"error": message, "help": hint}


class VerbGroup(click.Group):
    """Imports a verb's module when the verb is called, so that `--help` is quick."""

    def __init__(self, *args: Any, verbs: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = self._verbs.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command


class CommandLine(VerbGroup):
    """The root group: no traceback reaches a user unless `--debug` asks for it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # The reader of a pipe went away (`| head`); that is no failure of ours. Python would
            # complain again while it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(ExitCode.OK)
        except Exception as error:  # noqa: BLE001 - the last stop before the user
            ctx.exit(tell_failure(error))


def tell_failure(error: Exception) -> ExitCode:
    """One line and a hint on the standard error output; with `--debug` the traceback before.

    With `--format json` also the result that a program waits for, on the standard output.
    """
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    if meta.get(_DEBUG):
        traceback.print_exception(error)
    told = error if isinstance(error, CommandError) else _unforeseen(error)
    if meta.get(_JSON):
        show_json(told.data)
    click.echo(f"error: {told}", err=True)
    if told.hint:
        click.echo(f"  help: {told.hint}", err=True)
    return told.code


def _unforeseen(error: Exception) -> CommandError:
    """One line and a hint for a failure that no verb foresaw."""
    text = " ".join(str(error).split())
    line = text if len(text) <= 300 else text[:299] + "…"
    if isinstance(error, OSError):
        return CommandError(line, "check the path and its permissions")
    name = type(error).__name__
    return CommandError(
        f"{name}: {line}" if line else name, "repeat it with --debug to see where it happened"
    )


def _set_debug(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.meta[_DEBUG] = True


def _set_format(ctx: click.Context, _parameter: click.Parameter, wanted: str) -> str:
    ctx.meta[_JSON] = wanted == "json"
    return wanted


def verb(
    example: str, *, one_result: bool = True, **settings: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with `--format`, `--debug` and an example at the end of its `--help`.

    The function gets `output`: `table` or `json`. Where `--format json` shows `one_result`, a
    failure is one as well; a verb that writes a line for each record tells it on stderr alone.
    """

    def make(function: Callable[..., Any]) -> click.Command:
        shown = textwrap.indent(textwrap.dedent(example).strip(), "  ")
        command: click.Command = click.command(
            cls=click.Command, epilog=f"\b\nExample:\n{shown}", **settings
        )((format_option if one_result else lines_option)(debug_option(function)))
        return command

    return make


def _format_option(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--format",
        "output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="How results are shown.",
        **settings,
    )


format_option: Final = _format_option(callback=_set_format)
lines_option: Final = _format_option()
debug_option: Final = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of a failure.",
)


@functools.cache
def _width() -> int | None:
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL


def screen() -> Console:
    """Where results are shown. Wide where nobody looks, so that a pipe gets whole lines."""
    return Console(width=_width(), highlight=False, soft_wrap=False)


def notes() -> Console:
    """Where progress and remarks go: stderr, never mixed with results."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing anywhere else; told how many are done, and of how many."""
    console = notes()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_json(data: object) -> None:
    """Results for programs: one JSON document, UTF-8, indented."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> None:
    """Results for people. Cells are plain text, shown as they are."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        # An id is copied into the next command.
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    console = screen()
    if title is not None:
        console.print()
        console.print(plain(title, "bold"))
    console.print(table)


def plain(text: str, style: str = "") -> Text:
    """Text that rich shows as it is: no markup, and no control characters for the terminal."""
    return Text(
        "".join(char if char.isprintable() or char == "\n" else "�" for char in text), style
    )


def version_text() -> str:
    return f"policy-engine {__version__}"
