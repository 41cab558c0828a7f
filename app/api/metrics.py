"""`/metrics` for Prometheus (METRICS=true), read from database and Redis at scrape time.

No per-process counters: every web process gives the same answer. Request counts and latencies therefore come from the
reverse proxy. Labels are providers, outcomes, states and queues only, no personal data.
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

from app import clock, config
from app.extensions import db, limiter
from app.jobs import monitoring, queues
from app.providers import PROVIDERS
from app.store import sources
from app.store.engine.db_errors import classify
from app.store.queries import stats
from app.store.schema.tables import LIVE_STATES, OUTCOMES, RUN_STATES

blueprint = Blueprint("metrics", __name__)

ENDED_STATES = tuple(state for state in RUN_STATES if state not in LIVE_STATES)


@blueprint.get("/metrics")
@limiter.limit("120 per minute")
def metrics() -> Response:
    settings = config.current()
    if not settings.metrics:
        abort(404)
    if settings.metrics_token and not _has_token(settings.metrics_token):
        sentence = "The Authorization header must be: Bearer, then METRICS_TOKEN.\n"
        return Response(sentence, 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/plain")
    registry = CollectorRegistry()
    registry.register(LiveCollector())
    encode, media = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=media)


def _has_token(token: str) -> bool:
    header = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(header, f"Bearer {token}".encode())


class LiveCollector(Collector):
    """The current state of the installation: a dozen bounded queries and one round of Redis reads.

    What cannot be read is left out rather than reported as zero; `…_up` is 0 then.
    """

    def describe(self) -> list[Metric]:
        """Empty, so that registering costs no query."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _collect("database", _database_metrics, (DBAPIError, PoolTimeout))
        yield from _collect("redis", _redis_metrics, (redis.RedisError,))
        yield from _collect("", _breaker_metrics, (DBAPIError, PoolTimeout, redis.RedisError))


def _collect(name: str, read: Callable[[], list[Metric]], errors: tuple[type[Exception], ...]) -> Iterator[Metric]:
    """All metrics of one source, or none if it fails. name: for its `…_up` metric; empty for none."""
    try:
        metrics, is_up = read(), True
    except errors as error:
        db.session.rollback()
        if isinstance(error, DBAPIError) and classify(error) is None:
            raise  # a bug, not an unavailable database
        metrics, is_up = [], False
    if name:
        yield _gauge(f"{name}_up", f"Whether {name.title()} answered.", is_up)
    yield from metrics


def _database_metrics() -> list[Metric]:
    now = clock.utc_now()
    load, current_catalog = stats.installation_load(now), stats.catalog_summary()
    fetched = {(source.name,): source.fetched_at for source in sources.list_sources()}
    synced = {(provider.slug,): provider.last_synced_at for provider in load.providers}
    metrics = [
        _gauges("runs_live", "Syncs that are not over.", ("state",), _fill_zeros(load.live, LIVE_STATES)),
        _gauges(
            "runs_last_day", "Syncs that ended in the last 24 hours.", ("state",), _fill_zeros(load.runs, ENDED_STATES)
        ),
        _gauges(
            "results_last_day",
            "Results that ended in the last 24 hours: each is one key in one sync.",
            ("provider", "outcome"),
            {pair: load.results.get(pair, 0) for pair in product(PROVIDERS, OUTCOMES)},
        ),
        _gauges(
            "credentials",
            "Active API keys by the outcome of their last sync; none: not asked yet.",
            ("outcome",),
            _fill_zeros(load.credentials, (*OUTCOMES, "none")),
        ),
        _gauges(
            "provider_healthy",
            "Whether most of the last results of an enabled provider were read; none of those never asked.",
            ("provider",),
            {(provider.slug,): provider.is_healthy for provider in load.providers if provider.is_healthy is not None},
        ),
        _gauges(
            "provider_enabled",
            "Whether syncs ask the provider at all.",
            ("provider",),
            {(provider.slug,): provider.is_active for provider in load.providers},
        ),
        _gauges(
            "provider_last_sync_timestamp_seconds", "When it last gave a list.", ("provider",), _timestamps(synced)
        ),
        _gauges(
            "catalog_source_timestamp_seconds",
            "When a public catalog last gave or confirmed what is in force.",
            ("source",),
            _timestamps(fetched),
        ),
        _gauge("database_bytes", "Room that the database takes.", stats.database_size()),
    ]
    if current_catalog:
        loaded_at, models = current_catalog
        metrics.append(
            _gauge("catalog_timestamp_seconds", "When the catalog in force was made.", loaded_at.timestamp())
        )
        metrics.append(_gauge("catalog_models", "Canonical models of the catalog in force.", models))
    return metrics


def _redis_metrics() -> list[Metric]:
    counts = {
        (queue.name, state): getattr(queue, state)
        for queue in monitoring.list_queues()
        for state in ("waiting", "running", "failed")
    }
    return [
        _gauges("queue_jobs", "Jobs by queue; failed ones are kept for a day.", ("queue", "state"), counts),
        _gauge("workers", "Workers whose heart beat in the last seconds.", queues.count_live_workers()),
        _gauge(
            "scheduler_up", "Whether the scheduler went round lately.", monitoring.last_scheduler_pass() is not None
        ),
    ]


def _breaker_metrics() -> list[Metric]:
    open_circuits = monitoring.providers_with_open_circuit()
    description = "Whether nobody asks the provider for a while, because it failed for many."
    return [
        _gauges(
            "provider_breaker_open", description, ("provider",), {(slug,): slug in open_circuits for slug in PROVIDERS}
        )
    ]


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(f"modelsync_{name}", description, value=value)


def _gauges(name: str, description: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"modelsync_{name}", description, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _fill_zeros(counts: Mapping[str, int], labels: tuple[str, ...]) -> dict[tuple[str], float]:
    """A value for each label, 0 where there is no count."""
    return {(label,): counts.get(label, 0) for label in labels}


def _timestamps(times: Mapping[tuple[str], datetime | None]) -> dict[tuple[str], float]:
    return {key: time.timestamp() for key, time in times.items() if time}
