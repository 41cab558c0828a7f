"""How long a comparison takes tells nothing of a secret: none is compared by `==`, all by `compare_digest`."""

from __future__ import annotations

import ast
import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.config import ROOT
from app.extensions import db
from app.store.accounts import tokens
from tests.conftest import Person

_SECRET = re.compile(
    r"(^|_)(secret|secrets|token|digest|password|passphrase|stamp|signature|nonce|mac|api_key|admin_key|recovery|feed"
    r"|private|sealed|session_token|invite)(_|$)"
)
_NO_SECRETS = {
    ("app/cli/backup.py", "digest"): "of a file that whoever runs the command holds",
    ("app/cli/doctor.py", "sealed"): "what is sealed with: the public key",
    ("app/store/catalog.py", "digest"): "of the catalog's inputs",
    ("app/sync/catalog/rebuild.py", "digest"): "of the catalog's inputs",
    ("app/sync/http/fetch.py", "digest"): "of a list's bytes",
    ("app/web/app/static_files.py", "digest"): "of a file that everybody may have",
    ("app/web/app/static_files.py", "stamp"): "when a file was changed",
}
"""File and word → why this is no secret."""


def comparisons(tree: ast.AST) -> Iterator[ast.Compare]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            yield node


def words_of(node: ast.expr) -> set[str]:
    """All names and texts of one side."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            found.add(one.id)
        elif isinstance(one, ast.Attribute):
            found.add(one.attr)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier():
            found.add(one.value)
    return {word.lower() for word in found}


def is_sql(node: ast.expr) -> bool:
    """`SomeRow.column`, `table.c.column`: the database looks up a hash in an index, which no attacker can time."""
    if not isinstance(node, ast.Attribute):
        return False
    of = node.value
    return (isinstance(of, ast.Name) and of.id.endswith("Row")) or (isinstance(of, ast.Attribute) and of.attr == "c")


def compared_plainly(path: Path, source: str) -> list[str]:
    name = str(path.relative_to(ROOT)) if path.is_absolute() else str(path)
    results = []
    for node in comparisons(ast.parse(source)):
        sides = [node.left, *node.comparators]
        plain = any(isinstance(side, ast.Constant) for side in sides)
        if plain or any(is_sql(side) for side in sides):
            continue
        hits = {match[2] for side in sides for word in words_of(side) if (match := _SECRET.search(word))}
        if hits - {word for file, word in _NO_SECRETS if file == name}:
            results.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    return results


def test_no_secret_is_compared_by_equality() -> None:
    files = [path for path in (ROOT / "app").rglob("*.py") if "demo" not in path.parts]
    assert len(files) > 150
    lines = [line for path in files for line in compared_plainly(path, path.read_text(encoding="utf-8"))]
    assert lines == []


def test_the_search_finds_what_it_is_for() -> None:
    for line in (
        "if given == settings.cron_secret: pass",
        "x = request.headers.get('Authorization') != f'Bearer {config.admin_api_key}'",
        "ok = row.digest == _digest(text)",
        "ok = form.get('stamp') == made",
    ):
        assert compared_plainly(Path("app/x.py"), line), line
    for line in ("a = kind == 'token'", "q = select(x).where(FeedRow.digest == y)", "b = status_code == other"):
        assert not compared_plainly(Path("app/x.py"), line), line


def test_what_is_said_to_be_no_secret_is_still_there() -> None:
    for file, word in _NO_SECRETS:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(word, source), f"{file} has no {word} any more"


SECRETS = {name: f"the-{name}-of-this-installation" for name in ("cron_secret", "admin_api_key", "metrics_token")}
DOORS = {
    "cron_secret": "/api/models/sync/cron",
    "admin_api_key": "/admin/model-sync/status",
    "metrics_token": "/metrics",
}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All values that were compared in constant time."""
    seen: list[bytes] = []
    real = hmac.compare_digest

    def noted(one: Any, other: Any) -> bool:
        seen.extend(part.encode() if isinstance(part, str) else bytes(part) for part in (one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    monkeypatch.setattr(secrets, "compare_digest", noted)
    return seen


@pytest.mark.parametrize("name", SECRETS)
def test_each_secret_of_the_installation_is_compared_in_constant_time(
    app: Flask, alice: Person, compared: list[bytes], name: str
) -> None:
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], metrics=True, **SECRETS)
    right = SECRETS[name]
    for given, opens in ((right, True), (right[:-1] + "X", False), ("", False), (right + "\x80", False)):
        compared.clear()
        answer = app.test_client().get(DOORS[name], headers={"Authorization": f"Bearer {given}"})
        assert (answer.status_code != 401) == opens, given
        assert f"Bearer {right}".encode() in compared, (
            "not even a wrong length, or text that is no text, goes another way"
        )


def test_a_personal_token_and_a_session_are_compared_in_constant_time(
    app: Flask, alice: Person, compared: list[bytes]
) -> None:
    token = tokens.create(alice.id, "editor", ("read",), datetime.now(UTC))
    assert token is not None
    db.session.commit()
    client = app.test_client()
    assert client.get("/api/v1/keys", headers={"Authorization": f"Bearer {token[1]}"}).status_code == 200
    assert token[0].digest in compared and token[1].encode() not in compared, "by its hash"
    alice.sign_in()
    compared.clear()
    assert alice.client.get("/profile").status_code == 200
    assert alice.row.get_id().encode() in compared
