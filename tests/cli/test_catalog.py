"""`flask catalog`: its commands, and failures as one sentence with a remedy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from app.catalog.sources import SOURCES
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import catalog
from app.store.schema.catalog_tables import DecisionRow
from tests.cli.shell import Run, read_output, run
from tests.conftest import both_databases

__all__ = ["run"]  # a fixture
DEMO = "anthropic/claude-demo-1"


def objects(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@both_databases
def test_all_sources_are_refreshed_with_a_line_each(run: Run) -> None:
    told = read_output(run("catalog", "refresh"))
    for source in SOURCES.values():
        assert f"{source.title}: updated, " in told
    assert f"added {DEMO}" in told
    assert "changed openai/gpt-4o: released on unknown → 2024-05-13" in told
    assert (
        read_output(run("catalog", "refresh", "litellm"))
        == "LiteLLM: unchanged, 2 entries; canonical models: nothing new."
    )


def test_one_that_fails_does_not_hold_up_the_others_but_is_told(run: Run, simulator: Simulator) -> None:
    simulator.catalogs.statuses["modelsdev"] = 503
    simulator.catalogs.bodies["litellm"] = b"<html>"
    told = read_output(run("catalog", "refresh"), 1)
    assert "models.dev: FAILED. models.dev " in told
    assert "LiteLLM: REFUSED. LiteLLM answered with a web page" in told
    assert "OpenRouter: updated" in told and "AIHubMix: updated" in told


def test_a_shrunk_source_is_taken_when_told_to(run: Run, simulator: Simulator) -> None:
    run("catalog", "refresh", "litellm")
    simulator.catalogs.bodies["litellm"] = b'{"gpt-4o": {"litellm_provider": "openai"}}'
    assert "`flask catalog refresh litellm --accept-shrunk`" in read_output(run("catalog", "refresh", "litellm"), 1)
    assert "LiteLLM: updated, 1 entry" in read_output(run("catalog", "refresh", "litellm", "--accept-shrunk"))


def test_an_authoritative_source_is_imported_by_its_name(run: Run) -> None:
    assert "OpenRouter: updated, 2 entries; canonical models: 1 added" in read_output(
        run("catalog", "import", "openrouter")
    )
    assert "'litellm' is not one of" in read_output(run("catalog", "import", "litellm"), 2)


def test_the_status_names_every_source_with_what_went_wrong(run: Run, simulator: Simulator) -> None:
    run("catalog", "refresh", "modelsdev")
    simulator.catalogs.statuses["modelsdev"] = 500
    run("catalog", "refresh", "modelsdev")
    (status,) = objects(run("catalog", "status", "--json"))
    assert status["in_force"]["version"] == catalog.version_number()
    by_name = {line["source"]: line for line in status["sources"]}
    assert list(by_name) == list(SOURCES)
    assert by_name["modelsdev"]["models"] == 4 and by_name["modelsdev"]["last_good"]
    assert "models.dev is having problems" in by_name["modelsdev"]["error"]
    assert by_name["litellm"]["asked"] is None
    told = read_output(run("catalog", "status"))
    assert f"Version {catalog.version_number()} is in force since" in told and "aihubmix" in told


def test_a_model_is_shown_with_who_says_what_and_when(run: Run, app: Flask) -> None:
    decision = {"value": 99_000}
    at = datetime(2026, 11, 20, tzinfo=UTC)
    db.session.add(DecisionRow(kind="field", subject="openai/gpt-4o#context_length", value=decision, decided_at=at))
    db.session.commit()
    run("catalog", "refresh", "modelsdev")
    (shown,) = objects(run("catalog", "show", "openai/gpt-4o", "--json"))
    today = datetime.now(UTC).date().isoformat()
    assert shown["facts"]["context_length"] == {
        "value": 99_000,
        "source": "a person's decision",
        "date": "2026-11-20",
    }
    assert shown["facts"]["input_per_million"] == {"value": "2.5", "source": "models.dev", "date": today}
    assert shown["served"]["openai"]
    told = read_output(run("catalog", "show", "openai/gpt-4o"))
    assert "input price, USD per million tokens 2.5 models.dev" in told and "served by:" in told


def test_a_model_nobody_knows_is_told_with_the_nearest(run: Run) -> None:
    told = read_output(run("catalog", "show", "openai/gpt-4o-mini-zebra"), 1)
    assert "The catalog has no model openai/gpt-4o-mini-zebra." in told and "Canonical ids read `lab/model`." in told


def test_ids_are_matched_with_the_rule(run: Run) -> None:
    told = objects(run("catalog", "match", "openrouter", "openai/gpt-4o:nitro", "no-such-model-9000", "--json"))
    assert told[0] == {
        "provider": "openrouter",
        "model_id": "openai/gpt-4o:nitro",
        "canonical_id": "openai/gpt-4o",
        "rule": "variant",
        "variant": "nitro",
        "snapshot": "",
    }
    assert (told[1]["canonical_id"], told[1]["rule"]) == (None, "unknown")
    assert "openai/gpt-4o" in read_output(run("catalog", "match", "openai", "gpt-4o"))


def test_json_lines_are_matched_one_by_one_and_keep_what_else_they_hold(run: Run) -> None:
    lines = ['{"provider": "openai", "model_id": "gpt-4o", "note": [1]}', "", '{"provider": "x", "model_id": "y"}']
    told = objects(run("catalog", "match", "--json", typed="\n".join(lines)))
    assert [line["canonical_id"] for line in told] == ["openai/gpt-4o", None]
    assert told[0]["note"] == [1]


@pytest.mark.parametrize("bad", ["{", "[]", '{"provider": "openai"}', '{"provider": 1, "model_id": "x"}', "[" * 9_999])
def test_a_bad_line_is_named_by_its_number(run: Run, bad: str) -> None:
    good = '{"provider": "openai", "model_id": "gpt-4o"}'
    result = run("catalog", "match", "--json", typed=f"{good}\n{bad}\n")
    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[0])["canonical_id"] == "openai/gpt-4o"
    assert "Line 2 is not an object" in result.stderr


def test_what_is_missing_is_asked_for(run: Run) -> None:
    assert "Name a provider and its ids" in read_output(run("catalog", "match"), 2)
    assert "Name at least one id of openai." in read_output(run("catalog", "match", "openai"), 2)
    assert "is not one of" in read_output(run("catalog", "refresh", "somewhere"), 2)


def test_a_model_with_price_tiers_is_shown_as_json(run: Run) -> None:
    (line,) = run("catalog", "show", "openai/gpt-5.5", "--json").output.splitlines()
    assert '"above_tokens": 272000' in line
