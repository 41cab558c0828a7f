"""The same question asked at the same time within one process is asked once, and everyone gets its answer.

The same means: the same provider, address, key and validators. Questions are told apart by a keyed hash whose key is
random and lives in this process only, so that no key of anybody is held longer than it is used.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

import msgspec

from app.sync.http.errors import TimedOut
from app.sync.http.retry import Deadline
from app.vault import ApiKey

T = TypeVar("T")


class Flights(Generic[T]):
    """Questions that are under way. For many threads."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._flying: dict[bytes, Future[T]] = {}

    def name(self, key: ApiKey | None, *facts: str) -> bytes:
        # Encoded, not joined: two questions must not become one where a fact ends as the next begins.
        # In one expression, as wherever a key is revealed: no local holds it, for an error report to show.
        return hashlib.blake2b(
            msgspec.msgpack.encode([key.reveal() if key else None, *facts]), key=self._secret, digest_size=32
        ).digest()

    def join(self, name: bytes, ask: Callable[[], T], deadline: Deadline) -> T:
        """What `ask` gives, to the first who comes and to all who come before it is there. Raises TimedOut.

        An error that `ask` raises reaches everyone, too: better it returns those it expects.
        """
        mine: Future[T] = Future()
        try:
            flight = self._boarded(name, mine)
            if flight is not mine:
                return self._awaited(flight, deadline)
            mine.set_result(ask())
            return mine.result()
        except BaseException as error:
            if not mine.done():
                mine.set_exception(error)
            raise
        finally:
            with self._lock:
                if self._flying.get(name) is mine:
                    del self._flying[name]

    def _boarded(self, name: bytes, mine: Future[T]) -> Future[T]:
        """The one that is under way, else this one. One that is over is nobody's, however it came to be left here."""
        with self._lock:
            flight = self._flying.get(name)
            if flight is None or flight.done():
                flight = self._flying[name] = mine
            return flight

    def _awaited(self, flight: Future[T], deadline: Deadline) -> T:
        try:
            return flight.result(max(0.0, deadline.left_s))
        except TimeoutError:
            raise TimedOut from None
