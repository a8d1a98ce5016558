"""Many threads match for a long time: every answer right, the memory flat."""

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from policy_engine import rete
from policy_engine.core.conditions import Both, Either, Formula, Leaf
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.ports import RuleBook

pytestmark = pytest.mark.rete

THREADS = 8
BOOKS = 4
TRUTHS = 500


def small_formula(random: Random, numbers: int, depth: int) -> Formula:
    if depth == 0 or random.random() < 0.4:
        return Leaf(random.randrange(numbers), random.random() < 0.6)
    parts = [small_formula(random, numbers, depth - 1) for _ in range(random.randint(2, 3))]
    return random.choice([Both, Either])(tuple(parts))


def resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def soak(evaluations: int) -> int:
    """Match that often in all, on networks that the threads share; the growth in KiB."""
    random = Random(11)
    work = []
    networks = []
    for number in range(BOOKS):
        rules = {f"rule {i}": small_formula(random, 16, 2) for i in range(6)}
        book = RuleBook(f"book {number}", rules)
        network, plain = rete.Rete().prepare(book), Interpreter().prepare(book)
        networks.append(network)
        for _ in range(TRUTHS // BOOKS):
            known = random.random()
            truth = {i: random.random() < 0.5 for i in range(16) if random.random() < known}
            work.append((network, truth, plain.match(truth)))

    def run(thread: int, times: int) -> int:
        own, wrong = Random(thread), 0
        for _ in range(times):
            network, truth, answer = own.choice(work)
            wrong += network.match(truth) != answer
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        # Every thread takes an arena from the allocator once; only what comes after it counts.
        wrong = sum(pool.map(run, range(THREADS), [250] * THREADS))
        gc.collect()
        before = resident_kib()
        wrong += sum(pool.map(run, range(THREADS), [evaluations // THREADS] * THREADS))
    gc.collect()
    growth = resident_kib() - before
    for network in networks:
        network.close()
    assert wrong == 0
    return growth


def test_five_thousand_matches_from_eight_threads_are_right_and_keep_nothing() -> None:
    assert soak(5_000) < 2_048


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_three_hundred_thousand_matches_from_eight_threads_are_right_and_keep_nothing() -> None:
    started = time.monotonic()
    growth = soak(300_000)
    print(f"300,000 matches: {time.monotonic() - started:.0f} s, {growth:+d} KiB resident")  # noqa: T201 - its figures
    assert growth < 4_096
