"""What the use cases work with; bootstrap puts it together, once a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from policy_engine.ledger.ledger import Ledger
from policy_engine.packs.holder import ActivePack
from policy_engine.settings import Settings
from policy_engine.usecases.credentials import CredentialDoor
from policy_engine.usecases.library import Library


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    ledger: Ledger
    packs: ActivePack
    library: Library
    """Stored packs of any revision, for deciding old records again."""
    credentials: CredentialDoor
    matcher_name: str
    clock: Callable[[], datetime]
    """The time of this process: only for what is decided before the ledger's time is known."""
    new_id: Callable[[], str]
