"""The limit on API keys per account."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.extensions import db
from app.store import credentials
from app.store.schema.tables import CredentialRow
from tests.conftest import Person, both_databases


@both_databases
def test_exceeding_the_key_limit_is_reported_in_the_form_and_on_the_command_line(
    app: Flask, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "MAX_KEYS", 2)
    sentence = "An account holds 2 API keys at most."
    for slug in ("openai", "groq"):
        alice.add_key(slug)
    answer = alice.sign_in().post("/keys", htmx=True, provider="mistral", key="sk-good-key-of-a-test-1234")
    assert answer.status_code == 422 and sentence in answer.text
    told = app.test_cli_runner().invoke(
        args=["keys", "add", "alice@example.com", "mistral"], input="sk-good-key-of-a-test-1234"
    )
    assert told.exit_code != 0 and sentence in told.output
    db.session.rollback()
    assert db.session.scalar(select(func.count(CredentialRow.id)).where(CredentialRow.user_id == alice.id)) == 2
    bob.add_key("openai")
