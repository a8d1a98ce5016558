"""Changes rows behind the database's back: flips, deletes, inserts, swaps, truncates."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import IntegrityError

from policy_engine.ledger.tables import METADATA

TABLES = tuple(sorted(METADATA.tables))
"""All that there are."""
WAYS = ("flip", "delete", "insert", "swap", "truncate")
NOT_EVIDENCE = {
    ("pack_revision", "stored_at_us"),
    ("subject", "created_at_us"),
    ("instance", "created_at_us"),
    ("activation", "sequence"),
}
"""When a row was made that no record speaks of, and a number that counts only by its order:
docs/record.md says so."""

BEYOND = "(beyond)"
"""Marks a row here, never in the database, that proves nothing."""

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
        _set_apart(connection, tampering, before)
        for _ in range(20):
            after = [dict(row) for row in before]
            if tampering.column is not None:
                told = _flip(table, after, chance, [tampering.column])
            else:
                told = _WAYS[tampering.way](table, after, chance)
            if told is None:
                continue
            gone, new = _without(before, after), _without(after, before)
            if not gone and not new:
                continue
            try:
                with connection.begin_nested():
                    _delete_rows(connection, table, gone)
                    for row in new:
                        _insert(connection, table, {k: v for k, v in row.items() if k != BEYOND})
            except IntegrityError:
                continue
            return told
    return None


def _set_apart(connection: Connection, tampering: Tampering, rows: list[Row]) -> None:
    """Marks the rows that, tampered with in this way, prove nothing. Of a customer who was erased,
    what was answered can't be known any more; a call that moved nothing may be made again; a
    counter that holds nothing, or the lock of a window, is made anew when it is needed, and so is
    one that no cap counts by any more."""
    table, changes = tampering.table, tampering.way in ("flip", "swap")
    if table in ("decision", "kept_answer") and changes:
        alive = set(connection.execute(text("SELECT key_id FROM subject")).scalars())
        beyond = [row["answer_sealed"][:16] not in alive for row in rows]
    elif table == "idempotency" and tampering.way in ("delete", "truncate"):
        calls = _calls(connection)
        beyond = [row["key_hash"].hex() not in calls for row in rows]
    elif table == "limit_counter":
        kept = set(connection.execute(text("SELECT class FROM limit_class")).scalars())
        beyond = [row["amount"] == 0 or row["class"] not in kept for row in rows]
    elif table == "decision_reference":
        beyond = [row["kind"] == "reference" for row in rows]
    else:
        return
    for row, is_beyond in zip(rows, beyond, strict=True):
        if is_beyond:
            row[BEYOND] = True


def _calls(connection: Connection) -> set[object]:
    """The calls of the last day that are on record."""
    since = (time.time() - 86_000) * 1e6
    query = text("SELECT content FROM record WHERE recorded_at_us > :since")
    contents = connection.execute(query, {"since": since}).scalars()
    return {json.loads(each).get("call") for each in contents}


def _without(rows: list[Row], others: list[Row]) -> list[Row]:
    known = Counter(repr(row) for row in others)
    found = []
    for row in rows:
        if known[repr(row)]:
            known[repr(row)] -= 1
        else:
            found.append(row)
    return found


def _delete_rows(connection: Connection, table: str, rows: list[Row]) -> None:
    keys = [column.name for column in METADATA.tables[table].primary_key]
    where = " AND ".join(f"{key} = :{key}" for key in keys)
    if rows:
        connection.execute(
            text(f"DELETE FROM {table} WHERE {where}"),
            [{key: row[key] for key in keys} for row in rows],
        )


def _insert(connection: Connection, table: str, row: Row) -> None:
    names = ", ".join(row)
    places = ", ".join(f":{name}" for name in row)
    overriding = " OVERRIDING SYSTEM VALUE" if connection.dialect.name == "postgresql" else ""
    values = {
        name: json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in row.items()
    }
    connection.execute(text(f"INSERT INTO {table} ({names}){overriding} VALUES ({places})"), values)


def _any(rows: list[Row], chance: random.Random) -> Row | None:
    """A row that proves something."""
    proving = [row for row in rows if BEYOND not in row]
    return chance.choice(proving) if proving else None


def _flip(
    table: str, rows: list[Row], chance: random.Random, of: Sequence[str] | None = None
) -> str | None:
    row = _any(rows, chance)
    if row is None:
        return None
    columns = of or [name for name in row if (table, name) not in NOT_EVIDENCE]
    column = chance.choice(columns)
    row[column] = _other(row[column], chance)
    return f"{table}.{column}"


def _delete(table: str, rows: list[Row], chance: random.Random) -> str | None:
    row = _any(rows, chance)
    if row is None:
        return None
    rows.remove(row)
    return f"{table}: {row}"


def _insert_one(table: str, rows: list[Row], chance: random.Random) -> str | None:
    like = _any(rows, chance)
    if like is None:
        return None
    row = dict(like)
    of = METADATA.tables[table]
    unique = [column for index in of.indexes if index.unique for column in index.columns]
    named = [column for column in of.columns if column.name == "record_id"]
    for column in dict.fromkeys((*of.primary_key, *unique, *named)):
        row[column.name] = _other(row[column.name], chance)
    rows.append(row)
    return f"{table}: {row}"


def _swap(table: str, rows: list[Row], chance: random.Random) -> str | None:
    proving = [row for row in rows if BEYOND not in row]
    if len(proving) < 2:
        return None
    one, two = chance.sample(proving, 2)
    keys = [column.name for column in METADATA.tables[table].primary_key]
    columns = [name for name in one if name not in keys] or keys
    columns = [name for name in columns if (table, name) not in NOT_EVIDENCE]
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
    if all(BEYOND in row for row in rows[kept:]):
        return None
    del rows[kept:]
    return f"{table} from {kept} on"


_WAYS = {
    "flip": _flip,
    "delete": _delete,
    "insert": _insert_one,
    "swap": _swap,
    "truncate": _truncate,
}


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
