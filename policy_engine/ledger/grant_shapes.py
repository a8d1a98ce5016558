"""What goes into the ledger of grants and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policy_engine.core.grants import Entry, GrantRemedy, GrantState, GrantStatus
from policy_engine.core.request import Agent
from policy_engine.ledger.counting import Holder
from policy_engine.ledger.shapes import StoredDecision


@dataclass(frozen=True, slots=True)
class Grant:
    """What never changes of a grant."""

    id: str
    decision_id: str
    granted_at: datetime
    client: str
    credential: str
    owner: str | None
    """Who answers for the credential that asked for it."""
    order_id: str
    customer: str
    """A pseudonym."""
    agent: Agent
    plan: str
    currency: str
    approver: str | None
    """The lowest role that may approve what is pending."""
    pending_until: datetime | None
    pack_revision: str
    """The pack whose caps it met."""
    remedies: tuple[GrantRemedy, ...]

    @property
    def holder(self) -> Holder:
        """Whose caps it moves."""
        kinds = {each.id: (each.kind.value, each.policy) for each in self.remedies}
        return Holder(self.order_id, self.customer, self.agent.id, self.currency, kinds)


@dataclass(frozen=True, slots=True)
class Happened:
    """Who and what is behind an entry: its record, and what was said, as long as it is kept."""

    record_id: str
    actor: str | None
    """None: time alone."""
    said: Mapping[str, str]
    """Notes, reasons and references; empty once the customer has been erased."""


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A grant with its entries, and the decision that it takes an offer of."""

    grant: Grant
    state: GrantState
    happened: tuple[Happened, ...]
    """One for each entry."""
    decision: StoredDecision
    personal: Mapping[str, str] | None
    """JSON Pointer → personal value of the decision's request; None once it is erased."""
    digests: Mapping[str, str]
    """Record id → `sha256:…`."""


@dataclass(frozen=True, slots=True)
class WaitingGrant:
    """A grant with open reserves, as far as its caps are concerned."""

    holder: Holder
    remedies: tuple[GrantRemedy, ...]
    state: GrantState


@dataclass(frozen=True, slots=True)
class Move:
    """Entries to be written; `record_id` names the record that they belong to."""

    record_id: str
    grant: Grant
    before: GrantState
    added: tuple[Entry, ...]
    actor: str | None = None
    """Who did it; None: time alone."""
    references: tuple[str, ...] = ()
    """Pseudonyms of the caller's own references that the grant can be found by from now on."""
    opens: bool = False
    """The grant itself is new."""


@dataclass(frozen=True, slots=True)
class GrantView:
    """Which grants a caller may see: those of its client, and those its role may approve."""

    everything: bool = False
    client: str | None = None
    approves: frozenset[str] = frozenset()
    """Approver roles of grants."""

    def shows(self, grant: Grant) -> bool:
        return (
            self.everything
            or grant.client == self.client
            or (grant.approver is not None and grant.approver in self.approves)
        )


@dataclass(frozen=True, slots=True)
class GrantFilter:
    """What a list of grants is narrowed to; None lets everything through."""

    status: GrantStatus | None = None
    """PENDING: those that wait in part as well."""
    approver: str | None = None
    external_ref: str | None = None
    order_id: str | None = None
    customer_id: str | None = None
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class GrantPage:
    """Oldest first."""

    grants: tuple[StoredGrant, ...]
    next_cursor: str | None
