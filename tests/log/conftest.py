"""Services over each database, with a pack and a log of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from policy_engine.usecases.services import Services
from tests.log.given import begin, close, open_services


@pytest.fixture
def make_services() -> Iterator[Callable[..., Services]]:
    """Opens services over a database: each as another process would."""
    made: list[Services] = []

    def make(url: str, **settings: object) -> Services:
        made.append(open_services(url, **settings))
        return made[-1]

    yield make
    for each in made:
        close(each)


@pytest.fixture
def services(make_services: Callable[..., Services], database_url: str) -> Services:
    one = make_services(database_url)
    begin(one)
    return one
