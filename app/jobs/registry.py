"""The functions that a job may call, and how jobs are written in Redis.

RQ's default is pickled jobs that may name any function, so that write access to Redis means code execution in every
process that reads from it. The web process has that access, and workers hold the keyring that opens API keys. So jobs
are JSON, which has no effect when it is read, and name a function of `JOBS`; all others are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from rq import Queue
from rq.job import Job

JobFunction = TypeVar("JobFunction", bound=Callable[..., object])

JOBS: dict[str, Callable[..., object]] = {}
"""Every function that a job may call, by the name that is stored in Redis. Filled by `tasks` and `periodic`."""

RENAMED = {
    "app.jobs.do_run": "app.jobs.tasks.run_sync",
    "app.jobs.do_runs": "app.jobs.tasks.run_syncs",
    "app.jobs.do_check": "app.jobs.tasks.sync_new_keys",
    "app.jobs.tasks.check_key": "app.jobs.tasks.sync_new_keys",
    "app.jobs.do_reset": "app.jobs.tasks.send_password_reset",
    "app.jobs.do_trial": "app.jobs.tasks.run_provider_test",
    "app.jobs.do_letter": "app.jobs.tasks.send_digest",
    "app.jobs.do_sign_up": "app.jobs.tasks.send_signup_email",
    "app.jobs.do_tell_owner": "app.jobs.tasks.send_security_notice",
    "app.jobs.do_plan": "app.jobs.tasks.make_plan",
    "app.jobs.do_everyone": "app.jobs.tasks.enqueue_all_users",
    "app.jobs.do_refresh": "app.jobs.tasks.refresh_source",
    "app.jobs.do_rebuild": "app.jobs.tasks.rebuild_catalog",
    "app.jobs.do_due": "app.jobs.periodic.enqueue_due",
    "app.jobs.look_after_catalog": "app.jobs.periodic.refresh_catalog_if_due",
    "app.jobs.prune_history": "app.jobs.periodic.prune_history",
    "app.jobs.tally_days": "app.jobs.periodic.aggregate_days",
    "app.jobs.housekeeping": "app.jobs.periodic.housekeeping",
    "app.jobs.mail_news": "app.jobs.periodic.enqueue_digests",
}
"""Names that version 0.1.0 queued jobs by. Jobs wait for a day at most, so the next release can drop them."""


class UnknownJob(Exception):
    """A job names a function that is not in `JOBS`."""


def job(function: JobFunction) -> JobFunction:
    """Decorator: allow jobs to call this function."""
    JOBS[f"{function.__module__}.{function.__qualname__}"] = function
    return function


class JSONSerializer:
    """RQ serializer that writes JSON."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return json.dumps(value).encode()

    @staticmethod
    def loads(data: bytes) -> Any:
        return json.loads(data)


class JSONJob(Job):
    """A job that is read as JSON, calls a function of `JOBS` only, and has no callbacks or webhooks."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        super().__init__(id, connection, JSONSerializer)

    @property
    def func(self) -> Callable[..., object]:
        name = str(self.func_name)
        function = None if self.instance else JOBS.get(RENAMED.get(name, name))
        if function is None:
            raise UnknownJob("a job names a function that is none of ours: somebody else writes into Redis")
        return function

    def restore(self, raw_data: Any) -> Any:
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []


class JSONQueue(Queue):
    """A queue of JSON jobs."""

    job_class = JSONJob

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"job_class": JSONJob, "serializer": JSONSerializer})


JSON_OPTIONS: dict[str, Any] = {"job_class": JSONJob, "queue_class": JSONQueue, "serializer": JSONSerializer}
"""Arguments for those RQ classes that create queues and jobs on their own."""
