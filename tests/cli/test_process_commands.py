"""`flask work` started before Redis or `flask setup`: it waits, says so once, and then works."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask

from app import config, create_app
from app.cli.embedded_redis import redis_process
from app.cli.install import set_up
from app.jobs import queues
from tests.conftest import Person
from tests.installation import working

pytestmark = pytest.mark.slow

Until = Callable[..., Any]


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(
    app: Flask, alice: Person, settings: config.Settings, tmp_path: Path, until: Until
) -> None:
    socket = tmp_path / "late" / "redis.sock"
    late = dataclasses.replace(settings, redis_url=f"unix://{socket}")
    with working(late, tmp_path / "work.log") as part:
        until(lambda: "waiting for it" in part.told, 40)
        server = subprocess.Popen(redis_process(socket).command, stdout=subprocess.DEVNULL)
        app.extensions["redis"] = redis.Redis.from_url(late.redis_url)
        try:
            until(socket.exists)
            until(queues.count_live_workers, 40)
            assert part.told.splitlines()[0] == "Redis cannot be reached: waiting for it."
            assert part.told.count("cannot be reached") == 1 and "Traceback" not in part.told
            assert part.stop() == 0
        finally:
            server.terminate()
            server.wait(10)


def test_a_worker_waits_for_set_up_and_ends_when_told_meanwhile(
    app: Flask, settings: config.Settings, tmp_path: Path, until: Until
) -> None:
    early = dataclasses.replace(settings, database_url=f"sqlite:///{tmp_path}/early.sqlite")
    with working(early, tmp_path / "work.log") as part:
        until(lambda: "Waiting" in part.told, 40)
        set_up(create_app(early))
        until(queues.count_live_workers, 40)
        assert part.told.splitlines()[0] == "The database is not at this version: run `flask setup`. Waiting for that."
        assert part.told.count("Waiting") == 1 and "Traceback" not in part.told
        assert part.stop() == 0
    empty = dataclasses.replace(settings, database_url=f"sqlite:///{tmp_path}/empty.sqlite")
    with working(empty, tmp_path / "none.log") as part:
        until(lambda: "Waiting" in part.told, 40)
        assert part.stop(patience_s=5) == 0
