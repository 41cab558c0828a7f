"""The pool of connections to the database, in which whoever has waited longest is served next.

SQLAlchemy's own wakes a waiter and lets whoever comes by meanwhile take the connection first; the waiter then queues
up again at the end. With more requests at once than connections, some would wait until they are told that the server is
crowded, while others are served over and over.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

from sqlalchemy.pool import QueuePool
from sqlalchemy.util.queue import Empty, Queue

# SQLAlchemy names its log after the class: of each connection's way it would tell in ours, where nobody asked for it.
logging.getLogger(__name__).setLevel(logging.WARNING)


class _Waiter:
    """Somebody in the queue, and what they were given."""

    __slots__ = ("given", "item")

    def __init__(self) -> None:
        self.given, self.item = threading.Event(), None


class _FifoQueue(Queue[Any]):
    """Idle connections. One that comes back goes to the first who waits, straight from hand to hand."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        super().__init__(maxsize, use_lifo)
        self._waiters: deque[_Waiter] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        with self.mutex:
            if self._waiters:
                waiter = self._waiters.popleft()
                waiter.item = item
                waiter.given.set()
                return
            super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        with self.mutex:
            if not block or not self.empty():  # what is idle is nobody's who waits
                return super().get(block=False)
            waiter = _Waiter()
            self._waiters.append(waiter)
        waiter.given.wait(timeout)
        with self.mutex:
            if not waiter.given.is_set():
                self._waiters.remove(waiter)
                raise Empty
        return waiter.item


class FifoPool(QueuePool):
    """A QueuePool that keeps the order in which it was asked."""

    _queue_class = _FifoQueue
