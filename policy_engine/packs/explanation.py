"""The shapes of an explanation: plain data, all texts ready to be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """One comparison or piece of evidence (`fact` set), or a group (`all of`, `any of`, `not`)."""

    outcome: str
    """true, false or unknown."""
    text: str
    fact: str | None = None
    observed: str | None = None
    required: str | None = None
    parts: tuple[Node, ...] = ()


ALWAYS = Node("true", "no condition: it always holds")


@dataclass(frozen=True, slots=True)
class ExplainedRemedy:
    """Amounts with currency, such as `40.00 CNY`."""

    kind: str
    source: str
    entitled: str
    allowed: str
    pending: str
    uncovered: str
    status: str


@dataclass(frozen=True, slots=True)
class ExplainedPlan:
    plan: str
    title: str
    verdict: str
    """`offered`, or the code of the refusal."""
    recommended: bool
    condition: Node | None
    """`ALWAYS` where the plan has none; None where no version of its policy decided."""
    evidence: tuple[Node, ...]
    """What its policy and itself need proven."""
    remedies: tuple[ExplainedRemedy, ...]
    binding_cap: str | None
    approver: str | None
    would_change: tuple[str, ...]
    """What would have to be different for this plan to be had, or to be had in full."""


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """A derived fact's rule, an add-on or an action with its condition and what came of it."""

    name: str
    verdict: str
    condition: Node
    evidence: tuple[Node, ...] = ()
    """What an add-on needs proven."""
    would_change: tuple[str, ...] = ()
    """What an add-on that isn't appended lacks, besides its condition."""


@dataclass(frozen=True, slots=True)
class ExplainedFact:
    """A derived fact and its rules: the first that holds decides, an unknown one stops."""

    fact: str
    value: str
    rules: tuple[ExplainedRule, ...]


@dataclass(frozen=True, slots=True)
class ExplainedCap:
    cap: str
    scope: str
    limit: str
    used: str
    headroom: str
    resets_at: str


@dataclass(frozen=True, slots=True)
class Explanation:
    outcome: str
    as_of: str
    order: str
    agent: str
    plans: tuple[ExplainedPlan, ...]
    add_ons: tuple[ExplainedRule, ...]
    derived: tuple[ExplainedFact, ...]
    """Those that the shown conditions use, themselves or through others."""
    actions: tuple[ExplainedRule, ...]
    caps: tuple[ExplainedCap, ...]
    facts_needed: tuple[tuple[str, str], ...]
    """(fact, the question to ask for it)."""
