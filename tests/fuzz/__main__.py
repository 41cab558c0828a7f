"""Put in so many inputs, then tell what failed. Exit code 1 if anything did."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import hypothesis
from flask import Flask
from hypothesis import HealthCheck, Phase

from app import clock, config, create_app
from app.cli.install import set_up
from app.demo.simulator import Simulator
from app.extensions import db, limiter
from app.store import credentials, runs
from app.store.accounts import sessions, tokens, users
from app.store.queries import models_of_keys
from app.store.queries import runs as run_queries
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key
from tests.chaos.stage import PrivateRedis
from tests.fuzz import forms, readers
from tests.fuzz.readers import Target


@dataclass
class Result:
    name: str
    inputs: int
    took_s: float
    failure: str = ""


def fuzz(target: Target, most: int, seed: int) -> Result:
    """Until one input fails, which is then made as small as it goes, or all are in."""
    put_in, began, failure, last = 0, time.monotonic(), "", ""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=most,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @hypothesis.given(target.strategy)
    def attempt(given: Any) -> None:
        nonlocal put_in, last
        put_in += 1
        last = repr(given)
        target.check(given)

    try:
        attempt()
    except Exception as error:
        # What is tried last is the smallest one that fails.
        where = "".join(traceback.format_tb(error.__traceback__)[-3:])
        failure = f"{type(error).__name__}: {str(error)[:400]}\n{where}at {last[:1_500]}"
    return Result(target.name, put_in, time.monotonic() - began, failure)


def share_out(targets: list[Target], most: int) -> Iterator[tuple[Target, int]]:
    parts = sum(target.share for target in targets)
    for target in targets:
        yield target, max(1, -(-most * target.share // parts))


@contextlib.contextmanager
def scene() -> Iterator[tuple[Flask, dict[str, Any], Path]]:
    """An app with an admin who has something of everything, on an SQLite file and a Redis of its own."""
    with contextlib.ExitStack() as leaving:
        folder = Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        simulator = leaving.enter_context(Simulator())
        queue = PrivateRedis(folder)
        leaving.callback(queue.kill)
        queue.start()
        private = generate_private_key()
        settings = config.Settings(
            instance=folder,
            database_url=f"sqlite:///{folder}/modelsync.sqlite",
            redis_url=queue.url,
            secret_key="of inputs by chance " + secrets.token_hex(16),
            vault_public_key=Keyring(private).public,
            base_urls=simulator.base_urls,
            catalog_urls=simulator.catalog_urls,
        )
        app = create_app(settings)
        app.config |= {"WTF_CSRF_ENABLED": False, "TESTING": False, "PROPAGATE_EXCEPTIONS": False}
        set_up(app)
        kept, limiter.enabled = limiter.enabled, False
        leaving.callback(setattr, limiter, "enabled", kept)
        with app.app_context():
            ids = _moved_in(Keyring(private), simulator)
            leaving.callback(db.engine.dispose)
        yield app, ids, folder


def _moved_in(vault: Keyring, simulator: Simulator) -> dict[str, Any]:
    now = datetime.now(UTC)
    user = users.create("carol@example.com", "x", now, is_admin=True)
    assert user is not None
    found = credentials.add(
        user.id,
        credentials.providers_by_slug()["openai"],
        "",
        ApiKey("sk-good-of-carol-1234"),
        PublicKey(vault.public),
        now,
    )
    token = tokens.create(user.id, "one", ("read", "sync"), now)
    sessions.create(user.id, "a phone", "192.0.2.7", now)
    db.session.commit()
    started = runs.start(user.id, "manual", now)
    db.session.commit()
    assert found and token and started
    with new_client() as client:
        sync.execute(
            started.run.id,
            sync.SyncContext(vault, client, simulator.base_urls, now=clock.utc_now, retry_policy=RetryPolicy(1)),
        )
    run = run_queries.load_run(started.run.id)
    assert run is not None
    (session,) = sessions.list_for_user(user.id, now)
    model = f"openai/{models_of_keys.list_usable(user.id)[0].listed.id}"
    ids = {"key": found.id, "run": run.id, "result": run.results[0].id, "token": token[0].id, "session": session.id}
    db.session.remove()
    return {**ids, "model": model}


def fuzz_all(most: int, seed: int, only: str = "") -> Iterator[Result]:
    with scene() as (app, ids, folder):
        targets = [*readers.targets(), readers.backups(app, folder), forms.doors(app, ids)]
        for target, number in share_out([target for target in targets if only in target.name], most):
            yield fuzz(target, number, seed)


@click.command()
@click.option("--inputs", default=100_000, show_default=True, help="How many, over everything.")
@click.option("--only", default="", help="Targets that have this in their name.")
@click.option("--seed", type=int, help="By chance if none is given; it is told.")
def main(inputs: int, only: str, seed: int | None) -> None:
    """Fuzz every reader and every form."""
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"seed {seed}")
    results = []
    for result in fuzz_all(inputs, seed, only):
        results.append(result)
        click.echo(f"{result.inputs:7} {result.took_s:7.1f} s  {result.name}{'  FAILED' if result.failure else ''}")
        if result.failure:
            click.echo(result.failure)
    bad = [result.name for result in results if result.failure]
    click.echo(
        f"{sum(result.inputs for result in results)} inputs. {f'These failed: {bad}' if bad else 'None failed.'}"
    )
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
