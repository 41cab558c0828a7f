"""What a job costs by the kind of worker: forked from one that has the app loaded (the default), within the worker, or
in a Python of its own. An empty job, a job of one user's run, and a job of twenty.

Each kind works off the same queue in a process of its own; CPU is that process's and its children's.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence

from rq import Queue, SimpleWorker, SpawnWorker, Worker

from app import config, create_app
from app.extensions import db
from app.jobs import context, queues, tasks, workers
from app.store import catalog
from app.sync import run as sync
from app.sync.http.client import new_client
from tests.benchmarks.fanout import KEYS
from tests.benchmarks.far_end import far_end
from tests.benchmarks.stage import Stage, begin, best_database, people, person, stage
from tests.live import ROOT

KINDS: dict[str, type[Worker]] = {"fork": workers.SyncWorker, "simple": SimpleWorker, "spawn": SpawnWorker}  # type: ignore[dict-item]
_TITLES = {"fork": "a fork of a loaded worker", "simple": "the worker itself", "spawn": "a Python of its own"}
_JOBS = {"fork": 12, "simple": 12, "spawn": 1}
_TOGETHER = 20
_QUEUE = "benchmark"

Rows = list[tuple[str, str]]


def rows() -> Rows:
    with far_end() as far:
        far.list_models(KEYS)
        with stage(best_database(), far) as installed:
            first = person(installed, list(KEYS))
            with context.sync_context() as means:
                sync.execute_many(begin([first]), means)
            user_ids = people(installed, _TOGETHER * max(_JOBS.values()) // 4, list(KEYS), like=first)
            return [_row(installed, kind, user_ids) for kind in KINDS]


def _row(installed: Stage, kind: str, user_ids: Sequence[int]) -> tuple[str, str]:
    count = _JOBS[kind]
    empty = _measured(installed, kind, [()] * count)
    single = _measured(installed, kind, [(run_id,) for run_id in begin(user_ids[:count])])
    many = begin(user_ids[: _TOGETHER * max(1, count // 4)])
    batches = [tuple(many[start : start + _TOGETHER]) for start in range(0, len(many), _TOGETHER)]
    together = _measured(installed, kind, batches)
    keys = len(KEYS)
    return (
        f"a job in {_TITLES[kind]}: empty; CPU for each key, one run a job; twenty",
        f"{1e3 * empty:.0f} ms; {1e3 * single / keys:.1f} ms; {1e3 * together / keys / _TOGETHER:.1f} ms",
    )


def _measured(installed: Stage, kind: str, batches: Sequence[tuple[int, ...]]) -> float:
    """CPU seconds of a job."""
    queue = Queue(_QUEUE, connection=queues.redis_connection())
    for batch in batches:
        queue.enqueue(do, *batch, result_ttl=0)
    command = [sys.executable, "-m", "tests.benchmarks.forking", kind]
    done = subprocess.run(
        command, cwd=ROOT, env=installed.environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0 and not queue.failed_job_registry.count, done.stderr
    return float(json.loads(done.stdout)["cpu_s"]) / len(batches)


def do(*run_ids: int) -> None:
    """The job. A Python of its own has to make the app first, as a worker does once."""
    if context._binding is None:
        context.bind(create_app(), config.load_keyring())
    if run_ids:
        tasks.run_syncs(*run_ids)


def main(kind: str) -> None:
    """As `jobs.work` does it, for one worker and until the queue is empty."""
    app = create_app()
    context.bind(app, config.load_keyring())
    with app.app_context():
        catalog.load_index()
        db.session.remove()
        db.engine.dispose()
        new_client().close()
        worker = KINDS[kind]([_QUEUE], connection=queues.open_worker_connection(app))
        used = _cpu(lambda: worker.work(burst=True, logging_level="WARNING"))
    sys.stdout.write(json.dumps({"cpu_s": used}))


def _cpu(act: Callable[[], object]) -> float:
    start = _used()
    act()
    return _used() - start


def _used() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


if __name__ == "__main__":
    # By its name, under which the jobs name their function.
    from tests.benchmarks import forking

    forking.main(sys.argv[1])
