"""Earlier grants as people write them: under `grants` of a pack test, and in a file of JSON."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from policy_engine.packs.amounts import (
    AMOUNT_EXPECTED,
    AMOUNT_SCHEMA,
    CURRENCY_PATTERN,
    read_amount,
)
from policy_engine.packs.earlier_grants import EarlierGrant
from policy_engine.packs.nodes import BadNode, ListNode, MapNode, Node, ScalarNode
from policy_engine.packs.problems import Code, Position, ProblemList, shown
from policy_engine.packs.roles import KIND_CHOICE, ROLE_NAME
from policy_engine.packs.scalars import Name, Text, Timestamp
from policy_engine.packs.shapes import Anything, Fields, Key, ListOf, Table

_ID = Name("an id", r"[^\x00-\x1f\x7f]{1,128}", "use 1 to 128 characters")

CUSTOMER = Key("customer", _ID, "The customer's id.", required=True, example="C-1")
ORDER = Key("order", _ID, "The order's id.", required=True, example="SO-1")
AT = Key("at", Timestamp(), "When it was granted.", required=True)
VALUE: Key[Node] = Key(
    "value",
    Anything(AMOUNT_EXPECTED, AMOUNT_SCHEMA),
    "What was given, in this currency.",
    required=True,
    example="40.00",
)
CURRENCY = Key(
    "currency",
    Name("a currency such as `CNY`", CURRENCY_PATTERN, "write its ISO 4217 code"),
    "The currency of `value`.",
    required=True,
    example="CNY",
)
AGENT = Key("agent", _ID, "The id of the agent who gave it.", example="A-7")
ROLE = Key("role", ROLE_NAME, "That agent's role.", example="agent")
POLICY = Key("policy", Text("the id of a policy", 128), "The policy it was given under.")
KIND = Key("kind", KIND_CHOICE, "The kind of remedy.", example="coupon")
GRANT = Table(
    "an earlier grant such as `{customer: C-1, order: SO-1, at: …, value: …, currency: CNY}`",
    (CUSTOMER, ORDER, AT, VALUE, CURRENCY, AGENT, ROLE, POLICY, KIND),
    "It counts towards caps; without a kind or policy, towards every cap filtered by them.",
)
GRANTS = ListOf(GRANT, "a list of earlier grants", may_be_empty=True)


@dataclass(frozen=True)
class GrantReader:
    """`roles` and `policies` are those of the pack; None where they could not be read."""

    roles: Collection[str] | None
    policies: Collection[str] | None
    problems: ProblemList

    def read(self, fields: Fields) -> EarlierGrant | None:
        """None when something in it is wrong, and then the problem is listed."""
        self._check_name(fields, ROLE, Code.UNKNOWN_ROLE, self.roles)
        self._check_name(fields, POLICY, Code.UNKNOWN_POLICY, self.policies)
        customer, order, at = fields.get(CUSTOMER), fields.get(ORDER), fields.get(AT)
        written, currency = fields.get(VALUE), fields.get(CURRENCY)
        if written is None or currency is None:
            return None
        value = read_amount(currency, fields.at(CURRENCY), written, self.problems)
        if customer is None or order is None or at is None or value is None:
            return None
        agent, role, policy = fields.get(AGENT), fields.get(ROLE), fields.get(POLICY)
        return EarlierGrant(customer, order, at, value, agent, role, policy, fields.get(KIND))

    def read_plain(self, data: object, file: str) -> tuple[EarlierGrant, ...]:
        """Those of a parsed JSON document; what is wrong is listed with the entry's number."""
        if not isinstance(data, list):
            self.problems.error(Position(file), Code.WRONG_TYPE, f"expected {GRANTS.expected}")
            return ()
        nodes = (self._node(each, _entry(file, at)) for at, each in enumerate(data, start=1))
        rows = GRANTS.read(ListNode(tuple(nodes), Position(file)), self.problems) or ()
        read = (self.read(row) for row in rows)
        return tuple(grant for grant in read if grant is not None)

    def _check_name(
        self, fields: Fields, key: Key[str], code: Code, known: Collection[str] | None
    ) -> None:
        name = fields.get(key)
        if name is not None and known is not None and name not in known:
            self.problems.unknown(fields.at(key), code, key.name, name, known)

    def _node(self, data: object, at: Position) -> Node:
        if isinstance(data, dict):
            entries = {name: self._node(value, at) for name, value in data.items()}
            return MapNode(entries, dict.fromkeys(entries, at), at)
        if isinstance(data, list):
            return ListNode(tuple(self._node(each, at) for each in data), at)
        if data is None or isinstance(data, (str, int)):
            return ScalarNode(data, at)
        self.problems.error(at, Code.UNQUOTED_DECIMAL, f"`{shown(str(data))}` must be quoted")
        return BadNode(at)


def _entry(file: str, number: int) -> Position:
    return Position(file, via=f" (entry {number})")
