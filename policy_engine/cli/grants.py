"""`policy-engine grants …`: the queue of what waits, and what people do about it."""

from __future__ import annotations

from policy_engine.cli.frame import VerbGroup

_HERE = "policy_engine.cli"

grants = VerbGroup(
    "grants",
    verbs={
        "list": f"{_HERE}.grant_list:list_grants",
        "show": f"{_HERE}.grant_list:show",
        "approve": f"{_HERE}.grant_moves:approve",
        "reject": f"{_HERE}.grant_moves:reject",
        "reverse": f"{_HERE}.grant_moves:reverse",
    },
    help="List, show, approve, reject and reverse grants.",
    epilog="\b\nExample:\n  policy-engine grants list --status pending --approver supervisor",
)
