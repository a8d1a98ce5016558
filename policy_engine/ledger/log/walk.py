"""Verification of the tree: leaves in order, inner nodes, checkpoints, signatures, and that every
record is in the log or waits for it. What the records say is left to the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import orjson
from sqlalchemy import Connection, RowMapping, text

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import MISFORMED, Check, CheckedRecord, Finding, Report
from policy_engine.ledger.log.notes import Checkpoint, NoteError, VerifierKey
from policy_engine.ledger.log.tiles import TILE_LEVELS, StoredNodes
from policy_engine.ledger.log.tree import Frontier, leaf_hash, root

Progress = Callable[[int, int], None]
"""(entries done, entries in all)."""

_LEAVES = text(
    "SELECT l.leaf_index, l.record_id, l.leaf_hash, "
    "r.id, r.kind, r.recorded_at_us, r.content, r.leaf_hash AS record_hash "
    "FROM log_leaf l LEFT JOIN record r ON r.id = l.record_id "
    "WHERE l.leaf_index >= :start ORDER BY l.leaf_index LIMIT :page"
)
_WAITING = text(
    "SELECT o.record_id, l.leaf_index, "
    "r.id, r.kind, r.recorded_at_us, r.content, r.leaf_hash AS record_hash "
    "FROM outbox o LEFT JOIN record r ON r.id = o.record_id "
    "LEFT JOIN log_leaf l ON l.record_id = o.record_id "
    "WHERE o.record_id > :after ORDER BY o.record_id LIMIT :page"
)
_NODE = text("SELECT hash FROM log_node WHERE level = :level AND position = :position")
_LOST = text(
    "SELECT r.id FROM record r LEFT JOIN log_leaf l ON l.record_id = r.id "
    "LEFT JOIN outbox o ON o.record_id = r.id "
    "WHERE l.leaf_index IS NULL AND o.record_id IS NULL LIMIT :page"
)


class Walk:
    """One walk along the log, on one consistent state of the database."""

    def __init__(
        self,
        connection: Connection,
        keys: Sequence[VerifierKey],
        checks: Sequence[Check],
        report: Report,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._checks = checks
        self._report = report
        self._tree = Frontier()
        self._nodes = 0
        self._checkpoints = 0
        self._waiting = 0
        self._fits = True
        """False once the tree was found to differ: what follows would only say so again."""

    def run(self, progress: Progress) -> None:
        """Walks from the first leaf to the last waiting record, and then looks at the rest."""
        total = rows.count(self._connection, "log_leaf") + rows.count(self._connection, "outbox")
        signed = self._signed()
        following = next(signed, None)
        for page in self._leaf_pages():
            records: list[CheckedRecord] = []
            for leaf in page:
                records += self._leaf(leaf)
                while following is not None and following.size <= self._tree.size:
                    self._compare(following)
                    following = next(signed, None)
            self._check(records)
            progress(self._tree.size, total)
        while following is not None:
            self._compare(following)
            following = next(signed, None)
        for page in self._waiting_pages():
            self._check([record for row in page for record in self._waiting_row(row)])
            progress(self._tree.size + self._waiting, total)
        self._rest()
        self._report.size, self._report.root = self._tree.size, self._tree.root()

    def held(self, checkpoint: Checkpoint) -> None:
        """Compares a checkpoint that somebody holds outside. Call it after `run`."""
        at = f"held checkpoint of {checkpoint.size}"
        if checkpoint.size > self._tree.size:
            message = f"the log ends at {self._tree.size} entries: it was rolled back"
            self._add("log_leaf", at, message, self._tree.size)
            return
        try:
            fits = root(checkpoint.size, StoredNodes(self._connection)) == checkpoint.root
        except TamperedError:
            fits = False
        if not fits:
            self._add("log_leaf", at, "the log is not a continuation of it", checkpoint.size - 1)

    def _leaf_pages(self) -> Iterator[Sequence[RowMapping]]:
        bounds = {"start": 0, "page": rows.PAGE}
        while page := self._connection.execute(_LEAVES, bounds).mappings().all():
            yield page
            bounds["start"] = page[-1]["leaf_index"] + 1

    def _waiting_pages(self) -> Iterator[Sequence[RowMapping]]:
        bounds = {"after": "", "page": rows.PAGE}
        while page := self._connection.execute(_WAITING, bounds).mappings().all():
            yield page
            bounds["after"] = page[-1]["record_id"]

    def _leaf(self, row: RowMapping) -> Iterator[CheckedRecord]:
        index = row["leaf_index"]
        if index != self._tree.size and self._fits:
            self._add("log_leaf", str(index), f"the entry {self._tree.size} is missing", index)
            self._fits = False
        if row["id"] is None:
            self._add("record", row["record_id"], "the record of this entry is missing", index)
        record = self._record(row, index)
        hashed = leaf_hash(row["content"]) if record is not None else row["leaf_hash"]
        if hashed != row["leaf_hash"]:
            self._add("log_leaf", row["record_id"], "another hash than that of its record", index)
        self._append(hashed)
        if record is not None:
            yield record

    def _append(self, leaf: object) -> None:
        for level, position, node in self._tree.append(leaf if isinstance(leaf, bytes) else b""):
            if level % TILE_LEVELS:
                continue
            self._nodes += 1
            at = {"level": level, "position": position}
            stored = self._connection.execute(_NODE, at).scalar_one_or_none()
            if stored != node and self._fits:
                what = "is missing" if stored is None else "is not the hash of what is below it"
                self._add("log_node", f"{level}/{position}", what, self._tree.size)

    def _waiting_row(self, row: RowMapping) -> Iterator[CheckedRecord]:
        self._waiting += 1
        if row["id"] is None:
            self._add("record", row["record_id"], "the record that waits is missing")
        if row["leaf_index"] is not None:
            message = "waits for its place, though it has one"
            self._add("outbox", row["record_id"], message, row["leaf_index"])
        record = self._record(row, None)
        if record is not None:
            yield record

    def _record(self, row: RowMapping, index: int | None) -> CheckedRecord | None:
        """The record of a row, if its columns are of the right kind and agree with its bytes."""
        content, record_id = row["content"], row["id"]
        if record_id is None:
            return None
        if not isinstance(content, bytes):
            self._add("record", record_id, "the content is not bytes", index)
            return None
        if leaf_hash(content) != row["record_hash"]:
            self._add("record", record_id, "the content is not what was hashed", index)
        try:
            document = orjson.loads(content)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            self._add("record", record_id, "the content is no JSON object", index)
            return None
        stated = (
            document.get("id", document.get("record")),
            document.get("kind"),
            rows.microseconds(document.get("at")),
        )
        if stated != (record_id, row["kind"], row["recorded_at_us"]):
            message = "`id`, `kind` or `recorded_at_us` is not what the content says"
            self._add("record", record_id, message, index)
        return CheckedRecord(index, record_id, row["kind"], content, document)

    def _check(self, records: Sequence[CheckedRecord]) -> None:
        for check in self._checks:
            self._report_all(check.batch(self._connection, records))

    def _signed(self) -> Iterator[Checkpoint]:
        """The checkpoints, as far as they are in order and signed."""
        for page in rows.pages(self._connection, "checkpoint", "sequence"):
            for row in page:
                self._checkpoints += 1
                at = str(row["sequence"])
                if row["sequence"] != self._checkpoints:
                    message = f"the checkpoint {self._checkpoints} is missing"
                    self._add("checkpoint", at, message)
                    self._checkpoints = row["sequence"]
                checkpoint = self._opened(at, row["note"])
                if checkpoint is None:
                    continue
                if (checkpoint.size, checkpoint.root) != (row["size"], row["root"]):
                    self._add("checkpoint", at, "its columns are not what was signed")
                yield checkpoint

    def _opened(self, at: str, note: object) -> Checkpoint | None:
        reasons = []
        for key in self._keys:
            try:
                return key.open(str(note))
            except (NoteError, UnicodeError) as error:
                reasons.append(str(error))
        self._add("checkpoint", at, "; ".join(reasons) or "there is no key to check it with")
        return None

    def _compare(self, checkpoint: Checkpoint) -> None:
        if not self._fits:
            return
        at = f"checkpoint of {checkpoint.size}"
        if checkpoint.size > self._tree.size:
            message = f"the log ends at {self._tree.size} entries: later ones are missing"
            self._add("log_leaf", at, message, self._tree.size)
        elif checkpoint.size < self._tree.size:
            self._add("checkpoint", at, "is out of order", checkpoint.size - 1)
        elif checkpoint.root != self._tree.root():
            message = "the entries up to here are not those that were signed, or not in that order"
            self._add("log_leaf", at, message, checkpoint.size - 1)
        else:
            self._last_fitting = checkpoint.size
            return
        self._fits = False

    _last_fitting = 0

    def _rest(self) -> None:
        if self._fits and self._last_fitting != self._tree.size:
            message = "the last entries of the log are under no checkpoint"
            self._add("checkpoint", None, message, self._last_fitting)
        for table, expected in (("log_leaf", self._tree.size), ("log_node", self._nodes)):
            stored = rows.count(self._connection, table)
            if stored != expected:
                self._add(table, None, f"has {stored} rows where {expected} belong")
        if rows.count(self._connection, "record") != self._tree.size + self._waiting:
            for lost in self._connection.execute(_LOST, {"page": rows.PAGE}).scalars():
                self._add("record", str(lost), "is neither in the log nor waits for its place")
        for check in self._checks:
            self._report_all(check.end(self._connection))
            self._report.counts |= check.counts
        self._report.counts |= {"waiting": self._waiting, "checkpoints": self._checkpoints}

    def _report_all(self, findings: Iterator[Finding]) -> None:
        try:
            for finding in findings:
                self._report.add(finding)
        except MISFORMED as error:
            # What was changed can take any form, also one that no check is prepared for.
            self._add("-", None, f"a check came upon what it can't read ({error!r})")

    def _add(self, table: str, row: str | None, message: str, index: int | None = None) -> None:
        self._report.add(Finding(table, row, message, index))
