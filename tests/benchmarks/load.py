"""So many requests a second at the pages while syncs run: `python -m tests.benchmarks load --minutes 10`.

Two web processes and a worker, as `flask up` starts them; those who ask are in a process of their own, and so take some
of the same cores. Every second a sync is begun. Told are answers that are no 200, the rate that was reached, how long
answers took, and what the processes hold in memory at the beginning, in the middle and at the end.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import func, select

from app.extensions import db
from app.jobs import enqueue
from app.store.schema.tables import RunRow
from tests.benchmarks import crowd
from tests.benchmarks.far_end import far_end
from tests.benchmarks.stage import Stage, best_database, people, stage
from tests.benchmarks.web_server import Server, cookie_of, own_bytes, serving
from tests.live import ROOT, descendants

PER_S, PEOPLE, CLIENTS = 200.0, 40, 64
PATHS = [
    "/profile",
    "/models",
    "/models?q=gpt",
    "/changes",
    "/history",
    "/settings",
    "/api/models/sync",
    "/health",
]
_KEYS = ("openai", "groq", "mistral")
_EVERY_S = 1.0

Rows = list[tuple[str, str]]


def rows(minutes: float = 0.5) -> Rows:
    with far_end() as far, stage(best_database(), far) as installed, tempfile.TemporaryDirectory() as folder:
        user_ids = people(installed, PEOPLE, _KEYS)
        cookies = [cookie_of(installed, user_id) for user_id in user_ids]
        with serving(installed, Path(folder), workers=2) as server, _working(installed) as worker:
            for cookie in cookies:
                crowd.ask(server.port, "/profile", cookie, 1, 0)
            return _loaded(installed, server, worker, user_ids, cookies, minutes * 60)


def _working(installed: Stage) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "work", "--workers", "1"]
    quiet = installed.environment() | {"LOG_LEVEL": "ERROR"}
    return _Ending(command, cwd=ROOT, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class _Ending(subprocess.Popen[bytes]):
    """Told to stop when it is left."""

    def __exit__(self, *error: object) -> None:
        self.terminate()
        super().__exit__(*error)  # type: ignore[arg-type]


def _loaded(
    installed: Stage,
    server: Server,
    worker: subprocess.Popen[bytes],
    user_ids: list[int],
    cookies: list[str],
    seconds: float,
) -> Rows:
    over, run_count = threading.Event(), [0]

    def sync() -> None:
        with installed.app.app_context():
            while not over.wait(_EVERY_S):
                if enqueue.start_sync(user_ids[run_count[0] % len(user_ids)], "manual"):
                    run_count[0] += 1
                db.session.remove()

    syncing = threading.Thread(target=sync)
    syncing.start()
    # The first of it is not measured: caches are filled, and what is kept for long is made.
    crowd.answer(_paced(server, cookies, min(15.0, seconds / 4)))
    memory = [_held(server, worker)]
    asked, cpu_s, half = _paced(server, cookies, seconds), server.cpu_s(), time.monotonic() + seconds / 2
    while time.monotonic() < half and asked.poll() is None:
        time.sleep(0.5)
    memory.append(_held(server, worker))
    found = crowd.answer(asked)
    cpu_s = server.cpu_s() - cpu_s
    memory.append(_held(server, worker))
    over.set()
    syncing.join()
    db.session.rollback()
    states = Counter(dict(db.session.execute(select(RunRow.state, func.count()).group_by(RunRow.state)).tuples().all()))
    took = sorted(found["took"]) or [0.0]
    answered = sum(found["statuses"].values())
    bad = {status: count for status, count in found["statuses"].items() if status != "200"}
    hundredths = statistics.quantiles(took, n=100) if len(took) > 1 else took * 99
    return [
        (
            f"{answered} requests in {found['lasted']:.0f} s, {PER_S:.0f} a second wanted ({installed.database})",
            f"{answered / found['lasted']:.0f} a second",
        ),
        ("… answers that were no 200", ", ".join(f"{count} of {status}" for status, count in bad.items()) or "none"),
        (
            "… time of an answer",
            f"p50 {hundredths[49] * 1000:.0f} ms, p95 {hundredths[94] * 1000:.0f} ms, "
            f"p99 {hundredths[98] * 1000:.0f} ms",
        ),
        ("… CPU of the web processes", f"{cpu_s / found['lasted']:.0%} of a core"),
        (
            "… syncs begun meanwhile",
            f"{run_count[0]}; runs {', '.join(f'{state} {count}' for state, count in states.items())}",
        ),
        (
            "… memory of the web processes, of the workers",
            ", ".join(f"{web:.0f} and {work:.0f} MB" for web, work in memory),
        ),
    ]


def _paced(server: Server, cookies: list[str], seconds: float) -> subprocess.Popen[str]:
    options = {"paths": PATHS, "cookies": cookies, "per_s": PER_S, "seconds": seconds, "clients": CLIENTS}
    return crowd.start("pace", port=server.port, **options)


def _held(server: Server, worker: subprocess.Popen[bytes]) -> tuple[float, float]:
    """MB of the web processes, and of the pool with all its workers."""
    pids = [worker.pid, *descendants(worker.pid)]
    return server.resident_bytes() / 1e6, sum(_of(pid) for pid in pids) / 1e6


def _of(pid: int) -> int:
    try:
        return own_bytes(pid)
    except OSError:  # a job's fork, which has ended
        return 0
