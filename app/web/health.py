"""`/health`: liveness. `/health/ready`: readiness of database, migrations, Redis and workers.

Readiness is polled every few seconds, also while a dependency hangs: each group of checks runs in its own thread with a
deadline, and a hanging one is not started again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
from flask import Blueprint, Flask, current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.extensions import limiter
from app.jobs import queues
from app.store.engine import migrations
from app.store.queries import stats

log = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

READY_TIMEOUT_S = 1.5
"""Maximum response time."""
_UNKNOWN = "Not known, since the one before it is not there."
_SLOW = "No answer in time."


@dataclass(frozen=True, slots=True)
class HealthCheck:
    ok: bool
    sentence: str
    """Our own text: error messages may contain hosts and user names."""


HealthChecks = dict[str, HealthCheck]


@dataclass(slots=True)
class HealthProbe:
    """A group of checks, run by at most one thread at a time."""

    check: Callable[[], HealthChecks]
    fallback: HealthChecks
    """The result while it does not respond."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: _ProbeRun | None = None

    def begin(self, app: Flask) -> _ProbeRun:
        """Start the checks, or join those already running."""
        with self.lock:
            if self.running is None or self.running.done.is_set():
                self.running = _ProbeRun()
                threading.Thread(target=self._run, args=(app, self.running), daemon=True).start()
            return self.running

    def _run(self, app: Flask, run: _ProbeRun) -> None:
        try:
            with app.app_context():
                run.result = self.check()
        except Exception:  # the caller gets the fallback
            log.exception("readiness could not be found out")
        finally:
            run.done.set()


@dataclass(slots=True)
class _ProbeRun:
    done: threading.Event = field(default_factory=threading.Event)
    result: HealthChecks | None = None


@blueprint.get("/health")
@limiter.exempt
def health() -> dict[str, str]:
    """Uses neither database nor Redis."""
    return {"status": "ok"}


@blueprint.get("/health/ready")
@limiter.exempt
def ready() -> tuple[dict[str, object], int]:
    """{"ok", "sentence"} for each check; 200 if all are ok, else 503."""
    checks = check_all(current_app._get_current_object())  # type: ignore[attr-defined]
    all_ok = all(check.ok for check in checks.values())
    report = {name: {"ok": check.ok, "sentence": check.sentence} for name, check in checks.items()}
    return {"status": "ready" if all_ok else "not ready", "checks": report}, 200 if all_ok else 503


def check_all(app: Flask) -> HealthChecks:
    """Run all probes in parallel, within READY_TIMEOUT_S."""
    probes: tuple[HealthProbe, ...] = app.extensions.setdefault("readiness", _probes())
    deadline = time.monotonic() + READY_TIMEOUT_S
    checks: HealthChecks = {}
    for probe, run in [(probe, probe.begin(app)) for probe in probes]:
        run.done.wait(max(0.0, deadline - time.monotonic()))
        checks |= run.result or probe.fallback
    return checks


def _probes() -> tuple[HealthProbe, ...]:
    return (
        HealthProbe(
            _check_database, {"database": HealthCheck(False, _SLOW), "migrations": HealthCheck(False, _UNKNOWN)}
        ),
        HealthProbe(_check_queue, {"redis": HealthCheck(False, _SLOW), "workers": HealthCheck(False, _UNKNOWN)}),
    )


def _check_database() -> HealthChecks:
    try:
        revision = stats.schema_revision()
    except (DBAPIError, PoolTimeout):
        return {
            "database": HealthCheck(False, "It cannot be reached, or has no connection free."),
            "migrations": HealthCheck(False, _UNKNOWN),
        }
    if migrations.is_behind(revision):
        schema = HealthCheck(False, "The database is not at this version: run `flask setup`.")
    elif revision == migrations.code_revisions()[0]:
        schema = HealthCheck(True, "The newest one is applied.")
    else:
        schema = HealthCheck(True, "The database is of a newer version: an update is under way.")
    return {"database": HealthCheck(True, "It answers."), "migrations": schema}


def _check_queue() -> HealthChecks:
    try:
        workers = queues.count_live_workers()
    except redis.RedisError:
        return {"redis": HealthCheck(False, "It cannot be reached."), "workers": HealthCheck(False, _UNKNOWN)}
    sentence = f"Alive: {workers}." if workers else "None is running: syncs wait. Start one with `flask work`."
    return {"redis": HealthCheck(True, "It answers."), "workers": HealthCheck(workers > 0, sentence)}
