"""Runs pg_dump, pg_restore and psql, and reads their dumps."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import IO, Any

import psycopg

from app.extensions import db
from app.hardening import die_with_parent

_PASSED_VARIABLES = frozenset(
    ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY")
)


class BackupError(Exception):
    """A backup cannot be made, read or restored. The message is a sentence with the remedy."""


def run_tool(program: str, arguments: list[str], *, connects: bool = False, output: IO[bytes] | None = None) -> None:
    """Run a program to completion. Its environment holds the database password and none of the app's secrets.

    connects: whether it connects to the database. Raises BackupError.
    """
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not on the PATH: install PostgreSQL's client programs (in Debian: postgresql-client), "
            "of the server's version or a later one."
        )
    conninfo, password = _connection_string() if connects else ("", {})
    environ = {name: os.environ[name] for name in _PASSED_VARIABLES & os.environ.keys()}
    process = subprocess.run(
        [path, *arguments, *([f"--dbname={conninfo}"] if connects else [])],
        env={**environ, **password},
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        preexec_fn=die_with_parent,
    )
    if process.returncode:
        lines = process.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
        reason = next((line for line in lines if "error" in line.lower() or "mismatch" in line), lines[0])
        raise BackupError(f"{program} failed ({reason.removeprefix(f'{program}: ')[:300]}).")


def _connection_string() -> tuple[str, Mapping[str, str]]:
    """DATABASE_URL without its password, and the environment variable that holds the password."""
    _, parameters = db.engine.dialect.create_connect_args(db.engine.url)
    options: dict[str, Any] = dict(parameters)
    password = options.pop("password", None)
    simple = {name: value for name, value in options.items() if isinstance(value, str | int) and name != "context"}
    return psycopg.conninfo.make_conninfo("", **simple), {"PGPASSWORD": str(password)} if password else {}


def iter_copy_rows(script: IO[bytes]) -> Iterator[tuple[str, dict[str, str] | None]]:
    """(table, row) for each row in the COPY blocks of a dump, and (table, None) at the start of each block."""
    table, columns = "", []
    for raw in script:
        line = raw.decode("utf-8").rstrip("\n")
        if not table:
            if line.startswith("COPY ") and line.endswith(" FROM stdin;"):
                name, _, listed = line[5 : -len(" FROM stdin;")].partition(" (")
                table = name.rpartition(".")[2].strip('"')
                columns = [column.strip('"') for column in listed.rstrip(")").split(", ")]
                yield table, None
        elif line == "\\.":
            table = ""
        else:
            yield table, dict(zip(columns, line.split("\t"), strict=True))
