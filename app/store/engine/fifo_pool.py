"""A FIFO connection pool: the longest waiter gets the next free connection.

SQLAlchemy's own pool wakes a waiter but lets a newcomer take the connection first; the waiter then queues again at the
end. With more concurrent requests than connections, some would starve until they time out.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

from sqlalchemy.pool import QueuePool
from sqlalchemy.util.queue import Empty, Queue

# SQLAlchemy names the pool's logger after the class; ours would log every checkout at debug level.
logging.getLogger(__name__).setLevel(logging.WARNING)


class _Waiter:
    """A thread in the queue, and the connection handed to it."""

    __slots__ = ("item", "ready")

    def __init__(self) -> None:
        self.ready, self.item = threading.Event(), None


class _FifoQueue(Queue[Any]):
    """Idle connections. A returned connection is handed directly to the first waiter."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        super().__init__(maxsize, use_lifo)
        self._waiters: deque[_Waiter] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        with self.mutex:
            if self._waiters:
                waiter = self._waiters.popleft()
                waiter.item = item
                waiter.ready.set()
                return
            super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        with self.mutex:
            if not block or not self.empty():  # connections are idle only while there are no waiters
                return super().get(block=False)
            waiter = _Waiter()
            self._waiters.append(waiter)
        waiter.ready.wait(timeout)
        with self.mutex:
            if not waiter.ready.is_set():
                self._waiters.remove(waiter)
                raise Empty
        return waiter.item


class FifoPool(QueuePool):
    """A QueuePool that serves requests in order of arrival."""

    _queue_class = _FifoQueue
