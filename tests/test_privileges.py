"""Each process is given the secrets of its role: neither its environment nor its memory has another's.

A whole installation is started from a copy of the project, with all secrets in its `.env`, and every process of it is
searched. (The kernel lets only root look into workers; where we are not, their memory is left out.)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import supervisor
from app.config import ROOT
from app.vault import Keyring, generate_private_key
from tests.live import Live, _wait, environment, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
]

PRIVATE = generate_private_key()
HELD_BY = {
    "SECRET_KEY": ("session-secret-" + "Qz" * 14, {"web"}),
    "CRON_SECRET": ("cron-secret-" + "Wy" * 14, {"web"}),
    "ADMIN_API_KEY": ("admin-api-key-" + "Vx" * 14, {"web"}),
    "METRICS_TOKEN": ("metrics-token-" + "Ru" * 14, {"web"}),
    "OPENAI_API_KEY": ("sk-server-wide-" + "Ts" * 14, {"worker"}),
    "VAULT_PRIVATE_KEYS": (PRIVATE, {"worker"}),
}
"""Secret → its value and the roles that may have it."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """`flask up` in a copy of the project whose .env holds every secret."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("app", "templates", "static", "migrations"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", tree)
    lines = [f"{name}={value}\n" for name, (value, _) in HELD_BY.items()]
    (tree / ".env").write_text("".join(lines) + f"VAULT_PUBLIC_KEY={Keyring(PRIVATE).public}\n", encoding="utf-8")
    port = free_port()
    environ = environment(tree / "instance")
    del environ["FLASK_SKIP_DOTENV"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", "up", "--port", str(port)],
        cwd=tree,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    live = Live(f"http://127.0.0.1:{port}", tree / "instance", process)
    try:
        _wait(live)
        yield live
    finally:
        if process.poll() is None:
            live.stop(signal.SIGTERM)
        if process.stdout:
            process.stdout.close()


def role_of(command: str) -> str:
    for word, role in (
        ("gunicorn", "web"),
        (" work ", "worker"),
        (" schedule", "scheduler"),
        ("valkey-server", "redis"),
    ):
        if word in f"{command} ":
            return role
    return command


def memory_of(pid: int) -> bytes | None:
    """All that a process has written to, or None if we may not look."""
    results = []
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                place, rights = line.split()[:2]
                begin, end = (int(part, 16) for part in place.split("-"))
                if "w" in rights and "r" in rights:
                    with contextlib.suppress(OSError, ValueError, OverflowError):
                        memory.seek(begin)
                        results.append(memory.read(end - begin))
    except PermissionError:
        return None
    return b"".join(results)


def words_of(value: str) -> bytes:
    """What of a secret is looked for: a stretch from its middle, which its form cannot hide."""
    bare = value.partition(":")[2] or value
    return bare[len(bare) // 4 : len(bare) // 4 + 24].encode()


def test_no_process_has_a_secret_of_another_role_in_its_environment_or_its_memory(running: Live) -> None:
    looked_into: set[str] = set()
    for pid, command in running.children().items():
        role = role_of(command)
        with contextlib.suppress(PermissionError):
            held = Path(f"/proc/{pid}/environ").read_bytes()
            for name, (value, roles) in HELD_BY.items():
                assert (value.encode() in held) == (role in roles), f"{name} in the environment of {role}"
        memory = memory_of(pid)
        if memory is None:
            assert role == "worker" and os.geteuid() != 0
            continue
        looked_into.add(role)
        for name, (value, roles) in HELD_BY.items():
            assert (words_of(value) in memory) <= (role in roles), f"{name} in the memory of {role}"
        if role == "web" and b"gunicorn" in memory:
            assert words_of(HELD_BY["SECRET_KEY"][0]) in memory  # the search does find what is there
    assert {"web", "scheduler", "redis"} <= looked_into
    assert os.geteuid() != 0 or "worker" in looked_into


def test_no_command_line_of_a_process_has_a_secret(running: Live) -> None:
    commands = " ".join(running.children().values())
    assert "gunicorn" in commands
    assert not [name for name, (value, _) in HELD_BY.items() if words_of(value).decode() in commands]


def test_the_logs_of_the_processes_have_no_secret_either(running: Live) -> None:
    logs = {path.name: path.read_text(encoding="utf-8") for path in (running.instance / "log").iterdir()}
    assert {"web.log", "workers.log", "scheduler.log"} <= logs.keys()
    for name, (value, _) in HELD_BY.items():
        assert not [log for log, text in logs.items() if words_of(value).decode() in text], name


def test_nobody_but_the_first_reads_the_file_of_all_secrets() -> None:
    parent = supervisor.Supervisor({"PATH": "/bin", **{name: value for name, (value, _) in HELD_BY.items()}}, None)
    for process in (
        supervisor.web_process("127.0.0.1", 8000, 1),
        supervisor.worker_process(1),
        supervisor.scheduler_process(),
    ):
        given = parent.environment(process)
        assert given["FLASK_SKIP_DOTENV"] == "1"
        assert {name for name in HELD_BY if name in given} == {
            name for name, (_, roles) in HELD_BY.items() if process.role in roles
        }
