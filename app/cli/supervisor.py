"""Starts, restarts and stops the processes of `flask up`."""

from __future__ import annotations

import contextlib
import os
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

from app.hardening import die_with_parent
from app.paths import APP, ROOT, WSGI_MODULE
from app.providers import PROVIDERS

_START_TIMEOUT_S = 120.0  # generous, for slow machines; a process that exits is noticed at once
_GRACE_S = 8.0
_STABLE_S = 30.0
_MAX_RESTARTS = 5
_MAX_LOG_BYTES = 5_000_000
_SECRETS = (
    "SECRET_KEY",
    "CRON_SECRET",
    "METRICS_TOKEN",
    "OIDC_CLIENT_SECRET",
    "SMTP_URL",
    "VAULT_PRIVATE_KEYS",
    "VAULT_PUBLIC_KEY",
)
_WEB_SECRETS = ("SECRET_KEY", "CRON_SECRET", "ADMIN_API_KEY", "METRICS_TOKEN", "OIDC_CLIENT_SECRET", "VAULT_PUBLIC_KEY")
_WORKER_SECRETS = ("SMTP_URL", "VAULT_PRIVATE_KEYS")

SocketAddress = Path | tuple[str, int]


class ProcessFailed(Exception):
    """A process does not run. The message is a sentence that names its log."""


@dataclass(slots=True)
class Process:
    name: str
    command: list[str]
    role: str = ""
    """web · worker · scheduler; passed on as MODELSYNC_ROLE."""
    secrets: tuple[str, ...] = ()
    cwd: Path = ROOT
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0


@dataclass
class Supervisor:
    """Context manager: leaving it stops all processes, in reverse order of their start."""

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
        # A second Ctrl-C must not interrupt the cleanup.
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
        """Wait until interrupted. Restarts processes that exit; raises ProcessFailed for one that keeps exiting."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(0.5)
                for process in self.processes:
                    self._restart_if_dead(process)

    def wait_for_socket(self, address: SocketAddress) -> None:
        self._wait(lambda: _accepts_connections(address))

    def wait_for_http(self, url: str) -> None:
        self._wait(lambda: _responds(url))

    def stop(self) -> None:
        """SIGTERM, a grace period, then SIGKILL to the process groups."""
        # Redis goes last: workers deregister there.
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
                env=self.environment(process),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,  # Ctrl-C signals only this process, which stops the others in order
                preexec_fn=die_with_parent,
            )

    def environment(self, process: Process) -> dict[str, str]:
        """The environment with only the secrets of the process's role."""
        allowed = {
            name: value
            for name, value in self.environ.items()
            if not _is_secret(name)
            or name.removesuffix("_FILE") in process.secrets
            or (process.role == "worker" and _is_provider_key(name))
        }
        # The process must not read .env itself, which holds all secrets.
        return allowed | {"FLASK_SKIP_DOTENV": "1"} | ({"MODELSYNC_ROLE": process.role} if process.role else {})

    def _log(self, process: Process) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if self.logs is None:
            return contextlib.nullcontext()
        path = self.logs / f"{process.name}.log"
        if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _restart_if_dead(self, process: Process) -> None:
        child = process.child
        if child is None or child.poll() is None:
            return
        if time.monotonic() - process.started_at > _STABLE_S:
            process.restarts = 0
        if process.restarts >= _MAX_RESTARTS:
            raise ProcessFailed(self._failure(process))
        process.restarts += 1
        _signal_group(child, signal.SIGKILL)  # its children must not run beside those of its successor
        time.sleep(min(0.2 * 2**process.restarts, 5.0))
        self._spawn(process)

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not is_ready():
            for process in self.processes:
                if process.child and process.child.poll() is not None:
                    raise ProcessFailed(self._failure(process))
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"Modelsync did not get ready in {_START_TIMEOUT_S:.0f} s: see the logs in {self.logs}."
                )
            time.sleep(0.05)

    def _failure(self, process: Process) -> str:
        code = process.child.returncode if process.child else None
        log_hint = f": see {self.logs / process.name}.log" if self.logs else ""
        return f"The {process.name} process ended by itself (exit code {code}){log_hint}."


def web_process(host: str, port: int, workers: int) -> Process:
    """gunicorn, configured by `app/serving.py`."""
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = [sys.executable, "-m", "gunicorn", "--config", str(APP / "serving.py"), f"{WSGI_MODULE}:app"]
    command += ["--bind", bind, "--workers", str(workers)]
    return Process("web", command, "web", _WEB_SECRETS)


def worker_process(count: int) -> Process:
    return Process("workers", [*_flask_command(), "work", "--workers", str(count)], "worker", _WORKER_SECRETS)


def scheduler_process() -> Process:
    return Process("scheduler", [*_flask_command(), "schedule"], "scheduler")


def _flask_command() -> list[str]:
    return [sys.executable, "-m", "flask", "--app", WSGI_MODULE]


def _is_secret(name: str) -> bool:
    bare = name.removesuffix("_FILE")
    return bare in _SECRETS or bare.endswith("_API_KEY")


def _is_provider_key(name: str) -> bool:
    """Whether it is a server-wide provider key, which only workers need."""
    return name.removesuffix("_FILE") in {provider.key_variable for provider in PROVIDERS.values()}


def _accepts_connections(address: SocketAddress) -> bool:
    try:
        with socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET) as probe:
            probe.settimeout(0.5)
            probe.connect(str(address) if isinstance(address, Path) else address)
    except OSError:
        return False
    return True


def _responds(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310  # our own http address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
