"""What `policy-engine doctor` looks at besides: files, the disk, the database server, keys."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from policy_engine import tracing
from policy_engine.cli.development import BY_DEVELOPMENT
from policy_engine.cli.doctor_findings import Finding, Patient, State
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.server import Server
from policy_engine.ledger.shapes import Credential
from policy_engine.usecases.tokens import fits, published_keys

_MEGABYTE = 10**6
_LITTLE_SPACE_BYTES = 1000 * _MEGABYTE
_LEAST_SPACE_BYTES = 100 * _MEGABYTE
_SOON = timedelta(days=14)
_LISTED = 3


def check_tracing(patient: Patient) -> Iterator[Finding]:
    if not patient.settings.tracing:
        return
    try:
        tracing.check()
    except tracing.TracingError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding("tracing", State.WRONG, text, advice)
        return
    yield Finding("tracing", State.OK, "spans are made")


def check_disk(patient: Patient) -> Iterator[Finding]:
    """Is there room where the service writes?"""
    settings = patient.settings
    folders = {
        _existing(file.parent): file
        for file in (settings.checkpoint_path, settings.database_file)
        if file is not None
    }
    for folder, file in folders.items():
        free = shutil.disk_usage(folder).free
        detail = f"{free // _MEGABYTE} MB free beside `{file}`"
        advice = "make room: on a full disk nothing is decided or granted"
        if free < _LEAST_SPACE_BYTES:
            yield Finding("disk", State.WRONG, detail, advice)
        elif free < _LITTLE_SPACE_BYTES:
            yield Finding("disk", State.WARNING, detail, advice)
        else:
            yield Finding("disk", State.OK, detail)


def check_files(patient: Patient) -> Iterator[Finding]:
    """Can others change what the service trusts? Who can read secrets is looked at with these."""
    settings = patient.settings
    jwks = None if settings.jwt is None else settings.jwt.jwks_file
    trusted = (settings.database_file, settings.checkpoint_path, jwks)
    secrets = (settings.secret_path, settings.log_key_path)
    well = True
    for path in (each for each in trusted if each is not None and each.exists()):
        if path.stat().st_mode & stat.S_IWOTH:
            well = False
            yield Finding("files", State.WRONG, f"others can write `{path}`", f"chmod o-w {path}")
    folders = {path.resolve().parent for path in (*trusted, *secrets) if path is not None}
    for folder in sorted(each for each in folders if each.exists()):
        mode = folder.stat().st_mode
        # In a folder like /tmp nobody can replace a file of somebody else.
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            well = False
            detail = f"others can replace the files in `{folder}`"
            yield Finding("files", State.WRONG, detail, f"chmod o-w {folder}")
    checkpoints = settings.checkpoint_path
    if checkpoints is not None and not _writable(checkpoints):
        well = False
        detail = f"can't write `{checkpoints}`"
        advice = "let the service's user write it, or checkpoints stay in the database alone"
        yield Finding("files", State.WRONG, detail, advice)
    if well:
        yield Finding("files", State.OK, "nobody else can change them")


def check_server(patient: Patient) -> Iterator[Finding]:
    ledger = patient.upgraded
    server = None if ledger is None else ledger.server()
    if server is None:
        return
    yield _role(server)
    if server.unsafe:
        detail = f"{_listed(server.unsafe)} off: a crash may lose what was acknowledged"
        advice = "turn it on in postgresql.conf, and reload"
        yield Finding("durability", State.WARNING, detail, advice)
    wanted = patient.settings.workers * patient.settings.database_pool_size
    if wanted > server.connections_limit:
        detail = (
            f"this node may open {wanted} connections, the server takes {server.connections_limit}"
        )
        advice = "lower POLICY_ENGINE_DATABASE_POOL_SIZE, or raise max_connections"
        yield Finding("connections", State.WARNING, detail, advice)


def _role(server: Server) -> Finding:
    if server.missing:
        detail = f"`{server.role}` may not {_rights(server.missing)}"
        advice = f"as the owner: SELECT policy_engine_grant_application('{server.role}')"
        return Finding("database role", State.WRONG, detail, advice)
    if server.excess:
        detail = f"`{server.role}` may {_rights(server.excess)}"
        advice = "serve as a role that may only add: docs/operations.md"
        return Finding("database role", State.WARNING, detail, advice)
    return Finding("database role", State.OK, f"`{server.role}` may only add")


def check_keys(patient: Patient) -> Iterator[Finding]:
    """Can anybody call, will they still be able to, and is there a key that shouldn't be?"""
    ledger = patient.upgraded
    if ledger is None:
        return
    now = datetime.now(UTC)
    valid = [each for each in ledger.credentials.list() if _is_valid(each, now)]
    if not valid and patient.settings.jwt is None:
        advice = "run `policy-engine keys create`"
        yield Finding("keys", State.WARNING, "there is no valid key, so nobody can call", advice)
        return
    well = True
    for each in valid:
        ends, named = each.terms.expires_at, f"key {each.id} of `{each.terms.client}`"
        if each.created_by == BY_DEVELOPMENT:
            well = False
            # On a file of this machine it may be development that goes on.
            state = State.WARNING if patient.settings.embedded_database else State.WRONG
            detail = f"{named} may do anything; `serve --dev` made it"
            yield Finding("keys", state, detail, f"policy-engine keys revoke {each.id}")
        if ends is not None and ends < now + _SOON:
            well = False
            detail = f"{named} ends at {format_timestamp(ends.replace(microsecond=0))}"
            advice = "make another, hand it over, then revoke this one"
            yield Finding("keys", State.WARNING, detail, advice)
    if well:
        yield Finding("keys", State.OK, f"{len(valid)} valid")


def check_issuer(patient: Patient) -> Iterator[Finding]:
    """Can tokens be verified?"""
    jwt = patient.settings.jwt
    if jwt is None:
        return
    place = jwt.jwks_url or jwt.jwks_file
    advice = "see that it is reachable from here and holds a JWKS with public keys"
    try:
        found = published_keys(jwt)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        detail = f"can't read keys from `{place}` ({why})"
        yield Finding("token issuer", State.WRONG, detail, advice)
        return
    fitting = [key for key in found if any(fits(key, each) for each in jwt.algorithms)]
    if not fitting:
        pinned = ", ".join(jwt.algorithms)
        detail = f"`{place}` has no key that signs by {pinned}: every token is refused"
        yield Finding("token issuer", State.WRONG, detail, advice)
        return
    yield Finding("token issuer", State.OK, f"{len(fitting)} keys of `{jwt.issuer}`")


def _is_valid(credential: Credential, now: datetime) -> bool:
    ends = credential.terms.expires_at
    return credential.revoked_at is None and (ends is None or ends > now)


def _rights(rights: tuple[tuple[str, str], ...]) -> str:
    return _listed(tuple(f"{verb} {table}" for table, verb in rights))


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _writable(path: Path) -> bool:
    """Could it be appended to? Nothing is written or made."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except FileNotFoundError:
        return os.access(_existing(path), os.W_OK)
    except OSError:
        return False
    return True


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
