"""Installations to measure: on SQLite with a private Redis, and on PostgreSQL with a shared one where the environment
names them, as the tests take them. What was made is removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import redis
from flask import Flask
from sqlalchemy import func, insert, select, text

from app import config, create_app
from app.cli.embedded_redis import redis_process
from app.cli.install import set_up
from app.extensions import db
from app.jobs import context
from app.providers import PROVIDERS
from app.store import credentials, runs
from app.store.schema.tables import CredentialRow, UserRow
from app.vault import ApiKey, Keyring, PublicKey, SealContext, generate_private_key
from tests.benchmarks.far_end import FarEnd
from tests.live import environment

_POSTGRES = os.environ.get("MODELSYNC_TEST_DATABASE_URL", "")
_REDIS = os.environ.get("MODELSYNC_TEST_REDIS_URL", "")
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
_COPIED = ("listing_id", "listed_at", "listed_key_number", "listing_is_whole", "checked_at", "outcome", "model_count")
_COPIED += ("chat_count", "validators")


def databases() -> list[str]:
    return [SQLITE, POSTGRESQL] if _POSTGRES and _REDIS else [SQLITE]


def best_database() -> str:
    return databases()[-1]


@dataclass
class Stage:
    """An installed app within its context, whose providers are the far end."""

    database: str
    app: Flask
    settings: config.Settings
    vault: Keyring
    private: str
    far: FarEnd

    def environment(self) -> dict[str, str]:
        """For a `flask` command of this installation."""
        urls = {PROVIDERS[slug].base_url_variable: url for slug, url in self.far.base_urls.items()}
        return environment(
            self.settings.instance,
            DATABASE_URL=self.settings.database_url,
            REDIS_URL=self.settings.redis_url,
            SECRET_KEY=self.settings.secret_key,
            VAULT_PUBLIC_KEY=self.vault.public,
            VAULT_PRIVATE_KEYS=self.private,
            **urls,
        )

    def database_bytes(self) -> int:
        """What the database takes, with no room in it that the next write would use first."""
        db.session.remove()
        if self.database == POSTGRESQL:
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM"))
                return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
        with db.engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            used = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, "
            return int(connection.scalar(text(used + "pragma_page_size")) or 0)


@contextlib.contextmanager
def stage(database: str, far: FarEnd) -> Iterator[Stage]:
    private = generate_private_key()
    vault = Keyring(private)
    with (
        tempfile.TemporaryDirectory() as folder,
        _database(database, folder) as database_url,
        _redis(database, folder) as redis_url,
    ):
        settings = config.Settings(
            instance=Path(folder),
            database_url=database_url,
            redis_url=redis_url,
            secret_key="of a benchmark, for nothing else",
            vault_public_key=vault.public,
            base_urls=far.base_urls,
        )
        app = create_app(settings)
        set_up(app)
        with app.app_context():
            context.bind(app, vault)
            try:
                yield Stage(database, app, settings, vault, private, far)
            finally:
                context.unbind()
                db.session.remove()
                db.engine.dispose()
                if "redis" in app.extensions:
                    app.extensions["redis"].close()


@contextlib.contextmanager
def _database(database: str, folder: str) -> Iterator[str]:
    if database == SQLITE:
        yield f"sqlite:///{folder}/benchmark.sqlite"
        return
    place, _, given = _POSTGRES.rpartition("/")
    name = f"{given}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(_POSTGRES, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        try:
            yield f"{place}/{name}".replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@contextlib.contextmanager
def _redis(database: str, folder: str) -> Iterator[str]:
    if database == POSTGRESQL:
        _until_it_answers(_REDIS)
        yield _REDIS
        return
    path = Path(folder) / "redis.sock"
    with subprocess.Popen(redis_process(path).command, stdout=subprocess.DEVNULL) as process:
        try:
            _until_it_answers(f"unix://{path}")
            yield f"unix://{path}"
        finally:
            process.terminate()


def _until_it_answers(url: str) -> None:
    """And empty it: a job of somebody else's would be worked off with the others."""
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.flushdb()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


# ------------------------------------------------------------------ people


def now() -> datetime:
    return datetime.now(UTC)


def person(stage: Stage, slugs: Sequence[str]) -> int:
    """Someone with a key of each of these providers; the number of their account."""
    return people(stage, 1, slugs)[0]


def people(stage: Stage, count: int, slugs: Sequence[str], like: int | None = None) -> list[int]:
    """So many accounts with a key of their own at each of these providers, in few statements.

    like: an account whose lists they have already, as after a sync.
    """
    first_user = (db.session.scalar(select(func.max(UserRow.id))) or 0) + 1
    first_key = (db.session.scalar(select(func.max(CredentialRow.id))) or 0) + 1
    public_key, moment, known, rows = PublicKey(stage.vault.public), now(), credentials.providers_by_slug(), []
    states = {row.provider_id: {name: getattr(row, name) for name in _COPIED} for row, _ in _keys_of(like)}
    users = [
        {"id": n, "email": f"person-{n}@example.com", "password_hash": "!", "auth_stamp": f"{n}", "created_at": moment}
        | {"last_sign_in_at": moment}
        for n in range(first_user, first_user + count)
    ]
    for user in users:
        for slug in slugs:
            credential_id = first_key + len(rows)
            key = ApiKey(f"sk-key-of-a-benchmark-{credential_id:08}")
            sealed = public_key.seal(key, SealContext(user["id"], credential_id, slug))
            facts = {"id": credential_id, "user_id": user["id"], "provider_id": known[slug].id, "created_at": moment}
            facts |= {"sealed_key": sealed, "vault_version": public_key.version, "key_hint": key.hint}
            rows.append(facts | states.get(known[slug].id, {}))
    for row, made in ((UserRow, users), (CredentialRow, rows)):
        for start in range(0, len(made), 1_000):
            db.session.execute(insert(row), made[start : start + 1_000])
    db.session.commit()
    return [user["id"] for user in users]


def _keys_of(user_id: int | None) -> list[credentials.CredentialWithSlug]:
    return credentials.list_for_user(user_id) if user_id else []


def begin(user_ids: Sequence[int]) -> list[int]:
    """A queued run of each of them."""
    run_ids = runs.start_many(user_ids, "manual", now())
    db.session.commit()
    return run_ids


def headers_of(slug: str) -> dict[str, str]:
    provider = PROVIDERS[slug]
    return {**provider.headers, **provider.sign("sk-key-of-a-benchmark")}
