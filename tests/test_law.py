"""The law of imports: they go down only.

 5  web · api · cli
 4  jobs
 3  sync
 2  store · providers   siblings, blind to each other
 1  catalog · vault · clock     catalog: stdlib and msgspec · vault: stdlib and cryptography

Beside them: `app/__init__.py` wires everything; `config`, `extensions`, `hardening` and `logs` know nothing above 2;
`auth` and `mail` know nothing of the data; `variables` documents the settings; only wiring and commands know `demo`.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from app.config import ROOT

MAY_IMPORT: dict[str, set[str]] = {
    "catalog": set(),
    "vault": set(),
    "auth": set(),
    "mail": {"auth"},
    "clock": set(),
    "extensions": set(),
    "hardening": set(),
    "logs": set(),
    "serving": set(),
    "paths": set(),
    "config": {"paths", "providers", "vault", "auth", "store"},
    "providers": {"catalog"},
    "help": set(),
    "variables": {"auth", "config", "providers"},
    "store": {"catalog", "vault", "clock", "extensions", "paths"},
    "sync": {"store", "providers", "catalog", "vault", "clock", "extensions"},
    "jobs": {
        "sync",
        "store",
        "providers",
        "catalog",
        "vault",
        "clock",
        "extensions",
        "config",
        "paths",
        "hardening",
        "logs",
        "mail",
        "auth",
    },
    "web": {
        "jobs",
        "store",
        "providers",
        "catalog",
        "vault",
        "clock",
        "extensions",
        "config",
        "paths",
        "auth",
        "help",
        "variables",
    },
    "api": {"jobs", "store", "providers", "catalog", "clock", "extensions", "config"},
    "cli": {
        "jobs",
        "sync",
        "store",
        "providers",
        "catalog",
        "vault",
        "clock",
        "extensions",
        "hardening",
        "logs",
        "config",
        "paths",
        "auth",
        "help",
        "variables",
    },
    "demo": {"sync", "store", "providers", "catalog", "vault", "clock", "extensions", "config", "auth"},
}
ONLY_IN: dict[str, set[str]] = {
    # dispatch.py, fetch.py and google_auth.py only name httpx.Client, as the type of an argument. openid.py requests
    # the server that the operator trusts with sign-in, within bounds of its own, and handles no provider key.
    "httpx": {
        "sync/http/client.py",
        "sync/http/fetch.py",
        "sync/http/request.py",
        "sync/http/transport.py",
        "sync/dispatch.py",
        "sync/http/google_auth.py",
        "auth/openid.py",
    },
    "httpcore": {"sync/http/client.py", "sync/http/ssrf.py"},
    "google": {"sync/http/google_auth.py"},
    "rq": {
        "jobs/enqueue.py",
        "jobs/monitoring.py",
        "jobs/queues.py",
        "jobs/registry.py",
        "jobs/tasks.py",
        "jobs/workers.py",
    },
    "cryptography": {"vault.py", "auth/secretbox.py"},
    "pyotp": {"auth/totp.py"},
    "authlib": {"auth/openid.py"},
    "joserfc": {"auth/openid.py"},
    "smtplib": {"mail.py"},
    "argon2": {"auth/passwords.py"},
}
ALSO_ALLOWED: set[tuple[str, str]] = {
    # `flask up --demo` makes the demo's accounts and history.
    ("cli/up.py", "demo"),
}
IMPURE = {
    *("socket", "ssl", "http", "urllib", "subprocess", "threading", "time", "os", "sqlite3", "tempfile", "random"),
}
THIRD_PARTY: dict[str, set[str]] = {"catalog": {"msgspec"}, "providers": {"msgspec"}, "vault": {"cryptography"}}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from ([f"app.{alias.name}" for alias in node.names] if node.module == "app" else [node.module or ""])


FILES = {str(path.relative_to(ROOT / "app")): sorted(set(_imports(path))) for path in ROOT.glob("app/**/*.py")}


def _station(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def _roots(file: str) -> set[str]:
    return {name.split(".")[0] for name in FILES[file]}


def test_imports_go_down_only() -> None:
    upwards = {}
    for file in FILES.keys() - {"__init__.py"}:
        station = _station(file)
        ours = {name.split(".")[1] for name in FILES[file] if name.startswith("app.")} - {station, "create_app"}
        upwards[file] = {one for one in ours - MAY_IMPORT[station] if (file, one) not in ALSO_ALLOWED}
    assert {file: names for file, names in upwards.items() if names} == {}


def test_some_libraries_are_imported_in_one_place() -> None:
    for library, places in ONLY_IN.items():
        assert {file for file in FILES if library in _roots(file)} <= places, library


def test_the_pure_stations_need_little() -> None:
    for file in FILES:
        if (station := _station(file)) in THIRD_PARTY:
            assert _roots(file) - {"app"} - sys.stdlib_module_names <= THIRD_PARTY[station], file


def test_the_pure_stations_touch_neither_network_nor_clock() -> None:
    for file in FILES:
        if _station(file) in ("catalog", "providers"):
            roots = {name.split(".")[0] for name in FILES[file] if not name.startswith("urllib.parse")}
            assert roots.isdisjoint(IMPURE), file


def test_every_exception_to_the_law_is_needed() -> None:
    for file, station in ALSO_ALLOWED:
        assert any(name.startswith(f"app.{station}") for name in FILES[file])
    for library, doors in ONLY_IN.items():
        for door in doors:
            assert library in {name.split(".")[0] for name in FILES[door]}


@pytest.mark.parametrize("file", ["dispatch.py", "http/fetch.py", "http/google_auth.py"])
def test_some_name_httpx_for_a_type_only(file: str) -> None:
    text = (ROOT / "app/sync" / file).read_text(encoding="utf-8")
    used = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    assert {name for name in used if name.startswith("httpx.")} == {"httpx.Client"}


def test_the_wiring_hides_no_module() -> None:
    """`app.sync` is the package, whatever `app/__init__.py` imports under that name."""
    names = {_station(file) for file in FILES} - {"__init__", "serving"}
    assert [
        name
        for name in sorted(names)
        if getattr(app, name, importlib.import_module(f"app.{name}")) is not sys.modules[f"app.{name}"]
    ] == []
