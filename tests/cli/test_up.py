"""`flask up` with real processes and signals."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from app.vault import Keyring, generate_private_key
from tests.live import Live, descendants, environment, flask, free_port, up

pytestmark = pytest.mark.slow

Until = Callable[..., Any]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_everything_and_stops_every_process(tmp_path: Path, number: signal.Signals) -> None:
    with up(tmp_path) as live:
        children = live.children()
        commands = " ".join(children.values())
        for part in ("valkey-server", "gunicorn", "work", "schedule"):
            assert part in commands
        assert live.stop(number) == 0
        assert not any(map(is_alive, children))
        assert live.url in live.told and "Ctrl-C" in live.told


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One installation shared by the tests that do not change it: each start takes seconds."""
    with up(tmp_path_factory.mktemp("running") / "instance") as live:
        yield live


def test_what_it_makes_is_its_owners_alone(running: Live) -> None:
    assert stat.S_IMODE(running.instance.stat().st_mode) == 0o700
    for path in running.instance.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_web_process_cannot_open_a_key_and_the_worker_holds_no_session_secret(tmp_path: Path) -> None:
    private = generate_private_key()
    secrets = {"SECRET_KEY": "s" * 40, "VAULT_PRIVATE_KEYS": private, "VAULT_PUBLIC_KEY": Keyring(private).public}
    with up(tmp_path, CRON_SECRET="c" * 40, OPENAI_API_KEY="sk-server-wide-key", **secrets) as live:
        for pid, command in live.children().items():
            try:
                held = Path(f"/proc/{pid}/environ").read_bytes().decode()
            except PermissionError:  # only root may inspect a worker process
                assert " work " in command
                continue
            assert ("sk-server-wide-key" in held) == (" work " in command), "workers sign with it, nobody else"
            if "gunicorn" in command:
                assert private not in held and "s" * 40 in held
            elif " work " in command:
                assert private in held and "s" * 40 not in held and "c" * 40 not in held
            else:
                assert private not in held and "s" * 40 not in held


def test_a_process_that_dies_is_started_again(running: Live, until: Until) -> None:
    (killed,) = [pid for pid, command in running.children().items() if " schedule" in command]
    os.kill(killed, signal.SIGKILL)
    until(lambda: any(" schedule" in command and pid != killed for pid, command in running.children().items()))


def read_start_error(instance: Path, *options: str, **changes: str) -> str:
    """The message of a failed start: one sentence, exit code 1."""
    done = flask("up", *options, instance=instance, **changes)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    said = done.stderr.strip()
    assert said.endswith(".") and "\n" not in said, said
    return said


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/evil/login", "SCRIPT_NAME: /evil"),
        ("/there-is-nothing", "PATH_INFO: /login"),
        ("/login", "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off"),
    ],
)
def test_no_header_of_a_stranger_says_where_the_app_is_or_how_it_was_reached(
    running: Live, path: str, header: str
) -> None:
    """gunicorn trusts some headers from loopback, where the reverse proxy passes on those of its clients."""
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200" if path == "/login" else b"HTTP/1.1 404"), answer[:200]
    assert b'"/evil/' not in answer


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = read_start_error(tmp_path, "--port", str(port))
    assert str(port) in said and "--port" in said


def test_a_second_one_on_the_same_instance_is_one_sentence(running: Live) -> None:
    assert "already" in read_start_error(running.instance, "--port", str(free_port()))


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    said = read_start_error(tmp_path / "file" / "instance")
    assert "cannot be written" in said and "MODELSYNC_INSTANCE" in said


def test_a_newer_database_is_one_sentence(tmp_path: Path) -> None:
    assert flask("setup", instance=tmp_path).returncode == 0
    with sqlite3.connect(tmp_path / "modelsync.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "newer" in read_start_error(tmp_path, "--port", str(free_port()))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SECRET_KEY": "s" * 40}, "VAULT_PUBLIC_KEY"),
        ({"SECRET_KEY": "s" * 40, "VAULT_PUBLIC_KEY": "1:nonsense"}, "VAULT_PUBLIC_KEY"),
        ({"SECRET_KEY": "s" * 40, "VAULT_PUBLIC_KEY": Keyring(generate_private_key()).public}, "ALLOWED_HOSTS"),
        (
            {
                "SECRET_KEY": "s" * 40,
                "VAULT_PUBLIC_KEY": Keyring(generate_private_key()).public,
                "ALLOWED_HOSTS": "modelsync.example.com",
            },
            "VAULT_PRIVATE_KEYS",
        ),
    ],
)
def test_production_generates_nothing_and_names_what_is_missing(
    tmp_path: Path, changes: dict[str, str], named: str
) -> None:
    instance = tmp_path / "instance"
    assert named in read_start_error(instance, APP_ENV="production", **changes)
    assert not instance.exists() or not list(instance.iterdir())


def test_a_demo_keeps_away_from_the_real_database(tmp_path: Path) -> None:
    with up(tmp_path, "--demo", DATABASE_URL=f"sqlite:///{tmp_path}/real.sqlite") as live:
        assert (tmp_path / "demo" / "modelsync.sqlite").exists()
        assert not (tmp_path / "real.sqlite").exists()
        assert any("app.demo" in command for command in live.children().values())


def test_the_environment_of_a_test_has_no_secret() -> None:
    assert not {"SECRET_KEY", "VAULT_PRIVATE_KEYS"} & environment(Path("/nowhere")).keys()


def test_commands_work_beside_a_running_installation(running: Live, until: Until) -> None:
    instance = running.instance
    added = flask("users", "add", "alice@example.com", instance=instance, stdin="correct horse battery\n")
    assert added.returncode == 0, added.stderr
    assert "as an admin" in added.stdout
    until(lambda: flask("doctor", instance=instance).returncode == 0)


def test_killed_parents_leave_no_orphans(tmp_path: Path, until: Until) -> None:
    with up(tmp_path) as live:
        until(lambda: sum(" work " in command for command in live.children().values()) >= 3)
        seen = dict(live.children())
        # A busy worker has a child too, but only the pool has the workers as children.
        pool = max((pid for pid in seen if " work " in seen[pid]), key=lambda pid: len(descendants(pid)))
        os.kill(pool, signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in seen if " work " in seen[pid]))
        until(lambda: sum(" work " in command for command in live.children().values()) >= 3)
        seen |= live.children()
        live.stop()
        assert not any(map(is_alive, seen))


def test_workers_are_found_again_after_redis_was_killed(tmp_path: Path, until: Until) -> None:
    with up(tmp_path) as live:
        socket_path = tmp_path / "redis.sock"

        def workers() -> int:
            try:
                with redis.Redis.from_url(f"unix://{socket_path}", socket_timeout=1) as client:
                    return int(client.zcount("modelsync:workers", time.time() - 6, "+inf"))
            except redis.RedisError:
                return 0

        until(lambda: workers() == 3, 40)  # the two requested, and the interactive one
        (server,) = (pid for pid, command in live.children().items() if "valkey-server" in command)
        os.kill(server, signal.SIGKILL)
        until(lambda: workers() == 0, 40)
        until(lambda: workers() == 3, 40)
