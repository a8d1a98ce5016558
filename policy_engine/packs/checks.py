"""What can only be seen when a pack is read whole. Each check is a plain function.

Warnings are given only for a pack without errors (an absent cap that was merely misspelt would
raise false ones), and only where the check is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from policy_engine.core.conditions import Condition, comparisons
from policy_engine.core.facts import BUILT_IN, FactSpec, FactType
from policy_engine.core.money import Money
from policy_engine.core.policy import FactAmount, Pack, PercentOf, Plan
from policy_engine.packs.facts import Facts
from policy_engine.packs.origins import NOT_OFFERED, Origins, WrittenAmounts
from policy_engine.packs.possible import Possible
from policy_engine.packs.problems import Code, Position, ProblemList, listed
from policy_engine.packs.reach import check_caps, check_plans, check_roles

Check = Callable[[Pack, Facts, Origins, ProblemList], None]


def check_whole(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    _check_messages(pack, origins, problems)
    if problems.any_error:
        return
    for check in _WARNINGS:
        check(pack, facts, origins, problems)


def _check_messages(pack: Pack, origins: Origins, problems: ProblemList) -> None:
    default = pack.settings.default_locale
    scripts = pack.scripts.get(default)
    for at, message in origins.messages:
        if scripts is None:
            problems.error(
                at,
                Code.UNKNOWN_MESSAGE,
                f"`{message}` has no script: messages/{default}.yaml is missing or unreadable",
            )
        elif message not in scripts:
            problems.unknown(
                at, Code.UNKNOWN_MESSAGE, f"message in messages/{default}.yaml:", message, scripts
            )
        lacking = [each for each, of in sorted(pack.scripts.items()) if message not in of]
        if scripts is not None and message in scripts and lacking:
            files = listed(f"messages/{locale}.yaml" for locale in lacking)
            problems.warning(
                at, Code.MISSING_TRANSLATION, f"`{message}` has no script in {files}; add it"
            )


def _conditions(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    del facts
    possible = Possible(pack)
    known: dict[tuple[Condition, frozenset[str] | None], frozenset[bool | None]] = {}
    for at, condition, incident_types in origins.conditions:
        asked = (condition, incident_types)
        if asked not in known:
            known[asked] = possible.outcomes(condition, incident_types)
        if True not in known[asked]:
            problems.warning(
                at, Code.NEVER_TRUE, "this condition never holds; correct or delete it"
            )
        elif False not in known[asked]:
            problems.warning(
                at, Code.ALWAYS_TRUE, "this condition is never false; correct or delete it"
            )


def _derived_facts(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    del origins
    possible = Possible(pack)
    for derived in (each for layer in pack.derived for each in layer):
        at, spec = facts.declared[derived.fact], pack.facts[derived.fact]
        reached = {
            rule.value
            for rule in derived.rules
            if rule.when is None or True in possible.outcomes(rule.when)
        }
        if not reached:
            problems.warning(
                at,
                Code.FACT_NEVER_SUPPLIED,
                f"no rule of `{derived.fact}` ever holds; correct them",
            )
            continue
        never = [value for value in spec.values or () if value not in reached]
        if never:
            problems.warning(
                at,
                Code.VALUE_NEVER_DERIVED,
                f"no rule gives {listed(never)}; add one, or take the value out",
            )


def _unused_facts(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    used = _facts_in_use(pack, origins)
    texts = [
        text
        for messages in pack.scripts.values()
        for outcomes in messages.values()
        for script in outcomes.values()
        for text in script.values()
    ]
    for name, at in facts.declared.items():
        # A derived fact is guidance by itself: every decision shows it.
        if name in BUILT_IN or name in used or pack.facts[name].derived:
            continue
        if not any(name in text for text in texts):
            problems.warning(
                at, Code.UNUSED_FACT, f"nothing uses `{name}`; use it in a condition, or delete it"
            )


def _facts_in_use(pack: Pack, origins: Origins) -> set[str]:
    used = {each.fact for _, condition, _ in origins.conditions for each in comparisons(condition)}
    for _, _, plan in origins.plans:
        for remedy in plan.remedies:
            if isinstance(remedy.worth, PercentOf):
                used.add(remedy.worth.of)
            elif isinstance(remedy.worth, FactAmount):
                used.add(remedy.worth.fact)
            if remedy.per is not None:
                used.add(remedy.per.fact)
    for spec in pack.facts.values():
        used |= {name for name in (spec.since, spec.until) if name is not None}
    return used | {getattr(cap.limit, "of", "") for cap in pack.caps}


def _currencies(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    del facts
    wanted = {
        currency for cap in pack.caps if isinstance(cap.limit, Mapping) for currency in cap.limit
    }
    written = list(origins.amounts)
    for at, condition, _ in origins.conditions:
        for each in comparisons(condition):
            if each.type is FactType.MONEY and isinstance(each.literal, tuple):
                several = _literal_currencies(each.literal)
                written += [WrittenAmounts(at, one, NOT_OFFERED) for one in several]
    for at, currencies, otherwise in written:
        lacking = sorted(wanted - currencies)
        if lacking and currencies:
            problems.warning(
                at,
                Code.CURRENCY_MISSING,
                f"no amount in {listed(lacking)}, which the caps have; {otherwise}, so add one",
            )


def _literal_currencies(literal: tuple[object, ...]) -> list[frozenset[str]]:
    """The currencies of an amount map, or of each of several."""
    single = frozenset(money.currency for money in literal if isinstance(money, Money))
    several = [
        frozenset(money.currency for money in each if isinstance(money, Money))
        for each in literal
        if isinstance(each, tuple)
    ]
    return [single, *several]


def _few_plans(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    plans: dict[str, set[str]] = {}
    places: dict[str, Position] = {}
    for at, policy in origins.policies:
        for word in policy.applies_to:
            places.setdefault(word, at)
            plans.setdefault(word, set()).update(
                f"{policy.id}/{each.name}" for each in policy.plans
            )
    declared = facts.declared.get("incident.types")
    types: FactSpec = pack.facts["incident.types"]
    for word in sorted({*(types.values or ()), *plans}):
        count = len(plans.get(word, ()))
        place = declared or places.get(word)
        if count < 2 and place is not None:
            text = "no plan" if count == 0 else "only one plan"
            problems.warning(
                place, Code.FEW_PLANS, f"{text} for incidents of type `{word}`; offer two or three"
            )


def _translations(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    del facts
    locales = set(pack.scripts)
    for at, what, text in origins.texts:
        lacking = sorted(locales - text.keys())
        if text and lacking:
            problems.warning(
                at, Code.MISSING_TRANSLATION, f"{what} is missing in {listed(lacking)}; add it"
            )
    for at, _, plan in origins.plans:
        if isinstance(plan, Plan) and not plan.title:
            problems.warning(
                at, Code.MISSING_TITLE, f"plan `{plan.name}` has no title, so people see its id"
            )


_WARNINGS: tuple[Check, ...] = (
    _conditions,
    _derived_facts,
    _unused_facts,
    _currencies,
    _few_plans,
    _translations,
    check_plans,
    check_roles,
    check_caps,
)
