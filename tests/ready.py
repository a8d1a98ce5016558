"""Databases that the migrations have been through already.

They run once a worker; a test gets a copy of what they made, which takes a tenth of the time.
What the migrations do is tested on empty databases.
"""

import shutil
import tempfile
from pathlib import Path

from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from tests import postgres

SECRET = "a secret of the tests, long enough"
"""Of the instance in each of these databases."""


class Templates:
    """The set-up database of each kind, made when it is first asked for."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="policy-engine-ready-"))
        self._postgres: str | None = None

    def close(self) -> None:
        shutil.rmtree(self._folder)

    def sqlite(self, file: Path) -> str:
        """Writes the file of a database, and returns its URL."""
        template = self._folder / "template.db"
        if not template.exists():
            set_up(f"sqlite:///{template}")
        shutil.copy(template, file)
        return f"sqlite:///{file}"

    def postgres(self, cluster: postgres.PostgresCluster) -> str:
        """Creates a database, and returns its name."""
        if self._postgres is None:
            name = cluster.create()
            set_up(cluster.url(name))
            self._postgres = name
        return cluster.create(self._postgres)


def set_up(url: str) -> None:
    """Takes an empty database through the migrations; to one that was, it does nothing."""
    ledger = Ledger.open(url, InstanceSecret(SECRET))
    ledger.upgrade()
    ledger.close()
