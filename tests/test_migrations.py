"""The migrations make exactly the tables, on both databases, forth and back."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import inspect, text

from app import config
from app.cli.install import InstallationError, set_up
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import PROVIDERS
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced

DIRECTORY = str(config.ROOT / "migrations")


def differences() -> list[Any]:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, db.metadata)


def schema() -> dict[str, Any]:
    """All that the database says of itself."""
    seen = inspect(db.engine)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(table)],
            sorted(json.dumps(index, default=str, sort_keys=True) for index in seen.get_indexes(table)),
            sorted(str(one) for one in seen.get_unique_constraints(table)),
            sorted(str(one) for one in seen.get_check_constraints(table)),
            sorted(str(one) for one in seen.get_foreign_keys(table)),
        )
        for table in sorted(seen.get_table_names())
    } | {"views": sorted(seen.get_view_names())}


@contextlib.contextmanager
def rows(statement: str, **values: Any) -> Any:
    db.session.rollback()
    yield [tuple(row) for row in db.session.execute(text(statement), values)]


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(DIRECTORY).get_heads()) == 1


@both_databases
def test_the_migrations_equal_the_tables_and_go_back_and_forth(app: Flask) -> None:
    assert differences() == []
    flask_migrate.check(DIRECTORY)
    before = schema()
    assert "model_sync_history" in before["views"]
    assert set(before) - {"alembic_version", "views"} == set(db.metadata.tables)
    flask_migrate.downgrade(DIRECTORY, revision="base")
    assert set(schema()) <= {"alembic_version", "views"}
    assert schema()["views"] == []
    set_up(app)
    assert schema() == before
    set_up(app)  # twice does no harm


@both_databases
def test_one_live_run_and_every_allowed_word_are_kept_by_the_database_itself(alice: Person) -> None:
    from sqlalchemy.exc import IntegrityError

    run = (
        "INSERT INTO runs (user_id, trigger, state, attempt, total_new_models, created_at) "
        "VALUES (:user, :why, :state, 0, 0, '2026-01-01 00:00:00')"
    )
    db.session.execute(text(run), {"user": alice.id, "why": "manual", "state": "queued"})
    db.session.commit()
    user = alice.id
    for values in (
        {"why": "manual", "state": "running"},
        {"why": "whim", "state": "done"},
        {"why": "api", "state": "odd"},
    ):
        with pytest.raises(IntegrityError):
            db.session.execute(text(run), {"user": user, **values})
        db.session.rollback()
    db.session.execute(text(run), {"user": user, "why": "manual", "state": "done"})
    with pytest.raises(IntegrityError):
        db.session.execute(text(run), {"user": user + 1000, "why": "manual", "state": "done"})


@both_databases
def test_the_owners_questions_are_answered(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("openrouter", None)
    run = synced(alice, means)
    with rows(
        "SELECT synced_at, total_new_models, sync_results FROM model_sync_history "
        "WHERE user_id = :user ORDER BY synced_at DESC LIMIT 10",
        user=alice.id,
    ) as ((synced_at, total, results),):
        assert str(synced_at).startswith(f"{run.ended_at:%Y-%m-%d %H:%M:%S}")
        assert total == run.total_new_models
        (result,) = json.loads(results) if isinstance(results, str) else results
        assert (result["provider"], result["outcome"], result["chat"]) == (
            "openrouter",
            "complete",
            run.results[0].chat,
        )
    numeric = "::numeric" if db.engine.dialect.name == "postgresql" else ""
    with rows(
        f"SELECT p.slug, m.model_name, m.provider_model_id, m.context_length, "
        f"ROUND(m.pricing_prompt{numeric} * 1000000, 2), "
        f"ROUND(m.pricing_completion{numeric} * 1000000, 2), m.input_per_million "
        "FROM models m JOIN providers p ON m.provider_id = p.id "
        "WHERE p.slug = 'openrouter' AND m.is_active = true ORDER BY m.model_name"
    ) as found:
        priced = [row for row in found if row[4]]
        assert len(found) == run.results[0].fetched and priced
        for row in priced:
            assert float(row[4]) == pytest.approx(float(row[6]), abs=0.0051)
    with rows("SELECT count(*) FROM models WHERE supports_vision = true AND is_active = true") as ((seeing,),):
        assert 0 < seeing < len(found)
    with rows(
        "SELECT p.name, COUNT(m.id), COUNT(CASE WHEN m.is_active THEN 1 END) FROM providers p "
        "LEFT JOIN models m ON p.id = m.provider_id GROUP BY p.id, p.name ORDER BY 2 DESC"
    ) as statistics:
        assert statistics[0] == ("OpenRouter", len(found), len(found))
        assert len(statistics) == len(PROVIDERS)


@both_databases
def test_a_database_of_a_newer_version_is_refused_with_a_sentence(app: Flask) -> None:
    db.session.execute(text("UPDATE alembic_version SET version_num = 'from_2031'"))
    db.session.commit()
    with pytest.raises(
        InstallationError, match=r"made by a newer Modelsync \(its revision is from_2031\): update this copy"
    ):
        set_up(app)
    result = app.test_cli_runner().invoke(args=["users", "list"])
    assert result.exit_code == 1 and "made by a newer Modelsync" in result.output and "Traceback" not in result.output
