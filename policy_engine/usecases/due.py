"""What time alone brings: reserves that lapse and coupons that expire, written by whoever looks
next, and by a sweep when nobody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from policy_engine.ledger.errors import LedgerError
from policy_engine.usecases.moving import settle
from policy_engine.usecases.services import Services

T = TypeVar("T")

AT_ONCE: Final = 50
"""How many grants a look settles before it goes on."""


class DueError(Exception):
    """Something has run out that nobody has written down yet."""


def with_due_settled(services: Services, look: Callable[[bool], T]) -> T:
    """`look(False)` raises DueError when something has run out: then that is settled first.

    `look(True)` goes on with what is written: what has run out since still holds its caps.
    """
    try:
        return look(False)
    except DueError:
        settle_due(services, AT_ONCE)
    return look(True)


def settle_due(services: Services, limit: int) -> int:
    """Writes down what has run out, those due longest first; returns how many grants changed.

    What can't be written now is left for the next look.
    """
    changed = 0
    for grant_id in services.ledger.grants.due(limit):
        try:
            changed += settle(services, grant_id)
        except LedgerError:
            break
    return changed
