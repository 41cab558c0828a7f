"""The Test button of the admin's providers page: asked once, told in words, nothing recorded, never a key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app import clock
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import provider_test, queues
from app.store.schema.catalog_tables import AuditRow
from app.store.schema.tables import ListingRow, ResultRow, RunRow
from app.sync.provider_test import ProviderTestResult
from app.vault import Keyring
from tests.conftest import Person, both_databases
from tests.sync.test_run import named
from tests.web.text_browser import words
from tests.web.worker import no_redis, work_off, worker_present

HTMX = {"HX-Request": "true"}
PATH = "/admin/providers/openai/test"
KEY = "sk-of-the-server-0123456789"


@pytest.fixture
def admin(carol: Person) -> Person:
    carol.row.sync_on_sign_in = False
    db.session.commit()
    return carol.sign_in()


def pressed(app: Flask, admin: Person, vault: Keyring, slug: str = "openai") -> str:
    """Press the button, let a worker do it, look at the piece."""
    path = f"/admin/providers/{slug}/test"
    with worker_present(app):
        first = admin.post(path, htmx=True)
    assert first.status_code == 200 and "asking" in words(first.text) and f'hx-get="{path}"' in first.text
    work_off(app, vault)
    piece = admin.client.get(path, headers=HTMX).text
    assert "every 1s" not in piece, "it is over"
    return words(piece)


def rows() -> list[int | None]:
    db.session.rollback()
    return [db.session.scalar(select(func.count()).select_from(table)) for table in (RunRow, ResultRow, ListingRow)]


@both_databases
def test_it_says_what_the_server_s_key_can_list_and_records_nothing(
    app: Flask, admin: Person, vault: Keyring, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    simulator.set_models("openai", named("gpt-4o", "gpt-4o-mini", "text-embedding-3-small"))
    before = rows()
    answer = pressed(app, admin, vault)
    assert "answers 3 models, 2 of them chat" in answer and "with the server's key, just now" in answer
    assert rows() == before
    assert len(simulator.requests("openai")) == 1
    page = admin.client.get("/admin/providers").text
    assert "answers 3 models" in words(page) and KEY not in page and KEY[-4:] not in page
    assert "A test with the server's own key, if it has one: OpenAI" in words(
        admin.client.get("/admin/catalog/audit").text
    )
    entry = db.session.scalars(select(AuditRow)).one()
    assert (entry.actor, entry.action, entry.subject, entry.after) == (
        "carol@example.com",
        "test",
        "openai",
        {"test": "asked"},
    )


def test_a_public_list_is_asked_without_a_key(app: Flask, admin: Person, vault: Keyring) -> None:
    assert "without a key" in pressed(app, admin, vault, "openrouter")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("unauthorized", "failed OpenAI rejected this key (401)."),
        ("unavailable_503", "failed OpenAI is overloaded (503). Try again later."),
        ("html", "failed OpenAI answered with a web page instead of a list of models."),
    ],
)
def test_a_failure_is_a_sentence_with_what_to_do(
    app: Flask,
    admin: Person,
    vault: Keyring,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    sentence: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    simulator.set_fault("openai", fault)
    answer = pressed(app, admin, vault)
    assert sentence in answer and "Your last list" not in answer
    assert len(simulator.requests("openai")) == 1, "one try"


def test_without_a_key_it_says_which_variable_is_not_set(app: Flask, admin: Person, vault: Keyring) -> None:
    answer = pressed(app, admin, vault)
    assert "API key not configured: OPENAI_API_KEY is not set" in answer and "without a key" in answer


def test_what_has_no_address_of_its_own_cannot_be_tested(admin: Person) -> None:
    page = admin.client.get("/admin/providers").text
    assert "/admin/providers/ollama/test" not in page and "each key has a server of its own" in words(page)
    assert admin.post("/admin/providers/ollama/test").status_code == 404
    assert admin.post("/admin/providers/nobody/test").status_code == 404
    assert admin.client.get("/admin/providers/nobody/test", headers=HTMX).status_code == 404


def test_without_a_worker_or_redis_it_says_so(app: Flask, admin: Person) -> None:
    text = admin.post(PATH, htmx=True).text
    assert "No worker is running, so nobody asks the provider" in words(text) and "every 1s" not in text
    with no_redis(app):
        assert "Redis) cannot be reached, so the provider was not asked" in words(admin.post(PATH, htmx=True).text)
        assert admin.client.get("/admin/providers").status_code == 200


def test_without_htmx_the_page_tells(app: Flask, admin: Person, vault: Keyring) -> None:
    answer = admin.post(PATH)
    assert answer.location == admin.client.get(PATH).location == "/admin/providers#provider-test-openai"
    assert 'id="provider-test-openai"' in admin.client.get("/admin/providers").text


def test_a_test_that_nobody_answers_is_given_up(app: Flask, admin: Person) -> None:
    provider_test.start("openai", clock.utc_now() - timedelta(minutes=3))
    piece = admin.client.get(PATH, headers=HTMX).text
    assert "No worker came back to it" in words(piece) and "every 1s" not in piece


def test_a_stored_result_of_another_version_is_ignored(app: Flask) -> None:
    queues.redis_connection().set("modelsync:trial:openai", b'{"of": "another"}')
    provider_test.finish("groq", clock.utc_now(), ProviderTestResult(0.1, False))
    found = provider_test.load_all(["openai", "groq", "xai"])
    assert found["openai"] is None and found["xai"] is None and found["groq"] is not None
