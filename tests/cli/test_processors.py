"""Workers that keep to a processor of their own each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from policy_engine.cli import processors
from tests.cli.test_serve import SECRET, served, until

ALLOWED = sorted(os.sched_getaffinity(0))
FORK = multiprocessing.get_context("fork")
Start = Callable[[], tuple[list[int], list[int], list[int]]]


@pytest.fixture
def workers() -> Iterator[list[BaseProcess]]:
    started: list[BaseProcess] = []
    yield started
    for worker in started:
        worker.kill()
        worker.join()


@pytest.fixture
def start(workers: list[BaseProcess], monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a worker, and tells where its threads may run: those that load the application, those
    that the server starts, and those that answer."""
    told = FORK.Queue()
    # Servers of other tests hold claims too.
    monkeypatch.setattr(processors, "CLAIM", f"\0policy-engine-tests-{os.getpid()}/")

    def work() -> None:
        loading: list[int] = []

        def load() -> Any:
            loading.extend(_own())
            return lambda _environ, _start: _own()

        app = processors.on_one(load)
        told.put((loading, _own(), list(app({}, lambda *_: lambda _: None))))
        signal.pause()

    def start() -> tuple[list[int], list[int], list[int]]:
        workers.append(FORK.Process(target=work))
        workers[-1].start()
        found: tuple[list[int], list[int], list[int]] = told.get(timeout=30)
        return found

    return start


def test_each_has_one_of_its_own_until_none_is_left_and_a_killed_one_gives_it_back(
    start: Start, workers: list[BaseProcess]
) -> None:
    # Where there is one alone, none is kept to.
    own = ALLOWED if len(ALLOWED) > 1 else []
    first = [start() for _ in own]
    assert sorted(answering for _, _, (answering,) in first) == own
    assert all(loading == answering for loading, _, answering in first)
    assert all(server == ALLOWED for _, server, _ in first)
    assert start() == (ALLOWED, ALLOWED, ALLOWED)
    workers[0].kill()
    workers[0].join()
    assert start() == (first or [(ALLOWED, ALLOWED, ALLOWED)])[0]


def test_where_it_is_forbidden_nothing_is_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", forbidden)
        assert start() == (ALLOWED, ALLOWED, ALLOWED)
    if len(ALLOWED) > 1:
        assert len(start()[2]) == 1  # what couldn't be kept isn't claimed


@pytest.mark.parametrize("pin", ["true", "false"])
def test_what_computes_in_a_worker_stays_where_it_is(
    pin: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    given = {"SECRET_KEY": SECRET, "PIN_WORKERS": pin}
    with served(tmp_path, "--dev", "--port", str(port), **given) as server:
        until(lambda: "curl" in (tmp_path / "out.txt").read_text(), tmp_path)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        assert _processors_of(server.pid) == {tuple(ALLOWED)}
        found = _processors_of(int(children))
        assert tuple(ALLOWED) in found  # the server's own threads
        kept = found - {tuple(ALLOWED)}
        if pin == "false":
            assert not kept
        elif not kept:  # then servers of other tests keep to all of them, or there is one alone
            assert len(ALLOWED) == 1 or not any(_free(processor) for processor in ALLOWED)
        else:
            ((_,),) = kept


def _own() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _free(processor: int) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind(f"{processors.CLAIM}{processor}")
        except OSError:
            return False
    return True


def _processors_of(pid: int) -> set[tuple[int, ...]]:
    """What each thread of a process may run on."""
    threads = [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]
    return {tuple(sorted(os.sched_getaffinity(thread))) for thread in threads}
