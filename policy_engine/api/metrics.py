"""Prometheus metrics, correct over several worker processes.

With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported every worker writes into
that folder, and any of them answers `/metrics` for all. What a worker looks up from time to time
is in `gauges`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Final

from flask import Response, g
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

from policy_engine.api import logs
from policy_engine.usecases.cases import Decided

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

# One more series for each there is, and several workers have none of them.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Histogram(
    "policy_engine_request_seconds",
    "Time from when a request came to its answer, by route, method and status",
    ("route", "method", "status"),
    buckets=_SECONDS,
)
PROBLEMS = Counter(
    "policy_engine_problems_total", "Problem answers, by status and code", ("status", "code")
)
REPLAYED = Counter(
    "policy_engine_idempotent_replays_total", "Answers given again under the same key"
)
DECISIONS = Counter("policy_engine_decisions_total", "Recorded decisions, by outcome", ("outcome",))
DRY_RUNS = Counter(
    "policy_engine_dry_runs_total", "Decisions that were not recorded, by outcome", ("outcome",)
)
OFFERS = Counter(
    "policy_engine_plans_offered_total",
    "Plans offered by recorded decisions, by plan and authority",
    ("plan", "authority"),
)
GRANTS = Counter(
    "policy_engine_grants_total", "Offers that were taken, by plan and status", ("plan", "status")
)
BINDING_CAPS = Counter(
    "policy_engine_binding_caps_total",
    "Plans of recorded decisions that a cap cut, and grants and approvals that it refused",
    ("cap", "at"),
)
PACK_ACTIVE_SINCE = Gauge(
    "policy_engine_pack_active_since_seconds",
    "When the pack was activated that a worker decides with (Unix time); the oldest of them",
    multiprocess_mode="livemin",
)
_PACK_INFO = "policy_engine_pack_info"
PACK_INFO = Gauge(
    _PACK_INFO,
    "1 for a pack revision that some worker decides with",
    ("revision",),
    multiprocess_mode="livemax",
)
PACK_BLOCKED = Gauge(
    "policy_engine_pack_blocked",
    "1 while some worker can't use the active revision and decides nothing",
    multiprocess_mode="livemax",
)
PACK_REFUSED = Counter(
    "policy_engine_pack_refused_total", "Candidate packs refused while the last good one stayed"
)
MATCHER_INFO = Gauge(
    "policy_engine_matcher_info",
    "1 for the matcher in use",
    ("matcher",),
    multiprocess_mode="livemax",
)
LOG_SIZE = Gauge(
    "policy_engine_log_size",
    "Entries of the verifiable log",
    multiprocess_mode="livemax",
)
LOG_WAITING = Gauge(
    "policy_engine_log_waiting",
    "Committed records that have no place in the log yet",
    multiprocess_mode="livemax",
)
LOG_DELAY = Gauge(
    "policy_engine_log_delay_seconds",
    "For how long the oldest of the waiting records has waited",
    multiprocess_mode="livemax",
)
LOG_SEQUENCED = Counter(
    "policy_engine_log_sequenced_total", "Records given a place in the log, by this service"
)
LOG_UNTRUSTED = Gauge(
    "policy_engine_log_untrusted",
    "1 while some worker writes nothing, because the log is not the one that was signed",
    multiprocess_mode="livemax",
)

CONNECTIONS_IN_USE = Gauge(
    "policy_engine_database_connections_in_use",
    "Database connections that calls hold, a second ago at most",
    multiprocess_mode="livesum",
)
CONNECTIONS_LIMIT = Gauge(
    "policy_engine_database_connections_limit",
    "Database connections that the workers may hold",
    multiprocess_mode="livesum",
)
DATABASE_CALLS = Gauge(
    "policy_engine_database_calls",
    "Calls that use the database or wait for it, a second ago at most",
    multiprocess_mode="livesum",
)

WORKING = Gauge(
    "policy_engine_requests_working",
    "Requests that are at work, a second ago at most",
    multiprocess_mode="livesum",
)
WAITING = Gauge(
    "policy_engine_requests_waiting",
    "Requests that wait for their turn, a second ago at most",
    multiprocess_mode="livesum",
)
for _status, _code in (("500", "INTERNAL_ERROR"), ("503", "UNAVAILABLE"), ("503", "OVERLOADED")):
    # There from the start, so that the first of them is seen as an increase.
    PROBLEMS.labels(_status, _code)

_MOST_NAMES = 1000
_OTHER = "other"
_LIVE_FILE = re.compile(r"gauge_live.*_(\d+)\.db")


class _Names:
    """Names out of packs: a bounded number of them become time series, later ones share one."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        if name not in self._known:
            if len(self._known) >= _MOST_NAMES:
                return _OTHER
            self._known.add(name)
        return name


_plans, _caps = _Names(), _Names()


def end(response: Response) -> Response:
    """Measure the request that ends here."""
    REQUESTS.labels(logs.route() or "none", logs.method(), str(response.status_code)).observe(
        perf_counter() - g.began_at
    )
    code = g.get("problem_code")
    if code is not None:
        PROBLEMS.labels(str(response.status_code), code).inc()
    if g.get("replayed"):
        REPLAYED.inc()
    return response


def decided(decision: Decided, *, dry_run: bool) -> None:
    """Count a decision that was made just now."""
    if dry_run:
        DRY_RUNS.labels(decision.outcome).inc()
        return
    DECISIONS.labels(decision.outcome).inc()
    for plan, authority, cap in decision.plans:
        OFFERS.labels(_plans.label(plan), authority).inc()
        if cap is not None:
            BINDING_CAPS.labels(_caps.label(cap), "decision").inc()


def granted(plan: str, status: str) -> None:
    """Count an offer that was taken just now."""
    GRANTS.labels(_plans.label(plan), status).inc()


def cap_refused(cap: str) -> None:
    """Count a grant or an approval that a cap refused just now."""
    BINDING_CAPS.labels(_caps.label(cap), "grant").inc()


def exposition() -> tuple[bytes, str]:
    """What `/metrics` answers, and its media type."""
    folder = os.environ.get(FOLDER_VARIABLE)
    registry: Collector = REGISTRY
    if folder is not None:
        _forget_the_dead(Path(folder))
        registry = multiprocess.MultiProcessCollector(None, path=folder)  # type: ignore[no-untyped-call]
    shown = CollectorRegistry()
    shown.register(_Shown(registry))
    return generate_latest(shown), CONTENT_TYPE_LATEST


class _Shown(Collector):
    """All but the revisions that nobody decides with any more: their series can't be taken out
    of a worker's file, and there would be one more after every activation."""

    def __init__(self, whole: Collector) -> None:
        self._whole = whole

    def collect(self) -> Iterable[Metric]:
        for metric in self._whole.collect():
            if metric.name == _PACK_INFO:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def _forget_the_dead(folder: Path) -> None:
    """Gauges of the living only: a worker that was killed can't take its own away."""
    pids = {
        int(match[1]) for path in folder.iterdir() if (match := _LIVE_FILE.fullmatch(path.name))
    }
    for pid in pids:
        if not _alive(pid):
            multiprocess.mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
