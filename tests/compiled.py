"""Do once per process what every app of the tests would do alike: compile templates, routes and SQL.

Most tests have an app and a database of their own; compiling the same things anew would take half of the time of the
tests of pages. For the same reason passwords are hashed at the lowest cost, and SQLite does not wait for the disk.
"""

from __future__ import annotations

import functools
from typing import Any

import redis.utils
from argon2 import PasswordHasher
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import event
from sqlalchemy.engine import Engine
from werkzeug.routing import Rule

from app.auth import passwords
from app.store.engine import engine as app_engine

REAL_PASSWORDS = (passwords._hasher, passwords._DUMMY_HASH)
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def once() -> None:
    """Install it all, for the rest of the process."""
    redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)  # else asked by every connection
    passwords._hasher = CHEAP_HASHER
    passwords._DUMMY_HASH = CHEAP_HASHER.hash("no account has this password")
    app_engine.configure_engine = _configure_engine
    Flask.jinja_options = {"bytecode_cache": _Templates()}
    Rule.compile = _compiled  # type: ignore[method-assign]
    SQLAlchemy._make_engine = _made  # type: ignore[method-assign]


class _Templates(BytecodeCache):
    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._kept.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key, bucket.checksum] = bucket.code


_compile = Rule.compile
_rules: dict[tuple[Any, ...], Rule] = {}


def _compiled(rule: Rule) -> None:
    """A route is what it says: two of the same words are matched and built alike."""
    assert rule.map is not None
    says = (rule.rule, rule.subdomain, rule.host, rule.merge_slashes, rule.map.host_matching, repr(rule.defaults))
    known = _rules.get(says)
    if known is None:
        _compile(rule)
        _rules[says] = rule
        return
    rule._parts, rule._trace, rule._converters = known._parts, known._trace, known._converters
    rule.arguments = known.arguments
    rule._build = known._build.__func__.__get__(rule, None)  # type: ignore[attr-defined]
    rule._build_unknown = known._build_unknown.__func__.__get__(rule, None)  # type: ignore[attr-defined]


class _Statements:
    """Compiled statements by the kind of database, not by the one engine that first ran them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Any] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        return self._kept.get((type(key[0]), *key[1:]))

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._kept[type(key[0]), *key[1:]] = compiled


_statements = _Statements()
_make = SQLAlchemy._make_engine


def _made(*args: Any) -> Engine:
    engine = _make(*args)
    engine._compiled_cache = _statements  # type: ignore[assignment]
    return engine


_configure = app_engine.configure_engine


def _configure_engine(engine: Engine) -> None:
    _configure(engine)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _skip_fsync(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")
