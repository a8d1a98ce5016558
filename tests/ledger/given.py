"""Decisions and calls to put into a ledger."""

import json
from collections.abc import Callable

from policy_engine.core.request import Agent
from policy_engine.ledger.ids import new_id
from policy_engine.ledger.shapes import Answer, DecisionWrite, IdempotencyKey
from policy_engine.ledger.transaction import Transaction

REVISION = "sha256:" + "0" * 64


def a_call(key: str, body: bytes = b"{}", **other: str) -> IdempotencyKey:
    """A call to decide under an idempotency key."""
    named = {"client": "shop", "method": "POST", "path": "/v1/decisions", "query": "", "agent": ""}
    return IdempotencyKey(key=key, body=body, **{**named, **other})


def a_decision(
    transaction: Transaction,
    *,
    order: str = "SO-1",
    customer: str = "C-1",
    name: str = "Ada Lovelace",
    client: str = "shop",
    agent: str = "A-7",
    outcome: str = "offer",
    policies: tuple[str, ...] = ("shipping_delay",),
    references: tuple[str, ...] = (),
    revision: str = REVISION,
) -> bytes:
    """Adds a decision to the transaction; returns its answer, which names the person."""
    decision_id = new_id()
    personal = json.dumps({"customer": customer, "name": name}).encode()
    sealed = transaction.seal(customer, decision_id, personal)
    record = {"decision": decision_id, "subject": sealed.subject, "personal": sealed.sealed}
    answer = json.dumps({"decision_id": decision_id, "text": f"dear {name}"}).encode()
    transaction.add_decision(
        DecisionWrite(
            id=decision_id,
            client=client,
            order_id=order,
            customer_id=customer,
            agent=Agent(agent, "agent"),
            outcome=outcome,
            pack_revision=revision,
            record=json.dumps(record).encode(),
            answer=answer,
            policies=policies,
            references=references,
        )
    )
    return answer


def deciding(**given: object) -> Callable[[Transaction], Answer]:
    """Work that records one decision and answers with it."""
    return lambda transaction: Answer(201, a_decision(transaction, **given))  # type: ignore[arg-type]


def decision_id_of(answer: Answer) -> str:
    found: str = json.loads(answer.body)["decision_id"]
    return found
