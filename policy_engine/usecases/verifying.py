"""Verify the record: the ledger proves its bytes, and here decisions are evaluated again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from policy_engine.ledger.counting import CounterClass, classes_of
from policy_engine.ledger.errors import LedgerError, UnknownRevisionError
from policy_engine.ledger.log.cap_history import CapHistoryCheck
from policy_engine.ledger.log.checks import NotReplayableError
from policy_engine.ledger.log.counters import LimitCheck
from policy_engine.ledger.log.findings import Check, CheckedRecord, Finding, Report
from policy_engine.ledger.log.notes import VerifierKey
from policy_engine.packs.files import PackFiles, PackFilesError
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.judging import GrantJudge
from policy_engine.usecases.library import Library
from policy_engine.usecases.services import Services
from policy_engine.wire.personal import PERSONAL, stand_ins
from policy_engine.wire.problems import InvalidInputError
from policy_engine.wire.replay import ReplayError, replay


def verify(
    services: Services,
    held: Iterable[str],
    key: VerifierKey | None,
    *,
    replaying: bool = True,
    sample: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    more: Sequence[Check] = (),
) -> Report:
    """Verify everything on record; `held` are checkpoints that the auditor has, `key` the log's
    key as they know it. `sample`: evaluate only so many decisions again. `more` checks: those of
    other tables."""
    return services.ledger.log.verify(
        (
            PackCheck(services),
            LimitCheck(lambda: _active_classes(services)),
            CapHistoryCheck(GrantJudge(services.library)),
            *more,
        ),
        held,
        key,
        replayer=Replays(services.library) if replaying else None,
        sample=sample,
        progress=progress,
    )


class Replays:
    """Evaluates recorded decisions under the revisions that they were made by."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def differs(self, record: Mapping[str, Any], personal: Mapping[str, str] | None) -> str | None:
        """As `ledger.log.checks.Replayer` says.

        For an erased customer any text stands where a personal value was: no evaluation hangs
        on it but through a condition on a personal fact, and then nothing can be known.
        """
        given = dict(stand_ins(record["request"])) if personal is None else personal
        try:
            number = record["versions"]["semantics"]
            engine = self._library.engine(record["pack_revision"], number)
            result = replay(record, given, engine)
        except NotReadyError as error:
            raise NotReplayableError(error.detail) from error
        except (UnknownRevisionError, PackFilesError) as error:
            return f"the pack it was decided by can't be read ({error})"
        except (InvalidInputError, ReplayError) as error:
            return f"the recorded request can't be evaluated again ({error})"
        if result.equal:
            return None
        if personal is None and _hangs_on_personal(record):
            raise NotReplayableError("it hung on what has been erased with the customer")
        return "evaluated again it comes to something else than recorded"


class PackCheck:
    """The stored bytes of every pack are those that its revision names, and none is missing."""

    def __init__(self, services: Services) -> None:
        self._packs = services.ledger.packs
        self._named: set[str] = set()
        self.counts = {"packs": 0}

    def batch(self, connection: object, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        """Notes which revisions the records name: few, however many records."""
        del connection
        for each in records:
            if each.kind in ("decision", "activation"):
                named = each.document.get("pack_revision", each.document.get("revision"))
                self._named.add(str(named))
        return iter(())

    def end(self, connection: object) -> Iterator[Finding]:
        del connection
        stored = {each.revision for each in self._packs.revisions()}
        for revision in sorted(self._named - stored):
            yield Finding("pack_revision", revision, "the bytes of this pack are missing")
        for revision in sorted(stored):
            self.counts["packs"] += 1
            if not self._is_whole(revision):
                yield Finding("pack_revision", revision, "the bytes are not those of this pack")

    def _is_whole(self, revision: str) -> bool:
        try:
            archive = self._packs.archive(revision)
            files = PackFiles.from_archive(archive)
        except (PackFilesError, LedgerError):
            return False
        return files.revision == revision and files.archive() == archive


def _active_classes(services: Services) -> tuple[CounterClass, ...]:
    """What the caps of the active pack count."""
    active = services.ledger.packs.active()
    try:
        pack = None if active is None else services.library.load(active.revision).pack
    except (LedgerError, PackFilesError):
        return ()  # said by PackCheck
    return () if pack is None else classes_of(pack)


def _hangs_on_personal(record: Mapping[str, Any]) -> bool:
    return any(each["observed"] == PERSONAL for each in record["evaluation"]["trace"])
