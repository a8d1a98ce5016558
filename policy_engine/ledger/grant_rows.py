"""The rows of grants and of their moves, as the tables hold them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from policy_engine.core.grant_moves import next_due
from policy_engine.core.grants import Effect, effects, fold, money_back
from policy_engine.core.headroom import line_key
from policy_engine.ledger.grant_shapes import Grant, Move
from policy_engine.ledger.grant_tables import (
    CAP_MOVEMENT,
    GRANT,
    GRANT_ENTRY,
    GRANT_REFERENCE,
    GRANT_REMEDY,
    GRANT_STATE,
    LINE_MOVEMENT,
)
from policy_engine.ledger.writing import Row

_MICROSECOND = timedelta(microseconds=1)


def grant_rows(moves: Sequence[Move]) -> list[Row]:
    """All that moves add besides their records and counters, referenced tables first."""
    opened = [move for move in moves if move.opens]
    return [
        *((GRANT, _grant_row(move.grant)) for move in opened),
        *(row for move in opened for row in _remedy_rows(move.grant)),
        *((GRANT_STATE, state_row(move)) for move in opened),
        *(row for move in moves for row in _entry_rows(move)),
        *(row for move in moves for row in _reference_rows(move)),
        *(row for move in moves for row in _cap_rows(move)),
        *(row for move in moves for row in _line_rows(move)),
    ]


def _grant_row(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "decision_id": grant.decision_id,
        "granted_at_us": grant.granted_at,
        "client": grant.client,
        "credential": grant.credential,
        "owner": grant.owner,
        "order_id": grant.order_id,
        "customer": grant.customer,
        "agent_id": grant.agent.id,
        "role": grant.agent.role,
        "plan": grant.plan,
        "currency": grant.currency,
        "approver": grant.approver,
        "pending_until_us": grant.pending_until,
        "pack_revision": grant.pack_revision,
    }


def _remedy_rows(grant: Grant) -> list[Row]:
    return [
        (
            GRANT_REMEDY,
            {
                "grant_id": grant.id,
                "position": position,
                "remedy": each.id,
                "kind": each.kind.value,
                "policy": each.policy,
                "source": each.source,
                "valid_for_us": None if each.valid_for is None else each.valid_for // _MICROSECOND,
            },
        )
        for position, each in enumerate(grant.remedies)
    ]


def state_row(move: Move) -> dict[str, Any]:
    """The row of a grant's state after a move."""
    grant = move.grant
    state = fold(grant.remedies, (*move.before.entries, *move.added), grant.pending_until)
    return {
        "grant_id": grant.id,
        "status": state.status.value,
        "due_at_us": next_due(state),
    }


def _reference_rows(move: Move) -> list[Row]:
    return [
        (GRANT_REFERENCE, {"value": each, "grant_id": move.grant.id}) for each in move.references
    ]


def _entry_rows(move: Move) -> list[Row]:
    return [
        (
            GRANT_ENTRY,
            {
                "grant_id": move.grant.id,
                "position": position,
                "record_id": move.record_id,
                "remedy": entry.remedy,
                "movement": entry.movement.value,
                "minor": entry.minor,
                "shares": [[share.line, share.minor] for share in entry.shares],
                "at_us": entry.at,
                "counted_at_us": entry.counted_at,
                "against": entry.against,
                "actor": move.actor,
            },
        )
        for position, entry in enumerate(move.added, len(move.before.entries))
    ]


def _cap_rows(move: Move) -> list[Row]:
    return [
        (CAP_MOVEMENT, _cap_row(move, position, effect))
        for position, effect in enumerate(effects(move.before, move.added))
    ]


def _cap_row(move: Move, position: int, effect: Effect) -> dict[str, Any]:
    holder = move.grant.holder
    kind, policy = holder.remedies[effect.remedy]
    return {
        "record_id": move.record_id,
        "position": position,
        "grant_id": move.grant.id,
        "remedy": effect.remedy,
        "order_id": holder.order,
        "customer": holder.customer,
        "agent_id": holder.agent,
        "policy": policy,
        "kind": kind,
        "currency": holder.currency,
        "minor": effect.minor,
        "presence": effect.presence,
        "counted_at_us": effect.counted_at,
    }


def _line_rows(move: Move) -> list[Row]:
    return [
        (
            LINE_MOVEMENT,
            {
                "record_id": move.record_id,
                "position": position,
                "grant_id": move.grant.id,
                "remedy": remedy,
                "order_id": move.grant.order_id,
                "line": line_key(share.line),
                "minor": share.minor,
            },
        )
        for position, (remedy, share) in enumerate(money_back(move.before, move.added))
    ]
