"""Which matcher answers where durable_rules cannot be imported."""

import subprocess
import sys
import textwrap

import pytest

WITHOUT_DURABLE = """
    import sys
    sys.modules[{module!r}] = None
    from policy_engine.core.conditions import Leaf
    from policy_engine.core.ports import RuleBook
    from policy_engine.rete import MatcherError, Rete, available, best_matcher
    assert not available()
    assert best_matcher("auto").name == "interpreter"
    assert best_matcher("interpreter").name == "interpreter"
    book = RuleBook("b", {{"r": Leaf(0)}})
    for ask in (lambda: best_matcher("rete"), lambda: Rete().prepare(book)):
        try:
            ask()
        except MatcherError as error:
            print(error)
"""


@pytest.mark.parametrize("module", ["durable", "durable_rules_engine"])
def test_without_the_library_auto_falls_back_and_rete_says_what_to_do(module: str) -> None:
    script = textwrap.dedent(WITHOUT_DURABLE.format(module=module))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("set the matcher to `interpreter` or `auto`") == 2
