"""Decide: bytes that were read → a recorded decision, or a dry run of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.ledger.transaction import Transaction
from policy_engine.usecases.cases import Case, Decided, read_case, told_of
from policy_engine.usecases.due import DueError, with_due_settled
from policy_engine.usecases.principals import Principal
from policy_engine.usecases.services import Services


@dataclass(frozen=True, slots=True)
class DecideAnswer:
    """`decided` is None for an answer given again: it was told of the first time."""

    answer: Answer
    decided: Decided | None


def decide(
    services: Services, caller: Principal, data: object, key: IdempotencyKey | None
) -> DecideAnswer:
    """Decide and record; the answer is what was committed, or was under the same key before.

    Raises InvalidInputError, ForbiddenError, ConflictError, NoPackError and what `Ledger.decide`
    does.
    """
    with services.packs.use() as (pack, engine):
        case = read_case(services, caller, data, pack, engine)
        told: list[Decided] = []

        def decide_once(settled: bool) -> Answer:
            def work(transaction: Transaction) -> Answer:
                recorded = case.record(transaction, services.new_id(), settled)
                told[:] = [recorded.decided]
                return recorded.answer

            return services.ledger.decide(key, work)

        answer = with_due_settled(services, decide_once)
    return DecideAnswer(answer, None if answer.replayed else told[0])


def decide_first(
    services: Services, caller: Principal, calls: Sequence[tuple[object, IdempotencyKey | None]]
) -> tuple[list[DecideAnswer], Exception | None]:
    """As `decide` for each of (data, key), in order, until one raises: the answers of those
    before it, and what was raised; None where `decide` may still answer it, or all are."""
    told: list[Decided] = []

    def work_of(case: Case) -> Callable[[Transaction], Answer]:
        def work(transaction: Transaction) -> Answer:
            recorded = case.record(transaction, services.new_id(), settled=False)
            told.append(recorded.decided)
            return recorded.answer

        return work

    works = []
    unread = None
    with services.packs.use() as (pack, engine):
        try:
            for data, key in calls:
                works.append((key, work_of(read_case(services, caller, data, pack, engine))))
        except Exception as raised:  # noqa: BLE001 -- handed back, once those before it are done
            unread = raised
        answers, error = services.ledger.decide_first(works) if works else ([], None)
    if isinstance(error, DueError):
        error = None
    elif error is None and len(answers) == len(works):
        error = unread
    fresh = iter(told)
    return [
        DecideAnswer(answer, None if answer.replayed else next(fresh)) for answer in answers
    ], error


def dry_run(services: Services, caller: Principal, data: object) -> DecideAnswer:
    """Decide without recording: what `decide` would answer now. Raises as `decide` does."""
    with services.packs.use() as (pack, engine):
        case = read_case(services, caller, data, pack, engine)
        body, decision = with_due_settled(
            services,
            lambda settled: services.ledger.preview(lambda snapshot: case.look(snapshot, settled)),
        )
    return DecideAnswer(Answer(200, orjson.dumps(body)), told_of(None, decision))
