"""Whoever writes into Redis, as the web may, has workers do nothing but our own jobs: they hold what opens API keys."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from rq import Callback, Queue
from rq.job import Job

from app import jobs
from app.jobs import monitoring
from app.vault import Keyring
from tests.conftest import Person
from tests.web.working import work_off


class Planted:
    """Unpickled, it makes a folder."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.place,)


class InJson:
    """As `app.jobs` writes them, by hand: the attacker knows our code."""

    dumps = staticmethod(lambda value: json.dumps(value, default=str).encode())
    loads = staticmethod(json.loads)


def plant(job: Job, *_: Any) -> None:
    os.mkdir(job.meta["place"])


def as_rq_does(queue: Queue, place: str) -> None:
    queue.enqueue(os.mkdir, place)


def as_we_do(queue: Queue, place: str) -> None:
    Queue(queue.name, connection=queue.connection, serializer=InJson).enqueue(os.mkdir, place)


def of_an_object(queue: Queue, place: str) -> None:
    with contextlib.suppress(TypeError):
        Queue(queue.name, connection=queue.connection, serializer=InJson).enqueue(Path(place).mkdir)


def in_the_arguments(queue: Queue, place: str) -> None:
    queue.enqueue("app.jobs.housekeeping", Planted(place))


def in_what_comes_with_it(queue: Queue, place: str) -> None:
    queue.enqueue("app.jobs.housekeeping", meta={"request_id": Planted(place)})


def when_it_succeeds(queue: Queue, place: str) -> None:
    ours = Queue(queue.name, connection=queue.connection, serializer=InJson)
    ours.enqueue("app.jobs.aggregate_days", meta={"place": place}, on_success=Callback(plant))


def when_it_fails(queue: Queue, place: str) -> None:
    ours = Queue(queue.name, connection=queue.connection, serializer=InJson)
    ours.enqueue("app.jobs.run_sync", "no number", meta={"place": place}, on_failure=Callback(plant))


@pytest.mark.parametrize(
    "attack",
    [
        as_rq_does,
        as_we_do,
        of_an_object,
        in_the_arguments,
        in_what_comes_with_it,
        when_it_succeeds,
        when_it_fails,
    ],
)
def test_a_job_that_none_of_us_queued_does_nothing(
    app: Flask, vault: Keyring, carol: Person, tmp_path: Path, attack: Callable[[Queue, str], None]
) -> None:
    place = tmp_path / "planted"
    carol.sign_in()
    with contextlib.closing(jobs.open_worker_connection(app)) as connection:
        attack(Queue(jobs.INTERACTIVE, connection=connection), str(place))
        looked = carol.client.get("/admin/workers")
        assert looked.status_code == 200 and not place.exists()
        work_off(app, vault)
        assert not place.exists()
        assert carol.client.get("/admin/workers").status_code == 200
    assert not place.exists()


def test_such_a_job_is_a_failed_one_and_the_next_is_done(app: Flask, vault: Keyring, carol: Person) -> None:
    with contextlib.closing(jobs.open_worker_connection(app)) as connection:
        Queue(jobs.INTERACTIVE, connection=connection).enqueue(os.getcwd)
    assert jobs.enqueue_full_sync("cron") is None
    work_off(app, vault)
    assert len(monitoring.list_failed_jobs()) == 1


def test_nothing_in_redis_is_a_pickle(app: Flask, alice: Person) -> None:
    alice.add_key("openai")
    assert jobs.start_sync(alice.id, "manual") is not None
    jobs.enqueue_full_sync("cron")
    jobs.enqueue_signup_email("1:c2VhbGVk")
    found = 0
    with contextlib.closing(jobs.open_worker_connection(app)) as client:
        for key in client.scan_iter("rq:job:*"):
            with contextlib.suppress(redis.ResponseError):
                for value in client.hgetall(key).values():
                    with contextlib.suppress(zlib.error):
                        value = zlib.decompress(value)
                        found += 1
                    with pytest.raises(Exception):
                        pickle.loads(value)
    assert found


def test_every_job_of_ours_is_a_door(app: Flask) -> None:
    from app.jobs.registry import JOBS

    scheduled = {f"{one.job.__module__}.{one.job.__qualname__}" for one in jobs.PERIODIC_JOBS}
    queued = {f"app.jobs.{name}" for name in vars(jobs) if name.startswith("do_")}
    assert JOBS.keys() == scheduled | queued
