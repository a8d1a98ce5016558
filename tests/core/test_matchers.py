"""Both matchers say the same about every rule book, and the boxed library survives it."""

import gc
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_engine import rete
from policy_engine.core.conditions import Both, Either, Formula, Leaf, evaluate, negated
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.ports import Network, RuleBook
from policy_engine.rete import flattening
from policy_engine.rete.box import Box
from policy_engine.rete.flattening import Flattening, grouped

pytestmark = pytest.mark.rete


def leaves(numbers: int) -> st.SearchStrategy[Formula]:
    return st.builds(Leaf, st.integers(0, numbers - 1), st.booleans())


def formulas(numbers: int, most: int = 24) -> st.SearchStrategy[Formula]:
    return st.recursive(
        leaves(numbers),
        lambda inner: st.builds(
            lambda kind, parts: kind(tuple(parts)),
            st.sampled_from([Both, Either]),
            st.lists(inner, min_size=1, max_size=6),
        ),
        max_leaves=most,
    )


@st.composite
def books(draw: st.DrawFn) -> tuple[RuleBook, list[dict[int, bool]]]:
    """A rule book with shared leaves, and truth maps for it that leave some leaves out."""
    numbers = draw(st.sampled_from([1, 2, 5, 20, 80]))
    rules = draw(st.lists(formulas(numbers), min_size=1, max_size=12))
    truths = draw(
        st.lists(
            st.dictionaries(st.integers(0, numbers - 1), st.booleans()), min_size=1, max_size=4
        )
    )
    return RuleBook("book", {f"rule {i}": of for i, of in enumerate(rules)}), truths


def random_formula(random: Random, numbers: int, depth: int) -> Formula:
    if depth == 0 or random.random() < 0.3:
        return Leaf(random.randrange(numbers), random.random() < 0.5)
    parts = [random_formula(random, numbers, depth - 1) for _ in range(random.randint(1, 5))]
    return random.choice([Both, Either])(tuple(parts))


def random_truth(random: Random, numbers: int) -> dict[int, bool]:
    known = random.random()
    return {i: random.random() < 0.5 for i in range(numbers) if random.random() < known}


def expected(book: RuleBook, truth: dict[int, bool]) -> dict[str, bool]:
    outcomes = {rule: evaluate(of, truth) for rule, of in book.rules.items()}
    return {rule: outcome for rule, outcome in outcomes.items() if outcome is not None}


@pytest.fixture
def prepare() -> Iterator[Callable[[RuleBook], Network]]:
    made: list[Network] = []

    def make(book: RuleBook) -> Network:
        made.append(rete.Rete().prepare(book))
        return made[-1]

    yield make
    for network in made:
        network.close()


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@settings(max_examples=100)
@given(books())
def test_the_network_and_the_interpreter_agree_on_any_rule_book(
    drawn: tuple[RuleBook, list[dict[int, bool]]],
) -> None:
    book, truths = drawn
    network, plain = rete.Rete().prepare(book), Interpreter().prepare(book)
    for truth in truths:
        assert network.match(truth) == plain.match(truth) == expected(book, truth)
    network.close()


@pytest.mark.parametrize("seed", range(6))
def test_they_agree_on_books_of_150_rules(
    seed: int, prepare: Callable[[RuleBook], Network]
) -> None:
    random = Random(seed)
    numbers = random.choice([3, 40, 400])
    book = RuleBook("large", {f"r{i}": random_formula(random, numbers, i % 6) for i in range(150)})
    network, plain = prepare(book), Interpreter().prepare(book)
    for _ in range(20):
        truth = random_truth(random, numbers)
        assert network.match(truth) == plain.match(truth)


@pytest.mark.parametrize("seed", range(4))
def test_rows_left_out_for_what_they_need_come_out_false_and_the_others_as_ever(
    seed: int, prepare: Callable[[RuleBook], Network]
) -> None:
    random = Random(seed)
    groups = 12
    rows: dict[str, Formula] = {
        f"row {i}": Both((Leaf(i % groups), random_formula(random, 30, 2))) for i in range(60)
    }
    rows |= {f"free {i}": random_formula(random, 30, 2) for i in range(5)}
    network = prepare(RuleBook("table", rows, ((1 << groups) - 1,)))
    plain = RuleBook("table", rows)
    for _ in range(40):
        truth = random_truth(random, 30)
        one, unknown = random.randrange(groups), random.random() < 0.3
        truth |= {i: i == one for i in range(groups) if not (unknown and i in (one, 0))}
        assert network.match(truth) == expected(plain, truth)


def test_of_a_table_only_the_rows_that_may_hold_are_matched(
    prepare: Callable[[RuleBook], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[str, Formula] = {f"row {i}": Both((Leaf(i // 10), Leaf(10 + i))) for i in range(100)}
    network = prepare(RuleBook("table", rows, ((1 << 10) - 1,)))
    matched: list[int] = []
    whole = Box.match

    def noted(box: Box, values: Mapping[int, bool]) -> dict[int, bool]:
        found = whole(box, values)
        matched.append(len(found))
        return found

    monkeypatch.setattr(Box, "match", noted)
    truth = {i: i == 3 for i in range(10)} | {10 + i: True for i in range(100)}
    found = network.match(truth)
    assert {row for row, holds in found.items() if holds} == {f"row {i}" for i in range(30, 40)}
    assert len(found) == 100
    assert sum(matched) == 10


def alternating(depth: int) -> Formula:
    of: Formula = Leaf(0)
    for level in range(1, depth):
        of = (Both, Either)[level % 2]((Leaf(level, level % 3 != 0), of))
    return of


@pytest.mark.parametrize(
    "of",
    [
        Both(tuple(Leaf(i) for i in range(200))),
        Either(tuple(Leaf(i, i % 2 == 0) for i in range(600))),
        Both(tuple(Either((Leaf(2 * i), Leaf(2 * i + 1, False))) for i in range(40))),
        Either(tuple(Both((Leaf(i), Leaf((i + 7) % 150, False))) for i in range(150))),
        alternating(200),
        Both((Leaf(0), Leaf(0, False))),
        Both((Both((Both((Leaf(0),)),)),)),
    ],
    ids=["200 in all", "600 in any", "2^40 paths", "150 pairs", "200 deep", "never true", "nested"],
)
def test_a_formula_beyond_one_network_is_cut_and_stays_right(
    of: Formula, prepare: Callable[[RuleBook], Network]
) -> None:
    network = prepare(RuleBook("one", {"holds": of, "fails": negated(of)}))
    random = Random(1)
    for deciding in (True, False):
        for changed in range(0, 600, 67):
            truth = dict.fromkeys(range(600), deciding)
            truth[changed] = not deciding
            truth.update(random_truth(random, 3))
            truth.pop(random.randrange(600))
            outcome = evaluate(of, truth)
            wanted = {} if outcome is None else {"holds": outcome, "fails": not outcome}
            assert network.match(truth) == wanted


def test_a_rule_that_nothing_decides_is_left_out(prepare: Callable[[RuleBook], Network]) -> None:
    network = prepare(RuleBook("b", {"pair": Both((Leaf(0), Leaf(1)))}))
    assert network.match({}) == {}
    assert network.match({0: True}) == {}
    assert network.match({0: False}) == {"pair": False}
    assert network.match({0: True, 1: True, 99: False}) == {"pair": True}


def test_an_empty_book_matches_nothing(prepare: Callable[[RuleBook], Network]) -> None:
    assert prepare(RuleBook("empty", {})).match({1: True}) == {}


def test_rule_ids_of_any_text_come_back_as_they_were(
    prepare: Callable[[RuleBook], Network],
) -> None:
    rules = {name: Leaf(i) for i, name in enumerate(['a"b', "$and", "折扣", "x\x00y", ""])}
    network = prepare(RuleBook('na"me', rules))
    assert network.match(dict.fromkeys(range(5), True)) == dict.fromkeys(rules, True)


def test_no_network_is_larger_than_the_library_bears() -> None:
    random = Random(7)
    book = RuleBook("b", {f"r{i}": random_formula(random, 300, 5) for i in range(100)})
    flat = Flattening()
    for of in book.rules.values():
        flat.slot(of)
    groups = [group for layer in flat.layers for group in grouped(layer)]
    assert len(groups) > 10
    for group in groups:
        terms = [term for rule in group for term in rule.terms]
        assert len(terms) <= flattening.MAX_RULES
        assert max(len(term) for term in terms) <= flattening.MAX_TESTS
        assert len({slot for rule in group for slot in rule.slots}) <= flattening.MAX_PROPERTIES


def test_eight_threads_on_one_network_all_get_right_answers(
    prepare: Callable[[RuleBook], Network],
) -> None:
    random = Random(3)
    book = RuleBook("b", {f"r{i}": random_formula(random, 12, 3) for i in range(20)})
    network = prepare(book)
    truths = [random_truth(random, 12) for _ in range(250)]
    answers = [expected(book, truth) for truth in truths]

    def work(_: int) -> bool:
        return [network.match(truth) for truth in truths] == answers

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_closed_network_refuses_to_match_and_closes_again_without_complaint() -> None:
    network = rete.Rete().prepare(RuleBook("b", {"r": Leaf(0)}))
    network.close()
    network.close()
    with pytest.raises(rete.MatcherError, match="closed"):
        network.match({0: True})


def test_closing_one_network_leaves_another_of_the_same_book_alone() -> None:
    book = RuleBook("b", {"r": Leaf(0)})
    old, new = rete.Rete().prepare(book), rete.Rete().prepare(book)
    old.close()
    assert new.match({0: False}) == {"r": False}
    new.close()


def resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize("closing", [True, False], ids=["closed", "forgotten"])
def test_discarded_books_leave_nothing_behind(closing: bool) -> None:
    random = Random(5)
    book = RuleBook("b", {f"r{i}": random_formula(random, 30, 3) for i in range(30)})

    def discard(times: int) -> None:
        for _ in range(times):
            network = rete.Rete().prepare(book)
            network.match({0: True})
            if closing:
                network.close()
        gc.collect()

    discard(20)
    before = resident_kib()
    discard(40)
    assert resident_kib() - before < 8_000  # leaked, the 40 would hold some 170,000


def test_a_network_survives_whatever_the_memory_held_before() -> None:
    """`delete_state` frees pointers that the library sets only in a state's first action."""
    script = """
        from policy_engine.core.conditions import Both, Leaf
        from policy_engine.core.ports import RuleBook
        from policy_engine.rete import Rete
        for _ in range(20):
            network = Rete().prepare(RuleBook("b", {"r": Both((Leaf(0), Leaf(1)))}))
            assert network.match({0: True}) == {}
            network.close()
        print("alive")
    """
    done = run_python(script, MALLOC_PERTURB_="165")
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_an_action_that_fails_is_no_answer(prepare: Callable[[RuleBook], Network]) -> None:
    """The library swallows it: the match would look as if the rule had not fired."""
    network = prepare(RuleBook("b", {"r": Leaf(0)}))
    box = network._always._boxes[0]  # type: ignore[attr-defined]

    def fail(c: object) -> None:
        raise KeyboardInterrupt

    kept = {name: promise._func for name, promise in box._ruleset._actions.items()}
    for promise in box._ruleset._actions.values():
        promise._func = fail
    with pytest.raises(rete.MatcherError, match="did not complete"):
        network.match({0: True})
    for name, promise in box._ruleset._actions.items():
        promise._func = kept[name]
    assert network.match({0: True}) == {"r": True}


def test_a_rule_found_both_true_and_false_is_no_answer(
    prepare: Callable[[RuleBook], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = prepare(RuleBook("b", {"r": Leaf(0)}))
    box = network._always._boxes[0]  # type: ignore[attr-defined]
    monkeypatch.setattr(box, "_run", lambda _: {(1, True), (1, False)})
    with pytest.raises(rete.MatcherError, match="both true and false"):
        network.match({0: True})


def test_an_error_of_the_library_is_no_answer_and_the_next_match_is_right(
    prepare: Callable[[RuleBook], Network],
) -> None:
    network = prepare(RuleBook("b", {"r": Leaf(0)}))
    box = network._always._boxes[0]  # type: ignore[attr-defined]
    box._ruleset.assert_fact({"sid": "0", "c0": 1})  # as if a state had been left behind
    with pytest.raises(rete.MatcherError, match="durable_rules failed"):
        network.match({0: True})
    assert network.match({0: True}) == {"r": True}


def test_a_network_of_another_process_refuses_to_match(
    prepare: Callable[[RuleBook], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = prepare(RuleBook("b", {"r": Leaf(0)}))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(rete.MatcherError, match="forked"):
        network.match({0: True})


def test_a_match_prints_and_logs_nothing() -> None:
    script = """
        import logging
        logging.basicConfig(level=logging.DEBUG)
        from policy_engine.core.conditions import Leaf
        from policy_engine.core.ports import RuleBook
        from policy_engine.rete import Rete
        network = Rete().prepare(RuleBook("b", {"r": Leaf(0)}))
        network.match({0: True}); network.match({0: False}); network.match({}); network.close()
    """
    done = run_python(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_auto_and_rete_choose_the_network_where_the_library_is_there() -> None:
    assert rete.available()
    assert rete.best_matcher("auto").name == "rete"
    assert rete.best_matcher("rete").name == "rete"
    assert rete.best_matcher("interpreter").name == "interpreter"
