"""API keys: `pe_<id>_<secret>`, shown once; only a hash of the secret is stored.

A secret is 256 random bits, so one SHA-256 is enough: there is nothing to guess. Looked-up
credentials are remembered for a second: a revocation holds at once on the node that made it,
and within that second on all others.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from policy_engine.core.request import Agent
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.database import Database
from policy_engine.ledger.errors import UnknownCredentialError
from policy_engine.ledger.events import record_event
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import Credential, CredentialTerms, NewKey
from policy_engine.ledger.tables import CREDENTIAL, REVOCATION

REMEMBERED_SECONDS = 1.0
_REMEMBERED_AT_MOST = 4096
_KEY = re.compile(r"pe_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_STORED = select(CREDENTIAL, REVOCATION.c.revoked_at_us).outerjoin(
    REVOCATION, REVOCATION.c.credential_id == CREDENTIAL.c.id
)


@dataclass(frozen=True, slots=True)
class _Remembered:
    credential: Credential
    secret_hash: bytes
    until: float


class KeyRing:
    """The API keys on record."""

    def __init__(self, database: Database, secret: InstanceSecret) -> None:
        self._database = database
        self._secret = secret
        self._lock = threading.Lock()
        self._remembered: dict[str, _Remembered] = {}
        self._revocations = 0

    def create(self, terms: CredentialTerms, by: str) -> NewKey:
        """Makes a key. This is the only time that it can be seen."""
        credential_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        credential = self._database.write(
            lambda connection: self._create(connection, credential_id, _hash(secret), terms, by)
        )
        return NewKey(credential, f"pe_{credential_id}_{secret}")

    def verify(self, key: str) -> Credential | None:
        """Whose key this is; None for one that is malformed, unknown, wrong, revoked or expired."""
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        credential_id, secret = parts.groups()
        found = self._look_up(credential_id)
        if found is None:
            return None
        # Compared as hashes, in constant time: how long it takes tells nothing of the secret.
        if not hmac.compare_digest(found.secret_hash, _hash(secret)):
            return None
        expires_at = found.credential.terms.expires_at
        if found.credential.revoked_at is not None:
            return None
        if expires_at is not None and expires_at <= datetime.now(UTC):
            return None
        return found.credential

    def remembers(self, key: str) -> bool:
        """Is it by its id a key that was found on record lately, good or not by now?"""
        parts = _KEY.fullmatch(key)
        return parts is not None and parts[1] in self._remembered

    def revoke(self, credential_id: str, by: str) -> Credential:
        """Revokes a key for good; revoking it again changes nothing. UnknownCredentialError."""
        credential = self._database.write(
            lambda connection: self._revoke(connection, credential_id, by)
        )
        with self._lock:
            self._revocations += 1
            self._remembered.pop(credential_id, None)
        return credential

    def list(self) -> tuple[Credential, ...]:
        """All credentials, revoked and expired ones too, in the order they were made."""
        query = _STORED.order_by(CREDENTIAL.c.created_at_us, CREDENTIAL.c.id)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return tuple(_credential(row) for row in rows)

    def _look_up(self, credential_id: str) -> _Remembered | None:
        with self._lock:
            known = self._remembered.get(credential_id)
            revocations = self._revocations
        if known is not None and time.monotonic() < known.until:
            return known
        until = time.monotonic() + REMEMBERED_SECONDS
        row = self._database.read(lambda connection: _find(connection, credential_id))
        if row is None:
            return None
        found = _Remembered(_credential(row), row.secret_hash, until)
        with self._lock:
            # What was read before a revocation on this node must not outlive it.
            if revocations == self._revocations:
                if len(self._remembered) >= _REMEMBERED_AT_MOST:
                    self._remembered.clear()
                self._remembered[credential_id] = found
        return found

    def _create(
        self,
        connection: Connection,
        credential_id: str,
        secret_hash: bytes,
        terms: CredentialTerms,
        by: str,
    ) -> Credential:
        now = self._database.now(connection)
        person = terms.person
        stated = {
            "client": terms.client,
            "scopes": sorted(terms.scopes),
            "person_id": None if person is None else person.id,
            "person_role": None if person is None else person.role,
            "ceiling": terms.ceiling,
            "roster": None if terms.roster is None else dict(terms.roster),
            "owner": terms.owner,
        }
        expires_at = None if terms.expires_at is None else format_timestamp(terms.expires_at)
        fields = {
            "credential": credential_id,
            **stated,
            "expires_at": expires_at,
            # Whoever put another hash in its place could call as this credential.
            "secret_hash": secret_hash.hex(),
        }
        row = {
            "id": credential_id,
            "record_id": record_event(
                connection, self._secret, "credential_created", now, by, fields
            ),
            "secret_hash": secret_hash,
            **stated,
            "created_by": by,
            "created_at_us": now,
            "expires_at_us": terms.expires_at,
        }
        connection.execute(insert(CREDENTIAL), row)
        return Credential(credential_id, terms, by, now)

    def _revoke(self, connection: Connection, credential_id: str, by: str) -> Credential:
        row = _find(connection, credential_id)
        if row is None:
            raise UnknownCredentialError(f"no credential has the id `{credential_id}`")
        if row.revoked_at_us is None:
            now = self._database.now(connection)
            fields = {"credential": credential_id}
            revocation = {
                "credential_id": credential_id,
                "record_id": record_event(
                    connection, self._secret, "credential_revoked", now, by, fields
                ),
                "revoked_by": by,
                "revoked_at_us": now,
            }
            connection.execute(insert(REVOCATION), revocation)
            row = _find(connection, credential_id)
        return _credential(row)


def _find(connection: Connection, credential_id: str) -> Row[Any] | None:
    return connection.execute(_STORED.where(CREDENTIAL.c.id == credential_id)).one_or_none()


def _credential(row: Any) -> Credential:
    person = None if row.person_id is None else Agent(row.person_id, row.person_role)
    terms = CredentialTerms(
        client=row.client,
        scopes=frozenset(row.scopes),
        person=person,
        ceiling=row.ceiling,
        roster=row.roster,
        owner=row.owner,
        expires_at=row.expires_at_us,
    )
    return Credential(row.id, terms, row.created_by, row.created_at_us, row.revoked_at_us)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
