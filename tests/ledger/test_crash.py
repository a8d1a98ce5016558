"""What was acknowledged outlives a process that is killed, and nothing else is left of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from tests.ledger.given import REVISION
from tests.ready import SECRET

WRITER = Path(__file__).with_name("writes_until_killed.py")
HALVES = """
SELECT (SELECT count(*) FROM decision),
       (SELECT count(*) FROM record WHERE kind = 'decision'),
       (SELECT count(*) FROM outbox),
       (SELECT count(*) FROM idempotency),
       (SELECT count(*) FROM decision_reference WHERE kind = 'reference')
"""


@pytest.mark.parametrize("acknowledged_at_least", [1, 40, 150])
def test_every_acknowledged_decision_outlives_a_kill(
    database_url: str, acknowledged_at_least: int
) -> None:
    ledger = Ledger.open(database_url, InstanceSecret(SECRET))
    ledger.packs.store(REVISION, b"")
    command = [sys.executable, str(WRITER), database_url, SECRET]
    root = WRITER.parent.parent.parent
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={"PYTHONPATH": str(root)}
    ) as writer:
        assert writer.stdout is not None
        seen = [writer.stdout.readline().strip() for _ in range(acknowledged_at_least)]
        writer.kill()
        # The last line may have been cut off while it was written.
        seen += [line.strip() for line in writer.stdout if line.endswith("\n")]

    assert len(seen) >= acknowledged_at_least
    for decision_id in seen:
        stored = ledger.decisions.get(decision_id)
        assert stored is not None
        assert stored.answer is not None
        assert json.loads(stored.answer)["decision_id"] == decision_id
    with ledger._database.engine.connect() as connection:
        counts = connection.execute(text(HALVES)).one()
        assert len(set(counts)) == 1
        assert counts[0] >= len(seen)
        if connection.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    ledger.close()
