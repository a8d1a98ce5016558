"""Decides in several threads until it is killed; prints the id of each answer it was given."""

import itertools
import sys
import threading

from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from tests.ledger.given import a_call, deciding, decision_id_of

ledger = Ledger.open(sys.argv[1], InstanceSecret(sys.argv[2]))
numbers = itertools.count()
printing = threading.Lock()


def decide() -> None:
    for number in numbers:
        answer = ledger.decide(
            a_call(f"k{number}"), deciding(customer=f"C-{number % 9}", references=("ZD-1",))
        )
        with printing:
            sys.stdout.write(decision_id_of(answer) + "\n")
            sys.stdout.flush()


for _ in range(4):
    threading.Thread(target=decide).start()
