"""`policy-engine pack show`: a pack in plain words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.tree import Tree

from policy_engine.cli.frame import (
    CommandError,
    ExitCode,
    plain,
    screen,
    show_json,
    show_table,
    verb,
)
from policy_engine.cli.pack_folder import pack_argument, usable_pack
from policy_engine.packs.show import ShownPack, ShownPlan, ShownPolicy
from policy_engine.packs.show import show as shown


@verb("policy-engine pack show policies shipping_delay")
@pack_argument
@click.argument("policy", required=False)
@click.option("--locale", help="Show titles in this locale; the pack's default otherwise.")
def show(folder: Path, policy: str | None, locale: str | None, output: str) -> None:
    """Summarise roles, caps and policies, or one POLICY with the caps over it.

    Parameters that ops must still confirm are marked.
    """
    pack, _ = usable_pack(folder)
    try:
        summary = shown(pack, policy, locale)
    except KeyError:
        known = ", ".join(dict.fromkeys(f"`{each.id}`" for each in pack.policies))
        raise CommandError(
            f"the pack has no policy `{policy}`", f"it has {known}", ExitCode.USAGE
        ) from None
    if output == "json":
        show_json(asdict(summary))
    else:
        _show(summary)


def _show(pack: ShownPack) -> None:
    screen().print(plain(f"revision {pack.revision}", "dim"))
    show_table(
        ("role", "may issue", "approver"),
        [(role.role, role.may, role.approver or "-") for role in pack.roles],
        title="Roles",
    )
    show_table(
        ("cap", "scope", "window", "limit", "holds for"),
        [(cap.cap, cap.scope, cap.window, cap.limit, cap.holds_for) for cap in pack.caps],
        title="Caps",
    )
    for policy in pack.policies:
        screen().print()
        screen().print(_tree(policy))


def _tree(policy: ShownPolicy) -> Tree:
    tree = Tree(plain(f"{policy.policy}: {policy.title}", "bold"), guide_style="dim")
    tree.add(plain(f"for {', '.join(policy.applies_to)}; {policy.effective}; {policy.reason_code}"))
    for kind, plans in (("plan", policy.plans), ("add-on", policy.add_ons)):
        for plan in plans:
            _add_plan(tree, kind, plan)
    for action in policy.actions:
        tree.add(plain(f"action {action}"))
    for parameter in policy.parameters:
        mark = "" if parameter.confirmed else "  UNCONFIRMED: ops must set it"
        style = "" if parameter.confirmed else "yellow"
        tree.add(plain(f"parameter {parameter.name} = {parameter.value}{mark}", style))
    return tree


def _add_plan(tree: Tree, kind: str, plan: ShownPlan) -> None:
    title = f": {plan.title}" if plan.title else ""
    branch = tree.add(plain(f"{kind} {plan.name}{title}", "cyan"))
    branch.add(plain(f"when {plan.when}"))
    for gift in plan.gives:
        branch.add(plain(f"gives {gift}"))
    for need in plan.needs:
        branch.add(plain(f"needs {need}"))
    if plan.options:
        branch.add(plain(", ".join(plan.options)))
