"""`/metrics` for Prometheus, where METRICS=true: what is read from database and Redis at the moment it is asked for.

Nothing is counted in a process: however many web processes there are, each tells the same. So there are no numbers of
requests and their times here; the reverse proxy has those of all processes. Nothing in it is about a person: labels
are providers, outcomes, states and queues, and no more.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import Any

import redis
from flask import Blueprint, Response, abort, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import config, jobs
from app.extensions import db, limiter
from app.jobs import monitoring
from app.providers import PROVIDERS
from app.store import sources
from app.store.engine.db_errors import classify
from app.store.queries import stats
from app.store.schema.tables import LIVE_STATES, OUTCOMES, RUN_STATES
from app.web.app import filters

blueprint = Blueprint("metrics", __name__)

ENDS = tuple(state for state in RUN_STATES if state not in LIVE_STATES)


@blueprint.get("/metrics")
@limiter.limit("120 per minute")
def metrics() -> Response:
    settings = config.current()
    if not settings.metrics:
        abort(404)
    if settings.metrics_token and not _has(settings.metrics_token):
        sentence = "The Authorization header must be: Bearer, then METRICS_TOKEN.\n"
        return Response(sentence, 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/plain")
    registry = CollectorRegistry()
    registry.register(Now())
    encode, media = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=media)


def _has(token: str) -> bool:
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, f"Bearer {token}".encode())


class Now(Collector):
    """The state of the installation at this moment, in a dozen bounded queries and one look into Redis.

    What cannot be read is left out, and `…_up` says so: a gap is no zero.
    """

    def describe(self) -> list[Metric]:
        """Nothing: to be registered costs no query."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _of("database", _database, (DBAPIError, PoolTimeout))
        yield from _of("redis", _redis, (redis.RedisError,))
        yield from _of("", _breakers, (DBAPIError, PoolTimeout, redis.RedisError))


def _of(name: str, read: Callable[[], list[Metric]], errors: tuple[type[Exception], ...]) -> Iterator[Metric]:
    """All that is read from one place, or none of it; name: of the place, empty for what is read from several."""
    try:
        found, is_up = read(), True
    except errors as error:
        db.session.rollback()
        if isinstance(error, DBAPIError) and classify(error) is None:
            raise  # a mistake of ours, not a database that is away
        found, is_up = [], False
    if name:
        yield _one(f"{name}_up", f"Whether {name.title()} answered.", is_up)
    yield from found


def _database() -> list[Metric]:
    now = filters.now()
    load, in_force = stats.installation_load(now), stats.catalog_summary()
    fetched = {(line.name,): line.fetched_at for line in sources.list_sources()}
    synced = {(one.slug,): one.last_synced_at for one in load.providers}
    metrics = [
        _many("runs_live", "Syncs that are not over.", ("state",), _each(load.live, LIVE_STATES)),
        _many("runs_last_day", "Syncs that ended in the last 24 hours.", ("state",), _each(load.runs, ENDS)),
        _many(
            "results_last_day",
            "Results that ended in the last 24 hours: each is one key in one sync.",
            ("provider", "outcome"),
            {pair: load.results.get(pair, 0) for pair in product(PROVIDERS, OUTCOMES)},
        ),
        _many(
            "credentials",
            "Active API keys by the outcome of their last sync; none: not asked yet.",
            ("outcome",),
            _each(load.credentials, (*OUTCOMES, "none")),
        ),
        _many(
            "provider_healthy",
            "Whether most of the last results of an enabled provider were read; none of those never asked.",
            ("provider",),
            {(one.slug,): one.is_healthy for one in load.providers if one.is_healthy is not None},
        ),
        _many(
            "provider_enabled",
            "Whether syncs ask the provider at all.",
            ("provider",),
            {(one.slug,): one.is_active for one in load.providers},
        ),
        _many("provider_last_sync_timestamp_seconds", "When it last gave a list.", ("provider",), _moments(synced)),
        _many(
            "catalog_source_timestamp_seconds",
            "When a public catalog last gave or confirmed what is in force.",
            ("source",),
            _moments(fetched),
        ),
        _one("database_bytes", "Room that the database takes.", stats.database_size()),
    ]
    if in_force:
        loaded_at, models = in_force
        metrics.append(_one("catalog_timestamp_seconds", "When the catalog in force was made.", loaded_at.timestamp()))
        metrics.append(_one("catalog_models", "Canonical models of the catalog in force.", models))
    return metrics


def _redis() -> list[Metric]:
    counts = {
        (line.name, state): getattr(line, state)
        for line in monitoring.list_queues()
        for state in ("waiting", "running", "failed")
    }
    return [
        _many("queue_jobs", "Jobs by queue; failed ones are kept for a day.", ("queue", "state"), counts),
        _one("workers", "Workers whose heart beat in the last seconds.", jobs.count_live_workers()),
        _one("scheduler_up", "Whether the scheduler went round lately.", monitoring.last_scheduler_pass() is not None),
    ]


def _breakers() -> list[Metric]:
    at_rest = monitoring.providers_with_open_circuit()
    words = "Whether nobody asks the provider for a while, because it failed for many."
    return [_many("provider_breaker_open", words, ("provider",), {(slug,): slug in at_rest for slug in PROVIDERS})]


def _one(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"modelsync_{name}", words, value=value)


def _many(name: str, words: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"modelsync_{name}", words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _each(counts: Mapping[str, int], words: tuple[str, ...]) -> dict[tuple[str], float]:
    """Each of these words, so that what is zero says so."""
    return {(word,): counts.get(word, 0) for word in words}


def _moments(moments: Mapping[tuple[str], datetime | None]) -> dict[tuple[str], float]:
    return {key: moment.timestamp() for key, moment in moments.items() if moment}
