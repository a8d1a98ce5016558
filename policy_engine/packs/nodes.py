"""What was read of a YAML file: a small tree in which every key and value knows its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from policy_engine.packs.problems import Position


@dataclass(frozen=True, slots=True)
class ScalarNode:
    value: str | int | bool | None
    at: Position
    block: bool = False
    """Written as a `|` block, so that its lines are lines of the file."""


@dataclass(frozen=True, slots=True)
class ListNode:
    items: tuple[Node, ...]
    at: Position


@dataclass(frozen=True, slots=True)
class MapNode:
    entries: dict[str, Node]
    keys: dict[str, Position]
    at: Position


@dataclass(frozen=True, slots=True)
class BadNode:
    """Stands where something was refused, so that nobody reports it a second time."""

    at: Position


Node: TypeAlias = "ScalarNode | ListNode | MapNode | BadNode"


def plain(node: Node) -> Any:
    """A node as plain data: dict, list, str, int, bool, None."""
    if isinstance(node, MapNode):
        return {key: plain(value) for key, value in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value if isinstance(node, ScalarNode) else None


def moved(node: Node, via: str) -> Node:
    """The node as used elsewhere: problems found in it say so at their end."""
    at = node.at._replace(via=via)
    if isinstance(node, MapNode):
        entries = {key: moved(value, via) for key, value in node.entries.items()}
        return MapNode(entries, {key: at._replace(via=via) for key, at in node.keys.items()}, at)
    if isinstance(node, ListNode):
        return ListNode(tuple(moved(item, via) for item in node.items), at)
    return replace(node, at=at)
