"""What Redis tells is heard once by each process, and passed on to exactly those who wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from app.jobs import pubsub
from app.jobs.pubsub import PubSubFanout

LONG_S = 20.0
"""Longer than any of these tests may take: whoever waits so long was not told."""


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, socket_timeout=0.7) as client:
        yield client


@pytest.fixture(autouse=True)
def _soon_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pubsub, "_POLL_S", 0.05)
    monkeypatch.setattr(pubsub, "_LINGER_S", 0.1)
    yield
    deadline = time.monotonic() + 5
    while ears():
        assert time.monotonic() < deadline, "it listens on although nobody waits"
        time.sleep(0.01)


def ears() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ear"]


def test_who_waits_is_told_of_their_own_and_of_nothing_else(connection: redis.Redis) -> None:
    ear = PubSubFanout(connection)
    mine, others = ear.news("modelsync:run:7", 1.0, 0.05), ear.news("modelsync:run:8", 1.0, 0.05)
    for news in (mine, others):
        assert next(news)  # at once: something may have happened before
        while next(news):  # until the subscription is confirmed, and nothing more can have been missed
            pass
    connection.publish("modelsync:run:7", b"")
    deadline = time.monotonic() + 5
    while not next(mine):
        assert time.monotonic() < deadline, "nobody told"
    assert next(others) is False and next(mine) is False
    mine.close()
    others.close()


def test_a_hundred_who_wait_need_one_connection(connection: redis.Redis) -> None:
    ear = PubSubFanout(connection)
    before = len(connection.client_list())
    waiting = [ear.news(f"modelsync:run:{number % 10}", 1.0, 0.05) for number in range(100)]
    for news in waiting:
        assert next(news)
    assert len(ears()) == 1 and connection.pubsub_numpat() == 1
    assert len(connection.client_list()) <= before + 1
    for news in waiting:
        news.close()
    assert not ear._waiting


def test_without_redis_one_looks_oneself_every_moment_and_is_told_again_once_it_is_back(redis_url: str) -> None:
    with redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.1) as away:
        ear = PubSubFanout(away)
        news = ear.news("modelsync:run:7", 0.05, LONG_S)
        assert [next(news) for _ in range(4)] == [True] * 4
        with redis.Redis.from_url(redis_url) as back:
            ear._connection = back
            assert ear._hears.wait(5)
            assert next(news)  # what was missed meanwhile
            back.publish("modelsync:run:7", b"")
            assert next(news)
            news.close()


def test_after_everybody_left_the_next_one_is_told_as_well(connection: redis.Redis) -> None:
    ear = PubSubFanout(connection)
    for _ in range(2):
        news = ear.news("modelsync:plan:3", 1.0, LONG_S)
        assert next(news) and ear._hears.wait(5)
        connection.publish("modelsync:plan:3", b"")
        assert next(news)
        news.close()
        deadline = time.monotonic() + 5
        while ears():
            assert time.monotonic() < deadline
            time.sleep(0.01)
