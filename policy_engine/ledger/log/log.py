"""The log of one instance: its key, its sequencer, its entries, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, func, insert, select

from policy_engine.ledger.errors import SecretError, TamperedError, UntrustedLogError
from policy_engine.ledger.events import record_event
from policy_engine.ledger.log.answers import AnswerCheck
from policy_engine.ledger.log.bindings import EvidenceCheck, PinCheck, ReferenceCheck
from policy_engine.ledger.log.calls import CallCheck
from policy_engine.ledger.log.checks import DecisionCheck, Replayer
from policy_engine.ledger.log.counters import CounterCheck
from policy_engine.ledger.log.due import DueCheck
from policy_engine.ledger.log.events import EventCheck, InstanceCheck, SubjectCheck
from policy_engine.ledger.log.findings import Check, Report
from policy_engine.ledger.log.grants import GrantCheck
from policy_engine.ledger.log.notes import Checkpoint, NoteError, SigningKey, VerifierKey
from policy_engine.ledger.log.reading import (
    LogBook,
    StoredCheckpoint,
    keys_of,
    latest_checkpoint,
    size_of,
)
from policy_engine.ledger.log.sequencer import Sequencer
from policy_engine.ledger.log.tiles import StoredNodes
from policy_engine.ledger.log.tree import root
from policy_engine.ledger.log.verify import verify
from policy_engine.ledger.log.walk import Progress
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import INSTANCE, LOG_KEY

_TURN = select(func.pg_advisory_xact_lock(0x6C6F676B))
_ORIGIN = "policy-engine/"


class VerifiableLog(LogBook):
    """Reading as in `LogBook`; and what the process that keeps the log needs."""

    refusal: str | None = None
    """Why nothing is written at the moment."""

    def open_with(self, secret: InstanceSecret, by: str) -> SigningKey:
        """The key that signs checkpoints; the first call of an instance records its public half.

        Raises SecretError when the instance signs with another key.
        """
        signing = self._database.read(lambda connection: _signing_key(connection, secret))
        if self.key() is None:
            self._database.write(lambda connection: self._introduce(connection, signing, by))
        self._expect(signing)
        return signing

    def expect(self, secret: InstanceSecret) -> None:
        """SecretError unless the log is signed with the key of this secret; nothing is written."""
        self._expect(self._database.read(lambda connection: _signing_key(connection, secret)))

    def _expect(self, signing: SigningKey) -> None:
        if str(self.key()) != str(signing.verifier):
            raise SecretError(
                "the log is signed with another key; restore the file of that one, because "
                "nobody could trust what this one signs"
            )

    def sequencer(self, key: SigningKey) -> Sequencer:
        """What moves waiting records into the log; one at a time gets through."""
        return Sequencer(self._database, key)

    def witness(self, held: str | None) -> StoredCheckpoint | None:
        """The latest checkpoint, after making sure that the log holds what `held` says: the last
        checkpoint (a signed note) that is known outside the database.

        Raises UntrustedLogError when it doesn't: rows were taken back or changed since.
        """
        return self._database.read(lambda connection: _witness(connection, held))

    def verify(
        self,
        checks: Sequence[Check] = (),
        held: Iterable[str] = (),
        key: VerifierKey | None = None,
        *,
        replayer: Replayer | None = None,
        sample: int | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> Report:
        """Proves the whole again; `checks` come on top of those for what the ledger itself holds.

        `replayer` evaluates the decisions again: all, or `sample` of them. See `verify.verify`.
        """
        own: tuple[Check, ...] = (
            DecisionCheck(self._secret, replayer, sample),
            EventCheck(self._secret),
            SubjectCheck(self._secret),
            InstanceCheck(self._secret),
            GrantCheck(),
            DueCheck(),
            AnswerCheck(self._secret),
            CallCheck(self._secret),
            EvidenceCheck(),
            ReferenceCheck(),
            PinCheck(),
            CounterCheck(),
        )
        return verify(self._database, (*own, *checks), held, key, progress)

    def refuse_writing(self, because: str | None) -> None:
        """From now on every call that writes is UntrustedLogError; None: from now on none is."""
        self.refusal = because
        self._database.refuse(because)

    def _introduce(self, connection: Connection, signing: SigningKey, by: str) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(_TURN)
        if keys_of(connection):
            return
        key = str(signing.verifier)
        now = self._database.now(connection)
        record_id = record_event(
            connection, self._secret, "log_opened", now, by, {"verifier_key": key}
        )
        connection.execute(insert(LOG_KEY), {"verifier_key": key, "record_id": record_id})


def _signing_key(connection: Connection, secret: InstanceSecret) -> SigningKey:
    instance = connection.execute(select(INSTANCE.c.id)).scalar_one()
    private = Ed25519PrivateKey.from_private_bytes(secret.key("log signing"))
    return SigningKey(f"{_ORIGIN}{instance}", private)


def _witness(connection: Connection, held: str | None) -> StoredCheckpoint | None:
    latest = latest_checkpoint(connection)
    checkpoints = [] if held is None else [_opened(connection, held, "a checkpoint held outside")]
    if latest is not None:
        stored = _opened(connection, latest.note, "the last checkpoint in the database")
        if (stored.size, stored.root) != (latest.size, latest.root):
            raise UntrustedLogError("the last checkpoint in the database was changed")
        checkpoints.append(stored)
    size, nodes = size_of(connection), StoredNodes(connection)
    for each in checkpoints:
        if each.size > size:
            raise UntrustedLogError(
                f"the log in the database ends at {size} entries, but {each.size} were signed: "
                "it was rolled back; restore a newer backup"
            )
        try:
            found = root(each.size, nodes)
        except TamperedError as error:
            raise UntrustedLogError(str(error)) from error
        if found != each.root:
            raise UntrustedLogError(
                f"the first {each.size} entries of the log in the database are not those that "
                "were signed; run `policy-engine log verify`, and restore a good backup"
            )
    return latest


def _opened(connection: Connection, note: str, what: str) -> Checkpoint:
    reasons = []
    for key in keys_of(connection):
        try:
            return key.open(note)
        except NoteError as error:
            reasons.append(str(error))
    because = "; ".join(reasons) or "the log in the database was never opened"
    raise UntrustedLogError(
        f"{what} is not of this log ({because}); restore the database that it belongs to, or, to "
        "begin a new log, move the file of checkpoints away"
    )
