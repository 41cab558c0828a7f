"""The connection pool is FIFO: the longest waiter is served next, and no waiter starves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.store.engine.fifo_pool import FifoPool


@pytest.fixture
def pool() -> Iterator[FifoPool]:
    engine = create_engine(
        "sqlite://", poolclass=FifoPool, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False}
    )
    assert isinstance(engine.pool, FifoPool)
    yield engine.pool
    engine.dispose()


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.001)


def in_line(pool: FifoPool, place: int) -> None:
    soon(lambda: len(pool._pool._waiters) == place)  # type: ignore[attr-defined]


def test_they_are_served_in_the_order_in_which_they_came(pool: FifoPool) -> None:
    held, served = pool.connect(), []

    def ask(number: int) -> None:
        connection = pool.connect()
        served.append(number)
        connection.close()

    waiting = []
    for number in range(6):
        waiting.append(threading.Thread(target=ask, args=(number,), daemon=True))
        waiting[-1].start()
        in_line(pool, number + 1)
    held.close()
    for thread in waiting:
        thread.join(5)
    assert served == list(range(6))


def test_nobody_who_comes_later_takes_what_was_given_back_for_one_who_waits(pool: FifoPool) -> None:
    held = pool.connect()
    got: list[Any] = []
    waiter = threading.Thread(target=lambda: got.append(pool.connect()), daemon=True)
    waiter.start()
    in_line(pool, 1)
    held.close()
    pool._timeout = 0.01
    with pytest.raises(PoolTimeout):  # at once, before the waiter had a chance to run: it has the connection already
        pool.connect()
    waiter.join(5)
    got[0].close()
    pool.connect().close()


def test_who_gave_up_is_given_nothing(pool: FifoPool) -> None:
    held = pool.connect()
    pool._timeout = 0.01
    with pytest.raises(PoolTimeout):
        pool.connect()
    held.close()
    assert pool.checkedin() == 1
    pool.connect().close()
