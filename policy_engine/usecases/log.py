"""The log, for auditors: entries and proofs, and what there is instead of one."""

from __future__ import annotations

from policy_engine.ledger.log.notes import VerifierKey
from policy_engine.ledger.log.reading import (
    BeyondLogError,
    ConsistencyProof,
    InclusionProof,
    LogEntry,
    StoredCheckpoint,
)
from policy_engine.usecases.errors import ConflictError, NotFoundError
from policy_engine.usecases.services import Services


def key(services: Services) -> VerifierKey:
    """NotFoundError before the log was opened."""
    found = services.ledger.log.key()
    if found is None:
        raise NotFoundError("NO_LOG_KEY", "the log has no key yet; it gets one at the first start")
    return found


def checkpoint(services: Services) -> StoredCheckpoint:
    """The latest; NotFoundError while nothing was sequenced."""
    latest = services.ledger.log.checkpoint()
    if latest is None:
        raise NotFoundError("NO_CHECKPOINT", "the log has no checkpoint yet; ask again in a second")
    return latest


def entry(services: Services, index: int) -> LogEntry:
    found = services.ledger.log.entry(index)
    if found is None:
        raise _beyond(services.ledger.log.status().size)
    return found


def record(services: Services, record_id: str) -> LogEntry:
    """A record, in the log or waiting for its place."""
    found = services.ledger.log.record(record_id)
    if found is None:
        raise _no_record()
    return found


def inclusion(
    services: Services, record_id: str | None, index: int | None, size: int | None
) -> InclusionProof:
    """NotFoundError for what the log doesn't have; ConflictError for a record that still waits,
    or has come after the log had `size` entries."""
    try:
        proof = services.ledger.log.inclusion(record_id=record_id, index=index, size=size)
    except BeyondLogError as error:
        if record_id is None or size is not None:
            raise _beyond(error.size) from None
        raise ConflictError(
            "NOT_IN_LOG_YET", "the record has no place in the log yet; ask again in a second"
        ) from None
    if proof is None:
        raise _no_record()
    return proof


def consistency(services: Services, first: int, second: int | None) -> ConsistencyProof:
    try:
        return services.ledger.log.consistency(first, second)
    except BeyondLogError as error:
        raise _beyond(error.size) from None


def _no_record() -> NotFoundError:
    return NotFoundError("NO_SUCH_RECORD", "there is no record with this id")


def _beyond(size: int) -> NotFoundError:
    return NotFoundError("BEYOND_LOG", f"the log doesn't reach that far: it has {size} entries")
