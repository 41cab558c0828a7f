"""Liveness and readiness: what a load balancer is told, and how fast, even if a dependency hangs."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from collections.abc import Iterator

import pytest
import redis
from flask import Flask
from sqlalchemy import text

from app import config, create_app
from app.extensions import db
from app.web import health
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.web.worker import no_redis, worker_present

NAMES = ["database", "migrations", "redis", "workers"]


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def wrong(app: Flask) -> list[str]:
    """What is not fine, by its name."""
    answer = app.test_client().get("/health/ready")
    assert list(answer.json["checks"]) == NAMES
    assert all(set(check) == {"ok", "sentence"} and check["sentence"] for check in answer.json["checks"].values())
    names = [name for name, check in answer.json["checks"].items() if not check["ok"]]
    assert (answer.status_code, answer.json["status"]) == ((503, "not ready") if names else (200, "ready"))
    return names


@both_databases
def test_with_everything_there_it_is_ready(app: Flask) -> None:
    with worker_present(app):
        assert wrong(app) == []


def test_without_a_worker_it_is_not(app: Flask) -> None:
    assert wrong(app) == ["workers"]


def test_without_redis_nothing_is_known_of_workers(app: Flask) -> None:
    with no_redis(app):
        assert wrong(app) == ["redis", "workers"]


@both_databases
def test_a_database_of_another_version_is_not_ready(app: Flask) -> None:
    db.session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    db.session.commit()
    with worker_present(app):
        assert wrong(app) == ["migrations"]


def test_a_database_that_a_newer_version_migrated_is_ready(app: Flask) -> None:
    """While an update is under way the old web processes go on, also behind a balancer that asks this."""
    db.session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.session.commit()
    with worker_present(app):
        assert wrong(app) == []


def test_a_database_without_any_table_is_not_ready(app: Flask, settings: config.Settings) -> None:
    empty = create_app(dataclasses.replace(settings, database_url=f"sqlite:///{settings.instance}/empty.sqlite"))
    with empty.app_context(), worker_present(app):
        assert wrong(empty) == ["migrations"]
        db.engine.dispose()


def test_an_unreachable_database_is_reported_without_its_address(settings: config.Settings, app: Flask) -> None:
    url = "postgresql+psycopg://somebody:secret@127.0.0.1:1/place"
    away = create_app(dataclasses.replace(settings, database_url=url))
    with worker_present(app):
        assert wrong(away) == ["database", "migrations"]
    page_text = away.test_client().get("/health/ready").text
    assert not [word for word in ("127.0.0.1", "somebody", "secret", "place", "localhost") if word in page_text]


@pytest.mark.slow
def test_readiness_is_prompt_if_a_dependency_hangs_and_leaks_no_threads(settings: config.Settings, app: Flask) -> None:
    with silence() as port:
        url = f"postgresql+psycopg://somebody@127.0.0.1:{port}/place"
        hanging = create_app(dataclasses.replace(settings, database_url=url))
        hanging.extensions["redis"] = redis.Redis(host="127.0.0.1", port=port)
        for _ in range(2):
            start = time.monotonic()
            assert wrong(hanging) == NAMES
            assert time.monotonic() - start < 2.0
        first = [probe.running for probe in hanging.extensions["readiness"]]
        assert all(run and not run.done.is_set() for run in first)
        health.check_all(hanging)
        assert [probe.running for probe in hanging.extensions["readiness"]] == first
    for run in first:
        assert run and run.done.wait(10)
    hanging.extensions["redis"].close()


def test_what_hung_is_asked_anew_once_it_answered(app: Flask) -> None:
    assert wrong(app) == ["workers"]
    with worker_present(app):
        assert wrong(app) == []


def test_alive_asks_nobody_and_neither_asks_who_is_there(app: Flask, carol: Person) -> None:
    carol.sign_in()
    with counted() as sent:
        answer = carol.client.get("/health")
        assert (answer.status_code, answer.json) == (200, {"status": "ok"})
        assert not sent
        carol.client.get("/health/ready")
        assert not [query for query in sent if "users" in query]


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_no_limit_keeps_a_probe_away_and_no_cookie_is_set(app: Flask, path: str) -> None:
    client = app.test_client()
    for _ in range(70):
        answer = client.get(path)
        assert answer.status_code in (200, 503)
        assert "Set-Cookie" not in answer.headers and "X-RateLimit-Limit" not in answer.headers
