"""What of a request says who the customer is: taken out for sealing, and put back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policy_engine.core.facts import FactType
from policy_engine.core.policy import Pack
from policy_engine.wire.per_pack import PerPack
from policy_engine.wire.problems import pointer_to, steps_of

Json = dict[str, Any]

PERSONAL: Final[Mapping[str, bool]] = {"personal": True}
"""Stands where a personal value was. No request holds it: those values are strings."""

_STAND_IN_AT_MOST: Final = 128
_PERSONAL_FIELDS: Final = ("customer.id", "customer.name", "incident.id", "incident.cause")


def split_personal(body: Mapping[str, Any], pack: Pack) -> tuple[Json, dict[str, str]]:
    """A request's body, already found in order → (public part, JSON Pointer → personal value).

    Personal are the customer's id and name, the caller's references, references of evidence,
    the incident's id, and free text: the cause and string facts, unless the pack narrows them
    to values of its own.
    """
    hidden = personal_facts(pack)
    public = dict(body)
    personal: dict[str, str] = {}
    for part in ("customer", "incident"):
        public[part] = {
            key: _sealed(value, (part, key), personal) if f"{part}.{key}" in hidden else value
            for key, value in body[part].items()
        }
    if body.get("reference"):
        public["reference"] = {
            key: _sealed(value, ("reference", key), personal)
            for key, value in body["reference"].items()
        }
    if body.get("facts"):
        public["facts"] = {
            key: _sealed(value, ("facts", key), personal) if key in hidden else value
            for key, value in body["facts"].items()
        }
    if public["incident"].get("evidence"):
        public["incident"]["evidence"] = [
            {
                key: _sealed(value, ("incident", "evidence", index, key), personal)
                if key == "reference"
                else value
                for key, value in item.items()
            }
            for index, item in enumerate(public["incident"]["evidence"])
        ]
    return public, personal


def join_personal(public: Mapping[str, Any], personal: Mapping[str, str]) -> Json:
    """The inverse of `split_personal`: the body as it was."""
    body: Json = copy.deepcopy(dict(public))
    for pointer, value in personal.items():
        *path, last = steps_of(pointer)
        at: Any = body
        for step in path:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[last] = value
    return body


def stand_ins(public: object, steps: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """JSON Pointer → a text, for every place of a request that held something personal.

    Nothing hangs on what they are but conditions on personal facts: no amount, limit or role.
    """
    if public == PERSONAL:
        # No longer than any text of a request may be; names of facts may be longer.
        yield pointer_to(*steps), f"erased {'/'.join(map(str, steps))}"[:_STAND_IN_AT_MOST]
    elif isinstance(public, dict):
        for name, each in public.items():
            yield from stand_ins(each, (*steps, name))
    elif isinstance(public, list):
        for index, each in enumerate(public):
            yield from stand_ins(each, (*steps, index))


def _sealed(value: Any, steps: tuple[str | int, ...], personal: dict[str, str]) -> Any:
    if value is None:
        return None
    personal[pointer_to(*steps)] = value
    return dict(PERSONAL)


def _hidden(pack: Pack) -> frozenset[str]:
    return frozenset(
        name
        for name, spec in pack.facts.items()
        if spec.type is FactType.STRING and (spec.from_request or name in _PERSONAL_FIELDS)
    ) | {"customer.id", "customer.name"}


personal_facts = PerPack(_hidden)
"""Names of the facts whose values say who the customer is, or may."""
