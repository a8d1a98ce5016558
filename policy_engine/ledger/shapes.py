"""What goes into the ledger and comes out of it. No database in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from policy_engine.core.request import Agent


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """One writing call as its client named it. The fingerprint covers all but client and key."""

    client: str
    key: str
    method: str
    path: str
    query: str
    agent: str
    """The agent and role that the call acts as, in any one form; empty when nobody is named."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as it was and will be given for an idempotency key."""

    status: int
    body: bytes
    """UTF-8."""
    headers: tuple[tuple[str, str], ...] = ()
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Sealed:
    """A personal part of a record, readable as long as its subject is not erased."""

    subject: str
    """The customer's pseudonym: 64 hexadecimal digits."""
    sealed: str
    """Base64."""


@dataclass(frozen=True, slots=True)
class DecisionWrite:
    """A decision to be recorded. `record` is canonical JSON with its personal part sealed;
    `answer` is what the caller gets, and is sealed before it is stored."""

    id: str
    client: str
    order_id: str
    customer_id: str
    agent: Agent
    outcome: str
    pack_revision: str
    record: bytes
    answer: bytes
    policies: tuple[str, ...] = ()
    """The policies that apply; a list of decisions can be narrowed to one of them."""
    references: tuple[str, ...] = ()
    """The caller's own references (ticket numbers); kept as pseudonyms, for looking up."""
    grantable: bool = True
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredDecision:
    id: str
    decided_at: datetime
    client: str
    order_id: str
    customer: str
    """A pseudonym."""
    agent: Agent
    outcome: str
    pack_revision: str
    grantable: bool
    expires_at: datetime | None
    record: bytes
    digest: str
    """`sha256:<hex>` over a zero byte and the record's bytes."""
    answer: bytes | None
    """As it was given; None once the customer has been erased."""


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """What a list of decisions is narrowed to; None lets everything through."""

    client: str | None = None
    order_id: str | None = None
    customer_id: str | None = None
    agent_id: str | None = None
    policy: str | None = None
    outcome: str | None = None
    reference: str | None = None
    since: datetime | None = None
    """Included."""
    until: datetime | None = None
    """Excluded."""


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """Newest first."""

    decisions: tuple[StoredDecision, ...]
    next_cursor: str | None
    """None on the last page."""


@dataclass(frozen=True, slots=True)
class StoredRevision:
    revision: str
    stored_at: datetime
    activated_at: datetime | None
    """When it became the active one last; None: never."""
    active: bool


@dataclass(frozen=True, slots=True)
class Activation:
    sequence: int
    """Grows with every activation; a change of it is a change of the active pack."""
    revision: str
    activated_at: datetime
    activated_by: str


@dataclass(frozen=True, slots=True)
class CredentialTerms:
    """What an API key may do. Either `person`, or `ceiling` (and perhaps a `roster`), or neither:
    then it reads and administers, but acts as nobody."""

    client: str
    scopes: frozenset[str]
    person: Agent | None = None
    ceiling: str | None = None
    """`act_for`: the highest role that a body may name."""
    roster: Mapping[str, str] | None = None
    """Agent id → highest role; None: any agent up to the ceiling."""
    owner: str | None = None
    """The person who answers for the credential; never approves what it requested."""
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.person is not None and self.ceiling is not None:
            raise ValueError("a credential is bound to a person or acts for others, not both")
        if self.roster is not None and self.ceiling is None:
            raise ValueError("a roster needs a role ceiling")


@dataclass(frozen=True, slots=True)
class Credential:
    id: str
    terms: CredentialTerms
    created_by: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A credential just made, with its key: shown this once, stored nowhere."""

    credential: Credential
    key: str = field(repr=False)
