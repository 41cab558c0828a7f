"""An error at every line of a run: it ends closed, nothing is half, the next run makes good, and no key is told.

Every line of `app/sync`, `app/store`, `app/catalog`, `app/providers`, `app/jobs` and the vault that a run comes to is
tried, and the lines of httpx under it. A sample of them each time; all of them, in half an hour, with
MODELSYNC_TEST_EVERY_LINE=1.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gc
import ipaddress
import json
import logging
import os
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import sqlalchemy.exc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from sqlalchemy import select, text

from app import clock, config, logs
from app.cli import backup
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import context, enqueue, tasks
from app.store import runs
from app.store.schema.tables import ProviderRow, ResultRow, RunRow, UserRow
from app.sync import run as sync
from app.sync.http.retry import RetryPolicy
from app.vault import Keyring
from tests.chaos.verdict import queued
from tests.conftest import Person
from tests.signed import sign_in
from tests.tripwire import Lines, Place, Reports, Tripwire, sample
from tests.web import worker

# An error thrown into the HTTP library leaves a socket to the collector.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

MARK = "cAnArY"
EVERY_LINE = os.environ.get("MODELSYNC_TEST_EVERY_LINE") == "1"
MOST_LINES, MOST_OF_LIBRARIES = 45, 10
OURS = ("/app/sync/", "/app/store/", "/app/catalog/", "/app/providers/", "/app/jobs/", "/app/vault.py")
BELOW = ("/httpx/_client.py", "/httpx/_transports/", "/httpcore/_sync/connection_pool.py", "/httpcore/_sync/http11.py")


class Odd(Exception):
    """An unforeseen error."""


KINDS: dict[str, Callable[[], Exception]] = {
    "app/store/": lambda: sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("the connection was cut")),
    "app/sync/limits/store.py": lambda: redis.ConnectionError("Redis went away"),
    **dict.fromkeys(
        ("app/sync/http/client.py", "app/sync/http/fetch.py", "app/sync/http/request.py"),
        lambda: httpx.ConnectError("the network went away"),
    ),
}
"""The errors that a part of the app is likely to meet, besides an unforeseen one."""


# ------------------------------------------------------------------ the scene


class TokenDesk(BaseHTTPRequestHandler):
    """Google's, which gives an access token for a service account."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        token = {"access_token": f"ya29.good-{MARK}-of-an-hour", "expires_in": 3600, "token_type": "Bearer"}
        data = json.dumps(token).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def desk() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenDesk)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def service_account() -> str:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": f"{MARK}@example.iam.gserviceaccount.com"}
    return json.dumps(account | {"private_key_id": MARK, "private_key": private.decode()})


@dataclass
class Scene:
    """Alice's keys, one for each way that a result can come out, at a moment before her second sync."""

    app: Flask
    vault: Keyring
    alice: Person
    simulator: Simulator
    redis_url: str
    database: Path
    logs: list[logging.Handler]
    secrets: list[bytes]
    kept: Path
    """A copy of the database as it is before the run."""

    def set_back(self) -> None:
        """Reset everything to the state before the run, including the far end."""
        db.session.remove()
        db.engine.dispose()
        for name in ("", "-wal", "-shm"):
            Path(f"{self.database}{name}").unlink(missing_ok=True)
        shutil.copy(self.kept, self.database)
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()
        set_the_far_end(self.simulator)

    def begin(self) -> int:
        result = enqueue.start_sync(self.alice.id, "manual")
        assert result and result.is_new
        db.session.remove()
        return result.run_id

    def work_off(self, reports: Reports) -> None:
        """A real worker does what is queued; a job that fails is reported as well."""

        class Reporting(worker._HereWorker):
            def handle_exception(self, job: Any, *info: Any) -> None:
                reports.add(info[1])
                super().handle_exception(job, *info)

        kept, worker._HereWorker = worker._HereWorker, Reporting  # type: ignore[misc]
        try:
            with contextlib.suppress(Odd):  # of what follows the run, when nothing was queued any more
                worker.work_off(self.app, self.vault)
        finally:
            worker._HereWorker = kept  # type: ignore[misc]

    def close_what_is_open(self, run_id: int) -> None:
        """What the scheduler's housekeeping does once a lease is over."""
        db.session.remove()
        runs.close_lost(clock.utc_now() + sync.LEASE + timedelta(seconds=1))
        db.session.commit()
        if db.session.get_one(RunRow, run_id).state == "queued":
            db.session.remove()
            enqueue.enqueue_run(run_id)
            self.work_off(Reports())

    def told(self, reports: Reports) -> list[tuple[str, bytes]]:
        """All that anybody could read of this run."""
        found = [("an error report", line.encode("utf-8", "surrogateescape")) for line in reports.told]
        for handler in self.logs:
            found += [("the log", line.encode()) for line in handler.lines]  # type: ignore[attr-defined]
        for path in self.database.parent.glob(f"{self.database.name}*"):
            found.append((path.name, path.read_bytes()))
        return [*found, *queued(self.redis_url)]


SLUGS = {
    "openai": "good",  # its list changed
    "groq": "good",  # did not, by its bytes
    "together": "good",  # did not, says the provider
    "anthropic": "good",  # its first list
    "mistral": "good",  # shrinks
    "deepseek": "good",  # fails, and is asked again
    "cohere": "revoked",
    "google-vertex": "",  # a service account
    "openai-compatible": "good",  # at an address of her own
}
FIRST = ("anthropic",)


def set_the_far_end(simulator: Simulator) -> None:
    simulator.clear_fault()
    simulator.set_fault("together", "conditional")
    simulator.set_fault("mistral", "shrunk")
    simulator.set_fault("deepseek", "error_500")
    simulator.set_models("openai", [SimModel("gpt-4o"), SimModel("gpt-new-9", context=64_000), SimModel("o9-mini")])


class Kept(logging.Handler):
    def __init__(self, form: logs.LogFormat) -> None:
        super().__init__()
        self.setFormatter(logs.build_formatter(form))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def scene(
    app: Flask,
    alice: Person,
    vault: Keyring,
    simulator: Simulator,
    redis_url: str,
    tmp_path: Path,
    desk: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    settings: config.Settings = app.config["SETTINGS"]
    urls = {**settings.base_urls, "google-oauth": desk}
    own = urls.pop("openai-compatible")
    app.config["SETTINGS"] = dataclasses.replace(
        settings, base_urls=urls, allowed_private_networks=(ipaddress.ip_network("127.0.0.0/8"),)
    )
    real = context.sync_context

    @contextlib.contextmanager
    def quick(*args: Any, **kwargs: Any) -> Iterator[sync.SyncContext]:
        """Two tries and short delays: ninety runs must not take a minute each."""
        with real(*args, **kwargs) as means:
            yield dataclasses.replace(
                means,
                total_timeout_s=6.0,
                retry_policy=RetryPolicy(max_attempts=2, initial_wait_s=0.01, max_wait_s=0.01),
            )

    monkeypatch.setattr(tasks, "sync_context", quick)
    secrets = {slug: f"sk-{kind}-{MARK}-{slug}-{MARK}-4f2a" for slug, kind in SLUGS.items()}
    secrets["google-vertex"] = service_account()
    alice.row.sync_on_sign_in = False

    def add(slug: str) -> None:
        row = alice.add_key(slug, secrets[slug])
        row.base_url = own if slug == "openai-compatible" else None
        db.session.commit()

    simulator.set_models("openai", [SimModel("gpt-4o"), SimModel("gpt-old-9"), SimModel("gpt-4.1")])
    simulator.set_fault("together", "conditional")
    for slug in SLUGS:
        if slug not in FIRST:
            add(slug)
    database = tmp_path / "modelsync.sqlite"
    pem = json.loads(secrets["google-vertex"])["private_key"].splitlines()[3]
    searched = [MARK.encode(), pem.encode(), base64.b64encode(MARK.encode() * 3)[4:-4]]
    made = Scene(app, vault, alice, simulator, redis_url, database, [], searched, tmp_path / "kept.sqlite")
    made.begin()
    made.work_off(Reports())
    for slug in FIRST:
        add(slug)
    db.session.commit()
    db.session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    db.session.remove()
    db.engine.dispose()
    shutil.copy(database, made.kept)
    root = logging.getLogger()
    before = root.level, logging.getLogger("app").level
    root.setLevel(logging.DEBUG)
    logging.getLogger("app").setLevel(logging.DEBUG)
    made.logs = [Kept("json"), Kept("human")]
    for handler in made.logs:
        root.addHandler(handler)
    yield made
    gc.collect()
    for handler in made.logs:
        root.removeHandler(handler)
    root.setLevel(before[0])
    logging.getLogger("app").setLevel(before[1])


# ------------------------------------------------------------------ what is right


def results(run_id: int) -> dict[str, tuple[str | None, str | None, str | None]]:
    query = (
        select(ProviderRow.slug, ResultRow.outcome, ResultRow.error_code, ResultRow.error_message)
        .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .where(ResultRow.run_id == run_id)
    )
    return {row[0]: (row[1], row[2], row[3]) for row in db.session.execute(query)}


GOOD = {
    "openai": "complete",
    "groq": "unchanged",
    "together": "unchanged",
    "anthropic": "complete",
    "mistral": "suspect",
    "deepseek": "failed",
    "cohere": "failed",
    "google-vertex": "partial",
    "openai-compatible": "unchanged",
}
STORED = (
    "SELECT p.slug, m.provider_model_id, m.is_active, m.facts_hash FROM models m"
    " JOIN providers p ON p.id = m.provider_id ORDER BY 1, 2",
    "SELECT fingerprint FROM listings ORDER BY 1",
    "SELECT c.kind, c.provider_model_id, c.fields FROM changes c ORDER BY 1, 2, 3",
    "SELECT p.slug, l.fingerprint, c.error_code, c.model_count, c.chat_count, c.listing_is_whole FROM credentials c"
    " JOIN providers p ON p.id = c.provider_id LEFT JOIN listings l ON l.id = c.listing_id ORDER BY 1",
)
BROKEN = {
    "a result is open": "SELECT id FROM results WHERE outcome IS NULL",
    "a run is open": "SELECT id FROM runs WHERE state IN ('queued', 'running')",
    "a failure says nothing": "SELECT id FROM results WHERE outcome IN ('failed', 'skipped', 'suspect')"
    " AND (error_message IS NULL OR error_message = '')",
    "a good result has no list": "SELECT id FROM results WHERE outcome IN ('complete', 'unchanged', 'partial')"
    " AND listing_id IS NULL",
    "a failed result has a list": "SELECT id FROM results WHERE outcome IN ('failed', 'skipped')"
    " AND (listing_id IS NOT NULL OR comparison_id IS NOT NULL)",
    "changes are told in part": "SELECT c.id FROM comparisons c WHERE"
    " (SELECT count(*) FROM changes WHERE comparison_id = c.id) <> c.new + c.changed + c.unlisted + c.relisted",
    "a result's list is not in force": "SELECT r.id FROM results r JOIN credentials c ON c.id = r.credential_id"
    " WHERE r.outcome IN ('complete', 'unchanged') AND r.id = (SELECT max(id) FROM results WHERE"
    " credential_id = c.id AND outcome IN ('complete', 'unchanged', 'partial')) AND c.listing_id <> r.listing_id",
    "a change is told twice": "SELECT count(*) FROM results WHERE new > 0 AND comparison_id IS NOT NULL"
    " GROUP BY credential_id, comparison_id HAVING count(*) > 1",
}


def stored() -> list[list[tuple[Any, ...]]]:
    db.session.remove()
    return [[tuple(row) for row in db.session.execute(text(query))] for query in STORED]


def broken() -> list[str]:
    db.session.remove()
    return [what for what, query in BROKEN.items() if db.session.execute(text(query)).first()]


# ------------------------------------------------------------------ one line after the other


@dataclass
class Sweep:
    """What came of all errors so far."""

    scene: Scene
    expected: list[list[tuple[Any, ...]]]
    wrong: list[str]
    met: int = 0
    tried: int = 0

    def trip(self, place: Place, error: Callable[[], Exception]) -> None:
        self.tried += 1
        known = len(self.wrong)
        self._trip(place, error)
        if EVERY_LINE:  # for who waits for it
            sys.stderr.write("".join(f"{one}\n" for one in self.wrong[known:]))

    def _trip(self, place: Place, error: Callable[[], Exception]) -> None:
        self.scene.set_back()
        run_id = self.scene.begin()
        reports = Reports()
        for handler in self.scene.logs:
            handler.lines.clear()  # type: ignore[attr-defined]
        where = f"{place[0]}:{place[1]} ({type(error()).__name__})"
        with reports.listening(), Tripwire(place, error) as wire:
            self.scene.work_off(reports)
        if not wire.was_met:
            return  # not every thread comes to every line each time
        self.met += 1
        self.scene.close_what_is_open(run_id)
        self.wrong += [f"{where}: {what}" for what in broken()]
        for what, (outcome, code, _) in results(run_id).items():
            if outcome not in (GOOD[what], "failed", "skipped", "suspect"):
                self.wrong.append(f"{where}: {what} is {outcome}, {code}")
        for name, said, mark in self._leaks(reports):
            self.wrong.append(f"{where}: a key stands in {name}: {_around(said, mark)}")
        # And the next one makes good whatever this one could not do.
        self.scene.begin()
        self.scene.work_off(Reports())
        self.wrong += [f"{where}: after the next run, {what}" for what in broken()]
        if stored() != self.expected:
            self.wrong.append(f"{where}: the next run does not make it good: {_unlike(stored(), self.expected)}")

    def _leaks(self, reports: Reports) -> Iterator[tuple[str, bytes, bytes]]:
        for name, said in self.scene.told(reports):
            for mark in self.scene.secrets:
                if mark in said:
                    yield name, said, mark


def _around(said: bytes, mark: bytes) -> str:
    place = said.index(mark)
    return f"{said[:160]!r} … {said[max(0, place - 80) : place + 60]!r}"


def _unlike(one: Any, other: Any) -> str:
    return next(f"{set(a) ^ set(b)}"[:400] for a, b in zip(one, other, strict=True) if a != b)


@pytest.fixture
def sweep(scene: Scene) -> Sweep:
    scene.set_back()
    run_id = scene.begin()
    scene.work_off(Reports())
    assert {slug: found[0] for slug, found in results(run_id).items()} == GOOD
    assert broken() == []
    scene.begin()
    scene.work_off(Reports())
    return Sweep(scene, stored(), [])


SHOWN = (
    "/profile",
    "/history",
    "/models?all=yes&show=gone",
    "/changes",
    "/settings",
    "/settings/export.json",
    "/sync/status",
    "/api/models/sync",
    "/api/v1/keys",
    "/api/v1/runs",
    "/api/v1/changes",
    "/v1/models",
    "/metrics",
)
SHOWN_TO_ADMINS = ("/admin", "/admin/history", "/admin/history.json", "/admin/history.csv", "/admin/workers")


def shown(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """What people, programs and a backup are given of what the last faults left."""
    app = scene.app
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], metrics=True)
    carol = db.session.scalars(select(UserRow).where(UserRow.is_admin)).one()
    for user, paths in ((db.session.get_one(UserRow, scene.alice.id), SHOWN), (carol, SHOWN_TO_ADMINS)):
        client = app.test_client()
        sign_in(client, user)
        for path in paths:
            answer = client.get(path, headers={"HX-Request": "true"}, buffered=True)
            assert answer.status_code == 200, path
            yield path, answer.get_data()
    run_id = db.session.scalars(select(RunRow.id).order_by(RunRow.id.desc())).first()
    client = app.test_client()
    sign_in(client, db.session.get_one(UserRow, scene.alice.id))
    yield "a run", client.get(f"/history/{run_id}").get_data()
    file = scene.database.parent / "backup" / "of-faults.zip"
    backup.create(file)
    with zipfile.ZipFile(file) as packed:
        for name in packed.namelist():
            yield f"{name} of a backup", packed.read(name)
    for name in ("cmdline", "environ"):
        yield f"this process's {name}", Path(f"/proc/self/{name}").read_bytes()


def lines_of(scene: Scene, *folders: str) -> list[Place]:
    """The lines of a good run, and of a second one: not every thread comes to all of them each time."""
    found: list[Place] = []
    for _ in range(2):
        scene.set_back()
        scene.begin()
        with Lines(*folders) as lines:
            scene.work_off(Reports())
        found = list(dict.fromkeys([*found, *lines.found]))
    return found


@pytest.mark.timeout(7_200 if EVERY_LINE else 420)
def test_an_error_at_any_line_of_a_run_leaves_it_closed_whole_and_silent_about_keys(sweep: Sweep) -> None:
    places = lines_of(sweep.scene, *OURS)
    assert len(places) > 800, "the search finds the run"
    of_a_kind = [(place, kind) for place in places for part, kind in KINDS.items() if place[0].startswith(part)]
    if not EVERY_LINE:
        places = sample(places, MOST_LINES)
        of_a_kind = of_a_kind[:: -(-len(of_a_kind) // (MOST_LINES // 3))]
    for place in places:
        sweep.trip(place, lambda: Odd("nobody thought of this"))
    for place, kind in of_a_kind:
        sweep.trip(place, kind)
    for name, said in shown(sweep.scene):
        sweep.wrong += [
            f"a key stands in {name}: {_around(said, mark)}" for mark in sweep.scene.secrets if mark in said
        ]
    sys.stderr.write(f"{sweep.met} errors at {sweep.tried} places\n")
    assert not sweep.wrong, "\n".join(sweep.wrong)
    assert sweep.met > sweep.tried * 0.9


@pytest.mark.timeout(7_200 if EVERY_LINE else 240)
def test_an_error_within_the_http_library_tells_no_key_either(sweep: Sweep) -> None:
    places = lines_of(sweep.scene, *BELOW)
    if not EVERY_LINE:
        places = sample(places, MOST_OF_LIBRARIES)
    for place in places:
        sweep.trip(place, lambda: Odd("nobody thought of this"))
    assert not sweep.wrong, "\n".join(sweep.wrong)
    assert sweep.met > sweep.tried * 0.8
