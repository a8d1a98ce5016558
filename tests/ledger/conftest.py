"""A ledger on each database, upgraded, with one pack revision to decide by."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from tests.ledger.given import REVISION
from tests.ready import SECRET


@pytest.fixture
def secret() -> InstanceSecret:
    return InstanceSecret(SECRET)


@pytest.fixture
def open_ledger(database_url: str, secret: InstanceSecret) -> Iterator[Callable[..., Ledger]]:
    """Opens ledgers over the test's database: each as another process would."""
    opened: list[Ledger] = []

    def open_one(timeout: timedelta = timedelta(seconds=5), pool_size: int = 8) -> Ledger:
        opened.append(Ledger.open(database_url, secret, timeout=timeout, pool_size=pool_size))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    one = open_ledger()
    one.packs.store(REVISION, b"the bytes of a pack")
    return one
