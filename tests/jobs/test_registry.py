"""Write access to Redis, which the web has, makes workers run nothing but our own jobs: they hold the keyring."""

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

from app.jobs import enqueue, monitoring, queues
from app.jobs.periodic import PERIODIC_JOBS
from app.jobs.registry import JOBS, RENAMED
from app.store.queries import runs as run_queries
from app.vault import Keyring
from tests.conftest import Person
from tests.web.worker import work_off


class FolderMaker:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


class AttackersJSON:
    """The serializer of `app.jobs`, rebuilt: the attacker knows our code."""

    dumps = staticmethod(lambda value: json.dumps(value, default=str).encode())
    loads = staticmethod(json.loads)


def make_folder(job: Job, *_: Any) -> None:
    os.mkdir(job.meta["folder"])


def _json_queue(queue: Queue) -> Queue:
    return Queue(queue.name, connection=queue.connection, serializer=AttackersJSON)


def queue_pickle(queue: Queue, folder: str) -> None:
    queue.enqueue(os.mkdir, folder)


def queue_json(queue: Queue, folder: str) -> None:
    _json_queue(queue).enqueue(os.mkdir, folder)


def queue_method(queue: Queue, folder: str) -> None:
    with contextlib.suppress(TypeError):
        _json_queue(queue).enqueue(Path(folder).mkdir)


def queue_pickled_argument(queue: Queue, folder: str) -> None:
    queue.enqueue("app.jobs.periodic.housekeeping", FolderMaker(folder))


def queue_pickled_meta(queue: Queue, folder: str) -> None:
    queue.enqueue("app.jobs.periodic.housekeeping", meta={"request_id": FolderMaker(folder)})


def queue_success_callback(queue: Queue, folder: str) -> None:
    _json_queue(queue).enqueue(
        "app.jobs.periodic.aggregate_days", meta={"folder": folder}, on_success=Callback(make_folder)
    )


def queue_failure_callback(queue: Queue, folder: str) -> None:
    _json_queue(queue).enqueue(
        "app.jobs.tasks.run_sync", "no number", meta={"folder": folder}, on_failure=Callback(make_folder)
    )


@pytest.mark.parametrize(
    "attack",
    [
        queue_pickle,
        queue_json,
        queue_method,
        queue_pickled_argument,
        queue_pickled_meta,
        queue_success_callback,
        queue_failure_callback,
    ],
)
def test_a_foreign_job_runs_nothing(
    app: Flask, vault: Keyring, carol: Person, tmp_path: Path, attack: Callable[[Queue, str], None]
) -> None:
    folder = tmp_path / "made"
    carol.sign_in()
    with contextlib.closing(queues.open_worker_connection(app)) as connection:
        attack(Queue(queues.INTERACTIVE, connection=connection), str(folder))
        response = carol.client.get("/admin/workers")
        assert response.status_code == 200 and not folder.exists()
        work_off(app, vault)
        assert not folder.exists()
        assert carol.client.get("/admin/workers").status_code == 200
    assert not folder.exists()


def test_a_foreign_job_fails_and_the_next_job_runs(app: Flask, vault: Keyring, carol: Person) -> None:
    with contextlib.closing(queues.open_worker_connection(app)) as connection:
        Queue(queues.INTERACTIVE, connection=connection).enqueue(os.getcwd)
    assert enqueue.enqueue_full_sync("cron") is None
    work_off(app, vault)
    assert len(monitoring.list_failed_jobs()) == 1


def test_nothing_in_redis_is_a_pickle(app: Flask, alice: Person) -> None:
    alice.add_key("openai")
    assert enqueue.start_sync(alice.id, "manual") is not None
    enqueue.enqueue_full_sync("cron")
    enqueue.enqueue_signup_email("1:c2VhbGVk")
    compressed = 0
    with contextlib.closing(queues.open_worker_connection(app)) as client:
        for key in client.scan_iter("rq:job:*"):
            with contextlib.suppress(redis.ResponseError):
                for value in client.hgetall(key).values():
                    with contextlib.suppress(zlib.error):
                        value = zlib.decompress(value)
                        compressed += 1
                    with pytest.raises(Exception):  # noqa: B017  (pickle raises many types)
                        pickle.loads(value)  # noqa: S301  (to show that it is no pickle)
    assert compressed


def test_every_periodic_job_is_registered() -> None:
    assert {periodic.job for periodic in PERIODIC_JOBS} <= set(JOBS.values())


# ------------------------------------------------------------------ jobs queued by the release before


def test_every_job_of_the_release_before_has_a_new_name() -> None:
    assert set(RENAMED.values()) == set(JOBS)
    assert not RENAMED.keys() & JOBS.keys()


def test_a_job_queued_under_its_old_name_is_done(app: Flask, vault: Keyring, alice: Person) -> None:
    alice.add_key("openai")
    run = enqueue.start_sync(alice.id, "manual")
    assert run is not None
    queue = queues.open_queue(queues.INTERACTIVE)
    queue.empty()
    queue.enqueue("app.jobs.do_run", run.run_id, job_id=queues.run_job_id(run.run_id))
    assert monitoring.parse_job_name(queue.jobs[0]) == monitoring.JobName("run_sync", run.run_id)
    work_off(app, vault)
    assert monitoring.list_failed_jobs() == []
    view = run_queries.load_run(run.run_id)
    assert view is not None and view.state == "done"


_PERIODIC = [old for old, new in RENAMED.items() if new.startswith("app.jobs.periodic.")]


@pytest.mark.parametrize("old_name", _PERIODIC)
def test_a_periodic_job_queued_under_its_old_name_is_done(app: Flask, vault: Keyring, old_name: str) -> None:
    queues.open_queue(queues.MAINTENANCE).enqueue(old_name)
    assert work_off(app, vault) == 1
    assert monitoring.list_failed_jobs() == []
