"""Erase a customer: what is stored about them can't be read any more, by anybody."""

from __future__ import annotations

from policy_engine.ledger.erasing import Erasure
from policy_engine.usecases.errors import NotFoundError
from policy_engine.usecases.services import Services


def erase(services: Services, customer_id: str, by: str) -> Erasure:
    """Destroys the customer's key and records that it did. NotFoundError where nothing is kept.

    Totals, caps, hashes and proofs stay as they are. It can't be undone.
    """
    erasure = services.ledger.subjects.erase(customer_id, by)
    if erasure is None:
        raise NotFoundError(
            "NO_SUCH_CUSTOMER", "nothing personal is kept of a customer with this id"
        )
    return erasure
