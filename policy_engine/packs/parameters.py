"""`$name`: a parameter of a policy stands for any whole value in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from policy_engine.packs.nodes import BadNode, ListNode, MapNode, Node, ScalarNode, moved
from policy_engine.packs.problems import Code, ProblemList

PARAMETER_PATTERN = r"\$[A-Za-z_][A-Za-z0-9_]{0,63}"
FILLED_NODES_AT_MOST = 100_000
"""A large value used very often would take more memory than the file suggests."""

LITERALLY = ("policy", "parameters", "unconfirmed")
"""Keys of a policy in which nothing is filled in."""


def fill_in(policy: MapNode, problems: ProblemList) -> MapNode:
    """The policy with each `$name` replaced by the value of that parameter."""
    declared = policy.entries.get("parameters")
    values = dict(declared.entries) if isinstance(declared, MapNode) else {}
    readable = declared is None or isinstance(declared, MapNode)
    filling = _Filling(values, readable, problems)
    for value in values.values():
        filling.refuse_nested(value)
    entries = {
        key: node if key in LITERALLY else filling.filled(node)
        for key, node in policy.entries.items()
    }
    if isinstance(declared, MapNode):
        for name in values:
            if name not in filling.used:
                problems.warning(
                    declared.keys[name],
                    Code.UNUSED_PARAMETER,
                    f"the parameter `{name}` is used nowhere; write `${name}` where it belongs, "
                    "or delete it",
                )
    return MapNode(entries, policy.keys, policy.at)


@dataclass
class _Filling:
    values: dict[str, Node]
    readable: bool
    problems: ProblemList
    used: set[str] = field(default_factory=set)
    _nodes: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)

    def filled(self, node: Node) -> Node:
        if isinstance(node, ScalarNode):
            return self._value(str(node.value)[1:], node) if _is_parameter(node) else node
        if isinstance(node, MapNode):
            entries = {key: self.filled(value) for key, value in node.entries.items()}
            return MapNode(entries, node.keys, node.at)
        if isinstance(node, ListNode):
            return ListNode(tuple(self.filled(item) for item in node.items), node.at)
        return node

    def _value(self, name: str, node: ScalarNode) -> Node:
        self.used.add(name)
        if name in self.values:
            if name not in self._sizes:
                self._sizes[name] = _size(self.values[name])
            self._nodes += self._sizes[name]
            if self._nodes <= FILLED_NODES_AT_MOST:
                return moved(
                    self.values[name], f" (parameter `{name}`, used at line {node.at.line})"
                )
            self.problems.error(
                node.at, Code.TOO_MANY, "parameters fill in too much here; split the policy"
            )
        elif self.readable:
            self.problems.unknown(node.at, Code.UNKNOWN_PARAMETER, "parameter", name, self.values)
        return BadNode(node.at)

    def refuse_nested(self, node: Node) -> None:
        if isinstance(node, MapNode):
            for value in node.entries.values():
                self.refuse_nested(value)
        elif isinstance(node, ListNode):
            for item in node.items:
                self.refuse_nested(item)
        elif isinstance(node, ScalarNode) and _is_parameter(node):
            self.problems.error(
                node.at,
                Code.PARAMETER_IN_PARAMETER,
                f"`{node.value}` in the value of a parameter; write the value out",
            )


def _is_parameter(node: ScalarNode) -> bool:
    text = node.value
    return (
        isinstance(text, str)
        and text.startswith("$")
        and re.fullmatch(PARAMETER_PATTERN, text) is not None
    )


def _size(node: Node) -> int:
    if isinstance(node, MapNode):
        return 1 + sum(_size(value) for value in node.entries.values())
    return 1 + sum(_size(item) for item in node.items) if isinstance(node, ListNode) else 1
