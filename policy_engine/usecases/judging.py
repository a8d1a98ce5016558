"""What a pack makes of the record of a grant: part of `log verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policy_engine.core.headroom import line_room
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage
from policy_engine.ledger.counting import CounterClass, Place, classes_of
from policy_engine.ledger.errors import UnknownRevisionError
from policy_engine.ledger.log.cap_history import Judged, Moved
from policy_engine.ledger.log.checks import NotReplayableError
from policy_engine.ledger.log.running import Said
from policy_engine.packs.files import PackFilesError
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.grant_authority import (
    Recorded,
    wrong_answer,
    wrong_caps,
    wrong_grant,
    wrong_offer,
    wrong_reversal,
)
from policy_engine.usecases.grant_people import wrong_asker, wrong_people
from policy_engine.usecases.library import Library
from policy_engine.wire.personal import stand_ins
from policy_engine.wire.problems import InvalidInputError
from policy_engine.wire.replay import ReplayError, recorded_request

_ANSWERS: Final = ("approve", "reject")


class GrantJudge:
    """A `ledger.log.cap_history.CapJudge` over packs as they are stored."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def classes(self, revision: str) -> tuple[CounterClass, ...]:
        return classes_of(self._pack(revision))

    def judged(self, moved: Moved) -> Judged:
        decision = moved.decision
        given = dict(stand_ins(decision["request"]))
        try:
            request = recorded_request(decision, given, self._pack(decision["pack_revision"]))
        except (InvalidInputError, ReplayError) as error:
            raise ValueError(str(error)) from error
        pack = self._pack(moved.document["pack_revision"])
        recorded = Recorded.of(moved, pack, request.request)
        return Judged(tuple(_wrong(recorded)), _said(recorded), line_room(recorded.facts, Usage()))

    def _pack(self, revision: str) -> Pack:
        try:
            return self._library.engine(revision).pack
        except NotReadyError as error:
            raise NotReplayableError(error.detail) from error
        except (UnknownRevisionError, PackFilesError) as error:
            # That its bytes are missing or changed is a finding of its own.
            raise NotReplayableError(f"the pack can't be read ({error})") from error


def _wrong(recorded: Recorded) -> Iterator[str]:
    """All that doesn't hold of one record by itself."""
    document = recorded.document
    move = document.get("move")
    # A grant or an approval without them does not get past `wrong_grant` and `wrong_answer`.
    if document["caps"]["before"] is not None:
        yield from wrong_caps(recorded)
    if move is None:
        yield from wrong_offer(recorded)
        yield from wrong_grant(recorded)
        yield from wrong_asker(recorded)
    elif move in _ANSWERS:
        yield from wrong_answer(recorded)
        yield from wrong_people(recorded)
    elif move == "reverse":
        yield from wrong_reversal(recorded)
    elif document["actor"] is not None:
        # What time alone did is computed again by `ledger.log.due`.
        yield f"changes what is held of caps, which no `{move}` does"


def _said(recorded: Recorded) -> dict[Place, Said]:
    """What a record says of counters that it held."""
    caps = recorded.document["caps"]
    if caps["before"] is None:
        return {}
    found: dict[Place, Said] = {}
    for key, before, after in zip(recorded.counters, caps["before"], caps["after"], strict=True):
        place, name = recorded.place(key), f"cap `{before['cap']}`"
        # Caps that count the same are read from one counter.
        what = f"{found[place].what}, {name}" if place in found else name
        found[place] = Said(what, before["used"], after["used"])
    return found
