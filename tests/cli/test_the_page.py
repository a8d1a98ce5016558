"""The page about the command line and the command line itself name the same commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from policy_engine.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that can be typed, without the program's name."""
    if not isinstance(group, click.Group):
        yield " ".join(path)
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command, (*path, name))


def test_every_command_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    known = set(commands(main))
    assert len(known) > 25
    # A whole group may be a heading; each verb of it stands in the text as it is typed.
    named = {each for each in known if re.search(rf"(?:`|policy-engine |## ){each}\b", page)}
    assert known - named == set()


def test_the_page_names_no_command_that_there_is_none_of() -> None:
    page = PAGE.read_text("utf-8")
    known = set(commands(main))
    typed = re.findall(r"policy-engine ((?:[a-z]+)(?: [a-z]+)?)", page)
    assert len(typed) > 15
    for words in typed:
        assert words in known or words.split()[0] in known, words
