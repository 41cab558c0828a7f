"""`flask providers`: the registry and the tools for adding a provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app import clock
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import PROVIDERS
from app.store import credentials
from app.store.schema.tables import ListingRow, ModelRow, ProviderRow
from app.sync.catalog.bootstrap import bootstrap
from tests.providers.shapes import every_shape

ANSWERS = Path(__file__).parent.parent / "providers" / "answers"


def run(app: Flask, *arguments: str, stdin: str | bytes = "") -> Any:
    return app.test_cli_runner().invoke(args=["providers", *arguments], input=stdin)


def lines(done: Any) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_provider_is_listed_with_its_key_state(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-a-server-wide-key")
    found = {line["slug"]: line for line in lines(run(app, "list", "--json"))}
    assert found.keys() == PROVIDERS.keys()
    assert (found["groq"]["key"], found["openai"]["key"]) == ("found", "missing")
    assert found["openrouter"]["key"] == "not needed"
    assert "gsk-a-server" not in json.dumps(found)
    api = found["openrouter"]["models_api"]
    assert api["enabled"] is True and api["update_frequency"] == "realtime" and api["last_synced"] is None
    assert api["endpoints"][0]["url"] == "https://openrouter.ai/api/v1/models"
    assert api["endpoints"][0]["endpoint_type"] == "CHAT_COMPLETIONS"


def test_an_admins_own_settings_survive_the_mirror(app: Flask) -> None:
    done = run(app, "set", "groq", "--disable", "--update-frequency", "weekly", "--base-url", "https://proxy.example/")
    (line,) = lines(done)
    assert (line["enabled"], line["update_frequency"], line["base_url"]) == (False, "weekly", "https://proxy.example")
    db.session.execute(ProviderRow.__table__.update().values(description="changed by hand"))
    db.session.commit()
    bootstrap(clock.utc_now())
    row = credentials.providers_by_slug()["groq"]
    assert (row.is_active, row.admin_update_frequency) == (False, "weekly")
    assert row.admin_base_url == "https://proxy.example"
    assert row.description == PROVIDERS["groq"].description
    (back,) = lines(run(app, "set", "groq", "--enable", "--update-frequency", "default", "--base-url", "default"))
    assert (back["enabled"], back["update_frequency"]) == (True, PROVIDERS["groq"].update_frequency)


@every_shape
def test_a_saved_answer_is_read_and_nothing_is_stored(app: Flask, slug: str, simulator: Simulator) -> None:
    path = next(path for path in sorted((ANSWERS / slug).glob("*.json")) if not path.name.endswith(".expected.json"))
    by_file = lines(run(app, "read", slug, str(path), "--json"))
    by_stdin = lines(run(app, "read", slug, "-", "--json", stdin=path.read_bytes()))
    assert by_file == by_stdin
    for line in by_file:
        assert line["provider"] == slug
        assert line["kind_reason"]
        assert {"provider_model_id", "name", "kind", "canonical_id", "match_rule", "pricing", "status"} <= line.keys()
    assert db.session.scalar(select(ModelRow.id)) is None
    assert db.session.scalar(select(ListingRow.id)) is None
    assert simulator.requests() == []


def test_what_is_no_list_is_a_sentence_and_exit_code_1(app: Flask) -> None:
    done = run(app, "read", "openai", "-", stdin="<html>")
    assert done.exit_code == 1
    assert "web page" in done.output and "Traceback" not in done.output


def test_an_answer_is_recorded_without_its_key_and_drift_is_told(
    app: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = "sk-a-server-wide-key-of-a-test"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    (tmp_path / "2026-01-01.json").write_text('{"object": "list", "data": [{"id": "a", "gone": 1}]}')
    done = run(app, "record", "openai", "--to", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "vanished field: data[].gone" in done.output
    assert "new field: data[].created" in done.output
    (saved,) = (path for path in tmp_path.glob("*.json") if path.name != "2026-01-01.json")
    assert key not in saved.read_text()
    assert len(json.loads(saved.read_text())["data"]) > 10


def test_recording_without_a_key_says_which_variable_to_set(app: Flask) -> None:
    done = run(app, "record", "openai")
    assert done.exit_code == 1
    assert "OPENAI_API_KEY" in done.output
