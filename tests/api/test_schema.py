"""The OpenAPI document holds: whatever is sent, by whomever, is answered as the document says.

schemathesis makes the cases of the document: a few hundred on a laptop, thousands where the environment says so.
"""

from __future__ import annotations

import contextvars
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.openapi import document_of
from app.demo.simulator import Simulator
from app.extensions import db, limiter
from app.sync.run import Means
from tests.api.calling import program
from tests.conftest import Person
from tests.sync.test_run import named, synced

CASES = 750 if os.environ.get("MODELSYNC_TEST_EVERYTHING") == "1" else 60
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
WHO = ("stranger", "user by token", "user by session", "admin by token")


@dataclass
class Caller:
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def caller(
    request: pytest.FixtureRequest, app: Flask, alice: Person, carol: Person, simulator: Simulator, means: Means
) -> Caller:
    """Who calls: everyone but the stranger has two keys, two syncs and a list."""
    who: str = request.param
    for person in (alice, carol):
        person.row.sync_on_sign_in = False
        person.add_key("openai")
        person.add_key("openrouter", None)
        simulator.set_models("openai", named("gpt-4o", "gpt-4o-mini", "text-embedding-3-small"))
        synced(person, means)
        simulator.set_models("openai", named("gpt-4o", "gpt-5"))
        synced(person, means)
    if who == "stranger":
        return Caller()
    if who == "user by session":
        client = alice.sign_in().client
        token = alice.token("/profile")
        cookie = client.get_cookie("session")
        assert cookie is not None
        return Caller({"X-CSRFToken": token}, {"session": cookie.value})
    person = carol if who.startswith("admin") else alice
    return Caller({"Authorization": f"Bearer {program(person, 'read', 'sync').text}"})


@pytest.mark.parametrize("caller", WHO, indirect=True)
def test_every_answer_is_as_the_document_says(app: Flask, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "enabled", False)
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(document_of(app), config=config)
    schema.app = app
    db.session.commit()
    seen: Counter[int] = Counter()

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=one_of(*(schema.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def ask(case: Any) -> None:
        # In a context of its own, as a server gives it: see conftest.Browser.
        headers = {**caller.headers, "Accept-Encoding": "identity"}  # it names codings that it does not undo
        answer = contextvars.Context().run(case.call, headers=headers, cookies=caller.cookies)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()
    # That the cases came through: who may see something saw something, and the stranger nothing.
    assert bool(seen[200]) == bool(caller.headers)
