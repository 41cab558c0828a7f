"""What a job may be, and how it is written in Redis.

RQ by itself writes jobs as pickles and calls whatever function a job names: whoever can write into Redis then runs code
in every process that reads from it. The web can write there, and workers hold what opens API keys. So here a job is
JSON, which does nothing when it is read, and names one of `DOORS`, or it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from rq import Queue
from rq.job import Job

JobFunction = TypeVar("JobFunction", bound=Callable[..., object])

JOBS: dict[str, Callable[..., object]] = {}
"""Every function that a job can have done, by the name it is queued by."""


class UnknownJob(Exception):
    """A job that none of us queued."""


def job(function: JobFunction) -> JobFunction:
    """Let jobs have this done."""
    JOBS[f"{function.__module__}.{function.__qualname__}"] = function
    return function


class JSONSerializer:
    """RQ's serializer: JSON."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return json.dumps(value).encode()

    @staticmethod
    def loads(data: bytes) -> Any:
        return json.loads(data)


class JSONJob(Job):
    """A job that is JSON whoever reads it, does what one of `DOORS` does, and calls nothing else when it ends."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        super().__init__(id, connection, JSONSerializer)

    @property
    def func(self) -> Callable[..., object]:
        found = None if self.instance else JOBS.get(str(self.func_name))
        if found is None:
            raise UnknownJob("a job names a function that is none of ours: somebody else writes into Redis")
        return found

    def restore(self, raw_data: Any) -> Any:
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []


class JSONQueue(Queue):
    """A queue of such jobs."""

    job_class = JSONJob

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"job_class": JSONJob, "serializer": JSONSerializer})


JSON_OPTIONS: dict[str, Any] = {"job_class": JSONJob, "queue_class": JSONQueue, "serializer": JSONSerializer}
"""For whoever of RQ reads jobs by itself."""
