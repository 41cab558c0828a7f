"""The admin's pages at 0, 1 and 100,000 runs: queries, medians and p95, and how many times the empty page that is.

    python -m tests.benchmarks.admin                       SQLite
    BENCHMARK_DATABASE_URL=postgresql://… python -m …      an empty PostgreSQL database besides

The runs are spread evenly over thirty days, a thousand users, ten providers and all outcomes, with a result each; the
users are there from the beginning. The days that are over are counted first, as the scheduler does every hour. Redis
is away, which costs every page the same.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, select, text

from app import config, create_app
from app.auth import passwords
from app.cli.install import set_up
from app.extensions import db
from app.store import credentials
from app.store.accounts import users
from app.store.queries import admin
from app.store.schema.tables import OUTCOMES, ResultRow, RunRow, UserRow
from app.vault import Keyring, generate_private_key
from tests.benchmarks.__main__ import queries
from tests.signed import sign_in

RUNS, DAYS, USERS, BATCH, ROUNDS = 100_000, 30, 1_000, 5_000, 60
SLUGS = ("openai", "anthropic", "google", "groq", "openrouter", "mistral", "deepseek", "together", "xai", "cohere")
PATHS = (
    "/admin",
    "/admin/history",
    "/admin/history?outcome=failed&provider=groq",
    "/admin/history?state=lost",
    "/admin/providers",
    "/admin/users",
    "/admin/users/2",
    "/admin/catalog/audit",
)


@contextmanager
def installation(url: str) -> Iterator[Flask]:
    with tempfile.TemporaryDirectory() as folder:
        settings = config.Settings(
            instance=Path(folder),
            database_url=url or f"sqlite:///{folder}/benchmark.sqlite",
            redis_url="redis://127.0.0.1:1/0",
            secret_key="of a benchmark, for nothing else",
            vault_public_key=Keyring(generate_private_key()).public,
        )
        app = create_app(settings)
        set_up(app)
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()


def person() -> UserRow:
    """The admin who looks, the first of all users."""
    user = users.create("measure@example.com", passwords.hash_password("a password of a benchmark"), now())
    if user is None:
        raise RuntimeError("the benchmark needs an empty database")
    others = [
        {"email": f"user-{number}@example.com", "password_hash": "!", "auth_stamp": "", "created_at": now()}
        for number in range(USERS)
    ]
    db.session.execute(insert(UserRow), others)
    db.session.commit()
    return user


def add_runs(first: int, count: int, since: timedelta) -> None:
    providers = credentials.providers_by_slug()
    ids = [providers[slug].id for slug in SLUGS]
    people = db.session.scalars(select(UserRow.id).order_by(UserRow.id.desc()).limit(USERS)).all()
    started_at = now() - since
    for start in range(first, first + count, BATCH):
        runs, results = [], []
        for number in range(start, min(start + BATCH, first + count)):
            at = started_at + since * ((number - first + 1) / count)
            own = {"user_id": people[number % USERS], "ended_at": at, "started_at": at}
            runs.append({"id": number, "trigger": "cron", "state": "done", "created_at": at, **own})
            outcome = OUTCOMES[number // len(ids) % len(OUTCOMES)]
            results.append({"run_id": number, "provider_id": ids[number % len(ids)], "outcome": outcome, **own})
        db.session.execute(insert(RunRow), runs)
        db.session.execute(insert(ResultRow), results)
        db.session.commit()


def measure(app: Flask, user: UserRow, path: str) -> tuple[int, float, float]:
    """Queries, the median and the p95 in seconds."""
    client = app.test_client()
    sign_in(client, user)
    db.session.remove()
    if client.get(path).status_code != 200:
        raise RuntimeError(f"{path} does not open")
    counted = queries(lambda: client.get(path))
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with app.app_context():  # of its own, as a server has it: nothing is known from the last one
            client.get(path)
        took.append(time.perf_counter() - start)
    return counted, statistics.median(took), statistics.quantiles(took, n=20)[-1]


def measures(app: Flask) -> Iterator[tuple[str, ...]]:
    user = person()
    found: dict[str, list[Any]] = {path: [measure(app, user, path)] for path in PATHS}
    for first, count in ((1, 1), (2, RUNS - 1)):
        add_runs(first, count, timedelta(days=DAYS))
        start = time.perf_counter()
        admin.aggregate_days(now())
        db.session.commit()
        if count > 1:
            yield "counting thirty days, once", "", f"{time.perf_counter() - start:.2f} s", "", "", ""
        db.session.execute(text("ANALYZE"))
        db.session.commit()
        db.session.remove()
        db.engine.dispose()  # SQLite's other connections would go on planning by what they counted before
        for path in PATHS:
            found[path].append(measure(app, user, path))
    for path, (none, one, many) in found.items():
        times = [f"{1e3 * median:.1f}, {1e3 * p95:.1f} ms" for _, median, p95 in (none, one, many)]
        yield path, f"{none[0]}, {one[0]}, {many[0]}", *times, f"{many[2] / none[2]:.2f} ×"


def now() -> datetime:
    return datetime.now(UTC)


def main() -> int:
    for url in dict.fromkeys(("", os.environ.get("BENCHMARK_DATABASE_URL", ""))):
        title = f"Admin pages on {'PostgreSQL' if url else 'SQLite'}: median, p95"
        columns = ("page", "queries", "no run", "1 run", f"{RUNS:,} runs", "p95, times the empty page")
        table = Table(*columns, title=title)
        with installation(url) as app:
            for row in measures(app):
                table.add_row(*row)
        Console(width=150).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
