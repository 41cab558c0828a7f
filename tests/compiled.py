"""What every app of the tests compiles alike is compiled once for a process: templates, routes, SQL.

Each test has an app and a database of its own; compiling the same things anew would take half of all the time that the
tests of pages need.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy.engine import Engine
from werkzeug.routing import Rule


def once() -> None:
    """From here on."""
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
