"""The command line: one module per group of verbs."""

from __future__ import annotations

import click

from policy_engine.cli.frame import CommandLine, debug_option, version_text

_HERE = "policy_engine.cli"


@click.command(
    cls=CommandLine,
    verbs={
        "serve": f"{_HERE}.serve:serve",
        "evaluate": f"{_HERE}.evaluate:evaluate",
        "pack": f"{_HERE}.packs:pack",
        "keys": f"{_HERE}.keys:keys",
        "db": f"{_HERE}.db:db",
        "grants": f"{_HERE}.grants:grants",
        "caps": f"{_HERE}.caps:caps",
        "ledger": f"{_HERE}.ledger:ledger",
        "log": f"{_HERE}.log:log",
        "report": f"{_HERE}.report:report",
        "statement": f"{_HERE}.statement:statement",
        "journal": f"{_HERE}.journal:journal",
        "privacy": f"{_HERE}.privacy:privacy",
        "doctor": f"{_HERE}.doctor:doctor",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  policy-engine serve --dev\n\n"
    "Exit codes: 0 ok, 1 failure, 2 usage, 3 the pack has errors, 4 tests failed.",
)
@click.version_option(message=version_text())
@debug_option
def main() -> None:
    """Decides what a customer is owed when an order goes wrong, and records why."""
