"""`when:` → a type-checked condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_engine.core.conditions import (
    ORDERED_TYPES,
    All,
    AmountMap,
    Any,
    Comparison,
    Condition,
    Literal,
    Not,
    Op,
    Scalar,
    comparisons,
)
from policy_engine.core.facts import FactSpec, FactType
from policy_engine.packs.amounts import AmountMap as AmountShape
from policy_engine.packs.amounts import Number
from policy_engine.packs.nodes import BadNode, ListNode, MapNode, Node, ScalarNode
from policy_engine.packs.problems import Code, Position, ProblemList, listed, shown
from policy_engine.packs.scalars import (
    Duration,
    Flag,
    Schema,
    Shape,
    Text,
    Timestamp,
    Whole,
    wrong_type,
)
from policy_engine.packs.shapes import Anything, Key

DEPTH_AT_MOST = 16
COMPARISONS_AT_MOST = 200

WHEN: Key[Node] = Key(
    "when",
    Anything("a condition", {"$ref": "#/$defs/condition"}),
    "The condition: `{fact: F, OP: value}`, `{all: […]}`, `{any: […]}` or `{not: …}`. "
    "Without it, always.",
    example={"fact": "shipping.delay", "over": "P5D"},
)

_OPS: Mapping[str, Op] = {op.value: op for op in Op}
_ORDERED = frozenset({Op.OVER, Op.AT_LEAST, Op.UNDER, Op.AT_MOST})
_MEMBERSHIP = frozenset({Op.IN, Op.NOT_IN})
_PRESENCE = frozenset({Op.PRESENT, Op.ABSENT})

_SCALARS: Mapping[FactType, Shape[Scalar]] = {
    FactType.BOOLEAN: Flag(),
    FactType.INTEGER: Whole(-(10**15)),
    FactType.DECIMAL: Number(signed=True),
    FactType.DURATION: Duration(any_sign=True),
    FactType.TIMESTAMP: Timestamp(),
    FactType.ENUM: Text("one of its values"),
    FactType.SET: Text("one of its values"),
    FactType.STRING: Text(),
}


@dataclass
class FactTable:
    """The facts a condition may name. Those in `broken` were declared wrongly: who uses them is
    not blamed. `complete` is false when facts.yaml itself could not be read."""

    specs: dict[str, FactSpec]
    broken: set[str] = field(default_factory=set)
    complete: bool = True

    def find(self, name: str, at: Position, problems: ProblemList) -> FactSpec | None:
        spec = self.specs.get(name)
        if spec is None and name not in self.broken and self.complete:
            problems.unknown(at, Code.UNKNOWN_FACT, "fact", name, self.specs)
        return None if name in self.broken else spec


def condition_schema() -> Schema:
    """JSON Schema of a condition; literals are checked against the fact's type by the engine."""
    scalar: Schema = {"type": ["string", "integer", "boolean"]}
    amounts = AmountShape().schema()
    one: Schema = {"anyOf": [scalar, amounts]}
    ordered: Schema = {"anyOf": [{"type": ["string", "integer"]}, amounts]}
    literals: dict[Op, Schema] = {
        **dict.fromkeys((Op.IS, Op.IS_NOT), one),
        **{op: {"type": "array", "items": one, "minItems": 1} for op in _MEMBERSHIP},
        **dict.fromkeys(_ORDERED, ordered),
        Op.CONTAINS: {"type": "string"},
        **{op: {"const": True} for op in _PRESENCE},
    }
    parts: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/condition"}}
    properties: Schema = {op.value: {**literals[op], "description": _OP_DOC[op]} for op in Op}
    return {
        "title": "condition",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 2,
        "additionalProperties": False,
        "properties": {
            "fact": {"type": "string", "description": "The fact that is compared."},
            **properties,
            "all": {**parts, "description": "Every one of these holds."},
            "any": {**parts, "description": "At least one of these holds."},
            "not": {"$ref": "#/$defs/condition", "description": "This does not hold."},
        },
        "oneOf": [
            {"required": ["fact"], "minProperties": 2, "not": _any_of_keys("all", "any", "not")},
            *({"required": [word], "maxProperties": 1} for word in ("all", "any", "not")),
        ],
    }


def _any_of_keys(*names: str) -> Schema:
    return {"anyOf": [{"required": [name]} for name in names]}


_OP_DOC: Mapping[Op, str] = {
    Op.IS: "Equal. Any type but set.",
    Op.IS_NOT: "Not equal; also true where there is no value. Any type but set.",
    Op.IN: "Equal to one of these. Any type but set.",
    Op.NOT_IN: "Equal to none of these; also true where there is no value. Any type but set.",
    Op.OVER: "Strictly more (later).",
    Op.AT_LEAST: "This or more.",
    Op.UNDER: "Strictly less (earlier).",
    Op.AT_MOST: "This or less.",
    Op.CONTAINS: "The set has this value.",
    Op.PRESENT: "There is a value.",
    Op.ABSENT: "It is known that there is no value.",
}


def read_condition(node: Node, facts: FactTable, problems: ProblemList) -> Condition | None:
    """A condition with every literal of its fact's type; None when anything in it is wrong."""
    condition = _read(node, facts, problems, 1)
    if condition is None:
        return None
    count = sum(1 for _ in comparisons(condition))
    if count > COMPARISONS_AT_MOST:
        problems.error(
            node.at,
            Code.TOO_MANY,
            f"{count} comparisons in one condition, at most {COMPARISONS_AT_MOST}; "
            "derive a fact from a part of it",
        )
        return None
    return condition


def read_value(node: Node, spec: FactSpec, problems: ProblemList) -> Scalar | AmountMap | None:
    """One literal of a fact's type: for money an amount map, for a set one of its members."""
    if spec.type is FactType.MONEY:
        amounts = AmountShape().read(node, problems)
        return None if amounts is None else tuple(amounts[each] for each in sorted(amounts))
    value = _SCALARS[spec.type].read(node, problems)
    if isinstance(value, str) and spec.values is not None and value not in spec.values:
        problems.unknown(
            node.at, Code.VALUE_NOT_DECLARED, f"value of `{spec.name}`", value, spec.values
        )
        return None
    return value


def _read(node: Node, facts: FactTable, problems: ProblemList, depth: int) -> Condition | None:
    if not isinstance(node, MapNode):
        wrong_type(node, "a condition such as `{fact: shipping.delay, over: P5D}`", problems)
        return None
    if depth > DEPTH_AT_MOST:
        problems.error(node.at, Code.TOO_DEEP, f"a condition nested more than {DEPTH_AT_MOST} deep")
        return None
    joins = [word for word in ("all", "any", "not") if word in node.entries]
    if not joins:
        return _comparison(node, facts, problems)
    if len(node.keys) > 1:
        others = [name for name in node.keys if name != joins[0]]
        problems.error(
            node.keys[others[0]],
            Code.BAD_CONDITION,
            f"`{shown(others[0])}` beside `{joins[0]}`; a condition has one of them, "
            "so put both into an `all`",
        )
        for word in joins:
            _join(word, node.entries[word], facts, problems, depth)
        return None
    return _join(joins[0], node.entries[joins[0]], facts, problems, depth)


def _join(
    word: str, part: Node, facts: FactTable, problems: ProblemList, depth: int
) -> Condition | None:
    if word == "not":
        negated = _read(part, facts, problems, depth + 1)
        return None if negated is None else Not(negated)
    return _joined(word, part, facts, problems, depth)


def _joined(
    word: str, node: Node, facts: FactTable, problems: ProblemList, depth: int
) -> Condition | None:
    if not isinstance(node, ListNode):
        wrong_type(node, f"a list of conditions under `{word}`", problems)
        return None
    if not node.items:
        problems.error(node.at, Code.EMPTY_VALUE, f"`{word}` needs at least one condition")
        return None
    parts = [_read(item, facts, problems, depth + 1) for item in node.items]
    whole = tuple(part for part in parts if part is not None)
    if len(whole) < len(parts):
        return None
    return All(whole) if word == "all" else Any(whole)


def _comparison(node: MapNode, facts: FactTable, problems: ProblemList) -> Condition | None:
    spec = _fact(node, facts, problems)
    ops = _ops(node, problems)
    if spec is None:
        return None
    read = [_compared(node, op, spec, problems) for op in ops]
    return read[0] if len(ops) == len(node.keys) - 1 == 1 else None


def _compared(node: MapNode, op: Op, spec: FactSpec, problems: ProblemList) -> Comparison | None:
    literal_node = node.entries.get(op.value)
    if literal_node is None or isinstance(literal_node, BadNode):
        return None
    if not _allowed(op, spec.type):
        problems.error(
            node.keys[op.value],
            Code.OP_NOT_FOR_TYPE,
            f"`{op}` can't compare `{spec.name}`, which is of type {spec.type}; "
            f"use {listed(each for each in Op if _allowed(each, spec.type))}",
        )
        return None
    literal = _literal(literal_node, op, spec, problems)
    return None if literal is None else Comparison(spec.name, op, spec.type, literal)


def _fact(node: MapNode, facts: FactTable, problems: ProblemList) -> FactSpec | None:
    if "fact" not in node.keys:
        problems.error(
            node.at,
            Code.BAD_CONDITION,
            "no `fact` in this condition; write `{fact: F, OP: value}`, `all`, `any` or `not`",
        )
        return None
    named = node.entries.get("fact")
    if named is None:
        return None
    name = Text("the name of a fact").read(named, problems)
    return None if name is None else facts.find(name, named.at, problems)


def _ops(node: MapNode, problems: ProblemList) -> list[Op]:
    """The known ones of the operators; any other, and a second one, is a problem."""
    ops = [name for name in node.keys if name != "fact"]
    known = [_OPS[name] for name in ops if name in _OPS]
    for name in ops:
        if name not in _OPS:
            problems.unknown(node.keys[name], Code.UNKNOWN_OP, "operator", name, Op)
    if len(ops) > 1:
        problems.error(
            node.keys[ops[1]],
            Code.BAD_CONDITION,
            f"a second operator `{shown(ops[1])}`; write two conditions under `all`",
        )
    if not ops and "fact" in node.keys:
        problems.error(
            node.at, Code.BAD_CONDITION, f"no operator in this condition; use one of {listed(Op)}"
        )
    return known


def _allowed(op: Op, of: FactType) -> bool:
    if op in _PRESENCE:
        return True
    if op is Op.CONTAINS:
        return of is FactType.SET
    if op in _ORDERED:
        return of in ORDERED_TYPES
    return of is not FactType.SET


def _literal(node: Node, op: Op, spec: FactSpec, problems: ProblemList) -> Literal | None:
    if op in _PRESENCE:
        if isinstance(node, ScalarNode) and node.value is True:
            return True
        problems.error(node.at, Code.BAD_CONDITION, f"`{op}` takes only `true`; {_OPPOSITE[op]}")
        return None
    if op not in _MEMBERSHIP:
        return read_value(node, spec, problems)
    if not isinstance(node, ListNode):
        wrong_type(node, f"a list under `{op}`", problems)
        return None
    if not node.items:
        problems.error(node.at, Code.EMPTY_VALUE, f"`{op}` needs at least one value")
        return None
    values = [read_value(item, spec, problems) for item in node.items]
    whole = tuple(dict.fromkeys(value for value in values if value is not None))
    return None if None in values else whole  # type: ignore[return-value]


_OPPOSITE: Mapping[Op, str] = {
    Op.PRESENT: "for the opposite write `absent: true`",
    Op.ABSENT: "for the opposite write `present: true`",
}
