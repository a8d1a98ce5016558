"""Decides under a pack without a database: nothing granted before is known, nothing is recorded.

Pack tests, `evaluate` and `pack explain` answer through this, with the body that HTTP gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

from policy_engine.core.decision import Decision
from policy_engine.core.money import MoneyError
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Matcher
from policy_engine.core.request import Agent, DecisionRequest
from policy_engine.core.semantics import current_engine
from policy_engine.packs.earlier_grants import EarlierGrant, EarlierGrants
from policy_engine.packs.scripts import render_script
from policy_engine.wire.decisions import decision_body
from policy_engine.wire.problems import InputProblem, InvalidInputError
from policy_engine.wire.requests import AgentClaim, read_decision


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision with what it was made of."""

    request: DecisionRequest
    decision: Decision
    locale: str
    money_back: Mapping[str, int]
    """What the earlier grants gave back on this order, in minor units by `line_key`."""


class OfflineEngine:
    """One pack under one matcher. Use it as a context manager, or call `close`."""

    def __init__(self, pack: Pack, matcher: Matcher) -> None:
        self.pack = pack
        self._engine = current_engine(pack, matcher)

    @property
    def matcher_name(self) -> str:
        return self._engine.matcher_name

    def decide(self, data: object, now: datetime, grants: Sequence[EarlierGrant] = ()) -> Answer:
        """Decide a parsed request body. Its agent counts as named; without an as_of it is `now`.

        Raises InvalidInputError with every problem of the body.
        """
        read = read_decision(data, self.pack, resolve_agent=_as_named, now=now)
        as_of = read.as_of or now
        usage = EarlierGrants(grants, read.request, as_of)
        try:
            decision = self._engine.evaluate(read.request, as_of, usage)
        except MoneyError as error:
            raise InvalidInputError([InputProblem("", "AMOUNT_TOO_LARGE", str(error))]) from None
        return Answer(read.request, decision, read.locale, usage.money_back())

    def body(self, answer: Answer) -> Mapping[str, Any]:
        """The body of the answer over HTTP; without ids and audit, for nothing is recorded."""
        return decision_body(
            answer.decision,
            answer.request,
            self.pack,
            decision_id=None,
            locale=answer.locale,
            grantable=False,
            dry_run=True,
            script=render_script(self.pack, answer.decision, answer.request, answer.locale),
            show_pack_caps=True,
        )

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> OfflineEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _as_named(claim: AgentClaim | None) -> Agent:
    if claim is None:
        raise InvalidInputError(
            [InputProblem("/agent", "MISSING_FIELD", "`agent` is required: {id, role}")]
        )
    return Agent(claim.id, claim.role)
