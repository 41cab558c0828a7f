"""The embedded Valkey: the newest program is taken, and clients may do what the queue needs and no more."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.cli import embedded_redis
from app.cli.supervisor import ProcessFailed
from tests.conftest import _answers, _until


@contextlib.contextmanager
def server(folder: Path, program: str = "") -> Iterator[redis.Redis]:
    command = embedded_redis.redis_process(folder / "redis.sock").command
    with subprocess.Popen([program or command[0], *command[1:]], stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis.from_url(f"unix://{folder}/redis.sock") as client:
                _until(lambda: _answers(client))
                yield client
        finally:
            process.terminate()


def make_program(folder: Path, name: str, output: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_bundled_server_is_found_without_importing_its_package() -> None:
    assert embedded_redis._read_version(embedded_redis._bundled_server()) >= (9, 1)


@pytest.mark.parametrize(
    ("name", "output", "is_taken"),
    [
        ("redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d", False),
        ("valkey-server", "Valkey server v=99.0.1 sha=00000000:0 malloc=libc bits=64 build=1", True),
        ("redis-server", "Redis server v=99.10 sha=00000000:0", True),
        ("valkey-server", "cannot execute: it was built for another machine", False),
    ],
)
def test_a_newer_server_on_the_path_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, output: str, is_taken: bool
) -> None:
    program = make_program(tmp_path, name, output)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert embedded_redis._find_server() == (str(program) if is_taken else embedded_redis._bundled_server())


def test_without_any_server_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded_redis, "_bundled_server", lambda: "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessFailed, match="install one, or set REDIS_URL"):
        embedded_redis._find_server()


def test_clients_may_run_their_scripts_but_not_reach_the_server_itself(tmp_path: Path) -> None:
    with server(tmp_path) as client:
        assert client.register_script("return redis.call('INCR', KEYS[1])")(keys=["n"]) == 1
        for command in (
            ("EVAL", "return 1", 0),
            ("FUNCTION", "LIST"),
            ("MODULE", "LIST"),
            ("CONFIG", "GET", "dir"),
            ("SAVE",),
            ("REPLICAOF", "127.0.0.1", "6379"),
            ("ACL", "LIST"),
            ("SHUTDOWN",),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_a_dump_in_the_folder_is_neither_read_nor_touched(tmp_path: Path) -> None:
    """Redis 6.2 of earlier releases, or another version, may have left one; a strange one would stop the start."""
    dump = tmp_path / "dump.rdb"
    dump.write_bytes(b"REDIS0099 of a version that nobody has seen")
    with server(tmp_path) as client:
        assert client.dbsize() == 0
    assert dump.read_bytes() == b"REDIS0099 of a version that nobody has seen"


def test_it_starts_with_an_older_redis_of_the_path_where_nothing_is_bundled(tmp_path: Path) -> None:
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("there is no redis-server on the PATH")
    with server(tmp_path, program) as client:
        assert client.register_script("return 1")() == 1
