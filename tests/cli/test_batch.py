"""`flask sync all`, `plans` and `apply`: the batch sync and its report."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app import clock
from app.cli.batch_commands import expand_values
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import SYNCABLE
from app.store import audit, credentials, plans
from app.store.schema.tables import ModelRow, RunRow
from app.sync import server_keys
from tests.conftest import both_databases
from tests.sync.test_run import count, named

Shell = Callable[..., Any]


@pytest.fixture
def sync(app: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs `flask sync …` with two server-wide keys in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-server-0a1b")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-of-the-server-2c3d")
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "gpt-99-nobody-knows"))
    simulator.set_models("groq", named("llama-3.1-8b-instant"))

    def run(*arguments: str) -> Any:
        runner = app.test_cli_runner()
        done = contextvars.Context().run(runner.invoke, args=["sync", *arguments])
        db.session.rollback()
        assert "of-the-server" not in done.output
        return done

    return run


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("--providers a b", "--providers a --providers b"),
        ("--providers a b --dry-run", "--providers a --providers b --dry-run"),
        ("-v --providers a --json --providers b c", "-v --providers a --json --providers b --providers c"),
        ("--providers a --providers b", "--providers a --providers b"),
        ("--dry-run", "--dry-run"),
        ("--providers", "--providers"),
        ("--providers=a", "--providers=a"),
    ],
)
def test_providers_takes_all_words_up_to_the_next_option(typed: str, read: str) -> None:
    assert expand_values(typed.split(), "--providers") == read.split()


@both_databases
def test_the_report_is_that_of_the_guide(sync: Shell) -> None:
    done = sync("all", "--providers", "openai", "groq", "cherryin")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[:3] == ["=" * 60, "Batch Provider Model Sync", "=" * 60]
    told = done.stdout
    assert f"  - {len(credentials.providers_by_slug())} providers\n" in told
    assert "Providers to sync: 3\n" in told and "Skipping" not in told
    assert "API Keys Status:\n  ✓ Found: 2\n  ✗ Missing: 1\n" in told
    assert "  - cherryin            (env: CHERRYIN_API_KEY)\n" in told
    part = told.split("[openai] Syncing models...\n")[1].split("\n\n")[0].splitlines()
    assert part[0].startswith("  - Fetching from http")
    assert part[1:] == ["    ✓ Fetched 3 models", "  + Adding 1 new model", "  + Generated 2 new overrides"]
    assert "    ✗ API key not configured: CHERRYIN_API_KEY is not set.\n" in told
    summary = told.split("Sync Summary")[1]
    assert "Total providers: 3\n  ✓ Successful: 2\n  ✗ Failed: 1\n" in summary
    for statistic in ("models fetched: 4", "New models added: 1", "Overrides generated: 3", "Overrides merged: 0"):
        assert statistic in summary
    assert summary.rstrip("=\n").endswith("✓ Batch sync completed")
    assert count(ModelRow) == 4
    (entry,) = audit.list_entries()[0]
    assert (entry.action, entry.actor, entry.subject) == ("sync", "command line", "cherryin, groq, openai")


def test_the_authoritative_sources_are_passed_over_unless_they_are_named(sync: Shell) -> None:
    done = sync("all", "--json", "--dry-run")
    data = json.loads(done.stdout)
    assert data["skipped"] == ["openrouter", "aihubmix"]
    assert data["providers_processed"] == len(SYNCABLE) - 2
    assert "Skipping: openrouter, aihubmix (authoritative sources)\n" in sync("all", "--dry-run").stdout
    named_one = json.loads(sync("all", "--json", "--providers", "openrouter").stdout)
    assert (named_one["skipped"], named_one["successful"]) == ([], 1)


def test_a_provider_with_a_key_that_fails_is_exit_code_1_and_one_without_is_not(
    sync: Shell, simulator: Simulator
) -> None:
    assert sync("all", "--providers", "openai", "anthropic").exit_code == 0
    simulator.set_fault("openai", "error_500")
    done = sync("all", "--providers", "openai", "anthropic", "--json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert [error["provider"] for error in data["errors"]] == ["anthropic", "openai"]
    assert data["api_keys"]["anthropic"] == {"variable": "ANTHROPIC_API_KEY", "key": "missing"}


@both_databases
def test_a_dry_run_makes_a_plan_that_can_be_applied_from_the_shell(sync: Shell, simulator: Simulator) -> None:
    done = sync("all", "--providers", "openai", "--dry-run", "--verbose")
    assert done.exit_code == 0 and count(RunRow) == count(ModelRow) == 0
    assert "    new: gpt-99-nobody-knows: new for this key\n" in done.stdout
    (plan,) = plans.list_newest()[0]
    assert f"`flask sync apply {plan.id}` writes exactly this." in done.stdout
    (listed,) = [json.loads(line) for line in sync("plans", "--json").stdout.splitlines()]
    assert (listed["id"], listed["state"], listed["new"], listed["by"]) == (plan.id, "ready", 1, "command line")
    request_count = len(simulator.requests("openai"))
    applied = json.loads(sync("apply", str(plan.id), "--json").stdout)
    assert (applied["state"], applied["total_models_synced"], applied["new_models"]) == ("done", 3, 1)
    assert len(simulator.requests("openai")) == request_count
    again = sync("apply", str(plan.id))
    assert again.exit_code == 1 and "This plan was applied already" in again.stderr
    assert sync("apply", "999").stderr == "Error: There is no plan 999.\n"


def test_verbose_names_the_changes_and_a_list_that_stayed_says_so(sync: Shell) -> None:
    told = sync("all", "--providers", "openai", "-v").stdout
    assert "    new: gpt-99-nobody-knows: new for this key\n" in told
    again = sync("all", "--providers", "openai", "-v").stdout
    assert "    ✓ Fetched 3 models\n\n" in again and "  - Overrides generated: 0\n" in again


def test_what_cannot_be_synced_is_a_sentence(sync: Shell) -> None:
    assert "There is no provider nobody to sync" in sync("all", "--providers", "nobody").stderr
    assert "There is no provider ollama to sync" in sync("all", "--providers", "openai", "ollama").stderr
    credentials.providers_by_slug()["groq"].is_active = False
    db.session.commit()
    assert "`flask providers set groq --enable`" in sync("all", "--providers", "groq").stderr
    assert "requires an argument" in sync("all", "--providers").stderr
    server_keys.start(["openai"], "cli", clock.utc_now())
    db.session.commit()
    busy = sync("all", "--providers", "openai")
    assert busy.exit_code == 1 and "is under way already" in busy.stderr
