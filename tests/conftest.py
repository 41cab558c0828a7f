"""The cast and the stage. Real databases, a real Redis, simulated providers; no sockets but loopback.

SQLite and the embedded Redis always. PostgreSQL and a shared Redis where MODELSYNC_TEST_DATABASE_URL and
MODELSYNC_TEST_REDIS_URL name them; with MODELSYNC_TEST_EVERYTHING=1 (as in CI) their absence is an error.
"""

from __future__ import annotations

import contextvars
import gc
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import psycopg
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from app import config, create_app, logs
from app.cli.embedded_redis import redis_process
from app.cli.install import set_up
from app.demo import seed
from app.demo.simulator import Simulator
from app.extensions import db, limiter
from app.store import credentials
from app.store.accounts import users
from app.store.schema.tables import CredentialRow, UserRow
from app.sync.http.client import new_client
from app.sync.http.retry import RetryPolicy
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key
from tests import compiled, isolation
from tests.postgres import ReusableDatabase

PASSWORD = "correct horse battery"
_POSTGRES = os.environ.get("MODELSYNC_TEST_DATABASE_URL", "")
_REDIS = os.environ.get("MODELSYNC_TEST_REDIS_URL", "")
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_EVERYTHING = os.environ.get("MODELSYNC_TEST_EVERYTHING") == "1"
_PRIVATE = generate_private_key()
_CHEAP_HASH = compiled.CHEAP_HASHER.hash(PASSWORD)


# On a laptop a hypothesis is tried less often than in CI, which has the time. No example has a limit of its own: on a
# busy machine it would speak of the machine.
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None)
hypothesis.settings.register_profile("thorough", deadline=None)
hypothesis.settings.load_profile("thorough" if _EVERYTHING else "quick")


compiled.once()


def pytest_configure(config: pytest.Config) -> None:
    if _EVERYTHING and not (_POSTGRES and _REDIS):
        raise pytest.UsageError(
            "MODELSYNC_TEST_EVERYTHING=1 needs MODELSYNC_TEST_DATABASE_URL and MODELSYNC_TEST_REDIS_URL"
        )


ON_POSTGRESQL = ("tests/store/", "tests/cli/test_backup.py", "tests/sync/test_leases.py", "tests/sync/test_races.py")
"""Where the SQL depends on the database: what the plain run repeats on PostgreSQL. `.ci/full` repeats all."""


_MANY, _ENOUGH = 6, 4
"""The plain run takes `_ENOUGH` sets of parameters of a test that needs an app and has more than `_MANY`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `full` what repeats a test on the other database or with further parameters."""
    seen: Counter[str] = Counter()
    sizes = Counter(item.nodeid.partition("[")[0] for item in items)
    for item in items:
        name = item.nodeid.partition("[")[0]
        on_postgresql = item.get_closest_marker("postgres") is not None
        if on_postgresql and not item.nodeid.startswith((*ON_POSTGRESQL, "tests/test_migrations")):
            item.add_marker(pytest.mark.full)
        if not on_postgresql and sizes[name] > _MANY and "app" in getattr(item, "fixturenames", ()):
            seen[name] += 1
            if seen[name] > _ENOUGH and not item.get_closest_marker("every"):
                item.add_marker(pytest.mark.full)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import the browser tests, with all of Playwright, where they are not asked for."""
    is_left_out = collection_path == Path(__file__).parent / "browser" and "not browser" in config.option.markexpr
    return True if is_left_out else None


def pytest_collection_finish() -> None:
    """What is imported stays: the garbage collector need not go through it after every few tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _isolation() -> Iterator[None]:
    """Put the environment back after each test, which must not have used what stands for the user's own instance."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)
    assert not isolation.INSTANCE.exists(), "the test wrote to the default instance folder"


@pytest.fixture(autouse=True)
def _quiet_logging() -> Iterator[None]:
    """Undo `logs.configure_process`, which a command that runs in this process may call: later tests read stderr."""
    hooks = sys.excepthook, threading.excepthook
    yield
    if (sys.excepthook, threading.excepthook) != hooks:
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(False)
        if handler := logs._find_console_handler(logging.getLogger()):
            handler.setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would leave this machine fails instead."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


# ------------------------------------------------------------------ Redis


@pytest.fixture(scope="session")
def embedded_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The private Redis, started as `flask up` starts it."""
    path = tmp_path_factory.mktemp("redis") / "redis.sock"
    process = subprocess.Popen(redis_process(path).command, stdout=subprocess.DEVNULL)
    url = f"unix://{path}"
    with redis.Redis.from_url(url) as client:
        _until(lambda: _answers(client))
    yield url
    process.terminate()
    process.wait(10)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:  # its socket is not there yet, or nobody listens to it
        return False


def shared_redis(offset: int = 0) -> str:
    """The shared Redis, in a database of its own for each worker of pytest-xdist: tests empty it."""
    if not _REDIS:
        return ""
    parts = urlsplit(_REDIS)
    number = int(parts.path.strip("/") or 0)
    return urlunsplit(parts._replace(path=f"/{(number + _WORKER + offset) % 16}"))


def _until(holds: Any, seconds: float = 10.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def until() -> Any:
    """Wait for a condition, with a limit: never a sleep for luck."""
    return _until


# ------------------------------------------------------------------ databases


def _set_up(app: Flask) -> None:
    set_up(app)
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated and prepared database file, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    app = create_app(_settings(folder, f"sqlite:///{folder}/modelsync.sqlite", "redis://127.0.0.1:1/0"))
    _set_up(app)
    return folder / "modelsync.sqlite"


@pytest.fixture(scope="session")
def demo_template(sqlite_template: Path, embedded_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the demo's accounts and weeks of history, to be copied."""
    folder = tmp_path_factory.mktemp("demo")
    path = folder / "modelsync.sqlite"
    shutil.copy(sqlite_template, path)
    app = create_app(_settings(folder, f"sqlite:///{path}", embedded_redis))
    vault = Keyring(_PRIVATE)
    with app.app_context():
        assert seed.seed(vault, PublicKey(vault.public))
        db.session.remove()
        db.engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a migrated PostgreSQL database, to be copied by CREATE DATABASE … TEMPLATE."""
    name = f"modelsync_template_{uuid.uuid4().hex[:8]}"
    _on_postgres(f'CREATE DATABASE "{name}"')
    app = create_app(_settings(tmp_path_factory.mktemp("pg"), _postgres_url(name), "redis://127.0.0.1:1/0"))
    _set_up(app)
    yield name
    _on_postgres(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_database(postgres_template: str) -> Iterator[ReusableDatabase]:
    database = ReusableDatabase(_POSTGRES.replace("+psycopg", ""), postgres_template, _postgres_url)
    yield database
    database.drop()


def _postgres_url(name: str) -> str:
    return config._parse_database_url(_POSTGRES.rsplit("/", 1)[0] + "/" + name)


def _on_postgres(statement: str) -> None:
    with psycopg.connect(_POSTGRES.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


_STAGES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param(
        "postgresql",
        id="postgresql",
        marks=[
            pytest.mark.postgres,
            pytest.mark.skipif(not _POSTGRES, reason="MODELSYNC_TEST_DATABASE_URL is not set"),
        ],
    ),
]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh migrated database. SQLite, unless the test is parametrised over both by `both_databases`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "modelsync.sqlite")
        yield f"sqlite:///{tmp_path}/modelsync.sqlite"
        return
    database: ReusableDatabase = request.getfixturevalue("postgres_database")
    yield database.fresh()


both_databases = pytest.mark.parametrize("database_url", _STAGES, indirect=True)
"""Run a test on SQLite + embedded Redis, and on PostgreSQL + shared Redis."""
on_postgresql = pytest.mark.parametrize("database_url", _STAGES[1:], indirect=True)
_ALSO_POSTGRES = pytest.param("postgresql", id="postgresql", marks=[*_STAGES[1].marks, pytest.mark.full])
sqlite_first = pytest.mark.parametrize("database_url", [_STAGES[0], _ALSO_POSTGRES], indirect=True)
"""Run a long test on both, but on PostgreSQL only in `.ci/full`: its SQL is tried on both by quicker tests."""


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """An empty Redis: the shared one beside PostgreSQL, else the embedded one."""
    url = (database_url.startswith("postgresql") and shared_redis()) or request.getfixturevalue("embedded_redis")
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


# ------------------------------------------------------------------ the app


def _settings(instance: Path, database_url: str, redis_url: str, **changes: Any) -> config.Settings:
    return config.Settings(
        instance=instance,
        database_url=database_url,
        redis_url=redis_url,
        secret_key="for tests only " + uuid.uuid4().hex,
        vault_public_key=Keyring(_PRIVATE).public,
        **changes,
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str, simulator: Simulator) -> config.Settings:
    places = {"base_urls": simulator.base_urls, "catalog_urls": simulator.catalog_urls}
    return _settings(tmp_path, database_url, redis_url, **places)


class Browser(FlaskClient):
    """Each request in a context of its own, as a server gives it: within the test's own app context, Flask would
    share `g`, and with it who is signed in, among all browsers."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return contextvars.Context().run(super().open, *args, **kwargs)


@pytest.fixture
def app(settings: config.Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The app within its context, on a fresh database, with the simulated providers for the real ones."""
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", _PRIVATE)
    # One limiter serves the process: after a test without Redis it would count in memory, and move on in the next one.
    monkeypatch.setattr(limiter, "_storage_dead", False)
    app = create_app(settings)
    app.config["TESTING"] = True
    app.test_client_class = Browser
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()
        if "redis" in app.extensions:
            app.extensions["redis"].close()


@pytest.fixture(scope="session")
def session_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(session_simulator: Simulator) -> Iterator[Simulator]:
    """The simulated providers, as good as new."""
    session_simulator.reset()
    yield session_simulator
    session_simulator.clear_fault()  # so that no thread of its keeps hanging


@pytest.fixture
def vault() -> Keyring:
    return Keyring(_PRIVATE)


@pytest.fixture
def public_key(vault: Keyring) -> PublicKey:
    return PublicKey(vault.public)


@dataclass
class Clock:
    """A clock that a test moves."""

    moment: datetime = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def means(vault: Keyring, simulator: Simulator, clock: Clock) -> Iterator[SyncContext]:
    """What a run works with: the simulator, a clock to move, 10 s in all and one try."""
    with new_client() as client:
        once = RetryPolicy(max_attempts=1)
        yield SyncContext(vault, client, simulator.base_urls, now=clock, total_timeout_s=10.0, retry_policy=once)


# ------------------------------------------------------------------ the cast


@dataclass
class Person:
    """Someone with an account, and a browser to act with."""

    row: UserRow
    app: Flask
    public_key: PublicKey
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    @property
    def id(self) -> int:
        return self.row.id

    def sign_in(self) -> Person:
        answer = self.post("/login", email=self.row.email, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return self

    def token(self, path: str = "/login") -> str:
        """A CSRF token of this browser's session."""
        answer = self.client.get(path)
        if (
            answer.status_code == 303
        ):  # already signed in, and every page has the form to sign out: the smallest will do
            answer = self.client.get("/there-is-no-such-page")
        return answer.text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]

    def post(self, path: str, *, htmx: bool = False, **form: str) -> Any:
        headers = {"HX-Request": "true"} if htmx else {}
        return self.client.post(path, data={"csrf_token": self.token(), **form}, headers=headers)

    def add_key(self, provider: str, key: str | None = "sk-good-key-of-a-test-1234", label: str = "") -> CredentialRow:
        """Store a key as the page does, without the check."""
        secret = ApiKey(key) if key else None
        row = credentials.add(
            self.id, credentials.providers_by_slug()[provider], label, secret, self.public_key, _now()
        )
        assert row is not None
        row.check_asked_at = None
        db.session.commit()
        return row


def _now() -> datetime:
    return datetime.now(UTC)


def _person(app: Flask, public_key: PublicKey, email: str, *, is_admin: bool = False) -> Person:
    row = users.create(email, _CHEAP_HASH, _now(), is_admin=is_admin)
    assert row is not None
    db.session.commit()
    return Person(row, app, public_key)


@pytest.fixture
def carol(app: Flask, public_key: PublicKey) -> Person:
    """The admin: the first account."""
    return _person(app, public_key, "carol@example.com", is_admin=True)


@pytest.fixture
def alice(app: Flask, public_key: PublicKey, carol: Person) -> Person:
    """A normal user."""
    return _person(app, public_key, "alice@example.com")


@pytest.fixture
def bob(app: Flask, public_key: PublicKey, carol: Person) -> Person:
    """Another one, who must never see anything of Alice's."""
    return _person(app, public_key, "bob@example.com")
