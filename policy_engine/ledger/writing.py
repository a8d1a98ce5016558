"""Writing rows of several tables: one statement on PostgreSQL, one a table on SQLite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite

from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.tables import OUTBOX, RECORD

Row = tuple[Table, Mapping[str, Any]]

_ONE_STATEMENT_ROWS = 32
"""Above this, a statement a table is cheaper than preparing one more shape of statement."""


def insert_all(connection: Connection, rows: Sequence[Row]) -> None:
    """Inserts the rows; those of one table stand together, referenced tables first."""
    if not rows:
        return
    if connection.dialect.name == "postgresql" and len(rows) <= _ONE_STATEMENT_ROWS:
        shape = tuple((table, frozenset(values)) for table, values in rows)
        _one_statement(shape).run(connection, numbered([values for _, values in rows]))
        return
    for (table, columns), group in groupby(rows, key=lambda row: (row[0], frozenset(row[1]))):
        _insert(table, columns).run_all(connection, [values for _, values in group])


def insert_absent(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts those of the rows, all with the same columns, whose keys are not there yet, one
    after the other."""
    if rows:
        shape = (table, frozenset(rows[0]), len(rows))
        _absent(connection.dialect.name, *shape).run(connection, numbered(rows))


def insert_into(kind: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert in the words of `postgresql` or `sqlite`, which both know `ON CONFLICT`."""
    return postgresql.insert(table) if kind == "postgresql" else sqlite.insert(table)


def record_rows(record_id: str, kind: str, now: datetime, content: bytes) -> list[Row]:
    """A record and its place in the queue of the log."""
    record = {
        "id": record_id,
        "kind": kind,
        "recorded_at_us": now,
        "content": content,
        "leaf_hash": leaf_hash(content),
    }
    return [(RECORD, record), (OUTBOX, {"record_id": record_id})]


def leaf_hash(content: bytes) -> bytes:
    """RFC 9162: SHA-256 over a zero byte and the record's bytes."""
    return hashlib.sha256(b"\0" + content).digest()


def numbered(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of several rows as parameters of one statement: `name_0`, `name_1`, …"""
    return {
        f"{column}_{number}": value
        for number, values in enumerate(rows)
        for column, value in values.items()
    }


def parameters_of(table: Table, columns: Iterable[str], number: int) -> dict[str, Any]:
    """The parameters that `numbered` fills for one row."""
    return {name: bindparam(f"{name}_{number}", type_=table.c[name].type) for name in columns}


@lru_cache(maxsize=64)
def _one_statement(shape: tuple[tuple[Table, frozenset[str]], ...]) -> Prepared:
    # All parts of a statement see one snapshot and run whatever reads them; foreign keys are
    # checked when the whole statement ends.
    inserts = [
        insert(table).values(parameters_of(table, columns, number)).cte(f"new_{number}")
        for number, (table, columns) in enumerate(shape)
    ]
    return Prepared(select(literal_column("1")).add_cte(*inserts))


@lru_cache(maxsize=256)
def _absent(kind: str, table: Table, columns: frozenset[str], count: int) -> Prepared:
    rows = [parameters_of(table, columns, number) for number in range(count)]
    return Prepared(insert_into(kind, table).values(rows).on_conflict_do_nothing())


@lru_cache(maxsize=64)
def _insert(table: Table, columns: frozenset[str]) -> Prepared:
    values = {name: bindparam(name, type_=table.c[name].type) for name in columns}
    return Prepared(insert(table).values(values))
