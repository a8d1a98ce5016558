"""The API with settings of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from policy_engine import bootstrap
from policy_engine.settings import Settings
from policy_engine.usecases import packs
from tests.api.conftest import PACK, SECRET, Api, app_over

MakeApi = Callable[..., Api]


@pytest.fixture
def make_api(sqlite_url: str) -> Iterator[MakeApi]:
    """Makes the API over the embedded database with these settings."""
    made: list[Api] = []

    def make(**settings: Any) -> Api:
        services = bootstrap.build(Settings(sqlite_url, secret_key=SECRET, **settings))
        packs.activate_folder(services, PACK, by="tests")
        packs.follow(services)
        made.append(Api(app_over(services), services))
        return made[-1]

    yield make
    for each in made:
        each.services.packs.close()
        each.services.ledger.close()
