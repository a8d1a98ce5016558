"""Packs: shown, checked, made active, and followed when another node makes one active."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from policy_engine.core.caps import Scope as CapScope
from policy_engine.ledger.counting import classes_of
from policy_engine.ledger.errors import LedgerError, UnavailableError
from policy_engine.ledger.shapes import Activation, StoredRevision
from policy_engine.packs.files import PackFiles, PackFilesError
from policy_engine.packs.loading import Loaded, load
from policy_engine.packs.problems import Problem, Severity
from policy_engine.packs.show import ShownPack, show
from policy_engine.usecases.errors import NotFoundError, UseCaseError
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.wire.problems import InputProblem, InvalidInputError, pointer_to


class PackRefusedError(UseCaseError):
    """A candidate with errors; nothing changed."""

    def __init__(self, revision: str, problems: tuple[Problem, ...]) -> None:
        errors = sum(problem.severity is Severity.ERROR for problem in problems)
        count = "1 error" if errors == 1 else f"{errors} errors"
        super().__init__("PACK_HAS_ERRORS", f"the pack has {count}; see `problems`")
        self.revision = revision
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Checked:
    revision: str
    valid: bool
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Activated:
    activation: Activation
    previous: str | None
    problems: tuple[Problem, ...]
    """Warnings."""


def shown(services: Services, caller: Principal, policy: str | None = None) -> ShownPack:
    """The active pack in plain words, or one policy of it. NotFoundError, NoPackError."""
    with services.packs.use() as (pack, _):
        try:
            found = show(pack, policy)
        except KeyError:
            raise NotFoundError("NO_SUCH_POLICY", "the active pack has no such policy") from None
    if caller.may(Scope.AUDIT):
        return found
    caps = tuple(cap for cap in found.caps if cap.scope != CapScope.PACK)
    return ShownPack(found.revision, found.roles, caps, found.policies)


def revisions(services: Services) -> tuple[StoredRevision, ...]:
    """Every stored revision, newest first."""
    return services.ledger.packs.revisions()


def candidate(files: Mapping[str, str]) -> PackFiles:
    """The files of a body as a pack; InvalidInputError for names that no pack has."""
    try:
        return PackFiles({name: text.encode() for name, text in files.items()})
    except PackFilesError:
        problems = [
            InputProblem(
                pointer_to("files", name), "NOT_A_PACK_FILE", "not the name of a pack's file"
            )
            for name in files
            if not _takes(name)
        ]
        raise InvalidInputError(problems) from None


def check(files: PackFiles) -> Checked:
    """What would be said of the pack if it were to become active."""
    loaded = load(files)
    return Checked(files.revision, loaded.pack is not None, loaded.problems)


def activate_files(services: Services, files: PackFiles, by: str) -> Activated:
    """Store a pack and make it the active one. PackRefusedError keeps the last good one."""
    loaded = _good(services, files.revision, load(files))
    services.ledger.packs.store(files.revision, files.archive())
    return _activate(services, loaded, files.revision, by)


def activate_revision(services: Services, revision: str, by: str) -> Activated:
    """Make a stored revision the active one. UnknownRevisionError, PackRefusedError."""
    loaded = _good(services, revision, services.library.load(revision, with_suites=True))
    return _activate(services, loaded, revision, by)


def activate_folder(services: Services, folder: Path, by: str) -> Activated | None:
    """Make a folder's pack the active one; None when it is already, or was refused before."""
    files = PackFiles.from_folder(folder)
    if files.revision in (services.packs.revision, services.packs.state.refused_revision):
        return None
    return activate_files(services, files, by)


def follow(services: Services) -> bool:
    """Use the revision that the database points to; True when that changed anything.

    One that can't be loaded here blocks this process: it decides nothing rather than something
    that no longer holds. Raises UnavailableError when the database doesn't answer.
    """
    with services.packs.changing:
        return _follow(services)


def _follow(services: Services) -> bool:
    active = services.ledger.packs.active()
    if active is None:
        return False
    state = services.packs.state
    if active.revision == state.revision:
        if state.blocked is not None:
            services.packs.unblock()
        return state.blocked is not None
    try:
        loaded = services.library.load(active.revision)
    except UnavailableError:
        raise
    except (LedgerError, PackFilesError) as error:
        return _block(services, active.revision, str(error))
    if loaded.pack is None:
        first = next(each for each in loaded.problems if each.severity is Severity.ERROR)
        return _block(services, active.revision, str(first))
    services.packs.swap(loaded.pack, active.activated_at)
    return True


def _block(services: Services, revision: str, because: str) -> bool:
    text = f"the active pack `{revision}` can't be used here: {because}"
    changed = services.packs.state.blocked != text
    services.packs.block(text)
    return changed


def _good(services: Services, revision: str, loaded: Loaded) -> Loaded:
    if loaded.pack is None:
        first = next(each for each in loaded.problems if each.severity is Severity.ERROR)
        services.packs.refuse(revision, str(first), services.clock())
        raise PackRefusedError(revision, loaded.problems)
    return loaded


def _activate(services: Services, loaded: Loaded, revision: str, by: str) -> Activated:
    assert loaded.pack is not None
    counts = classes_of(loaded.pack)
    # This may take a while; until it is done, this process goes on following.
    services.ledger.packs.build(revision, counts)
    with services.packs.changing:
        before = services.ledger.packs.active()
        activation = services.ledger.packs.activate(revision, by, counts)
        if services.packs.revision != revision or services.packs.state.blocked is not None:
            services.packs.swap(loaded.pack, activation.activated_at)
    previous = None if before is None else before.revision
    return Activated(activation, previous, loaded.problems)


def _takes(name: str) -> bool:
    try:
        PackFiles({name: b""})
    except PackFilesError:
        return False
    return True
