"""A whole installation for tests: `flask up` as a process, in a folder of its own."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLASK = (sys.executable, "-m", "flask")


@dataclass
class Live:
    url: str
    instance: Path
    process: subprocess.Popen[str]
    told: str = ""
    """What it printed until it was ready."""

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def children(self) -> dict[int, str]:
        """Process ids and command lines of everything that `flask up` started, at any depth."""
        return descendants(self.process.pid)


def descendants(pid: int) -> dict[int, str]:
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1]), command.strip()
    results: dict[int, str] = {}
    todo = {pid}
    while todo:
        todo = {child for child, (parent, _) in parents.items() if parent in todo} - results.keys()
        results |= {child: parents[child][1] for child in todo}
    return results


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(instance: Path, **changes: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    # No test reads the clone's .env or asks the public catalogs.
    given = {"MODELSYNC_INSTANCE": str(instance), "FLASK_SKIP_DOTENV": "1", "CATALOG_REFRESH_HOURS": "0"}
    return kept | given | changes


def flask(*arguments: str, instance: Path, stdin: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
    """A `flask` command as a person types it."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env=environment(instance, **changes),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def up(
    instance: Path, *options: str, command: tuple[str, ...] = FLASK, cwd: Path = ROOT, **changes: str
) -> Iterator[Live]:
    """`flask up` until the block is left. Fails with what it printed if it does not get ready."""
    port = free_port()
    process = subprocess.Popen(
        [*command, "up", "--port", str(port), *options],
        cwd=cwd,
        env=environment(instance, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    live = Live(f"http://127.0.0.1:{port}", instance, process)
    try:
        _wait(live)
        yield live
    finally:
        if process.poll() is None:
            live.stop()
        if process.stdout:
            process.stdout.close()


def _wait(live: Live) -> None:
    deadline = time.monotonic() + 100  # a demo runs weeks of syncs first
    while not _is_healthy(live.url):
        if live.process.poll() is not None or time.monotonic() > deadline:
            live.process.kill()
            raise AssertionError(f"flask up did not get ready: {live.process.communicate()[0]}")
        time.sleep(0.05)
    for line in live.process.stdout or ():
        live.told += line
        if "Stop" in line:
            return


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health", timeout=1):  # our own http address
            return True
    except (urllib.error.URLError, OSError):
        return False
