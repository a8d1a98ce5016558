"""Deciding a record again: what had been granted then, the request as it was, the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from policy_engine.core.decision import Decision
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, UsagePort, UsageQuestion, Used
from policy_engine.core.request import Agent, DecisionRequest
from policy_engine.core.times import format_timestamp, parse_timestamp
from policy_engine.wire.personal import join_personal
from policy_engine.wire.records import Json, canonical, evaluation
from policy_engine.wire.requests import ReadRequest, read_decision


class ReplayError(Exception):
    """A record that can't be evaluated again: its parts don't fit each other or the pack."""


class NotedUsage:
    """A UsagePort that remembers what it was asked and what it answered, for the record."""

    def __init__(self, port: UsagePort) -> None:
        self._port = port
        self._noted: tuple[UsageQuestion, Usage] | None = None

    def read(self, question: UsageQuestion) -> Usage:
        usage = self._port.read(question)
        self._noted = (question, usage)
        return usage

    def as_json(self) -> Json:
        """Aligned with the question, so that it names no customer: `counters` in its order,
        `spent_evidence` as indexes into its evidence; both empty if nothing was asked."""
        if self._noted is None:
            return {"counters": [], "money_back": {}, "spent_evidence": []}
        question, usage = self._noted
        counters = [usage.used.get(key, Used()) for key in question.counters]
        return {
            "counters": [
                {
                    "used": each.amount,
                    "oldest_at": None
                    if each.oldest_at is None
                    else format_timestamp(each.oldest_at),
                }
                for each in counters
            ],
            "money_back": dict(usage.money_back),
            "spent_evidence": [
                index
                for index, pair in enumerate(question.evidence)
                if pair in usage.spent_evidence
            ],
        }


class RecordedUsage:
    """A UsagePort that answers what a record noted."""

    def __init__(self, noted: Mapping[str, Any]) -> None:
        self._noted = noted

    def read(self, question: UsageQuestion) -> Usage:
        noted = self._noted
        if len(noted["counters"]) != len(question.counters):
            raise ReplayError(
                f"the record holds {len(noted['counters'])} counters, the pack asks for "
                f"{len(question.counters)}"
            )
        if any(index >= len(question.evidence) for index in noted["spent_evidence"]):
            raise ReplayError("the record names evidence that its request does not have")
        used = {
            key: Used(each["used"], each["oldest_at"] and parse_timestamp(each["oldest_at"]))
            for key, each in zip(question.counters, noted["counters"], strict=True)
        }
        spent = frozenset(question.evidence[index] for index in noted["spent_evidence"])
        return Usage(used, noted["money_back"], spent)


def recorded_usage(record: Mapping[str, Any]) -> UsagePort:
    """What had been granted when the record was made."""
    return RecordedUsage(record["usage"])


def recorded_request(
    record: Mapping[str, Any], personal: Mapping[str, str], pack: Pack
) -> ReadRequest:
    """The request as it was evaluated. InvalidInputError where `pack`, being another revision
    than the record's, does not take it."""
    agent = Agent(record["agent"]["id"], record["agent"]["role"])
    read = read_decision(
        join_personal(record["request"], personal),
        pack,
        resolve_agent=lambda _claim: agent,
        now=_ANY_TIME,
    )
    return replace(read, request=replace(read.request, registered=frozenset(record["registered"])))


_ANY_TIME = datetime.max.replace(tzinfo=UTC)
"""What lay in the past when it was reported does so still; clocks may have differed since."""


class Evaluates(Protocol):
    """An engine, as far as a replay needs it."""

    @property
    def pack(self) -> Pack: ...

    def evaluate(self, request: DecisionRequest, as_of: datetime, usage: UsagePort) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """The evaluation that a record holds, and the one that it comes to now."""

    recorded: Json
    again: Json
    decision: Decision

    @property
    def equal(self) -> bool:
        return canonical(self.recorded) == canonical(self.again)


def replay(record: Mapping[str, Any], personal: Mapping[str, str], engine: Evaluates) -> Replayed:
    """Evaluate a stored request again, with what had been granted then, under the engine's pack."""
    request = recorded_request(record, personal, engine.pack).request
    as_of = parse_timestamp(record["as_of"])
    decision = engine.evaluate(request, as_of, recorded_usage(record))
    return Replayed(record["evaluation"], evaluation(decision, engine.pack), decision)
