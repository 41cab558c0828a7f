"""No value of any known parameter, in a URL or a form, causes a server error."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import admin_sync
from app.api.openapi import build_document
from app.config import ROOT
from app.extensions import db, limiter
from app.sync.run import SyncContext
from tests.api.client import ApiClient, create_client
from tests.conftest import Person, both_databases
from tests.test_doors import DOORS, Door
from tests.test_doors import house as house  # the fixture

NUMBERS = ["0", "-1", "1", "007", "²", "1e400", "NaN", "0x10", "9" * 18, "9" * 19, str(2**63), "9" * 5_000, "1" * 400]
MOMENTS = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01",
    "9999-12-31",
    "2026-11-01T12:00:00",
    "2026-11-01T12:00:00+23:59",
    "20261101T120000Z",
    "2026-W45-7",
    "-0001-01-01T00:00:00Z",
]
WORDS = ["", "\0", "a\0b", "%", "'", "😀", "\u202e", "\n", "x" * 5_000, "openai", "yes", "read", "chat"]
LISTS = ["[]", "WzEsMl0", "eyJh", "1,2", "//", "m=1&m=2", "openai/gpt-4o"]
WORST = ["9" * 19, "9" * 5_000, MOMENTS[0], "\0", "\n"]
"""Each of them under every name at every door."""
VALUES = st.sampled_from([*NUMBERS, *MOMENTS, *WORDS, *LISTS])
_READ = re.compile(
    r"""(?:args|form|values|typed)\.(?:get|getlist)\(\s*["'](\w+)["']"""
    r"""|(?:args|form)\[["'](\w+)["']\]|["'](\w+)["'] in request\.(?:args|form)"""
    r"""|_(?:id_argument|int_argument|date|choice)\(["'](\w+)["']"""
)
NEVER = {"accounts.logout", "sync.stream"}
"""Whoever leaves is a stranger at the next address; the other one lasts as long as a run does, and reads no value."""
NOT_READY = {"health.ready", "metrics.metrics"}


def names() -> list[str]:
    """Every name under which a view reads something, found in the source."""
    found = {"before", "csrf_token"}
    for folder in ("web", "api"):
        for path in (ROOT / "app" / folder).rglob("*.py"):
            found |= {next(filter(None, groups)) for groups in _READ.findall(path.read_text(encoding="utf-8"))}
    return sorted(found - {"csrf_token"})


def names_of_the_api(app: Flask) -> dict[tuple[str, str], list[str]]:
    paths = build_document(app)["paths"]
    return {
        (path, method.upper()): [one["name"] for one in entry["parameters"] if one["in"] == "query"]
        for path, operations in paths.items()
        for method, entry in operations.items()
    }


def test_the_names_are_found_in_the_source() -> None:
    assert {"until", "plan", "run", "key", "day", "since", "days", "min_context", "model", "entry"} <= set(names())


WEB = [door for door in DOORS if not door.endpoint.startswith(("api_v1", "elsewhere")) and door.endpoint not in NEVER]


@pytest.mark.slow
@pytest.mark.timeout(400)  # some six hundred requests, on a machine that does much else
@both_databases
def test_no_value_in_an_address_or_a_form_is_a_failure_of_ours(
    app: Flask, house: dict[str, Any], carol: Person, means: SyncContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "enabled", False)
    monkeypatch.setattr(admin_sync, "MAX_WAIT_S", 0.0)
    carol.row.sync_on_sign_in = False
    db.session.commit()
    carol.sign_in()
    token = carol.token("/profile")
    known = names()

    def send(door: Door, given_values: dict[str, str], htmx: bool) -> None:
        path = door.path.format(**house).partition("?")[0]
        headers = {"X-CSRFToken": token, **({"HX-Request": "true"} if htmx else {})}
        options: dict[str, Any] = {"data": given_values} if door.method == "POST" else {"query_string": given_values}
        answer = carol.client.open(path, method=door.method, headers=headers, buffered=True, **options)
        failed = answer.status_code >= 500 and door.endpoint not in NOT_READY
        assert not failed and "Traceback" not in answer.text, (door, given_values, answer.status_code)
        answer.close()

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(WEB), st.dictionaries(st.sampled_from(known), VALUES, max_size=4), st.booleans())
    def some(door: Door, given_values: dict[str, str], htmx: bool) -> None:
        send(door, given_values, htmx)

    for value in WORST:
        for door in WEB:
            send(door, dict.fromkeys(known, value), htmx=value == WORST[0])
    some()
    assert carol.client.get("/admin").status_code == 200  # it was the admin who asked, up to the end


@both_databases
def test_no_value_in_an_address_of_the_api_is_a_failure_of_ours(
    app: Flask, house: dict[str, Any], alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "enabled", False)
    caller: ApiClient = create_client(alice, "read", "sync")
    for (path, method), parameters in names_of_the_api(app).items():
        filled = re.sub(r"\{\w+\}", "1", path)
        for name in parameters:
            for value in WORST:
                answer = caller.ask(filled, method, query_string={name: value})
                assert answer.status_code < 500, (path, name, value)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin/providers/openai/sync?plan=" + "9" * 19, 404),
        ("/admin/providers/openai/sync?plan=" + "9" * 5_000, 404),
        ("/admin/providers/openai/sync?run=-1", 404),
        ("/admin/providers/openai/sync?run=99", 303),
    ],
)
def test_a_number_beyond_a_databases_is_nobodys(carol: Person, path: str, status: int) -> None:
    answer = carol.sign_in().client.get(path)
    assert answer.status_code == status
    assert status == 303 or "There is nothing here" in answer.text


@both_databases
def test_a_moment_beyond_the_years_is_none(alice: Person) -> None:
    alice.sign_in()
    for until in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert alice.post("/changes/read", until=until).status_code == 303
    db.session.refresh(alice.row)
    assert alice.row.changes_seen_at is None
