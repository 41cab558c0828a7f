"""One person's sync at 25 providers: how long it takes, what it costs, and what it leaves behind.

The floor is what cannot be saved: ask with httpx, from one thread for each provider as the engine does, and then decode
and write the changed rows, or hash. CPU time is this process's; the far end, Redis and PostgreSQL are others.
"""

from __future__ import annotations

import gc
import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import msgspec
from sqlalchemy import func, insert, select

from app.extensions import db
from app.jobs import context
from app.store.schema.tables import ListedModelRow, ModelRow, ResultRow
from app.sync import run as sync
from app.sync.http.client import new_client
from tests.benchmarks.far_end import MANY, SIZES, FarEnd, far_end
from tests.benchmarks.stage import Stage, begin, databases, headers_of, now, person, stage

ROUNDS = 5
_FASTEST_S, _SLOWEST_S = 0.05, 1.5
_GROWING_ROUNDS = 20

Rows = list[tuple[str, str]]


def rows() -> Rows:
    """The measures as (what, value), medians of five."""
    measured: Rows = []
    with far_end() as far:
        for database in databases():
            with stage(database, far) as installed:
                measured += [(f"{what} ({database})", value) for what, value in _on(installed)]
    return measured


def _on(stage: Stage) -> Rows:
    user_id = person(stage, MANY)
    told = _cost(stage, user_id) + _unchanged(stage, user_id) + _growth(stage, user_id) + _latencies(stage, user_id)
    outcomes = set(db.session.scalars(select(ResultRow.outcome).distinct()))
    assert outcomes == {"complete", "unchanged"}, outcomes
    return told


# ------------------------------------------------------------------ with latencies


def _latencies(stage: Stage, user_id: int) -> Rows:
    for number, slug in enumerate(MANY):
        stage.far.set_latency(slug, _FASTEST_S + (_SLOWEST_S - _FASTEST_S) * number / (len(MANY) - 1))
    walls, singles = [], []
    for _ in range(ROUNDS):
        start = time.monotonic()
        run_ids = _sync(user_id)
        walls.append(time.monotonic() - start)
        singles.append(sum(_asked_s(run_ids)))
    for slug in MANY:
        stage.far.set_latency(slug, 0)
    wall, single = statistics.median(walls), statistics.median(singles)
    paused = single + len(MANY) - 1
    return [
        ("25 providers, latencies of 0.05–1.5 s, first statement to last row", f"the slowest + {wall - 1.5:.2f} s"),
        (
            "… one after the other, added up from the same requests",
            f"{single:.1f} s, {single / wall:.1f} × as long; with pauses of 1 s {paused:.1f} s, {paused / wall:.0f} ×",
        ),
    ]


def _asked_s(run_ids: list[int]) -> list[float]:
    found = db.session.scalars(select(ResultRow.requests).where(ResultRow.run_id.in_(run_ids))).all()
    db.session.rollback()
    return [request[3] / 1000 for requests in found for request in requests or ()]


# ------------------------------------------------------------------ with changes


def _cost(stage: Stage, user_id: int) -> Rows:
    with _asking() as ask:
        floor = _cpu(lambda: _write(ask(stage.far), whole=True))
        first = _cpu(lambda: _sync(user_id))
        floors, costs = [], []
        for edition in range(1, ROUNDS + 1):
            stage.far.list_models(SIZES, edition)
            floors.append(_cpu(lambda: _write(ask(stage.far), whole=False)))
            costs.append(_cpu(lambda: _sync(user_id)))
    changed, least = statistics.median(costs), statistics.median(floors)
    return [
        (
            "first sync of 25 lists, 4,000 models",
            f"{1e3 * first:.0f} ms of CPU, {first / floor:.1f} × asking, decoding and one INSERT of 4,000 rows",
        ),
        (
            "… again, when each list lost a model and got another",
            f"{1e3 * changed:.0f} ms, {changed / least:.1f} × asking, decoding and writing these 50 rows",
        ),
    ]


def _write(bodies: dict[str, bytes], *, whole: bool) -> None:
    """Decode, and write rows as `models` has them; they are taken back, so that every round writes them anew."""
    for body in bodies.values():
        msgspec.json.decode(body)
    count, moment = sum(SIZES.values()) if whole else 2 * len(SIZES), now()
    made = [_row(number, moment) for number in range(count)]
    connection = db.session.connection()
    connection.execute(insert(ModelRow.__table__), made)  # type: ignore[arg-type]
    db.session.rollback()


def _row(number: int, moment: datetime) -> dict[str, Any]:
    return {
        "provider_id": 1,
        "provider_model_id": f"floor/{number}",
        "model_name": f"Floor {number}",
        "kind": "chat",
        "match_rule": "",
        "facts_hash": b"0" * 16,
        "first_seen_at": moment,
        "last_seen_at": moment,
        "created_at": moment,
        "updated_at": moment,
    }


# ------------------------------------------------------------------ without changes


def _unchanged(stage: Stage, user_id: int) -> Rows:
    _sync(user_id)
    floors, costs = [], []
    before = _models()
    with _asking() as ask:
        ask(stage.far)
        for _ in range(ROUNDS):
            floors.append(_cpu(lambda: _hashed(ask(stage.far))))
            costs.append(_cpu(lambda: _sync(user_id)))
    cost, floor = statistics.median(costs), statistics.median(floors)
    written = len(before ^ _models())
    return [
        (
            "the same with nothing changed",
            f"{1e3 * cost:.0f} ms of CPU, {cost / floor:.2f} × asking and hashing alone",
        ),
        ("… model rows written", f"{written} of {len(before)}"),
    ]


def _hashed(bodies: dict[str, bytes]) -> None:
    for body in bodies.values():
        hashlib.sha256(body).hexdigest()


def _models() -> set[tuple[Any, ...]]:
    found = {tuple(row) for row in db.session.execute(select(ModelRow.id, ModelRow.facts_hash, ModelRow.updated_at))}
    shown = select(func.count()).select_from(ListedModelRow)
    found.add(("listed", db.session.scalar(shown)))
    db.session.rollback()
    return found


def _growth(stage: Stage, user_id: int) -> Rows:
    for _ in range(2):
        _sync(user_id)
        stage.database_bytes()
    before = stage.database_bytes()
    for number in range(_GROWING_ROUNDS):
        _sync(user_id)
        if number % 5 == 4:
            stage.database_bytes()  # as autovacuum does from time to time
    grown = stage.database_bytes() - before
    return [("… bytes that the database grows by, for each key", f"{grown / (_GROWING_ROUNDS * len(MANY)):.0f}")]


# ------------------------------------------------------------------ inside


def _sync(user_id: int) -> list[int]:
    """As a worker does it, from the claim to the last row."""
    run_ids = begin([user_id])
    with context.sync_context() as means:
        done = sync.execute_many(run_ids, means)
    assert done == set(run_ids), "the run was not done"
    return run_ids


@contextmanager
def _asking() -> Iterator[Callable[[FarEnd], dict[str, bytes]]]:
    """Ask all providers at once, each from a thread of its own: slug → body."""
    with new_client() as client:

        def ask(far: FarEnd) -> dict[str, bytes]:
            bodies: dict[str, bytes] = {}

            def get(slug: str) -> None:
                bodies[slug] = _get(client, far, slug)

            threads = [threading.Thread(target=get, args=(slug,)) for slug in MANY]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return bodies

        yield ask


def _get(client: httpx.Client, far: FarEnd, slug: str) -> bytes:
    return client.get(far.url(slug), headers=headers_of(slug)).content


def _cpu(act: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    act()
    return time.process_time() - start
