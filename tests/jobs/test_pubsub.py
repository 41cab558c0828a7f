"""One Redis subscription per process, whose messages reach exactly those who wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from app.jobs import pubsub
from app.jobs.pubsub import PubSubFanout

LONG_S = 20.0
"""Longer than any of these tests may take: a watcher that waits so long has received nothing."""


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, socket_timeout=0.7) as client:
        yield client


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pubsub, "_POLL_S", 0.05)
    monkeypatch.setattr(pubsub, "_LINGER_S", 0.1)
    yield
    deadline = time.monotonic() + 5
    while listeners():
        assert time.monotonic() < deadline, "it still listens although nobody waits"
        time.sleep(0.01)


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pubsub"]


def test_a_watcher_receives_messages_of_its_channel_only(connection: redis.Redis) -> None:
    fanout = PubSubFanout(connection)
    mine, other = fanout.watch("modelsync:run:7", 1.0, 0.05), fanout.watch("modelsync:run:8", 1.0, 0.05)
    for events in (mine, other):
        assert next(events)  # at once: something may have happened before
        while next(events):  # until the subscription is confirmed, after which nothing can be missed
            pass
    connection.publish("modelsync:run:7", b"")
    deadline = time.monotonic() + 5
    while not next(mine):
        assert time.monotonic() < deadline, "no message arrived"
    assert next(other) is False and next(mine) is False
    mine.close()
    other.close()


def test_a_hundred_watchers_share_one_connection(connection: redis.Redis) -> None:
    fanout = PubSubFanout(connection)
    before = len(connection.client_list())
    watchers = [fanout.watch(f"modelsync:run:{number % 10}", 1.0, 0.05) for number in range(100)]
    for events in watchers:
        assert next(events)
    assert len(listeners()) == 1 and connection.pubsub_numpat() == 1
    assert len(connection.client_list()) <= before + 1
    for events in watchers:
        events.close()
    assert not fanout._waiters


def test_without_redis_a_watcher_polls_and_receives_messages_again_once_it_is_back(redis_url: str) -> None:
    with redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.1) as unreachable:
        fanout = PubSubFanout(unreachable)
        events = fanout.watch("modelsync:run:7", 0.05, LONG_S)
        assert [next(events) for _ in range(4)] == [True] * 4
        with redis.Redis.from_url(redis_url) as client:
            fanout._connection = client
            assert fanout._is_subscribed.wait(5)
            assert next(events)  # for what was missed meanwhile
            client.publish("modelsync:run:7", b"")
            assert next(events)
            events.close()


def test_a_watcher_that_comes_after_all_others_left_receives_messages(connection: redis.Redis) -> None:
    fanout = PubSubFanout(connection)
    for _ in range(2):
        events = fanout.watch("modelsync:plan:3", 1.0, LONG_S)
        assert next(events) and fanout._is_subscribed.wait(5)
        connection.publish("modelsync:plan:3", b"")
        assert next(events)
        events.close()
        deadline = time.monotonic() + 5
        while listeners():
            assert time.monotonic() < deadline
            time.sleep(0.01)
