"""`policy-engine pack explain`: why a request is decided as it is, for a colleague."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click
from rich.tree import Tree

from policy_engine.cli.frame import CommandError, plain, screen, show_json, show_table, verb
from policy_engine.cli.pack_folder import pack_argument, usable_pack
from policy_engine.core.policy import Pack
from policy_engine.packs.earlier_grants import EarlierGrant
from policy_engine.packs.explain import explain as explained
from policy_engine.packs.explanation import ExplainedPlan, ExplainedRule, Explanation, Node
from policy_engine.packs.grant_entries import GrantReader
from policy_engine.packs.offline import OfflineEngine
from policy_engine.packs.problems import ProblemList
from policy_engine.rete import best_matcher
from policy_engine.wire.problems import BadBodyError, InvalidInputError
from policy_engine.wire.strict_json import read_json

_MARKS = {"true": ("✓", "green"), "false": ("✗", "red"), "unknown": ("?", "yellow")}


@verb("policy-engine pack explain policies --request order.json")
@pack_argument
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    required=True,
    metavar="FILE",
    help="A decision request in JSON; - reads it from the standard input.",
)
@click.option(
    "--grants",
    "grants_file",
    type=click.File("rb"),
    metavar="FILE",
    help="A JSON list of earlier grants, as in pack tests.",
)
@click.option("--locale", help="Texts in this locale; the customer's otherwise.")
def explain(
    folder: Path,
    request_file: IO[bytes],
    grants_file: IO[bytes] | None,
    locale: str | None,
    output: str,
) -> None:
    """Explain a decision: every plan, its condition with what was observed and required, what
    caps and roles leave of it, and what would change the answer.

    Nothing is recorded. The request names its agent; without an as_of it is decided now.
    """
    pack, _ = usable_pack(folder)
    grants = () if grants_file is None else _grants(grants_file, pack)
    data = _json(request_file)
    with OfflineEngine(pack, best_matcher("auto")) as engine:
        try:
            answer = engine.decide(data, datetime.now(UTC), grants)
        except InvalidInputError as error:
            raise _not_in_order(error) from None
    explanation = explained(pack, answer, locale)
    if output == "json":
        show_json(asdict(explanation))
    else:
        _show(explanation)


def _not_in_order(error: InvalidInputError) -> CommandError:
    told = "the request is not in order"
    lines = [f"{each.pointer or '/'}: {each.message}" for each in error.problems]
    data = {"error": told, "help": None, "errors": [asdict(each) for each in error.problems]}
    return CommandError("\n  ".join([f"{told}:", *lines]), data=data)


def _json(file: IO[bytes]) -> object:
    try:
        return read_json(file.read())
    except BadBodyError as error:
        where = f" at {error.pointer}" if error.pointer else ""
        raise CommandError(f"`{_name(file)}` is no JSON request{where}: {error.message}") from None


def _grants(file: IO[bytes], pack: Pack) -> tuple[EarlierGrant, ...]:
    problems = ProblemList()
    policies = {policy.id for policy in pack.policies}
    read = GrantReader(pack.roles, policies, problems).read_plain(_json(file), _name(file))
    if problems.any_error:
        told = [f"{each.message} [{each.code}]" for each in problems.sorted()]
        raise CommandError("\n  ".join([f"`{_name(file)}` holds no earlier grants:", *told]))
    return read


def _name(file: IO[bytes]) -> str:
    return str(getattr(file, "name", "-"))


def _show(explanation: Explanation) -> None:
    screen().print(
        plain(
            f"{explanation.outcome} for order {explanation.order}, agent {explanation.agent}, "
            f"as of {explanation.as_of}",
            "bold",
        )
    )
    for plan in explanation.plans:
        screen().print()
        screen().print(_plan(plan))
        if plan.remedies:
            _show_remedies(plan)
    _show_rules("Add-ons", explanation.add_ons)
    for fact in explanation.derived:
        _show_rules(f"{fact.fact} is {fact.value}", fact.rules)
    _show_rules("Actions", explanation.actions)
    if explanation.caps:
        show_table(
            ("cap", "scope", "limit", "used", "headroom", "eases at"),
            [
                (cap.cap, cap.scope, cap.limit, cap.used, cap.headroom, cap.resets_at or "-")
                for cap in explanation.caps
            ],
            title="Caps",
        )
    if explanation.facts_needed:
        show_table(("fact to send", "question"), explanation.facts_needed, title="Facts needed")


def _plan(plan: ExplainedPlan) -> Tree:
    offered = plan.verdict == "offered"
    star = " (recommended)" if plan.recommended else ""
    title = f": {plan.title}" if plan.title else ""
    style = "bold green" if offered else "bold red"
    tree = Tree(plain(f"{plan.plan}{title} - {plan.verdict}{star}", style), guide_style="dim")
    if plan.condition is not None:
        _add_node(tree, plan.condition)
    for proof in plan.evidence:
        _add_node(tree, proof)
    if plan.binding_cap is not None:
        tree.add(plain(f"binding cap: {plan.binding_cap}"))
    if plan.approver is not None:
        tree.add(plain(f"approver of the rest: {plan.approver}"))
    if plan.would_change:
        changes = tree.add(plain("what would change this", "bold"))
        for change in plan.would_change:
            changes.add(plain(change))
    return tree


def _show_remedies(plan: ExplainedPlan) -> None:
    show_table(
        ("  remedy", "from", "entitled", "allowed", "pending", "uncovered", "status"),
        [
            (
                f"  {each.kind}",
                each.source,
                each.entitled,
                each.allowed,
                each.pending,
                each.uncovered,
                each.status,
            )
            for each in plan.remedies
        ],
    )


def _show_rules(title: str, rules: tuple[ExplainedRule, ...]) -> None:
    if not rules:
        return
    tree = Tree(plain(title, "bold"), guide_style="dim")
    for rule in rules:
        branch = tree.add(plain(f"{rule.name}: {rule.verdict}"))
        for node in (rule.condition, *rule.evidence):
            _add_node(branch, node)
        for change in rule.would_change:
            branch.add(plain(change))
    screen().print()
    screen().print(tree)


def _add_node(tree: Tree, node: Node) -> None:
    mark, style = _MARKS[node.outcome]
    text = f"{mark} {node.text}"
    if node.fact is not None:
        text += f"  ({node.observed or 'not looked at'})"
    branch = tree.add(plain(text, style))
    for part in node.parts:
        _add_node(branch, part)
