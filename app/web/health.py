"""`/health`: whether this process answers. `/health/ready`: whether all that it needs is there too.

Readiness is asked for every few seconds by whoever sends traffic here, and most of all while something hangs. So
each check has a thread of its own and a moment to answer; one that still hangs is not asked anew.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import config, jobs
from app.extensions import limiter
from app.store.queries import stats

log = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

READY_TIMEOUT_S = 1.5
"""So long an answer takes at most, whatever hangs."""
_UNKNOWN = "Not known, since the one before it is not there."
_SLOW = "No answer in time."


@dataclass(frozen=True, slots=True)
class HealthCheck:
    ok: bool
    sentence: str
    """Ours alone: an error's own words might name hosts and users."""


HealthChecks = dict[str, HealthCheck]


@dataclass(slots=True)
class HealthProbe:
    """One group of checks, asked by one thread at a time."""

    ask: Callable[[], HealthChecks]
    fallback: HealthChecks
    """What is told while it does not answer."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    asking: _ProbeRun | None = None

    def begin(self, app: Flask) -> _ProbeRun:
        """Ask, or join in where somebody asks already."""
        with self.lock:
            if self.asking is None or self.asking.done.is_set():
                self.asking = _ProbeRun()
                threading.Thread(target=self._run, args=(app, self.asking), daemon=True).start()
            return self.asking

    def _run(self, app: Flask, asking: _ProbeRun) -> None:
        try:
            with app.app_context():
                asking.found = self.ask()
        except Exception:  # whoever asked is told that there was no answer, the log why
            log.exception("readiness could not be found out")
        finally:
            asking.done.set()


@dataclass(slots=True)
class _ProbeRun:
    done: threading.Event = field(default_factory=threading.Event)
    found: HealthChecks | None = None


@blueprint.get("/health")
@limiter.exempt
def health() -> dict[str, str]:
    """It asks neither database nor Redis."""
    return {"status": "ok"}


@blueprint.get("/health/ready")
@limiter.exempt
def ready() -> tuple[dict[str, object], int]:
    """Database, migrations, Redis and workers, each as `{"ok", "sentence"}`: 200 if all are fine, else 503."""
    checks = check_all(current_app._get_current_object())  # type: ignore[attr-defined]
    fine = all(check.ok for check in checks.values())
    told = {name: {"ok": check.ok, "sentence": check.sentence} for name, check in checks.items()}
    return {"status": "ready" if fine else "not ready", "checks": told}, 200 if fine else 503


def check_all(app: Flask) -> HealthChecks:
    """Both probes at once, within IN_ALL_S."""
    probes: tuple[HealthProbe, ...] = app.extensions.setdefault("readiness", _probes())
    until = time.monotonic() + READY_TIMEOUT_S
    checks: HealthChecks = {}
    for probe, asking in [(probe, probe.begin(app)) for probe in probes]:
        asking.done.wait(max(0.0, until - time.monotonic()))
        checks |= asking.found or probe.fallback
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
    if is_behind(revision):
        migrations = HealthCheck(False, "The database is not at this version: run `flask setup`.")
    elif revision == _revisions()[0]:
        migrations = HealthCheck(True, "The newest one is applied.")
    else:
        migrations = HealthCheck(True, "The database is of a newer version: an update is under way.")
    return {"database": HealthCheck(True, "It answers."), "migrations": migrations}


def is_behind(revision: str | None) -> bool:
    """Whether `flask setup` of this version has still to run.

    A revision that this version does not know is a newer one's: during an update the old version goes on with it.
    """
    return revision is None or revision in _revisions()[1:]


def _check_queue() -> HealthChecks:
    try:
        workers = jobs.count_live_workers()
    except redis.RedisError:
        return {"redis": HealthCheck(False, "It cannot be reached."), "workers": HealthCheck(False, _UNKNOWN)}
    says = f"Alive: {workers}." if workers else "None is running: syncs wait. Start one with `flask work`."
    return {"redis": HealthCheck(True, "It answers."), "workers": HealthCheck(workers > 0, says)}


@functools.cache
def _revisions() -> list[str]:
    """The migrations of this version of the code, the newest first."""
    scripts = ScriptDirectory(str(config.ROOT / "migrations"))
    return [script.revision for script in scripts.walk_revisions()]
