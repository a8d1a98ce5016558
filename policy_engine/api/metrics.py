"""Prometheus metrics, correct over several worker processes.

With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported every worker writes into
that folder, and any of them answers `/metrics` for all.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from time import perf_counter
from typing import Final

from flask import Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from policy_engine.packs.holder import PackState
from policy_engine.usecases.deciding import Decided
from policy_engine.usecases.keeping import LogState

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Histogram(
    "policy_engine_request_seconds",
    "Time from the first byte read to the answer, by route, method and status",
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
BINDING_CAPS = Counter(
    "policy_engine_binding_caps_total",
    "Plans of recorded decisions that a cap cut, by cap",
    ("cap",),
)
PACK_ACTIVE_SINCE = Gauge(
    "policy_engine_pack_active_since_seconds",
    "When each worker last swapped its pack (Unix time); the oldest of the workers",
    multiprocess_mode="livemin",
)
PACK_INFO = Gauge(
    "policy_engine_pack_info",
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

_LIVE_FILE = re.compile(r"gauge_live.*_(\d+)\.db")


def end(response: Response) -> Response:
    """Measure the request that ends here."""
    route = request.url_rule.rule if request.url_rule else "none"
    REQUESTS.labels(route, _method(), str(response.status_code)).observe(
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
        OFFERS.labels(plan, authority).inc()
        if cap is not None:
            BINDING_CAPS.labels(cap).inc()


class PackGauges:
    """Keeps the gauges at what the pack's state says; called after each change."""

    def __init__(self) -> None:
        self._shown: str | None = None
        self._failures = 0

    def show(self, state: PackState) -> None:
        if self._shown not in (None, state.revision):
            PACK_INFO.labels(self._shown).set(0)
        if state.revision is not None:
            PACK_INFO.labels(state.revision).set(1)
            self._shown = state.revision
        if state.active_since is not None:
            PACK_ACTIVE_SINCE.set(state.active_since.timestamp())
        PACK_BLOCKED.set(0 if state.blocked is None else 1)
        PACK_REFUSED.inc(state.failures - self._failures)
        self._failures = state.failures


class LogGauges:
    """Keeps the gauges at how the log stands; called after each look at it."""

    def __init__(self) -> None:
        self._sequenced = 0

    def show(self, state: LogState) -> None:
        LOG_SIZE.set(state.size)
        LOG_WAITING.set(state.waiting)
        LOG_DELAY.set(state.delay.total_seconds())
        LOG_UNTRUSTED.set(1 if state.refused else 0)
        LOG_SEQUENCED.inc(state.sequenced - self._sequenced)
        self._sequenced = state.sequenced


def exposition() -> tuple[bytes, str]:
    """What `/metrics` answers, and its media type."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


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


def _method() -> str:
    # Anybody can send any word as a method; only known ones become a time series.
    known = ("GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH")
    return request.method if request.method in known else "other"
