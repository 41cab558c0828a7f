"""The same question at the same time is asked once; questions of different keys never meet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.sync.http import errors
from app.sync.http.retry import DEFAULT_RETRY
from app.sync.singleflight import Flights
from app.vault import ApiKey

KEY, OTHER = ApiKey("sk-one-Zq7Kw2Xv9"), ApiKey("sk-two-Zq7Kw2Xv9")


def test_who_asks_the_same_meanwhile_gets_the_same_answer(until: Callable[..., None]) -> None:
    flights: Flights[object] = Flights()
    asked, arrive, waiting = 0, threading.Event(), 0

    def ask() -> object:
        nonlocal asked
        asked += 1
        arrive.wait(5)
        return object()

    def join() -> object:
        nonlocal waiting
        waiting += 1
        return flights.join(flights.name(KEY, "openai"), ask, DEFAULT_RETRY.deadline(5))

    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(join) for _ in range(5)]
        until(lambda: waiting == 5 and asked == 1)
        threading.Timer(0.05, arrive.set).start()
        assert len({id(answer.result()) for answer in answers}) == asked == 1
    flights.join(flights.name(KEY, "openai"), ask, DEFAULT_RETRY.deadline(5))
    assert asked == 2  # an answer is not kept for who comes later


def test_questions_are_told_apart_by_everything_in_them() -> None:
    flights: Flights[str] = Flights()
    names = [
        flights.name(KEY, "openai", "http://a"),
        flights.name(OTHER, "openai", "http://a"),
        flights.name(None, "openai", "http://a"),
        flights.name(KEY, "openai", "http://b"),
        flights.name(KEY, "openaih", "ttp://a"),
    ]
    assert len(set(names)) == len(names)
    assert flights.name(ApiKey("sk-one-Zq7Kw2Xv9"), "openai", "http://a") == names[0]


def test_a_name_tells_no_key_and_is_another_one_in_every_process() -> None:
    assert Flights[str]().name(KEY) != Flights[str]().name(KEY)
    assert b"Zq7" not in Flights[str]().name(KEY)


def test_an_error_reaches_everyone_and_the_next_one_asks_anew() -> None:
    flights: Flights[str] = Flights()

    def fail() -> str:
        raise ValueError

    with pytest.raises(ValueError):
        flights.join(b"name", fail, DEFAULT_RETRY.deadline(5))
    assert flights.join(b"name", lambda: "answered", DEFAULT_RETRY.deadline(5)) == "answered"


def test_nobody_waits_longer_for_another_than_for_themselves(until: Callable[..., None]) -> None:
    flights: Flights[str] = Flights()
    arrive = threading.Event()

    def ask() -> str:
        arrive.wait(5)
        return "answered"

    first = threading.Thread(target=lambda: flights.join(b"name", ask, DEFAULT_RETRY.deadline(5)))
    first.start()
    until(lambda: bool(flights._flying))
    with pytest.raises(errors.TimedOut):
        flights.join(b"name", ask, DEFAULT_RETRY.deadline(0.05))
    arrive.set()
    first.join()


def test_an_answer_that_was_left_behind_is_not_given_again() -> None:
    """Whoever got it may have been ended before it could be taken away: the next who comes asks."""
    flights: Flights[str] = Flights()
    flights._flying[b"name"] = Future()
    flights._flying[b"name"].set_result("of yesterday")
    assert flights.join(b"name", lambda: "answered", DEFAULT_RETRY.deadline(5)) == "answered"
    assert flights._flying == {}
