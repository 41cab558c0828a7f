"""Everyone at once: many users with three keys each, their lists unchanged, on real workers.

`python -m tests.benchmarks fanout --users 10000`, and `growth --users 100,1000,10000`. CPU is that of `flask work` and
all it started; of PostgreSQL, Redis and the far end nothing is counted, though they share the cores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import func, select

from app.extensions import db
from app.jobs import context, enqueue, queues
from app.store.schema.tables import ResultRow, RunRow
from app.sync import run as sync
from app.sync.http.client import new_client
from tests.benchmarks.far_end import FarEnd, far_end
from tests.benchmarks.stage import Stage, begin, best_database, headers_of, people, person, stage
from tests.live import ROOT, descendants

KEYS = {"openai": 120, "groq": 30, "mistral": 60}
"""The providers of each user's keys, and how many models they list."""
_WORKERS = 2
_TICKS = os.sysconf("SC_CLK_TCK")
_PRESSES = (0.2, 0.35, 0.5, 0.65, 0.8)
"""At these shares of the work somebody presses Sync Now."""
_ASKED = 5
_FEWEST = 1_000
"""Users whose syncs are measured: fewer of them are synced several times."""
_PATIENCE_S = 3_600

Rows = list[tuple[str, str]]


@dataclass
class Load:
    """What everyone's sync took."""

    keys: int
    is_single: bool
    """Whether everyone is synced once."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    asked_s: list[float] = field(default_factory=list)
    """CPU of single requests, made beside it."""
    memory: list[dict[int, int]] = field(default_factory=list)
    """Worker → KiB that are resident, at a tenth of the work and at its end."""
    waits: list[float] = field(default_factory=list)
    """From a click to the claim."""
    grown: int = 0
    outcomes: set[str | None] = field(default_factory=set)

    @property
    def cpu_each(self) -> float:
        return self.cpu_s / self.keys


def rows(users: int = 300) -> Rows:
    load = measure(users)
    asked = statistics.median(load.asked_s)
    memory = max(load.memory[-1][pid] - before for pid, before in load.memory[0].items() if pid in load.memory[-1])
    title = f"{users:,} users × {len(KEYS)} keys, lists unchanged, {_WORKERS} workers ({best_database()})"
    return [
        (title, f"{load.keys / load.wall_s:.0f} keys a second"),
        (
            "… CPU of the workers for each key",
            f"{1e3 * load.cpu_each:.2f} ms, {load.cpu_each / asked:.1f} × one httpx request of the same body",
        ),
        ("… memory of a worker, from a tenth of the work to its end", f"{memory / 1024:+.1f} MB"),
        ("… bytes that the database grows by, for each key", f"{load.grown / load.keys:.0f}"),
        (
            "… Sync Now meanwhile, from the click to the worker's claim",
            f"{statistics.median(load.waits):.2f} s, at the worst {max(load.waits):.2f} s",
        ),
        ("… outcomes", ", ".join(sorted(map(str, load.outcomes)))),
    ]


def growth(sizes: Sequence[int] = (30, 150)) -> Rows:
    """What a key costs in installations of different sizes, each measured over a thousand syncs at least."""
    costs = {users: measure(users, max(1, -(-min(_FEWEST, max(sizes)) // users))).cpu_each for users in sizes}
    told = "; ".join(f"{users:,}: {1e3 * cost:.2f} ms" for users, cost in costs.items())
    least = costs[min(costs)]
    ratios = ", ".join(f"{cost / least:.2f} ×" for users, cost in costs.items() if users != min(costs))
    return [("CPU for each key, by the number of users", f"{told}: {ratios}")]


def measure(users: int, rounds: int = 1) -> Load:
    """All users are synced so many times."""
    with far_end() as far:
        far.list_models(KEYS)
        with stage(best_database(), far) as installed:
            first = person(installed, list(KEYS))
            with context.sync_context() as means:
                sync.execute_many(begin([first]), means)
            people(installed, users - 1, list(KEYS), like=first)
            load = Load(rounds * users * len(KEYS), rounds == 1)
            grown = installed.database_bytes()
            with _workers(installed) as process, new_client() as client:
                _ask(client, far)
                for _ in range(rounds):
                    _everyone(installed, process, users, load, client, first)
            load.grown = installed.database_bytes() - grown
            return load


def _everyone(
    installed: Stage, process: subprocess.Popen[bytes], users: int, load: Load, client: httpx.Client, like: int
) -> None:
    last = db.session.scalar(select(func.max(RunRow.id))) or 0
    # In a second round they would be among everyone.
    presses = _PRESSES if load.is_single else ()
    cpu, start = _cpu_of(process.pid), time.monotonic()
    enqueue.enqueue_full_sync("cron")
    waiting: list[int] | None = None
    clicks: list[int] = []
    memory: list[dict[int, int]] = []
    done = 0
    while done < users:
        time.sleep(0.2)
        assert process.poll() is None and time.monotonic() - start < _PATIENCE_S, "the workers do not get on"
        done = _done(last)
        if waiting is None and _begun(last) >= users:
            # Made only now: the call that is under way has no run for them.
            waiting = people(installed, len(presses), list(KEYS), like=like) if presses else []
        if waiting and done >= presses[len(clicks)] * users:
            clicks.append(_press(waiting.pop()))
            load.asked_s += [_ask(client, installed.far) for _ in range(_ASKED)]
        if not memory and done >= users / 10:
            memory.append(_memory(process.pid))
    load.wall_s += time.monotonic() - start
    load.cpu_s += _cpu_of(process.pid) - cpu
    load.asked_s += [_ask(client, installed.far) for _ in range(_ASKED)]
    load.memory = [*(load.memory or memory)[:1], _memory(process.pid)]
    load.waits += _waits(clicks)
    load.keys += len(clicks) * len(KEYS)
    load.outcomes |= set(db.session.scalars(select(ResultRow.outcome).where(ResultRow.run_id > last).distinct()))
    db.session.rollback()


def _press(user_id: int) -> int:
    result = enqueue.start_sync(user_id, "manual")
    assert result and result.is_new and result.trouble is None, result
    return result.run_id


def _waits(run_ids: Sequence[int]) -> list[float]:
    deadline = time.monotonic() + 30
    while True:
        query = select(RunRow.created_at, RunRow.started_at).where(RunRow.id.in_(run_ids), RunRow.state == "done")
        found = db.session.execute(query).all()
        db.session.rollback()
        if len(found) == len(run_ids):
            return [(started_at - created_at).total_seconds() for created_at, started_at in found]
        assert time.monotonic() < deadline, "whoever pressed Sync Now still waits"
        time.sleep(0.1)


def _done(last: int) -> int:
    return _count(RunRow.id > last, RunRow.state == "done", RunRow.trigger == "cron")


def _begun(last: int) -> int:
    return _count(RunRow.id > last, RunRow.trigger == "cron")


def _count(*wanted: object) -> int:
    found = db.session.scalar(select(func.count()).select_from(RunRow).where(*wanted)) or 0  # type: ignore[arg-type]
    db.session.rollback()
    return found


def _ask(client: httpx.Client, far: FarEnd) -> float:
    """CPU seconds of a request, on average over the providers."""
    start = time.process_time()
    for slug in KEYS:
        client.get(far.url(slug), headers=headers_of(slug)).raise_for_status()
    return (time.process_time() - start) / len(KEYS)


# ------------------------------------------------------------------ processes


@contextlib.contextmanager
def _workers(installed: Stage) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "work", "--workers", str(_WORKERS)]
    log = installed.settings.instance / "workers.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            command, cwd=ROOT, env=installed.environment(), stdout=told, stderr=told, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 30
        while queues.count_live_workers() <= _WORKERS:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _cpu_of(pid: int) -> float:
    """Seconds of a process, of all below it, and of those below it that have ended."""
    total = 0
    for one in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, stat[11:15]))
    return total / _TICKS


def _memory(pid: int) -> dict[int, int]:
    """Worker → KiB that are resident. What a job's own process takes goes when it ends."""
    results = {}
    for one in _children(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            results[one] = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return results


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
