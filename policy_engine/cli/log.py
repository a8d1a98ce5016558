"""`policy-engine log …`: the verifiable log."""

from __future__ import annotations

from policy_engine.cli.frame import VerbGroup

_HERE = "policy_engine.cli"

log = VerbGroup(
    "log",
    verbs={
        "verify": f"{_HERE}.log_verify:verify",
        "tail": f"{_HERE}.log_tail:tail",
        "export": f"{_HERE}.log_export:export",
        "checkpoint": f"{_HERE}.log_show:checkpoint",
        "key": f"{_HERE}.log_show:key",
    },
    help="Verify, follow, export and show the verifiable log.",
    epilog="\b\nExample:\n  policy-engine log verify --checkpoint held.txt --key log.pub",
)
