"""The web server that `flask up` starts, in a process of its own, for what is measured from outside.

It loads this module's `app` in place of `wsgi.app`: the same app, which also serves files of a folder from memory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response

from app.cli import supervisor
from app.extensions import db
from app.store.schema.tables import UserRow
from tests.live import ROOT, descendants, free_port
from tests.signed import sign_in

if TYPE_CHECKING:
    from tests.benchmarks.stage import Stage

FROM_MEMORY = "BENCHMARK_FROM_MEMORY"
_TICKS = os.sysconf("SC_CLK_TCK")

if folder := os.environ.get(FROM_MEMORY):
    from wsgi import app

    _BODIES = {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    @app.get("/from-memory/<name>")
    def from_memory(name: str) -> Response:
        return Response(_BODIES[name], mimetype="text/html")


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pids: tuple[int, ...]
    """Of gunicorn's workers."""

    def resident_bytes(self) -> int:
        """What is these processes' own: not what they share with the one that they were forked from."""
        return sum(own_bytes(pid) for pid in self.pids)

    def cpu_s(self) -> float:
        facts = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids]
        return sum(int(one[11]) + int(one[12]) for one in facts) / _TICKS


def own_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = [line.split() for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(int(kibibytes) for _, kibibytes, _ in found) * 1024


@contextlib.contextmanager
def serving(stage: Stage, bodies: Path, workers: int = 1) -> Iterator[Server]:
    """bodies: a folder whose files are served under `/from-memory/` by their names."""
    port = free_port()
    command = ["tests.benchmarks.web_server:app" if word == "wsgi:app" else word for word in _command(port, workers)]
    settings = stage.environment() | {FROM_MEMORY: str(bodies), "MAX_STREAMS": "1000", "LOG_LEVEL": "WARNING"}
    with subprocess.Popen(command, cwd=ROOT, env=settings) as process:
        try:
            _until_it_answers(port)
            yield Server(port, tuple(descendants(process.pid)))
        finally:
            process.terminate()


def cookie_of(stage: Stage, user_id: int) -> str:
    """The `Cookie` header of a browser in which this person is signed in."""
    client = stage.app.test_client()
    sign_in(client, db.session.get_one(UserRow, user_id))
    db.session.remove()
    cookie = client.get_cookie("session")
    if cookie is None:
        raise RuntimeError("nobody is signed in")
    return f"session={cookie.value}"


def _command(port: int, workers: int) -> list[str]:
    return supervisor.web_process("127.0.0.1", port, workers=workers).command


def _until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
