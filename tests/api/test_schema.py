"""Every response conforms to the OpenAPI document, for any request from any caller.

schemathesis generates the cases: a few hundred by default, thousands with MODELSYNC_TEST_EVERYTHING=1.
"""

from __future__ import annotations

import contextvars
import dataclasses
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

from app.api.openapi import build_document
from app.demo.simulator import Simulator
from app.extensions import db, limiter
from app.sync.run import SyncContext
from tests.api.client import create_client
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
READY = "/health/ready"
"""The only path where 503 is expected: there is no worker."""
_ADMIN_KEY = "of-tests-alone-" + "x" * 32
WHO = ("stranger", "user by token", "user by session", "admin by token", "admin key")


@dataclass
class Caller:
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    is_admin: bool = False


@pytest.fixture
def caller(
    request: pytest.FixtureRequest, app: Flask, alice: Person, carol: Person, simulator: Simulator, means: SyncContext
) -> Caller:
    """The callers; all but the stranger have two keys, two syncs and a list."""
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
    if who == "admin key":
        app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], admin_api_key=_ADMIN_KEY)
        return Caller({"Authorization": f"Bearer {_ADMIN_KEY}"}, is_admin=True)
    if who == "user by session":
        client = alice.sign_in().client
        token = alice.token("/profile")
        cookie = client.get_cookie("session")
        assert cookie is not None
        return Caller({"X-CSRFToken": token}, {"session": cookie.value})
    person = carol if who.startswith("admin") else alice
    headers = {"Authorization": f"Bearer {create_client(person, 'read', 'sync').text}"}
    return Caller(headers, is_admin=person is carol)


@pytest.mark.slow
@pytest.mark.parametrize("caller", WHO, indirect=True)
def test_every_answer_is_as_the_document_says(app: Flask, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "enabled", False)
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(build_document(app), config=config)
    schema.app = app
    parts = (schema, schema.include(tag="Administration"))
    db.session.commit()
    seen: Counter[int] = Counter()
    for_admins: set[int] = set()

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # The operators' endpoints get half of the cases; otherwise few would be left for them.
    @given(case=one_of(*(part.as_strategy(generation_mode=mode) for part in parts for mode in GenerationMode)))
    def ask(case: Any) -> None:
        # In its own context, as on a server: see conftest.Browser.
        headers = {
            **caller.headers,
            "Accept-Encoding": "identity",
        }  # schemathesis accepts codings that it cannot decode
        answer = contextvars.Context().run(case.call, headers=headers, cookies=caller.cookies)
        if not case.path.startswith("/health"):
            seen[answer.status_code] += 1
        if case.operation.tags == ["Administration"]:
            for_admins.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS[1:] if case.path == READY else CHECKS)

    ask()
    # The cases reached the views: those with access got data, the stranger none.
    assert bool(seen[200]) == bool(caller.headers)
    assert bool(for_admins & {200, 202}) == caller.is_admin
