"""Changes rows behind the database's back: flips, deletes, inserts, swaps, truncates."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import IntegrityError

from policy_engine.ledger.tables import METADATA

TABLES = (
    "record",
    "decision",
    "decision_reference",
    "log_leaf",
    "log_node",
    "checkpoint",
    "outbox",
    "pack_revision",
    "activation",
    "credential",
    "revocation",
    "subject",
    "instance",
    "log_key",
)
WAYS = ("flip", "delete", "insert", "swap", "truncate")
NOT_EVIDENCE = {
    ("pack_revision", "stored_at_us"),
    ("subject", "created_at_us"),
    ("instance", "created_at_us"),
    ("activation", "sequence"),
}
"""When a row was made that no record speaks of, and a number that counts only by its order:
docs/record.md says so."""

ERASED = "(erased)"
"""Marks a row here, never in the database."""

Row = dict[str, Any]


EVIDENCE = [
    (table, column.name)
    for table in TABLES
    for column in METADATA.tables[table].columns
    if (table, column.name) not in NOT_EVIDENCE
]
"""Every column that something on record speaks of."""


@dataclass(frozen=True)
class Tampering:
    table: str
    way: str
    seed: int
    column: str | None = None
    """The one to flip; None: any."""

    def __str__(self) -> str:
        return f"{self.way}-{self.table}-{self.column or ''}-{self.seed}"


@contextmanager
def unguarded(url: str) -> Iterator[Connection]:
    """A connection that no trigger and no foreign key stops."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _drop_triggers)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        yield connection
    engine.dispose()


def _drop_triggers(connection: sqlite3.Connection, _: object) -> None:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in names:
        connection.execute(f"DROP TRIGGER {name}")


def tamper(url: str, tampering: Tampering) -> str | None:
    """Carries it out; what was done, or None where it would have changed nothing."""
    chance = random.Random(f"{tampering}")
    with unguarded(url) as connection:
        table = tampering.table
        order = ", ".join(column.name for column in METADATA.tables[table].primary_key)
        query = text(f"SELECT * FROM {table} ORDER BY {order}")
        before = [dict(row) for row in connection.execute(query).mappings()]
        if tampering.way in ("flip", "swap"):
            _set_apart_the_erased(connection, table, before)
        for _ in range(20):
            after = [dict(row) for row in before]
            if tampering.column is not None:
                told = _flip(table, after, chance, [tampering.column])
            else:
                told = _WAYS[tampering.way](table, after, chance)
            if told is None or _as_set(after) == _as_set(before):
                continue
            try:
                with connection.begin_nested():
                    connection.execute(text(f"DELETE FROM {table}"))
                    for row in after:
                        _insert(connection, table, {k: v for k, v in row.items() if k != ERASED})
            except IntegrityError:
                continue
            return told
    return None


def _set_apart_the_erased(connection: Connection, table: str, rows: list[Row]) -> None:
    if table == "decision":
        alive = set(connection.execute(text("SELECT key_id FROM subject")).scalars())
        for row in rows:
            if row["answer_sealed"][:16] not in alive:
                row[ERASED] = True


def _as_set(rows: list[Row]) -> list[str]:
    return sorted(repr(row) for row in rows)


def _insert(connection: Connection, table: str, row: Row) -> None:
    names = ", ".join(row)
    places = ", ".join(f":{name}" for name in row)
    overriding = " OVERRIDING SYSTEM VALUE" if connection.dialect.name == "postgresql" else ""
    if table != "activation":
        overriding = ""
    values = {
        name: json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in row.items()
    }
    connection.execute(text(f"INSERT INTO {table} ({names}){overriding} VALUES ({places})"), values)


def _flip(
    table: str, rows: list[Row], chance: random.Random, of: Sequence[str] | None = None
) -> str | None:
    if not rows:
        return None
    row = chance.choice(rows)
    if _is_beyond(table, row):
        return None
    columns = of or [name for name in row if (table, name) not in NOT_EVIDENCE]
    column = chance.choice(columns)
    row[column] = _other(row[column], chance)
    return f"{table}.{column}"


def _delete(table: str, rows: list[Row], chance: random.Random) -> str | None:
    if not rows:
        return None
    row = chance.choice(rows)
    if _is_beyond(table, row):
        return None
    rows.remove(row)
    return f"{table}: {row}"


def _insert_one(table: str, rows: list[Row], chance: random.Random) -> str | None:
    if not rows:
        return None
    row = dict(chance.choice(rows))
    if _is_beyond(table, row):
        return None
    for column in METADATA.tables[table].columns:
        if column.primary_key or column.unique or column.name in ("record_id", "size", "key_id"):
            row[column.name] = _other(row[column.name], chance)
    rows.append(row)
    return f"{table}: {row}"


def _swap(table: str, rows: list[Row], chance: random.Random) -> str | None:
    if len(rows) < 2:
        return None
    one, two = chance.sample(rows, 2)
    keys = [column.name for column in METADATA.tables[table].primary_key]
    columns = [name for name in one if name not in keys] or keys
    columns = [name for name in columns if (table, name) not in NOT_EVIDENCE]
    if _is_beyond(table, one) or _is_beyond(table, two):
        return None
    if all(one[name] == two[name] for name in columns):
        return None
    if chance.random() < 0.5:
        columns = [chance.choice([name for name in columns if one[name] != two[name]])]
    for name in columns:
        one[name], two[name] = two[name], one[name]
    return f"{table}: {columns}"


def _truncate(table: str, rows: list[Row], chance: random.Random) -> str | None:
    if not rows:
        return None
    kept = chance.randrange(len(rows))
    del rows[kept:]
    return f"{table} from {kept} on"


_WAYS = {
    "flip": _flip,
    "delete": _delete,
    "insert": _insert_one,
    "swap": _swap,
    "truncate": _truncate,
}


def _is_beyond(table: str, row: Row) -> bool:
    """Of a customer who was erased: what the reference and the sealed answer were can't be known
    any more."""
    return ERASED in row or (table == "decision_reference" and row["kind"] == "reference")


def _other(value: Any, chance: random.Random) -> Any:
    if value is None:
        return "1"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(8))
    if isinstance(value, bytes):
        at = chance.randrange(max(1, len(value)))
        return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]
    if isinstance(value, str):
        at = chance.randrange(max(1, len(value)))
        return value[:at] + chance.choice("abcdefghij".replace(value[at], "")) + value[at + 1 :]
    return [*value, "more"]
