"""`policy-engine statement`: what one customer got, by which rule, and who allowed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding

from policy_engine.cli.database import by_option, opened_services
from policy_engine.cli.frame import plain, screen, show_json, verb
from policy_engine.cli.times import instant, span_options
from policy_engine.core.times import parse_timestamp
from policy_engine.usecases.accounts import FIGURES
from policy_engine.usecases.statements import statement as state

_SHORT = 16


@verb(
    """
    policy-engine statement C-1042 --from 2026-06-01 --to 2026-07-01
    policy-engine statement C-1042 --from 2026-06-01 --zone Asia/Shanghai --format json
    """
)
@click.argument("customer_id", metavar="CUSTOMER")
@span_options
@by_option
def statement(
    customer_id: str,
    since: date | datetime,
    until: date | datetime | None,
    zone: tzinfo,
    by: str,
    output: str,
) -> None:
    """Show what a customer got, by which rule and facts, who allowed it, and where it is proved.

    Looking is recorded.
    """
    with opened_services() as services:
        found = state(
            services,
            customer_id,
            since=instant(since, zone),
            until=services.ledger.now() if until is None else instant(until, zone),
            by=by,
        )
    if output == "json":
        show_json(found)
        return
    _Page(screen(), zone).show(found)


class _Page:
    """The statement for people, times in their zone."""

    def __init__(self, console: Console, zone: tzinfo) -> None:
        self._console = console
        self._zone = zone

    def show(self, found: Mapping[str, Any]) -> None:
        self._line(f"customer {found['customer'][:_SHORT]}…", style="bold")
        self._line(f"from {self._at(found['from'])} until {self._at(found['to'])}")
        for total in found["totals"]:
            self._line(", ".join(f"{name} {_money(total[name])}" for name in FIGURES))
        if not found["grants"]:
            self._line("nothing was granted, used or taken back in this time")
        for grant in found["grants"]:
            self._grant(grant)
        self._line("")
        self._line(f"this look is recorded as {found['record']}")

    def _grant(self, grant: Mapping[str, Any]) -> None:
        self._line("")
        got = ", ".join(f"{each['remedy']} {_money(each['granted'])}" for each in grant["remedies"])
        self._line(f"{self._at(grant['granted_at'])}  {got}  ({grant['status']})", style="bold")
        asked = grant["requested"]
        channel = f" over {asked['channel']}" if asked["channel"] else ""
        self._line(f"grant {grant['grant_id']}, order {grant['order']}", 2)
        self._line(
            f"asked for by {asked['agent']} as {asked['role']} (from {asked['role_from']}), "
            f"client {asked['client']}{channel}",
            2,
        )
        for each in grant["allowed_by"]:
            self._line(
                f"{_money(each['amount'])} allowed by {each['who']} as {each['role']} "
                f"({each['as']}), {self._at(each['at'])}",
                2,
            )
        for rule in grant["rules"]:
            self._block("rule", _rule(rule))
        self._block("facts", _facts(grant["facts"]))
        self._block("decided", self._decided(grant["decision"]))
        for move in grant["moves"]:
            self._block("moved", self._move(move))

    def _decided(self, decision: Mapping[str, Any]) -> Iterator[str]:
        amounts = ("entitled", "allowed", "pending", "uncovered")
        bound = f", bound by {decision['binding_cap']}" if decision["binding_cap"] else ""
        shown = ", ".join(f"{name} {_money(decision[name])}" for name in amounts)
        yield f"{self._at(decision['decided_at'])}: {shown}{bound}"
        yield _proof(decision["proof"])

    def _move(self, move: Mapping[str, Any]) -> Iterator[str]:
        moved = ", ".join(
            f"{each['movement']} {each['remedy']} {_money(each['amount'])}"
            for each in move["entries"]
        )
        yield f"{self._at(move['at'])}: {moved}, by {move['by'] or 'time alone'}"
        for name, text in (move["said"] or {}).items():
            yield f"{name}: {text}"
        for cap in move["caps"] or ():
            if cap["used_before"] == cap["used_after"]:
                continue
            yield (
                f"cap {cap['cap']} ({cap['scope']}): {_measured(cap['used_before'])} → "
                f"{_measured(cap['used_after'])} of {_measured(cap['limit'])}"
            )
        yield _proof(move["proof"])

    def _block(self, title: str, lines: Iterable[str]) -> None:
        for number, line in enumerate(lines):
            self._line(f"{title if number == 0 else '':<8} {line}", 2)

    def _line(self, text: str, indent: int = 0, style: str = "") -> None:
        self._console.print(Padding(plain(text, style), (0, 0, 0, indent), expand=False))

    def _at(self, timestamp: str) -> str:
        at = parse_timestamp(timestamp).astimezone(self._zone)
        shown = at.strftime("%Y-%m-%d %H:%M:%S")
        return f"{shown}Z" if self._zone is UTC else f"{shown}{at:%z}"


def _rule(rule: Mapping[str, Any]) -> Iterator[str]:
    revision = rule["revision"].removeprefix("sha256:")[:_SHORT]
    if "policy" not in rule:
        yield f"{rule['from']} (its wording is in the pack {revision}…)"
        return
    yield f"{rule['policy']}: {rule['title']} ({rule['from']}, {rule['reason_code']})"
    yield f"when {rule['when']}"
    for gives in rule["gives"]:
        yield f"gives {gives}"
    yield f"as worded in the pack {revision}…"


def _facts(facts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for each in facts:
        required = f", required {each['required']}" if each["required"] else ""
        yield f"{each['fact']} = {_value(each['value'])} ({each['source']}{required})"


def _value(value: Any) -> str:
    match value:
        case {"amount": amount, "currency": currency}:
            return f"{amount} {currency}"
        case {"missing": how}:
            return str(how)
        case {"personal": True}:
            return "(personal)"
        case [*many]:
            return ", ".join(map(str, many))
        case _:
            return str(value)


def _money(money: Mapping[str, str]) -> str:
    return f"{money['amount']} {money['currency']}"


def _measured(quantity: Any) -> str:
    if quantity is None:
        return "no limit in this currency"
    return str(quantity) if isinstance(quantity, int) else _money(quantity)


def _proof(proof: Mapping[str, Any]) -> str:
    index = "waits for its place" if proof["log_index"] is None else f"at {proof['log_index']}"
    digest = proof["digest"].removeprefix("sha256:")[:_SHORT]
    return f"record {proof['record']}, digest {digest}…, in the log {index}"
