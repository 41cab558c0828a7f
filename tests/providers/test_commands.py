"""`flask providers set` and `record` with what they must not take, and drift where it is easily missed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.demo.simulator import Simulator
from app.store import credentials

KEY = "sk-good-key-of-a-test-1234"


def run(app: Flask, *arguments: str) -> Any:
    return app.test_cli_runner().invoke(args=["providers", *arguments])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "ftp://proxy.example",
        "http://proxy.example",
        "https://user:password@proxy.example",
        "https://proxy.example:99999",
    ],
)
def test_what_is_no_plain_address_is_refused_and_changes_nothing(app: Flask, url: str) -> None:
    done = run(app, "set", "groq", "--disable", "--base-url", url)
    assert done.exit_code == 1
    assert (
        "https://api.groq.com" in done.output or "Leave user name" in done.output or "https:// address" in done.output
    )
    row = credentials.providers_by_slug()["groq"]
    assert (row.admin_base_url, row.is_active) == (None, True)


def test_a_key_is_not_sent_to_an_address_that_is_an_example(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_API_KEY", KEY)
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], base_urls={})
    done = run(app, "record", "azure")
    assert done.exit_code == 1
    assert "Set AZURE_BASE_URL to the address of your server first." in done.output


def test_an_answer_of_the_same_day_is_compared_before_it_is_written_over(
    app: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(app, "set", "openai", "--base-url", simulator.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    today = tmp_path / f"{datetime.now(UTC):%Y-%m-%d}.json"
    today.write_text(json.dumps({"data": [{"id": "gpt-5", "of_yesterday": True}]}))
    done = run(app, "record", "openai", "--to", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "vanished field: data[].of_yesterday" in done.output


def test_an_earlier_answer_that_is_none_is_left_alone(
    app: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(app, "set", "openai", "--base-url", simulator.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "2026-01-01.json").write_text("{")
    done = run(app, "record", "openai", "--to", str(tmp_path))
    assert done.exit_code == 1
    assert "is no saved answer: move it away first" in done.output
    assert [path.name for path in tmp_path.glob("*.json")] == ["2026-01-01.json"]
