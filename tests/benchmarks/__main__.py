"""Print the measures as one table: `python -m tests.benchmarks` the short ones, in about three minutes.

By name some of them, and with their size: `fanout --users 10000`, `growth --users 100,1000,10000`, `history --results
1000000`, `load --minutes 10`. PostgreSQL and Redis are measured where MODELSYNC_TEST_DATABASE_URL and
MODELSYNC_TEST_REDIS_URL name them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, func, insert, select

from app import config, create_app
from app.auth import passwords
from app.cli.install import set_up
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import credentials, runs
from app.store.accounts import users
from app.store.schema.tables import ModelRow, ResultRow, RunRow, UserRow
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key
from tests.benchmarks import engine, fanout, forking, history, load, matching, model_pages, pages, reading, watchers
from tests.signed import sign_in

LATENCIES = {"openai": 0.1, "anthropic": 0.4, "google": 0.7, "groq": 1.1, "openrouter": 1.5}
ROUNDS = 5

Rows = list[tuple[str, str]]
Measure = Callable[[], Rows]


@contextmanager
def installation(simulator: Simulator) -> Iterator[tuple[Flask, Keyring]]:
    private = generate_private_key()
    vault = Keyring(private)
    with tempfile.TemporaryDirectory() as folder:
        settings = config.Settings(
            instance=Path(folder),
            database_url=os.environ.get("BENCHMARK_DATABASE_URL") or f"sqlite:///{folder}/benchmark.sqlite",
            redis_url="redis://127.0.0.1:1/0",
            secret_key="of a benchmark, for nothing else",
            vault_public_key=vault.public,
            base_urls=simulator.base_urls,
        )
        app = create_app(settings)
        set_up(app)
        with app.app_context():
            yield app, vault
            db.session.remove()
            db.engine.dispose()


def person(vault: Keyring) -> UserRow:
    user = users.create("measure@example.com", passwords.hash_password("a password of a benchmark"), now())
    if user is None:
        raise RuntimeError("the benchmark needs an empty database")
    for slug in LATENCIES:
        credentials.add(
            user.id,
            credentials.providers_by_slug()[slug],
            "",
            ApiKey("sk-key-of-a-benchmark"),
            PublicKey(vault.public),
            now(),
        )
    db.session.commit()
    return user


def now() -> datetime:
    return datetime.now(UTC)


def perform(user_id: int, means: SyncContext) -> float:
    """Seconds from the click to the last row."""
    start = time.monotonic()
    started = runs.start(user_id, "manual", now())
    db.session.commit()
    if started is None:
        raise RuntimeError("there is nothing to sync")
    sync.execute(started.run.id, means)
    return time.monotonic() - start


def queries(act: Callable[[], object]) -> int:
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    event.listen(db.engine, "before_cursor_execute", count)
    try:
        act()
    finally:
        event.remove(db.engine, "before_cursor_execute", count)
    return counted


def page_queries(app: Flask, user: UserRow, path: str) -> tuple[int, float]:
    client = app.test_client()
    sign_in(client, user)
    db.session.remove()
    client.get(path)
    start = time.monotonic()
    counted = queries(lambda: client.get(path))
    return counted, time.monotonic() - start


def many_runs(user: UserRow, count: int) -> None:
    provider_id = credentials.providers_by_slug()["openai"].id
    first = (db.session.scalar(select(func.max(RunRow.id))) or 0) + 1
    moment = now()
    db.session.execute(
        insert(RunRow),
        [
            {
                "id": first + n,
                "user_id": user.id,
                "trigger": "cron",
                "state": "done",
                "created_at": moment,
                "ended_at": moment,
            }
            for n in range(count)
        ],
    )
    db.session.execute(
        insert(ResultRow),
        [
            {
                "run_id": first + n,
                "user_id": user.id,
                "provider_id": provider_id,
                "outcome": "unchanged",
                "ended_at": moment,
            }
            for n in range(count)
        ],
    )
    db.session.commit()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure Modelsync.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MEASURES))
    parser.add_argument("--users", default="", help="of fanout, or several of growth with commas between")
    parser.add_argument("--results", type=int, default=0, help="of history")
    parser.add_argument("--minutes", type=float, default=0.0, help="of load")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - MEASURES.keys():
        parser.error(f"there is no measure {min(unknown)}; there are {', '.join(MEASURES)}")
    sizes = [int(size) for size in arguments.users.split(",") if size]
    long: dict[str, Measure] = {}
    if sizes:
        long |= {"fanout": lambda: fanout.rows(sizes[0]), "growth": lambda: fanout.growth(sizes)}
    if arguments.minutes:
        long["load"] = lambda: load.rows(arguments.minutes)
    if arguments.results:
        long["history"] = lambda: history.rows(arguments.results)
    table = Table("measure", "value", title=f"Modelsync benchmarks, {now():%Y-%m-%d}, Python {sys.version.split()[0]}")
    for name in arguments.names or MEASURES:
        start = time.monotonic()
        for measure, value in long.get(name, MEASURES[name])():
            table.add_row(measure, value)
        sys.stderr.write(f"{name}: {time.monotonic() - start:.0f} s\n")
    Console(width=140).print(table)
    return 0


def rows() -> Rows:
    """The main job of one person with five providers, on one database."""
    told: Rows = []
    with Simulator() as simulator, installation(simulator) as (app, vault), new_client() as client:
        user = person(vault)
        means = SyncContext(vault=vault, client=client, base_urls=simulator.base_urls)
        first = perform(user.id, means)
        told.append(("first sync of five providers without latency", f"{first * 1000:.0f} ms"))

        models, results = count(ModelRow), count(ResultRow)
        stamps = db.session.execute(select(ModelRow.id, ModelRow.updated_at)).all()
        unchanged = statistics.median(perform(user.id, means) for _ in range(ROUNDS))
        written = sum(
            a != b for a, b in zip(stamps, db.session.execute(select(ModelRow.id, ModelRow.updated_at)), strict=True)
        )
        rows = (count(ResultRow) - results) / ROUNDS
        told.append(
            ("the same again, nothing changed", f"{unchanged * 1000:.0f} ms, {unchanged / first:.2f} × the first")
        )
        told.append(("… model rows written, of all", f"{written} of {models}"))
        told.append(("… result rows written per key", f"{rows / len(LATENCIES):g}"))

        for slug, latency in LATENCIES.items():
            simulator.set_latency(slug, latency)
        slowest, added = max(LATENCIES.values()), sum(LATENCIES.values())
        wall = statistics.median(perform(user.id, means) for _ in range(ROUNDS))
        told.append(
            ("click to last row, latencies of 0.1–1.5 s", f"{wall:.2f} s: the slowest + {wall - slowest:.2f} s")
        )
        told.append(("… one after the other would take at least", f"{added:.1f} s, {added / wall:.1f} × as long"))

        before = {path: page_queries(app, user, path) for path in ("/profile", "/history", "/changes")}
        many_runs(user, 1_000)
        for path, (few, took) in before.items():
            many, took_many = page_queries(app, user, path)
            told.append(
                (
                    f"queries of {path} at {2 * ROUNDS + 2} and 1,000 more runs",
                    f"{few} and {many}; {took_many / took:.1f} × the time",
                )
            )
    return told


def count(row: type) -> int:
    return db.session.scalar(select(func.count()).select_from(row)) or 0


MEASURES: dict[str, Measure] = {
    "one": rows,
    "reading": reading.rows,
    "matching": matching.rows,
    "engine": engine.rows,
    "fanout": fanout.rows,
    "growth": fanout.growth,
    "history": history.rows,
    "models": model_pages.rows,
    "pages": pages.rows,
    "watchers": watchers.rows,
    "load": load.rows,
    "forking": forking.rows,
}


if __name__ == "__main__":
    sys.exit(main())
