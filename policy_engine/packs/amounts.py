"""Numbers and money of a policy file: always in quotes, so that nobody reads them as floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from policy_engine.core.currencies import DECIMALS
from policy_engine.core.money import Money, MoneyError, parse_decimal, parse_money
from policy_engine.packs.nodes import MapNode, Node, ScalarNode
from policy_engine.packs.problems import Code, Position, ProblemList, shown
from policy_engine.packs.scalars import Schema, text_of, wrong_type

CURRENCY_PATTERN = r"[A-Z]{3}"
_DIGITS = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"
AMOUNT_EXPECTED = 'an amount in quotes such as "15.00"'
AMOUNT_SCHEMA: Schema = {"type": "string", "pattern": _DIGITS}


@dataclass(frozen=True)
class Number:
    """A decimal in quotes, up to `at_most` if that is set."""

    at_most: int | None = None
    signed: bool = False
    expected: str = 'a number in quotes such as "5" or "12.5"'

    def read(self, node: Node, problems: ProblemList) -> Decimal | None:
        if isinstance(node, ScalarNode) and type(node.value) is int:
            problems.error(
                node.at,
                Code.UNQUOTED_DECIMAL,
                f'`{node.value}` must be quoted; write "{node.value}"',
            )
            return None
        text = text_of(node, self.expected, problems)
        if text is None:
            return None
        try:
            value = parse_decimal(text[1:] if self.signed and text.startswith("-") else text)
        except MoneyError as error:
            problems.error(node.at, Code.BAD_NUMBER, str(error))
            return None
        if self.at_most is not None and value > self.at_most:
            problems.error(
                node.at, Code.BAD_NUMBER, f"`{shown(text)}` must be at most {self.at_most}"
            )
            return None
        return value.copy_negate() if text.startswith("-") else value

    def schema(self) -> Schema:
        return {"type": "string", "pattern": _DIGITS}


PERCENT = Number(at_most=1_000, expected='a percentage in quotes such as "5" or "12.5"')


@dataclass(frozen=True)
class AmountMap:
    """`{CNY: "15.00", USD: "2.00"}`: exact amounts, one a currency."""

    above_zero: bool = False
    expected: str = 'amounts by currency such as `{CNY: "15.00"}`'

    def read(self, node: Node, problems: ProblemList) -> Mapping[str, Money] | None:
        if not isinstance(node, MapNode):
            wrong_type(node, self.expected, problems)
            return None
        if not node.entries:
            problems.error(node.at, Code.EMPTY_VALUE, f"expected {self.expected}, found none")
            return None
        amounts: dict[str, Money] = {}
        for currency, value in node.entries.items():
            money = read_amount(currency, node.keys[currency], value, problems)
            if money is None:
                continue
            if self.above_zero and money.minor == 0:
                problems.error(value.at, Code.BAD_AMOUNT, "the amount must be more than zero")
                continue
            amounts[currency] = money
        return amounts if len(amounts) == len(node.entries) else None

    def schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{CURRENCY_PATTERN}$"},
            "additionalProperties": AMOUNT_SCHEMA,
        }


def read_amount(currency: str, at: Position, value: Node, problems: ProblemList) -> Money | None:
    """An amount in quotes, in the currency that is written `at`; exactly its decimals."""
    if currency not in DECIMALS:
        problems.unknown(at, Code.UNKNOWN_CURRENCY, "currency", currency, DECIMALS)
        return None
    if isinstance(value, ScalarNode) and type(value.value) is int:
        problems.error(
            value.at,
            Code.UNQUOTED_DECIMAL,
            f'`{value.value}` must be quoted; write "{value.value}"',
        )
        return None
    text = text_of(value, AMOUNT_EXPECTED, problems)
    if text is None:
        return None
    try:
        return parse_money(text, currency)
    except MoneyError as error:
        problems.error(value.at, Code.BAD_AMOUNT, str(error))
        return None
