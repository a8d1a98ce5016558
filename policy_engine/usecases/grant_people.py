"""Who asked for a grant and who decided on it, as its records say, against the keys of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policy_engine.ledger.log.rows import json_value
from policy_engine.usecases.grant_authority import Recorded
from policy_engine.usecases.principals import reaches


def wrong_asker(recorded: Recorded) -> Iterator[str]:
    """What was asked with a key wasn't asked by whom the key speaks for."""
    document, key = recorded.document, recorded.moved.key
    if key is None:
        return
    if key["client"] != document["client"] or _owner(key) != document["owner"]:
        yield "was asked by another client or owner than those of its key"
    if key["person_id"] not in (None, document["agent"]["id"]):
        yield "was asked with the key of another person"
    elif not _speaks_for(key, recorded):
        yield "was asked in a role, or for somebody, that its key does not reach"


def wrong_people(recorded: Recorded) -> Iterator[str]:
    """Four eyes: whoever decides, or answers for their key, neither asked nor answers for who did.
    For a token its person does."""
    grant, key, actor = recorded.grant, recorded.moved.key, recorded.document["actor"]
    deciding = {actor["id"]}
    if key is not None:
        deciding.add(_owner(key))
        if (key["person_id"], key["person_role"]) != (actor["id"], actor["role"]):
            yield "was decided with the key of another person, or in another role"
    if deciding & {grant.agent.id, grant.owner} - {None}:
        yield "was decided by whoever asked for it, or answers for who did"


def _speaks_for(key: Mapping[str, Any], recorded: Recorded) -> bool:
    """Whether the key is of that role or, where it acts for several, reaches up to it."""
    agent, pack = recorded.grant.agent, recorded.pack
    if key["person_id"] is not None:
        return bool(key["person_role"] == agent.role)
    highest, roster = [key["ceiling"]], json_value(key["roster"])
    if roster is not None:
        highest.append(roster.get(agent.id))
    return all(each is not None and reaches(each, agent.role, pack) for each in highest)


def _owner(key: Mapping[str, Any]) -> str | None:
    owner: str | None = key["owner"] or key["person_id"]
    return owner
