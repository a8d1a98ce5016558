"""A grant for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from policy_engine.cli.frame import plain, screen, show_json, show_table
from policy_engine.core.times import format_timestamp, parse_timestamp

_AMOUNTS = ("granted", "pending", "redeemed", "reversed", "expired")


def show_grant(grant: Mapping[str, Any], output: str) -> None:
    """The answer that HTTP gives, as JSON or as a page."""
    if output == "json":
        show_json(grant)
        return
    console = screen()
    for line in _head(grant):
        console.print(plain(line))
    show_table(
        ("remedy", "kind", "status", *_AMOUNTS, "can be used until", "carried out"),
        [
            (
                each["remedy"],
                each["kind"],
                each["status"],
                *(money(each[name]) for name in _AMOUNTS),
                at(each["valid_until"]),
                _fulfilment(each["fulfilment"]),
            )
            for each in grant["remedies"]
        ],
        title="remedies",
    )
    if grant["caps"] is not None:
        show_caps(grant["caps"], title="what its caps hold now")
    show_table(
        ("at", "movement", "remedy", "amount", "by", "said", "reference"),
        [
            (
                at(each["at"]),
                each["movement"],
                each["remedy"],
                money(each["amount"]),
                each["actor"] or "time alone",
                each["note"] or "-",
                each["reference"] or "-",
            )
            for each in grant["entries"]
        ],
        title="what happened",
    )


def show_caps(caps: Iterable[Mapping[str, Any]], *, title: str | None = None) -> None:
    """Rows of caps; with the roles that they bound and what waits, where they say so."""
    rows = list(caps)
    full = [name for name in ("roles", "pending") if any(name in each for each in rows)]
    show_table(
        ("cap", "scope", "limit", "used", "headroom", *full, "resets at"),
        [
            (
                each["cap"] + (f" ({each['policy']})" if each["policy"] else ""),
                each["scope"],
                quantity(each["limit"]),
                quantity(each["used"]),
                quantity(each["headroom"]),
                *(_FULL[name](each[name]) for name in full),
                at(each["resets_at"]),
            )
            for each in rows
        ],
        title=title,
    )


def at(timestamp: str | None) -> str:
    """A time to the second; `-` where there is none."""
    if timestamp is None:
        return "-"
    return format_timestamp(parse_timestamp(timestamp).replace(microsecond=0))


def money(amount: Mapping[str, str]) -> str:
    return f"{amount['amount']} {amount['currency']}"


def quantity(of: Any) -> str:
    """Money, or how many grants; None is a limit that isn't known or isn't set."""
    if of is None:
        return "-"
    return str(of) if isinstance(of, int) else money(of)


def _roles(names: Iterable[str] | None) -> str:
    return "everybody" if names is None else ", ".join(names)


_FULL = {"roles": _roles, "pending": quantity}


def _head(grant: Mapping[str, Any]) -> Iterable[str]:
    agent = grant["agent"]
    yield f"grant {grant['grant_id']}: {grant['status']}"
    yield (
        f"{grant['plan']} on order {grant['order']}, customer {grant['customer'] or '(erased)'}, "
        f"by decision {grant['decision_id']}"
    )
    yield (
        f"asked for by {agent['id']} as {agent['role']}, client {grant['requested_by']}, "
        f"{at(grant['granted_at'])}"
    )
    if grant["pending_until"] is not None:
        yield (
            f"{money(grant['pending'])} waits for {grant['approver']}, or a role above it, "
            f"until {at(grant['pending_until'])}"
        )


def _fulfilment(reported: Mapping[str, Any] | None) -> str:
    if reported is None:
        return "-"
    reference = reported["external_ref"]
    return f"{reported['status']} ({reference})" if reference else str(reported["status"])
