"""`/metrics`: off by default, the same from every process, without personal data."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from typing import Any

import pytest
from flask import Flask
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from rq import Queue

from app import create_app
from app.clock import utc_now
from app.extensions import db
from app.jobs import enqueue, queues
from app.providers import PROVIDERS
from app.store.schema.tables import OUTCOMES, ResultRow, RunRow
from app.sync.limits import circuit_breaker
from app.sync.limits.store import RedisLimiterStore, endpoint_id
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted, many_runs
from tests.sync.test_run import synced
from tests.web.app.test_database_errors import gone
from tests.web.worker import no_redis, worker_present

TOKEN = "a scraper's token of more than thirty-two characters"
KEY = "sk-CaNaRy-of-somebody-5512"


@pytest.fixture
def open_app(app: Flask) -> Flask:
    return enable_metrics(app)


def enable_metrics(app: Flask, token: str = "") -> Flask:
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], metrics=True, metrics_token=token)
    return app


def scrape(app: Flask) -> dict[str, dict[tuple[str, ...], float]]:
    """Family → label values → value."""
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200 and answer.mimetype == "text/plain"
    families = list(parse(answer.text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.type == "gauge" and family.documentation.endswith(".")
        assert family.name.startswith("modelsync_")
    return {
        family.name.removeprefix("modelsync_"): {tuple(one.labels.values()): one.value for one in family.samples}
        for family in families
    }


# ------------------------------------------------------------------ access


def test_it_is_not_there_unless_it_was_turned_on(app: Flask, carol: Person) -> None:
    assert app.test_client().get("/metrics").status_code == 404
    assert carol.sign_in().client.get("/metrics").status_code == 404


def test_a_configured_token_is_required(app: Flask, carol: Person) -> None:
    client = enable_metrics(app, TOKEN).test_client()
    assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    for given in ("", TOKEN, f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer", "Bearer ü"):
        answer = client.get("/metrics", headers={"Authorization": given} if given else None)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert TOKEN not in answer.text
    assert carol.sign_in().client.get("/metrics").status_code == 401


# ------------------------------------------------------------------ content


@both_databases
def test_metrics_cover_runs_results_and_keys(open_app: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    alice.add_key("groq", "bad")
    synced(alice, dataclasses.replace(means, now=utc_now))
    alice.add_key("mistral")
    db.session.add(RunRow(user_id=alice.id, trigger="manual", state="queued", created_at=utc_now()))
    db.session.commit()
    metrics = scrape(open_app)
    assert metrics["database_up"] == metrics["redis_up"] == {(): 1}
    assert metrics["runs_live"] == {("queued",): 1, ("running",): 0}
    assert metrics["runs_last_day"] == {("done",): 1, ("lost",): 0, ("cancelled",): 0}
    results = metrics["results_last_day"]
    assert set(results) == {(outcome, slug) for slug in PROVIDERS for outcome in OUTCOMES}
    assert {pair for pair, count in results.items() if count} == {("complete", "openai"), ("failed", "groq")}
    assert metrics["credentials"][("complete",)] == metrics["credentials"][("failed",)] == 1
    assert metrics["credentials"][("none",)] == 1
    assert metrics["provider_healthy"] == {("openai",): 1, ("groq",): 0}
    assert metrics["provider_enabled"] == {(slug,): 1 for slug in PROVIDERS}
    assert set(metrics["provider_last_sync_timestamp_seconds"]) == {("openai",)}
    assert 0 <= time.time() - metrics["provider_last_sync_timestamp_seconds"][("openai",)] < 600
    assert metrics["catalog_models"][()] > 1_000
    assert metrics["database_bytes"][()] > 100_000


def test_metrics_cover_queues_workers_and_the_scheduler(open_app: Flask) -> None:
    metrics = scrape(open_app)
    assert metrics["workers"] == metrics["scheduler_up"] == {(): 0}
    enqueue.enqueue_run(1)
    enqueue.enqueue_full_sync("cron")
    queues.redis_connection().set("modelsync:scheduler", "one", ex=60)
    with worker_present(open_app):
        metrics = scrape(open_app)
    assert metrics["workers"] == metrics["scheduler_up"] == {(): 1}
    assert {key: value for key, value in metrics["queue_jobs"].items() if value} == {
        (queues.INTERACTIVE, "waiting"): 1,
        (queues.BULK, "waiting"): 1,
    }
    assert Queue(queues.BULK, connection=queues.redis_connection()).count == 1


def test_a_provider_with_an_open_breaker_is_reported(open_app: Flask) -> None:
    note = circuit_breaker.BreakerState([], since=time.time(), until=time.time() + 60, rest_s=60)
    over = circuit_breaker.BreakerState([], since=time.time() - 90, until=time.time() - 30, rest_s=60)
    store = RedisLimiterStore(queues.redis_connection())
    address = open_app.config["SETTINGS"].base_urls["openai"]
    store.update(endpoint_id("openai", address), lambda _: circuit_breaker.encode(note), 60)
    region = list(PROVIDERS["alibaba"].regions.values())[-1]
    store.update(endpoint_id("alibaba", region), lambda _: circuit_breaker.encode(note), 60)
    store.update(endpoint_id("groq", PROVIDERS["groq"].base_url), lambda _: circuit_breaker.encode(over), 60)
    store.update(endpoint_id("ollama", "http://192.168.1.4:11434"), lambda _: circuit_breaker.encode(note), 60)
    metrics = scrape(open_app)["provider_breaker_open"]
    assert {slug for (slug,), value in metrics.items() if value} == {"openai", "alibaba"}
    assert len(metrics) == len(PROVIDERS)


def test_what_cannot_be_read_is_left_out_and_not_zero(open_app: Flask) -> None:
    with no_redis(open_app):
        metrics = scrape(open_app)
    assert metrics["redis_up"] == {(): 0} and metrics["database_up"] == {(): 1}
    assert "workers" not in metrics and "queue_jobs" not in metrics and "provider_breaker_open" not in metrics
    with gone():
        metrics = scrape(open_app)
    assert metrics["database_up"] == {(): 0} and metrics["redis_up"] == {(): 1}
    assert "runs_live" not in metrics and "workers" in metrics


def test_another_process_reports_the_same(open_app: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, dataclasses.replace(means, now=utc_now))
    other = create_app(open_app.config["SETTINGS"])
    both = [scrape(one) for one in (open_app, other, open_app)]
    for told in both:
        del told["database_bytes"]
    assert both[0] == both[1] == both[2]
    with other.app_context():
        db.engine.dispose()
        other.extensions["redis"].close()


def test_a_scraper_of_openmetrics_gets_that(open_app: Flask) -> None:
    kind = "application/openmetrics-text; version=1.0.0"
    answer = open_app.test_client().get("/metrics", headers={"Accept": kind})
    assert answer.mimetype == "application/openmetrics-text"
    assert any(family.name == "modelsync_redis_up" for family in openmetrics(answer.text))


# ------------------------------------------------------------------ what must not be in it


@both_databases
def test_nothing_of_anybody_is_in_it(open_app: Flask, alice: Person, means: SyncContext) -> None:
    key = alice.add_key("openai", KEY, label="label-of-alice")
    server = alice.add_key("vllm")
    server.base_url = "http://192.168.77.5:8000"
    db.session.commit()
    synced(alice, dataclasses.replace(means, now=utc_now))
    text = open_app.test_client().get("/metrics").text
    for word in ("alice", "carol", "@", KEY, key.key_hint[-4:], "label-of-alice", "192.168", "http://", "127.0.0.1"):
        assert word not in text, word
    labels = {name for family in parse(text) for sample in family.samples for name in sample.labels}
    assert {"provider", "outcome", "state", "queue"} <= labels <= {"provider", "outcome", "state", "queue", "source"}
    secrets = [getattr(open_app.config["SETTINGS"], name) for name in ("secret_key", "database_url", "redis_url")]
    assert not [secret for secret in secrets if secret and secret in text]
    assert not re.search(r"msk_|sk-", json.dumps(text))


@both_databases
def test_the_number_of_queries_does_not_grow(open_app: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, dataclasses.replace(means, now=utc_now))
    seen: list[Any] = []
    for _ in range(2):
        with counted() as sent:
            scrape(open_app)
        seen.append(len(sent))
        many_runs(alice, 50)
        assert db.session.query(ResultRow).count() > 50
    assert seen[0] == seen[1] <= 14
