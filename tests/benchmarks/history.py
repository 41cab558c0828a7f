"""What the pages of a person's past cost when there is much of it.

`python -m tests.benchmarks history --results 1000000`. One person has a thousand results and another all the rest, and
they look at their pages by turns, so that whatever else the machine does befalls both.
"""

from __future__ import annotations

import statistics
import time
from datetime import timedelta

from flask.testing import FlaskClient
from sqlalchemy import func, insert, select, text

from app.extensions import db
from app.store import credentials
from app.store.schema.tables import ResultRow, RunRow, UserRow
from tests.benchmarks.far_end import far_end
from tests.benchmarks.stage import POSTGRESQL, Stage, best_database, now, people, stage
from tests.signed import sign_in

PAGES = ("/history", "/changes", "/profile")
FEW = 1_000
_KEYS = ("openai", "groq", "mistral", "together", "deepinfra")
_CHUNK = 2_000
_ROUNDS = 15

Rows = list[tuple[str, str]]


def rows(results: int = 20_000) -> Rows:
    with far_end() as far, stage(best_database(), far) as installed:
        few, many = people(installed, 2, _KEYS)
        _fill(few, FEW)
        _fill(many, results)
        _analyze(installed)
        took = _times(installed, few, many)
    return [
        (
            f"{page} of someone with {FEW:,} and of someone with {results:,} results ({installed.database})",
            f"{1e3 * short:.0f} and {1e3 * long:.0f} ms, {long / short:.2f} ×",
        )
        for page, (short, long) in took.items()
    ]


def _times(installed: Stage, *user_ids: int) -> dict[str, list[float]]:
    """Page → seconds, the median, for each of these people."""
    clients = [_signed_in(installed, user_id) for user_id in user_ids]
    took: dict[str, list[list[float]]] = {page: [] for page in PAGES}
    for _ in range(_ROUNDS + 1):
        for page in PAGES:
            took[page].append([_seconds(client, page) for client in clients])
    return {
        page: [statistics.median(times) for times in zip(*rounds[1:], strict=True)] for page, rounds in took.items()
    }


def _signed_in(installed: Stage, user_id: int) -> FlaskClient:
    client = installed.app.test_client()
    user = db.session.get_one(UserRow, user_id)
    sign_in(client, user)
    db.session.remove()
    return client


def _seconds(client: FlaskClient, page: str) -> float:
    start = time.perf_counter()
    answer = client.get(page)
    took = time.perf_counter() - start
    assert answer.status_code == 200, answer.status
    db.session.remove()
    return took


def _analyze(installed: Stage) -> None:
    db.session.remove()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if installed.database == POSTGRESQL else "ANALYZE"))


def _fill(user_id: int, results: int) -> None:
    """Runs over all keys, a minute apart and up to now, in which nothing changed."""
    keys = [row for row, _ in credentials.list_for_user(user_id)]
    first = (db.session.scalar(select(func.max(RunRow.id))) or 0) + 1
    started_at, count = now() - timedelta(minutes=results), results // len(keys)
    for start in range(0, count, _CHUNK):
        numbers = range(start, min(start + _CHUNK, count))
        moments = {n: started_at + timedelta(minutes=n) for n in numbers}
        db.session.execute(insert(RunRow), [_run(first + n, user_id) | _at(moments[n]) for n in numbers])
        told = [_result(first + n, key) | {"ended_at": moments[n]} for n in numbers for key in keys]
        db.session.execute(insert(ResultRow), told)
        db.session.commit()
    db.session.remove()


def _run(run_id: int, user_id: int) -> dict[str, object]:
    return {"id": run_id, "user_id": user_id, "trigger": "cron", "state": "done"}


def _at(moment: object) -> dict[str, object]:
    return {"created_at": moment, "started_at": moment, "ended_at": moment}


def _result(run_id: int, key: object) -> dict[str, object]:
    facts = {name: getattr(key, name) for name in ("user_id", "provider_id", "label")}
    return {"run_id": run_id, "credential_id": key.id, "outcome": "unchanged", "fetched": 100, **facts}  # type: ignore[attr-defined]
