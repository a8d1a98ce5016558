"""`policy-engine` without what keeps the log: no record gets its place in it, nothing is signed.

    python -m bench.unkept serve --port 8080

Only to measure what keeping the log costs. Nothing else is different: leaves are still hashed and
written with each record.
"""

from __future__ import annotations

from policy_engine.cli import main
from policy_engine.usecases.keeping import LogKeeper


def _keep_nothing(_keeper: LogKeeper) -> None:
    """In the place of `LogKeeper.start`."""


if __name__ == "__main__":
    LogKeeper.start = _keep_nothing  # type: ignore[method-assign]
    main(prog_name="policy-engine")
