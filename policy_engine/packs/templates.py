"""What a script's template may do: fill slots in, choose and list. It computes nothing.

Everything that can make a long text or a long loop out of a short template is refused when the
pack loads, because compiling a template already evaluates its constants.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import TemplateSyntaxError, nodes

from policy_engine.packs.problems import Code, listed, shown
from policy_engine.packs.sandbox import parsed, template_error
from policy_engine.packs.scripts import SLOTS

CHARACTERS_AT_MOST = 8_000
LOOPS_AT_MOST = 3
"""How deep loops may nest: plans, their remedies, and one more."""

FILTERS = frozenset(
    {
        "abs", "capitalize", "count", "d", "default", "first", "int", "join", "last", "length",
        "list", "lower", "map", "max", "min", "reject", "rejectattr", "round", "select",
        "selectattr", "sort", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount",
    }
)  # fmt: skip
"""Filters that don't multiply texts (`join` only once in an expression)."""

_REFUSED: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.Include, "can't load other templates"),
    (nodes.Import, "can't load other templates"),
    (nodes.FromImport, "can't load other templates"),
    (nodes.Extends, "can't load other templates"),
    (nodes.Block, "has no blocks"),
    (nodes.Macro, "has no macros"),
    (nodes.CallBlock, "has no macros"),
    (nodes.FilterBlock, "filters single values, not blocks"),
    (nodes.AssignBlock, "sets single values, not blocks"),
    (nodes.Mul, "can't compute"),
    (nodes.Div, "can't compute"),
    (nodes.FloorDiv, "can't compute"),
    (nodes.Mod, "can't compute"),
    (nodes.Pow, "can't compute"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`line` of the template, from 1. For an unknown slot `text` is its name."""

    line: int
    code: Code
    text: str


@functools.lru_cache(maxsize=4_096)
def faults(source: str) -> tuple[Fault, ...]:
    """Everything that is wrong with a template; remembered, because packs are loaded again."""
    try:
        tree = parsed(source)
        found = tuple(_faults(tree))
        reason = None if found else template_error(tree)
    except TemplateSyntaxError as error:
        return (Fault(error.lineno, Code.TEMPLATE_SYNTAX, _in_style(error.message)),)
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
        return (Fault(1, Code.TEMPLATE_SYNTAX, "nested too deep, or not readable as a template"),)
    if reason is not None:
        return (Fault(1, Code.TEMPLATE_SYNTAX, _in_style(reason)),)
    return found


@functools.lru_cache(maxsize=4_096)
def facts_named(source: str) -> tuple[tuple[int, str], ...]:
    """(line, name) of each fact that a template without faults looks up by a constant name."""
    tree = parsed(source)
    in_brackets = ((each.node, each.arg) for each in tree.find_all(nodes.Getitem))
    with_get = (
        (call.node.node, call.args[0])
        for call in tree.find_all(nodes.Call)
        if isinstance(call.node, nodes.Getattr) and call.node.attr == "get" and call.args
    )
    return tuple(
        (name.lineno, name.value)
        for of, name in (*in_brackets, *with_get)
        if isinstance(of, nodes.Name) and of.name == "facts"
        if isinstance(name, nodes.Const) and isinstance(name.value, str)
    )


def _faults(tree: nodes.Template) -> Iterator[Fault]:
    for node in tree.find_all(tuple(refused for refused, _ in _REFUSED)):
        text = next(text for refused, text in _REFUSED if isinstance(node, refused))
        yield Fault(node.lineno, Code.TEMPLATE_FORBIDDEN, f"a script {text}; delete this")
    yield from _filter_faults(tree)
    yield from _loop_faults(tree, 0)
    yield from _set_faults(tree)
    yield from _slot_faults(tree)


def _filter_faults(tree: nodes.Template) -> Iterator[Fault]:
    for used in tree.find_all(nodes.Filter):
        if used.name not in FILTERS:
            yield Fault(
                used.lineno,
                Code.TEMPLATE_FORBIDDEN,
                f"the filter `{shown(used.name)}`; use one of {listed(sorted(FILTERS))}",
            )
        if used.name == "join" and any(each.name == "join" for each in used.find_all(nodes.Filter)):
            yield Fault(used.lineno, Code.TEMPLATE_FORBIDDEN, "a `join` of a `join`; keep one")


def _loop_faults(node: nodes.Node, depth: int) -> Iterator[Fault]:
    if isinstance(node, nodes.For):
        depth += 1
        if depth > LOOPS_AT_MOST or node.recursive:
            text = f"loops more than {LOOPS_AT_MOST} deep; flatten them"
            yield Fault(node.lineno, Code.TEMPLATE_FORBIDDEN, text)
            return
    for child in node.iter_child_nodes():
        yield from _loop_faults(child, depth)


def _set_faults(tree: nodes.Template) -> Iterator[Fault]:
    """`{% set a = a ~ a %}` doubles, so what is set is made of slots and constants alone."""
    assigned = list(tree.find_all(nodes.Assign))
    own = {name for each in assigned for name in _names(each.target)}
    for each in assigned:
        if own & _names(each.node):
            yield Fault(
                each.lineno,
                Code.TEMPLATE_FORBIDDEN,
                "a `set` that uses what another `set` made; use slots and constants",
            )


def _slot_faults(tree: nodes.Template) -> Iterator[Fault]:
    made = {each.name for each in tree.find_all(nodes.Name) if each.ctx == "store"}
    reported: set[str] = set()
    for each in tree.find_all(nodes.Name):
        name = each.name
        if name in reported or name in made or name in SLOTS or name in ("loop", "range"):
            continue
        reported.add(name)
        yield Fault(each.lineno, Code.UNKNOWN_SLOT, name)


def _names(node: nodes.Node) -> set[str]:
    own = {node.name} if isinstance(node, nodes.Name) else set()
    return own | {each.name for each in node.find_all(nodes.Name)}


def _in_style(message: str | None) -> str:
    """The template library's message as this project writes messages."""
    text = shown(message or "not readable as a template").rstrip(".")
    return text[:1].lower() + text[1:]
