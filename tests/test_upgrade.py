"""A database that an earlier release made and filled is brought to this one, and the app works on it with all its data.

The rows are written as that release had them, by SQL alone: the tables of today know nothing of them.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import text

from app import config
from app.catalog.listing import ListedModel, build_listing, canonical_form, fingerprint
from app.cli.install import set_up
from app.demo.simulator import Simulator
from app.extensions import db
from app.store.accounts import users
from app.store.schema.tables import UserRow
from app.sync.run import SyncContext
from app.vault import ApiKey, PublicKey, SealContext
from tests.conftest import _CHEAP_HASH, Person
from tests.conftest import _STAGES as STAGES
from tests.sync.test_run import synced
from tests.test_migrations import DIRECTORY, differences

KEY = "sk-good-key-of-an-earlier-release-77aa"
THEN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
REVISIONS = [script.revision for script in ScriptDirectory(str(config.ROOT / "migrations")).walk_revisions()][::-1]
# The very first, those before the schema was cut anew for the schedule, and the one before this release's newest.
EARLIER = list(dict.fromkeys([REVISIONS[0], REVISIONS[2], REVISIONS[6], REVISIONS[-2]]))
QUICK = {("sqlite", REVISIONS[0]), ("postgresql", REVISIONS[-2])}


def write(table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    given = ", ".join(f":{name}" for name in values)
    db.session.execute(text(f"INSERT INTO {table} ({names}) VALUES ({given})"), values)  # names of ours


def moment(value: datetime) -> Any:
    return value if db.engine.dialect.name == "postgresql" else f"{value:%Y-%m-%d %H:%M:%S.%f}"


def fill(public_key: PublicKey) -> None:
    """Two people, a provider, a key with its list, a finished sync, and one that nobody has begun."""
    at = moment(THEN)
    words = {"description": "", "base_url": "https://api.example.com", "api_key_env_var": "OPENAI_API_KEY"}
    words |= {"site_url": "https://example.com", "color": "#000", "models_api": "{}"}
    write("providers", id=1, slug="openai", name="OpenAI", created_at=at, updated_at=at, **words)
    for number, email, is_admin in ((1, "carol@example.com", True), (2, "alice@example.com", False)):
        write(
            "users",
            id=number,
            email=email,
            password_hash=_CHEAP_HASH,
            auth_stamp=f"stamp-{number}",
            is_admin=is_admin,
            sync_on_sign_in=False,
            created_at=at,
        )
    listing = build_listing("openai", [ListedModel(id="gpt-old-1", name="GPT Old 1"), ListedModel(id="gpt-4o")])
    form = canonical_form(listing)
    content = zlib.compress(form, 6)
    counts = {"model_count": 2, "chat_count": 2}
    write("listings", id=1, provider_id=1, fingerprint=fingerprint(form), content=content, created_at=at, **counts)
    write(
        "credentials",
        id=1,
        user_id=2,
        provider_id=1,
        label="old",
        key_hint="77aa",
        sealed_key=public_key.seal(ApiKey(KEY), SealContext(2, 1, "openai")),
        vault_version=public_key.version,
        key_number=1,
        listing_id=1,
        listed_at=at,
        listed_key_number=1,
        outcome="complete",
        created_at=at,
        **counts,
    )
    run = {"trigger": "manual", "attempt": 1, "created_at": at}
    write("runs", id=1, user_id=2, state="done", total_new_models=0, started_at=at, ended_at=at, **run)
    write("runs", id=2, user_id=1, state="lost", total_new_models=0, started_at=at, ended_at=at, **run)
    kinds = dict.fromkeys(("new", "changed", "unlisted", "relisted", "uncatalogued", "skipped"), 0)
    write(
        "results",
        id=1,
        run_id=1,
        user_id=2,
        credential_id=1,
        provider_id=1,
        label="old",
        outcome="complete",
        fetched=2,
        chat=2,
        listing_id=1,
        started_at=at,
        ended_at=at,
        **kinds,
    )
    db.session.commit()
    if db.engine.dialect.name == "postgresql":
        for table in ("providers", "users", "listings", "credentials", "runs", "results"):
            highest = f"(SELECT max(id) FROM {table})"
            db.session.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {highest})"))
        db.session.commit()


def person(app: Flask, public_key: PublicKey, email: str) -> Person:
    row = users.find_by_email(email)
    assert isinstance(row, UserRow)
    return Person(row, app, public_key).sign_in()


@pytest.mark.parametrize(
    ("database_url", "revision"),
    [
        pytest.param(*stage.values, revision, id=f"{stage.id}-{revision}", marks=[*stage.marks, *marks])
        for stage in STAGES
        for revision in EARLIER
        for marks in [[] if (stage.id, revision) in QUICK else [pytest.mark.full]]
    ],
    indirect=["database_url"],
)
def test_a_database_of_an_earlier_release_is_upgraded_and_works(
    app: Flask, public_key: PublicKey, means: SyncContext, simulator: Simulator, revision: str
) -> None:
    flask_migrate.downgrade(DIRECTORY, revision="base")
    flask_migrate.upgrade(DIRECTORY, revision=revision)
    fill(public_key)
    db.session.remove()
    set_up(app)
    assert differences() == []

    alice, carol = person(app, public_key, "alice@example.com"), person(app, public_key, "carol@example.com")
    pages = ("/profile", "/history", "/history/1", "/history/1/results/1", "/models", "/changes", "/settings")
    found = {path: alice.client.get(path) for path in pages}
    assert {path: answer.status_code for path, answer in found.items()} == dict.fromkeys(pages, 200)
    assert "77aa" in found["/profile"].text and "gpt-old-1" in found["/models"].text
    for path in ("/admin", "/admin/users", "/admin/history", "/admin/providers", "/admin/catalog"):
        assert carol.client.get(path).status_code == 200, path

    run = synced(alice, means)
    (result,) = run.results
    assert result.outcome == "complete" and result.fetched > 2
    assert any(KEY in repr(seen.headers) for seen in simulator.requests())  # the key of then was opened
    assert result.unlisted == 1  # compared with the list of then
    assert len(alice.client.get("/history").text.split("/history/")) > 2
