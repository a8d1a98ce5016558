"""Decide a recorded request again: under its own revision it must come to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from policy_engine.core.caps import Scope as CapScope
from policy_engine.ledger.shapes import Sealed
from policy_engine.usecases.decisions import stored
from policy_engine.usecases.errors import ForbiddenError, GoneError
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.wire.problems import InputProblem, InvalidInputError, pointer_to
from policy_engine.wire.replay import ReplayError, replay

MAX_DIFFERENCES: Final = 200
_NAMED_BY: Final = ("plan", "cap", "fact", "kind", "action", "milestone")


def replayed(
    services: Services, caller: Principal, decision_id: str, revision: str | None
) -> dict[str, Any]:
    """Whether the decision comes to the same, and where not: by the rules that it was made by, or
    under another revision by those of today.

    Raises NotFoundError, GoneError, ForbiddenError, UnknownRevisionError, NotReadyError, and
    InvalidInputError where another revision doesn't take the request or the record.
    """
    found = stored(services, caller, decision_id)
    chosen = revision or found.pack_revision
    if chosen != found.pack_revision and not caller.may(Scope.SIMULATE, Scope.AUDIT):
        raise ForbiddenError(
            "SCOPE_MISSING", "another revision needs the scope `simulate` or `audit`"
        )
    record = orjson.loads(found.record)
    personal = services.ledger.decisions.open_personal(
        found.id, Sealed(record["sealed"]["subject"], record["sealed"]["sealed"])
    )
    if personal is None:
        raise GoneError("ERASED", "the customer of this decision has been erased")
    try:
        own = record["versions"]["semantics"] if chosen == found.pack_revision else None
        result = replay(record, orjson.loads(personal), services.library.engine(chosen, own))
    except ReplayError as error:
        raise _does_not_fit(str(error)) from None
    except InvalidInputError as error:
        # The recorded request was in order under its own revision; the caller sent none of it.
        first = error.problems[0]
        raise _does_not_fit(f"the request at `{first.pointer}`: {first.message}") from None
    before, after = _visible(result.recorded, caller), _visible(result.again, caller)
    return {
        "decision_id": found.id,
        "recorded_revision": found.pack_revision,
        "revision": chosen,
        "equal": result.equal,
        "differences": list(islice(differences(before, after), MAX_DIFFERENCES)),
    }


def _does_not_fit(why: str) -> InvalidInputError:
    return InvalidInputError([InputProblem("/revision", "DOES_NOT_FIT", why)])


def differences(
    before: object, after: object, steps: tuple[str | int, ...] = ()
) -> Iterator[dict[str, object]]:
    """What differs between two documents, deepest first named, by JSON Pointer into `before`.

    Rows of a list that have a name are matched by it, so that one more plan is one difference.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), (*steps, key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from differences(_by_name(before), _by_name(after), steps)
    elif before != after:
        yield {"pointer": pointer_to(*steps), "recorded": before, "now": after}


def _by_name(rows: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for index, row in enumerate(rows):
        name = str(index)
        if isinstance(row, Mapping):
            # A plan may have several remedies of a kind, and a claim cap several policies.
            name = next((str(row[key]) for key in _NAMED_BY if key in row), name)
        while name in named:
            name += "'"
        named[name] = row
    return named


def _visible(evaluation: Mapping[str, Any], caller: Principal) -> dict[str, Any]:
    if caller.may(Scope.AUDIT):
        return dict(evaluation)
    caps = [cap for cap in evaluation["caps"] if cap["scope"] != CapScope.PACK]
    return {**evaluation, "caps": caps}
