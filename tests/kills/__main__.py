"""Kill for some minutes, then tell what is wrong. Exit code 1 if anything is."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import flask_migrate
from flask import Flask
from sqlalchemy import func, select

from app import config, create_app
from app.cli.install import set_up
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue
from app.store import credentials, rotation, runs
from app.store.accounts import users
from app.store.schema.tables import ResultRow, RunRow
from app.sync.run import LEASE
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key
from tests.live import ROOT, descendants, environment, free_port

SLUGS = ("openai", "groq", "mistral", "anthropic", "together")
USERS, VERSIONS = 6, 40
READY_S, CALM_S = 60.0, 90.0
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]


@dataclass
class Report:
    wrong: list[str] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(self.did.items()))


@dataclass
class Installation:
    """`flask up` in a folder of its own, on a database that may be elsewhere."""

    folder: Path
    database_url: str
    base_urls: dict[str, str]
    random: random.Random
    report: Report = field(default_factory=Report)
    privates: list[str] = field(
        default_factory=lambda: [generate_private_key(number + 1) for number in range(VERSIONS)]
    )
    version: int = 1
    kept: dict[int, str] = field(default_factory=dict)
    """Credential → its API key."""
    emails: list[str] = field(default_factory=list)
    up: subprocess.Popen[bytes] | None = None
    took_s: dict[str, float] = field(default_factory=dict)
    """Chore → how long it takes, when nobody kills it."""

    def __post_init__(self) -> None:
        self.instance = self.folder / "instance"
        self.backups = self.folder / "backups"

    def environ(self) -> dict[str, str]:
        urls = {f"{slug.upper().replace('-', '_')}_BASE_URL": url for slug, url in self.base_urls.items()}
        return environment(
            self.instance,
            DATABASE_URL=self.database_url,
            VAULT_PRIVATE_KEYS=",".join(self.privates[: self.version]),
            VAULT_PUBLIC_KEY=Keyring(self.privates[self.version - 1]).public,
            SECRET_KEY="of killed processes, for nothing else " + "x" * 32,
            PYTHONWARNINGS="ignore",
            **urls,
        )

    def app(self) -> Flask:
        return create_app(config.load(self.environ()))

    def wait_for_redis(self) -> None:
        until((self.instance / "redis.sock").exists, "Redis is not there", READY_S)

    # -------------------------------------------------------------- to begin with

    def move_in(self) -> None:
        app = self.app()
        set_up(app)
        public_key, now = PublicKey(Keyring(self.privates[0]).public), datetime.now(UTC)
        with app.app_context():
            providers = credentials.providers_by_slug()
            for number in range(USERS):
                email = f"user{number}@example.com"
                user = users.create(email, "x", now, is_admin=number == 0)
                assert user is not None
                self.emails.append(email)
                for slug in SLUGS:
                    key = f"sk-good-{secrets.randbelow(10**18):018}-{number}"  # no word that the far end knows
                    row = credentials.add(user.id, providers[slug], "", ApiKey(key), public_key, now)
                    assert row is not None
                    self.kept[row.id] = key
            db.session.commit()
            db.engine.dispose()

    def start(self) -> None:
        if self.up and self.up.poll() is None:
            return
        with (self.folder / "up.log").open("ab") as log:
            command = [*FLASK, "up", "--port", str(free_port()), "--workers", "1"]
            self.up = subprocess.Popen(command, cwd=ROOT, env=self.environ(), stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.up and self.up.poll() is None:
            below = descendants(self.up.pid)
            self.up.send_signal(number)
            self.up.wait(60)
            until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "the children are still there", 60)

    # -------------------------------------------------------------- chores

    def chore(self, name: str) -> None:
        """Do one thing, and kill it or anything beside it while it is at it."""
        command, environ = getattr(self, name)()
        began = time.monotonic()
        with (self.folder / "chores.log").open("ab") as log:
            doing = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            usual = self.took_s.get(name)
            if usual:
                # The first half is Python's own start.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    doing.wait(self.random.uniform(0.4, 1.0) * usual)
                self.kill(doing, name)
            code = doing.wait(120)
        if not usual:
            self.took_s[name] = time.monotonic() - began
            if code:
                self.report.wrong.append(f"{name}: ended with {code} though nobody killed it")

    def kill(self, doing: subprocess.Popen[bytes], name: str) -> None:
        self.look_at_processes(doing.pid)
        below = sorted(descendants(self.up.pid).items()) if self.up and self.up.poll() is None else []
        dice = self.random.random()
        if dice < 0.5 or not below:
            if doing.poll() is None:
                self.report.did[f"killed: {name}"] += 1
            for pid in (*descendants(doing.pid), doing.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif dice < 0.9:
            pid, command = self.random.choice(below)
            self.report.did[f"killed: {part_of(command)}"] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        else:
            self.report.did["killed: flask up"] += 1
            self.stop(signal.SIGKILL)

    def look_at_processes(self, *chores: int) -> None:
        """No process has an API key in its arguments or its environment, whatever it is at."""
        pids = [*chores, *(pid for chore in chores for pid in descendants(chore))]
        pids += descendants(self.up.pid) if self.up and self.up.poll() is None else ()
        for pid in pids:
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    self.search(f"the {name} of a process", Path(f"/proc/{pid}/{name}").read_bytes())

    def search(self, place: str, said: bytes) -> None:
        self.report.did["places searched for keys"] += 1
        if any(key.encode() in said for key in self.kept.values()):
            self.report.wrong.append(f"an API key stands in {place}")

    def rotation(self) -> tuple[list[str], dict[str, str]]:
        if self.version < VERSIONS and self.random.random() < 0.6:
            self.version += 1  # else the one before is taken up again
            self.stop(self.random.choice([signal.SIGTERM, signal.SIGKILL]))
            self.start()  # with the new pair, as README has it
        return [*FLASK, "keys", "rotate"], self.environ()

    def backup(self) -> tuple[list[str], dict[str, str]]:
        self.report.did["backups begun"] += 1
        file = self.backups / f"{self.report.did['backups begun']}.zip"
        return [*FLASK, "backup", "create", str(file)], self.environ()

    def migration(self) -> tuple[list[str], dict[str, str]]:
        """Down and up again by a process: a release is taken back, and installed again. Nothing else runs then."""
        self.stop()
        steps = "import sys; from tests.kills.__main__ import down_and_up; down_and_up()"
        return [sys.executable, "-c", steps], self.environ()

    def sync(self) -> tuple[list[str], dict[str, str]]:
        return [*FLASK, "sync", "run", self.random.choice(self.emails)], self.environ()

    # -------------------------------------------------------------- afterwards

    def verdict(self) -> None:
        """All is started once more. What is not in order then is wrong."""
        self.stop()
        self.say("flask setup", 0, "setup")
        self.start()
        self.wait_for_redis()
        self.say("flask keys rotate", 0, "keys", "rotate")
        app = self.app()
        with app.app_context():
            # A run whose worker was killed is live until its lease is over; whoever syncs meanwhile is given that one.
            until(lambda: not live_runs(), "runs of killed workers are still open", CALM_S + LEASE.total_seconds())
            for user_id in [users.find_by_email(email).id for email in self.emails]:  # type: ignore[union-attr]
                result = enqueue.start_sync(user_id, "manual")
                if result is None or not result.is_new:
                    self.report.wrong.append(f"no new sync could be begun for user {user_id}: {result}")
            until(lambda: not live_runs(), "runs are still open", CALM_S + LEASE.total_seconds())
            self._results_are_right()
            opener = Keyring(",".join(self.privates))
            opened = {
                key.credential_id: (opener.open(key.sealed, key.version, key.owner).reveal(), key.version)
                for batch in rotation.iter_batches()
                for key in batch
            }
            if opened != {number: (key, self.version) for number, key in self.kept.items()}:
                self.report.wrong.append("not every API key opens, sealed by the newest vault key")
            db.session.rollback()
            db.engine.dispose()
        for file in sorted(self.backups.glob("*.zip")):
            self.say(f"flask backup verify {file.name}", 0, "backup", "verify", str(file))
            self.report.did["backups whole"] += 1
        self.say("flask backup create", 0, "backup", "create", str(self.backups / "last.zip"))
        if left := [path.name for path in self.backups.iterdir() if path.suffix != ".zip"]:
            self.report.wrong.append(f"backups that were killed left {left}")
        for log in (*self.folder.glob("*.log"), *(self.instance / "log").iterdir()):
            self.search(log.name, log.read_bytes())
        self.doctor()

    def _results_are_right(self) -> None:
        half = select(func.count()).select_from(ResultRow).where(ResultRow.outcome.is_(None))
        if number := db.session.scalar(half):
            self.report.wrong.append(f"{number} results are open")
        bad = select(ResultRow.error_code, func.count()).where(ResultRow.outcome == "failed")
        for code, number in db.session.execute(bad.group_by(ResultRow.error_code)):
            self.report.wrong.append(f"{number} results failed: {code}")
        for state, number in db.session.execute(select(RunRow.state, func.count()).group_by(RunRow.state)):
            self.report.did[f"runs {state}"] += number
        last = select(func.max(ResultRow.id)).group_by(ResultRow.credential_id)
        read = select(ResultRow.credential_id).where(
            ResultRow.id.in_(last), ResultRow.outcome.in_(("complete", "unchanged"))
        )
        if missing := self.kept.keys() - set(db.session.scalars(read)):
            self.report.wrong.append(f"the last sync did not read the lists of {sorted(missing)}")

    def doctor(self) -> None:
        """Content, once workers and scheduler have left their marks."""
        deadline = time.monotonic() + READY_S
        while True:
            found = flask_in(self.environ(), "doctor", "--json")
            if found.returncode == 0 or time.monotonic() > deadline:
                break
            time.sleep(1)
        if found.returncode:
            data = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
            bad = [f"{one['check']}: {one['says']}" for one in data if one["state"] != "good"]
            self.report.wrong.append(f"flask doctor is not content: {bad} {found.stderr[-300:]}")

    def say(self, what: str, code: int, *arguments: str) -> None:
        done = flask_in(self.environ(), *arguments)
        if done.returncode != code:
            self.report.wrong.append(f"{what} ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-600:]}")


def flask_in(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLASK, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def down_and_up() -> None:
    """In a process of its own: the last three migrations are taken back, and made again."""
    app = create_app()
    set_up(app)
    with app.app_context():
        flask_migrate.downgrade(str(config.ROOT / "migrations"), revision="-3")
    set_up(app)


def live_runs() -> int:
    db.session.rollback()
    runs.close_lost(datetime.now(UTC))
    db.session.commit()
    return db.session.scalar(select(func.count()).where(RunRow.state.in_(("queued", "running")))) or 0


def part_of(command: str) -> str:
    words = {"gunicorn": "web", " work": "worker", " schedule": "scheduler", "valkey-server": "redis"}
    return next((part for word, part in words.items() if word in command), "another")


def until(holds: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


CHORES = ("rotation", "backup", "migration", "sync", "sync")


@contextlib.contextmanager
def _installation(database_url: str, seed: int) -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as name, Simulator() as simulator:
        folder = Path(name)
        url = database_url or f"sqlite:///{folder}/modelsync.sqlite"
        dice = random.Random(seed)  # no secret
        built = Installation(folder, url, simulator.base_urls, dice)
        try:
            yield built
        finally:
            built.stop(signal.SIGKILL)


def kill_for(seconds: float, seed: int, database_url: str = "") -> Report:
    """database_url: of an empty or fresh database; without one, an SQLite file of its own."""
    with _installation(database_url, seed) as built:
        built.move_in()
        built.start()
        built.wait_for_redis()
        for name in dict.fromkeys(CHORES):
            built.chore(name)
        built.start()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            built.chore(built.random.choice(CHORES))
            built.start()
        try:
            built.verdict()
        except TimeoutError as error:
            built.report.wrong.append(str(error))
        if built.report.wrong:
            built.report.wrong += [tail(built.folder / name) for name in ("up.log", "chores.log")]
        return built.report


def tail(log: Path) -> str:
    return f"{log.name}: …{log.read_text(errors='replace')[-1500:]}" if log.exists() else f"no {log.name}"


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="How long everything is killed.")
@click.option("--database-url", default="", help="An empty database; an SQLite file of its own if none is given.")
@click.option("--seed", type=int, help="By chance if none is given; it is told.")
def main(minutes: float, database_url: str, seed: int | None) -> None:
    """Kill processes by chance while the installation is looked after, then see whether all is in order."""
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"seed {seed}, {timedelta(minutes=minutes)}, {database_url or 'SQLite'}")
    report = kill_for(minutes * 60, seed, database_url)
    click.echo(str(report))
    for line in report.wrong:
        click.echo(f"WRONG: {line}")
    click.echo("Nothing is wrong." if not report.wrong else f"{len(report.wrong)} things are wrong.")
    raise SystemExit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
