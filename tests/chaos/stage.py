"""The databases, the far end, the workers and the schedulers, as processes that can be killed and started again."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
import redis

from app.cli.embedded_redis import redis_process
from app.vault import Keyring, generate_private_key
from tests.live import ROOT, descendants, environment, free_port

GRACE_S = 15.0


def until(holds: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition, with a limit."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


@dataclass
class Part:
    """One process of the installation."""

    name: str
    command: list[str]
    environ: Mapping[str, str]
    log: Path
    child: subprocess.Popen[bytes] | None = None
    started: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command, cwd=ROOT, env=dict(self.environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.started += 1

    @property
    def is_up(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.child and self.child.poll() is None:
            self.child.send_signal(number)
            self.child.wait(60)


class PrivateRedis(Part):
    """A Redis of our own that keeps nothing on disk: what dies with it is lost."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        command = redis_process(self.socket).command
        super().__init__("redis", command, {"PATH": os.environ["PATH"]}, folder / "redis.log")

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        super().start()
        until(self._answers, "Redis")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False


class PrivatePostgres:
    """A cluster of our own, which can be stopped and killed; it needs PostgreSQL's programs."""

    def __init__(self, folder: Path) -> None:
        self.data, self.log, self.port = folder / "data", folder / "postgres.log", free_port()
        self.url = f"postgresql://chaos@127.0.0.1:{self.port}/chaos"
        self._bin = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        # PostgreSQL does not run as root.
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        folder.mkdir()
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self.data), "-U", "chaos", "-A", "trust", "-E", "UTF8", "--no-sync")
        # fsync is for power cuts; a killed server loses nothing without it.
        options = {"port": self.port, "listen_addresses": "'127.0.0.1'", "unix_socket_directories": "''"}
        options |= {"fsync": "off", "max_connections": 200, "log_lock_waits": "on"}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in options.items())
        self._made = False

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "60", "start")
        if not self._made:
            with psycopg.connect(self.url.removesuffix("chaos") + "postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE chaos")
            self._made = True

    def stop(self, mode: str) -> None:
        """mode: `fast` ends all sessions in order, `immediate` is a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop")

    def end(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is down already
            self.stop("immediate")

    def dump(self) -> bytes:
        command = [*self._as, str(self._bin / "pg_dump"), "--dbname", self.url]
        return subprocess.run(command, capture_output=True, check=True, cwd="/", timeout=300).stdout

    def deadlocks(self) -> int:
        return self.log.read_text(errors="replace").count("deadlock detected")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", timeout=120
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')[-500:]}")

    @classmethod
    def is_possible(cls) -> bool:
        return bool(glob.glob("/usr/lib/postgresql/*/bin/initdb")) and bool(shutil.which("setpriv"))


class FarEnd:
    """The simulated providers, steered by lines on its standard input."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.notes = folder / "served.jsonl"
        command = [sys.executable, "-m", "tests.chaos.far_end", str(seed), str(self.notes)]
        self._child = subprocess.Popen(
            command, cwd=ROOT, env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.base_urls: dict[str, str] = json.loads(self._child.stdout.readline()) if self._child.stdout else {}

    def order(self, **order: object) -> None:
        if self._child.stdin:
            self._child.stdin.write(json.dumps(order) + "\n")
            self._child.stdin.flush()

    def stop(self) -> None:
        if self._child.stdin and self._child.stdout:
            self._child.stdin.close()
            self._child.stdout.close()
        self._child.wait(30)


@dataclass
class Stage:
    """A whole installation, and what was done to it."""

    folder: Path
    database: PrivatePostgres
    queue: PrivateRedis
    far_end: FarEnd
    private: str
    parts: list[Part] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    """What was broken how often."""
    away_until: float = 0.0
    """Until then an error may be the fault of a database that was away."""

    @property
    def environ(self) -> dict[str, str]:
        urls = {f"{slug.upper().replace('-', '_')}_BASE_URL": url for slug, url in self.far_end.base_urls.items()}
        return environment(
            self.folder / "instance",
            DATABASE_URL=self.database.url,
            REDIS_URL=self.queue.url,
            VAULT_PRIVATE_KEYS=self.private,
            VAULT_PUBLIC_KEY=Keyring(self.private).public,
            SECRET_KEY="of a chaos run, for nothing else " + "x" * 32,
            LOG_LEVEL="DEBUG",
            PYTHONWARNINGS="ignore",
            **urls,
        )

    def start(self, workers: int, schedulers: int = 2) -> None:
        logs = self.folder / "logs"
        logs.mkdir()
        flask = [sys.executable, "-m", "flask", "--app", "wsgi"]
        commands = {"work": [*flask, "work", "--workers", str(workers)]}
        commands |= {f"schedule-{number}": [*flask, "schedule"] for number in range(schedulers)}
        for name, command in commands.items():
            self.parts.append(Part(name, command, self.environ, logs / f"{name}.log"))
        self.tend()

    def tend(self) -> None:
        """Start again what is not there, as a supervisor does."""
        for part in self.parts:
            if not part.is_up:
                part.start()

    def break_something(self, random: Random) -> None:
        """One of the things that happen to an installation; the worst ones seldom."""
        acts = [self.kill_a_worker] * 20 + [self.kill_a_part] * 2
        acts += [self.restart_queue, self.restart_database, self.cut_connections]
        act = random.choice(acts)
        self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
        act(random)

    def kill_a_worker(self, random: Random) -> None:
        """Any process below the pool: a worker, or the fork that does its job."""
        pool = self.parts[0].child
        found = sorted(descendants(pool.pid)) if pool else []
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(found), signal.SIGKILL)

    def kill_a_part(self, random: Random) -> None:
        """The whole pool, or a scheduler; sometimes it is asked to stop instead, as by an update."""
        random.choice(self.parts).kill(random.choice([signal.SIGKILL, signal.SIGTERM]))

    def restart_queue(self, random: Random) -> None:
        self._is_away()
        self.queue.kill()
        time.sleep(random.uniform(0.2, 3.0))
        self.queue.start()
        self.away_until = time.monotonic() + GRACE_S

    def restart_database(self, random: Random) -> None:
        self._is_away()
        self.database.stop(random.choice(["fast", "immediate"]))
        time.sleep(random.uniform(0.2, 3.0))
        self.database.start()
        self.away_until = time.monotonic() + GRACE_S

    def cut_connections(self, random: Random) -> None:
        self.away_until = time.monotonic() + GRACE_S
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def _is_away(self) -> None:
        self.away_until = time.monotonic() + 60.0

    def stop(self) -> None:
        for part in self.parts:
            part.kill()
        self._kill_orphans()

    def _kill_orphans(self) -> None:
        """Forks at work whose worker was killed: they are nobody's children, but they have our environment."""
        mark = str(self.folder / "instance").encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)


@contextlib.contextmanager
def stage(seed: int) -> Iterator[Stage]:
    """Everything but the workers, until the block is left; then all of it is gone."""
    with contextlib.ExitStack() as leaving:
        name = leaving.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True))
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's own user has to come through
        far_end = FarEnd(seed, folder)
        leaving.callback(far_end.stop)
        queue = PrivateRedis(folder / "queue")
        leaving.callback(queue.kill)
        queue.start()
        database = PrivatePostgres(folder / "postgres")
        leaving.callback(database.end)
        database.start()
        built = Stage(folder, database, queue, far_end, generate_private_key())
        leaving.callback(built.stop)
        yield built
