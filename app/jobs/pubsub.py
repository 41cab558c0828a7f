"""What is told by Redis, heard once by each process and passed on to whoever waits there: a page that watches a sync
costs no connection of its own, and nothing while nothing happens."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import redis

from app.jobs.queues import CHANNEL_PATTERN

_POLL_S = 1.0
"""So often it looks whether somebody still waits."""
_LINGER_S = 5.0
"""So long it goes on when nobody does: watchers come and go."""


class PubSubFanout:
    """Hears all news while somebody waits for some of it."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._hears = threading.Event()
        self._is_listening = False

    def news(self, channel: str, every_s: float, longest_s: float) -> Iterator[bool]:
        """Yield at once, and then whenever something was told on the channel, or was perhaps missed: True. After
        `longest_s` seconds without either: False. While Redis is away: True, every `every_s` seconds.
        """
        told = threading.Event()
        with self._waiting_for(channel, told):
            self._wait_until_it_hears(every_s)
            yield True
            while True:
                is_told = told.wait(longest_s if self._hears.is_set() else every_s)
                told.clear()
                yield is_told or not self._hears.is_set()

    def _wait_until_it_hears(self, most_s: float) -> None:
        """What happens from then on is heard; without Redis nothing is, and whoever waits looks by themselves."""
        self._hears.wait(most_s)

    @contextlib.contextmanager
    def _waiting_for(self, channel: str, told: threading.Event) -> Iterator[None]:
        with self._lock:
            self._waiting[channel].add(told)
            if not self._is_listening:
                self._is_listening = True
                threading.Thread(target=self._listen, name="ear", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._waiting[channel].discard(told)
                if not self._waiting[channel]:
                    del self._waiting[channel]

    def _listen(self) -> None:
        while not self._may_stop():
            try:
                with contextlib.closing(self._connection.pubsub()) as pubsub:
                    pubsub.psubscribe(CHANNEL_PATTERN)
                    self._hear(pubsub)
            except (redis.RedisError, OSError, ValueError):  # away, or closed under its hands
                self._hears.clear()
                time.sleep(_POLL_S)

    def _hear(self, pubsub: redis.client.PubSub) -> None:
        """Pass on what is told until nobody has waited for a while. Raises redis.RedisError."""
        waited_for = time.monotonic()
        while time.monotonic() - waited_for < _LINGER_S:
            message = pubsub.get_message(timeout=_POLL_S)
            if message is not None:
                self._pass_on(message)
            if self._waiting:
                waited_for = time.monotonic()

    def _pass_on(self, message: dict[str, object]) -> None:
        channel = message["channel"]
        with self._lock:
            if message["type"] == "psubscribe":  # for the first time, or again: something may have been missed
                self._hears.set()
                heard = [told for waiting in self._waiting.values() for told in waiting]
            else:
                name = channel.decode() if isinstance(channel, bytes) else str(channel)
                heard = list(self._waiting.get(name, ()))
        for told in heard:
            told.set()

    def _may_stop(self) -> bool:
        """Whether nobody waits. If so, whoever comes next begins to listen anew."""
        with self._lock:
            if not self._waiting:
                self._is_listening = False
                self._hears.clear()
            return not self._waiting
