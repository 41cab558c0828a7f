"""Redis pub/sub, from jobs to watching pages: one subscription per process, fanned out to all waiting event streams."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import redis

from app.jobs.queues import CHANNEL_PATTERN, RUN_CHANNEL, redis_connection

_POLL_S = 1.0
"""How often the listener checks whether anybody still waits."""
_LINGER_S = 5.0
"""How long it keeps the subscription without waiters: watchers come and go."""


def publish_run_changed(*run_ids: int) -> None:
    """Wake those who watch these runs. Best effort: watchers also poll the database."""
    with contextlib.suppress(redis.RedisError), redis_connection().pipeline(transaction=False) as pipe:
        for run_id in run_ids:
            pipe.publish(RUN_CHANNEL.format(run_id), b"")
        pipe.execute()


class PubSubFanout:
    """Subscribes to all channels while anyone waits for a message, in one thread."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiters: dict[str, set[threading.Event]] = defaultdict(set)
        self._is_subscribed = threading.Event()
        self._is_listening = False

    def watch(self, channel: str, poll_s: float, idle_s: float) -> Iterator[bool]:
        """Yield True at once, and then whenever a message came in on the channel or may have been missed; False after
        `idle_s` seconds without. While Redis cannot be reached, yield True every `poll_s` seconds.
        """
        message_came = threading.Event()
        with self._register(channel, message_came):
            self._wait_until_subscribed(poll_s)
            yield True
            while True:
                is_set = message_came.wait(idle_s if self._is_subscribed.is_set() else poll_s)
                message_came.clear()
                yield is_set or not self._is_subscribed.is_set()

    def _wait_until_subscribed(self, timeout_s: float) -> None:
        """No message is missed from then on. Without Redis there is no subscription, and the caller polls."""
        self._is_subscribed.wait(timeout_s)

    @contextlib.contextmanager
    def _register(self, channel: str, waiter: threading.Event) -> Iterator[None]:
        with self._lock:
            self._waiters[channel].add(waiter)
            if not self._is_listening:
                self._is_listening = True
                threading.Thread(target=self._listen, name="pubsub", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._waiters[channel].discard(waiter)
                if not self._waiters[channel]:
                    del self._waiters[channel]

    def _listen(self) -> None:
        while not self._stop_if_idle():
            try:
                with contextlib.closing(self._connection.pubsub()) as pubsub:
                    pubsub.psubscribe(CHANNEL_PATTERN)
                    self._dispatch_until_idle(pubsub)
            except (redis.RedisError, OSError, ValueError):  # unreachable, or closed from another thread
                self._is_subscribed.clear()
                time.sleep(_POLL_S)

    def _dispatch_until_idle(self, pubsub: redis.client.PubSub) -> None:
        """Returns after `_LINGER_S` without waiters. Raises redis.RedisError."""
        last_needed = time.monotonic()
        while time.monotonic() - last_needed < _LINGER_S:
            message = pubsub.get_message(timeout=_POLL_S)
            if message is not None:
                self._dispatch(message)
            if self._waiters:
                last_needed = time.monotonic()

    def _dispatch(self, message: dict[str, object]) -> None:
        channel = message["channel"]
        with self._lock:
            if message["type"] == "psubscribe":  # on a reconnect too, where messages may have been missed
                self._is_subscribed.set()
                waiters = [waiter for group in self._waiters.values() for waiter in group]
            else:
                name = channel.decode() if isinstance(channel, bytes) else str(channel)
                waiters = list(self._waiters.get(name, ()))
        for waiter in waiters:
            waiter.set()

    def _stop_if_idle(self) -> bool:
        """Whether there are no waiters. If so, the next one starts a new listener."""
        with self._lock:
            if not self._waiters:
                self._is_listening = False
                self._is_subscribed.clear()
            return not self._waiters
