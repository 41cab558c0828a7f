"""Let chaos reign for some minutes, then tell what is wrong. Exit code 1 if anything is."""

from __future__ import annotations

import random
import secrets
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import redis
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import config, create_app
from app.cli.install import set_up
from app.extensions import db
from app.jobs import monitoring, queues
from app.vault import Keyring, PublicKey
from tests.chaos import far_end, plan, verdict
from tests.chaos.people import Crowd
from tests.chaos.stage import Stage, stage, until

EXPECTED = ("AbandonedJobError", "OperationalError", "ConnectionError", "TimeoutError", "BusyLoadingError", "")
"""Why a job may fail while its worker, the database or the queue is killed."""
CALM_S = 240.0


@dataclass
class Report:
    """What came of it."""

    wrong: list[str]
    told: list[str]


def reign(
    minutes: float, users: int, keys: int, days: int, seed: int, workers: int = 2, logs: Path | None = None
) -> Report:
    """Everything fails for some minutes, then nothing more does; what is wrong is found once all is done."""
    with stage(seed) as built:
        app = create_app(_settings(built))
        set_up(app)
        opener = Keyring(built.private)
        crowd = Crowd(app, built, PublicKey(opener.public), random.Random(seed))  # no secret
        crowd.move_in(users, keys)
        built.start(workers)
        failed: Counter[str] = Counter()
        _storm(built, crowd, minutes * 60, days, seed, failed)
        wrong = _calm(built, crowd, failed)
        report = _judged(built, crowd, app, seed, failed)
        report.wrong[:0] = wrong
        if logs:
            shutil.copytree(built.folder / "logs", logs, dirs_exist_ok=True)
            shutil.copy(built.database.log, logs)
        with app.app_context():
            db.engine.dispose()
            queues.redis_connection().close()
        return report


def _settings(built: Stage) -> config.Settings:
    return config.Settings(
        instance=built.folder / "instance",
        database_url=config._parse_database_url(built.database.url),
        redis_url=built.queue.url,
        secret_key="of a chaos run " + secrets.token_hex(16),
        vault_public_key=Keyring(built.private).public,
        base_urls=built.far_end.base_urls,
        catalog_refresh_hours=0,
    )


def _storm(built: Stage, crowd: Crowd, seconds: float, days: int, seed: int, failed: Counter[str]) -> None:
    over = threading.Event()
    troubles: list[BaseException] = []

    def break_things() -> None:
        dice = random.Random(seed + 1)  # no secret
        try:
            while not over.wait(dice.uniform(0.5, 4.0)):
                _note_failed(crowd.app, failed)
                built.break_something(dice)
                built.tend()
        except BaseException as error:
            troubles.append(error)

    saboteur = threading.Thread(target=break_things, name="saboteur")
    saboteur.start()
    try:
        _live(built, crowd, seconds, days)
    finally:
        over.set()
        saboteur.join()
    if troubles:
        raise troubles[0]


def _live(built: Stage, crowd: Crowd, seconds: float, days: int) -> None:
    """People act, providers fail, days pass and the cron comes, each in its own time."""
    start, day = time.monotonic(), 0
    cron_at = trouble_at = start
    while (now := time.monotonic()) < start + seconds:
        crowd.act()
        if now >= trouble_at:
            slug, fault, lasts_s = plan.trouble(crowd.random)
            built.far_end.order(slug=slug, fault=fault, lasts_s=lasts_s)
            trouble_at = now + crowd.random.uniform(0.1, 1.2)
        if now >= cron_at:
            crowd.try_to(crowd.cron)
            cron_at = now + crowd.random.uniform(15, 45)
        if int((now - start) * days / seconds) > day:
            day += 1
            built.far_end.order(day=day)
            crowd.try_to(crowd.pass_day)
        time.sleep(crowd.random.uniform(0.0, 0.4))


def _calm(built: Stage, crowd: Crowd, failed: Counter[str]) -> list[str]:
    """Nothing fails any more: what is open ends by itself, and one last sync of everyone is clean."""
    built.tend()
    built.far_end.order(calm=True)
    began = time.monotonic()
    wrong = []
    try:
        until(lambda: crowd.live() == 0, "runs are still open after the storm", CALM_S)
    except TimeoutError as error:
        wrong.append(str(error))
    crowd.did["seconds until the last run of the storm was closed"] = round(time.monotonic() - began)
    # Providers that failed for many rest for minutes: Redis forgets it, and a day makes good what they put off.
    _note_failed(crowd.app, failed)
    with redis.Redis.from_url(built.queue.url) as client:
        client.flushdb()
    crowd.try_to(crowd.pass_day)
    last = crowd.sync_everyone()
    if len(last) != len(crowd.user_ids):
        wrong.append(f"the last sync began {len(last)} runs for {len(crowd.user_ids)} users")
    until(lambda: crowd.live() == 0, "the last sync does not end", CALM_S)
    with crowd.app.app_context():
        query = "SELECT outcome, error_code, count(*) FROM results WHERE run_id = ANY(:ids) GROUP BY 1, 2"
        rows = [tuple(row) for row in db.session.execute(text(query), {"ids": last})]
        bad = [row for row in rows if row[0] not in ("complete", "unchanged", "partial")]
        if bad:
            wrong.append(f"the last, clean sync: {bad}")
    return wrong


def _note_failed(app: Flask, failed: Counter[str]) -> None:
    """Redis forgets what failed in it when it is killed."""
    try:
        with app.app_context():
            for job in monitoring.list_failed_jobs():
                failed[f"{job.job.kind} {job.error} {job.place}"] += 1
                monitoring.delete_failed_job(job.id)
    except (redis.RedisError, DBAPIError):
        return


def _judged(built: Stage, crowd: Crowd, app: Flask, seed: int, failed: Counter[str]) -> Report:
    served = far_end.read(built.far_end.notes)
    with app.app_context(), verdict.simulator() as simulator:
        truth = verdict.Truth(seed, simulator)
        judged = verdict.Verdict(crowd, served, truth)
        wrong = [*judged.find(), *crowd.met]
        wrong += verdict.leaks(
            crowd.keys.values(), verdict.places(built.folder, built.queue.url, built.database.dump())
        )
        truth.close()
        wrong += [f"a job failed: {name} ({times} times)" for name, times in failed.items() if _is_odd(name)]
        if deadlocks := built.database.deadlocks():
            wrong.append(f"PostgreSQL broke {deadlocks} deadlocks")
        states = Counter(db.session.scalars(text("SELECT state FROM runs")))
        triggers = Counter(db.session.scalars(text("SELECT trigger FROM runs")))
    told = [
        f"broken: {_words(built.done)}",
        f"people: {_words(crowd.did)}",
        f"runs by state: {_words(states)}; by trigger: {_words(triggers)}",
        f"results: {_words(judged.counted)}",
        f"served: {len(served)} answers; {_words(Counter(one.fault or 'no fault' for one in served))}",
        f"jobs that failed: {_words(failed)}",
        f"errors in the logs: {_words(_errors(built))}",
    ]
    return Report(wrong, told)


def _is_odd(name: str) -> bool:
    return name.split(" ")[1] not in EXPECTED


def _errors(built: Stage) -> Counter[str]:
    """The last lines of the tracebacks in the logs, by the exception's name."""
    found: Counter[str] = Counter()
    for file in (built.folder / "logs").glob("*.log"):
        lines = file.read_text(errors="replace").splitlines()
        inside = False
        for line in lines:
            if line.startswith("Traceback"):
                inside = True
            elif inside and line and not line.startswith((" ", "\t")):
                found[line.split(":")[0][:80]] += 1
                inside = False
    return found


def _words(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


@click.command()
@click.option("--minutes", default=20.0, show_default=True, help="How long everything fails.")
@click.option("--users", default=200, show_default=True)
@click.option("--keys", default=5, show_default=True, help="Of each user.")
@click.option("--days", default=20, show_default=True, help="Simulated days in that time.")
@click.option("--workers", default=2, show_default=True)
@click.option("--seed", type=int, help="By chance if none is given; it is told.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Keep the logs there.")
def main(minutes: float, users: int, keys: int, days: int, workers: int, seed: int | None, logs: Path | None) -> None:
    """Kill and restart everything while people sync, then compare what is told with what was served."""
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"seed {seed}, {timedelta(minutes=minutes)}, {users} users with {keys} keys, {days} days")
    report = reign(minutes, users, keys, days, seed, workers, logs)
    for line in report.told:
        click.echo(line)
    for line in report.wrong:
        click.echo(f"WRONG: {line}")
    click.echo("Nothing is wrong." if not report.wrong else f"{len(report.wrong)} things are wrong.")
    raise SystemExit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
