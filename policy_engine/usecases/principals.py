"""Who calls, what they may do, and as whom they may act (CONTRACT §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policy_engine.core.money import shortened
from policy_engine.core.policy import Pack
from policy_engine.core.request import Agent
from policy_engine.usecases.errors import ForbiddenError
from policy_engine.wire.problems import InputProblem, InvalidInputError


class Scope(StrEnum):
    """What a credential may be used for."""

    DECIDE = "decide"
    GRANT = "grant"
    APPROVE = "approve"
    ORDERS = "orders"
    SETTLE = "settle"
    AUDIT = "audit"
    PACKS = "packs"
    SIMULATE = "simulate"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ActFor:
    """A plug-in that speaks for people: nobody above the role `ceiling`.

    With a `roster` (agent id → highest role) only the agents in it, none above their own role.
    """

    ceiling: str
    roster: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, as the credential says. At most one of `person` and `act_for` is set."""

    client: str
    scopes: frozenset[Scope]
    person: Agent | None = None
    act_for: ActFor | None = None
    credential: str = ""
    """Which key or token it was, for the log: never the secret itself."""
    owner: str | None = None
    """The person who answers for the credential; of one that is bound to a person, that one."""
    role_from: str = "credential"
    """Where the role of `person` comes from: `credential` or `claim`."""

    def may(self, *scopes: Scope) -> bool:
        """Has it at least one of these scopes?"""
        return not self.scopes.isdisjoint(scopes)

    @property
    def source_of_role(self) -> str:
        """Where the role comes from that a decision is made in; written into its record."""
        if self.person is not None:
            return self.role_from
        return "roster" if self.act_for is not None and self.act_for.roster is not None else "body"

    def agent(self, named: Agent | None, pack: Pack) -> Agent | None:
        """The agent this caller acts as, when the body names `named`.

        None when the credential leaves it to the body and the body names nobody.
        Raises ForbiddenError when the credential doesn't reach that far, InvalidInputError when
        the pack doesn't know the role that the body names.
        """
        if named is not None and named.role not in pack.roles:
            raise InvalidInputError([_unknown_role(named.role, pack)])
        if self.person is not None:
            # Claims win over the body; a key's body that names somebody else is a mistake.
            from_claims = self.role_from == "claim"
            return self._as_person(self.person, None if from_claims else named, pack)
        if self.act_for is not None:
            return None if named is None else self._for_someone(self.act_for, named, pack)
        raise ForbiddenError(
            "NO_AGENT",
            "this credential is bound to no person and acts for nobody, so it can't decide",
        )

    def _as_person(self, person: Agent, named: Agent | None, pack: Pack) -> Agent:
        _require_known(person.role, pack)
        if named is not None and named.id != person.id:
            raise ForbiddenError(
                "AGENT_MISMATCH", "this credential is bound to one agent and can't act as another"
            )
        if named is not None and not reaches(person.role, named.role, pack):
            raise _above_ceiling(named.role, person.role)
        return person

    def _for_someone(self, act_for: ActFor, named: Agent, pack: Pack) -> Agent:
        _require_known(act_for.ceiling, pack)
        if not reaches(act_for.ceiling, named.role, pack):
            raise _above_ceiling(named.role, act_for.ceiling)
        if act_for.roster is not None:
            highest = act_for.roster.get(named.id)
            if highest is None:
                raise ForbiddenError(
                    "AGENT_NOT_IN_ROSTER", "the agent is not in the roster of this credential"
                )
            if not reaches(highest, named.role, pack):
                raise _above_ceiling(named.role, highest)
        return named


def reaches(ceiling: str, role: str, pack: Pack) -> bool:
    """Is `role` the ceiling, or one whose approver chain leads up to it?"""
    return ceiling in pack.approver_chain(role)


def _unknown_role(role: str, pack: Pack) -> InputProblem:
    known = ", ".join(f"`{each}`" for each in pack.roles)
    return InputProblem(
        "/agent/role",
        "UNKNOWN_ROLE",
        f"`{shortened(role)}` is not a role of this pack; use one of {known}",
    )


def _above_ceiling(role: str, ceiling: str) -> ForbiddenError:
    return ForbiddenError(
        "ROLE_ABOVE_CEILING", f"the role `{role}` is above `{ceiling}`, the highest allowed here"
    )


def _require_known(role: str, pack: Pack) -> None:
    if role not in pack.roles:
        raise ForbiddenError(
            "UNKNOWN_ROLE", f"the credential's role `{role}` is not in the active pack"
        )
