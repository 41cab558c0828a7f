"""Parts of an installation as processes of their own, on the database and the Redis of a test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app import config
from tests.live import ROOT, _is_healthy, environment, free_port


@dataclass
class Part:
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: int = signal.SIGTERM, patience_s: float = 30) -> int:
        self.process.send_signal(number)
        return self.process.wait(patience_s)


def variables(settings: config.Settings, **changes: str) -> dict[str, str]:
    """What a process of its own needs to belong to the installation of `settings`."""
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "VAULT_PUBLIC_KEY": settings.vault_public_key,
        "VAULT_PRIVATE_KEYS": os.environ["VAULT_PRIVATE_KEYS"],
        **{f"{slug.upper().replace('-', '_')}_BASE_URL": url for slug, url in settings.base_urls.items()},
        **changes,
    }


@contextlib.contextmanager
def working(settings: config.Settings, log: Path, workers: int = 1) -> Iterator[Part]:
    """A `flask work` until the block is left."""
    arguments = ["-m", "flask", "--app", "wsgi", "work", "--workers", str(workers)]
    with _running(arguments, variables(settings), settings, log) as part:
        yield part


@contextlib.contextmanager
def serving(settings: config.Settings, log: Path) -> Iterator[Part]:
    """A web process as a web machine has it, without what opens API keys, until the block is left."""
    port = free_port()
    arguments = ["-m", "gunicorn", "--config", "app/serving.py", "wsgi:app", "--bind", f"127.0.0.1:{port}"]
    held = {name: value for name, value in variables(settings).items() if name != "VAULT_PRIVATE_KEYS"}
    with _running(arguments, held, settings, log) as part:
        part.url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 40
        while not _is_healthy(part.url):
            assert part.process.poll() is None and time.monotonic() < deadline, part.told
            time.sleep(0.05)
        yield part


@contextlib.contextmanager
def _running(arguments: list[str], held: dict[str, str], settings: config.Settings, log: Path) -> Iterator[Part]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment(settings.instance, **held),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    part = Part(process, log)
    try:
        yield part
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            part.stop(patience_s=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
        process.wait(10)
