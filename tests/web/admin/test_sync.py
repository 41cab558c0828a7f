"""The Sync button of the admin's providers page, and the pages of plans."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue
from app.store import audit, credentials, plans
from app.store.queries import runs
from app.store.schema.tables import ModelRow, RunRow
from app.vault import Keyring
from tests.conftest import Person, both_databases
from tests.sync.test_run import count, named
from tests.web.text_browser import Plainly, words
from tests.web.worker import no_redis, work_off

PATH = "/admin/providers/openai/sync"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def house(app: Flask, carol: Person, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Carol, signed in, in an installation with a key of its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-server-0a1b")
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "gpt-99-nobody-knows"))
    return carol.sign_in()


def press(person: Person, **form: str) -> Any:
    return person.post(PATH, htmx=True, **form)


@both_databases
def test_the_button_shows_progress_and_then_the_statistics(app: Flask, house: Person, vault: Keyring) -> None:
    first = press(house)
    assert first.status_code == 200
    run_id = runs.list_all_runs(runs.HistoryFilter())[0][0].id
    again = f'hx-get="{PATH}?run={run_id}"'
    assert 'id="provider-sync-openai"' in first.text and again in first.text
    assert again in house.client.get(f"{PATH}?run={run_id}", headers=HTMX).text, "still under way: it asks again"
    work_off(app, vault)
    text = house.client.get(f"{PATH}?run={run_id}", headers=HTMX).text
    assert again not in text
    assert "3 fetched, 1 new model, 2 overrides written. Sync" in words(text)
    (entry,) = audit.list_entries()[0]
    assert (entry.action, entry.actor, entry.subject) == ("sync", "carol@example.com", "openai")
    assert "A sync with the server's own keys: OpenAI" in words(house.client.get("/admin/catalog/audit").text)


@both_databases
def test_a_dry_run_leads_to_a_plan_which_is_applied_without_javascript(
    app: Flask, house: Person, vault: Keyring, simulator: Simulator
) -> None:
    browser = Plainly(house.client).open("/admin/providers").submit(PATH, dry_run="yes")
    assert "Being made" in browser.words
    work_off(app, vault)
    (plan,) = plans.list_newest()[0]
    browser.open("/admin/plans").follow(f"/admin/plans/{plan.id}")
    assert "ready to apply" in browser.words and "gpt-99-nobody-knows" in browser.words
    assert "Asked for by carol@example.com" in browser.words
    simulator.set_models("openai", named("something-else"))
    browser.submit(f"/admin/plans/{plan.id}/apply")
    work_off(app, vault)
    assert count(ModelRow) == 3
    browser.open(f"/admin/plans/{plan.id}")
    assert "applied" in browser.words and "wrote it" in browser.words
    assert f'action="/admin/plans/{plan.id}/apply"' not in browser.html
    refused = house.post(f"/admin/plans/{plan.id}/apply")
    assert refused.status_code == 409 and "This plan was applied already" in words(refused.text)
    assert house.client.get(f"{PATH}?plan={plan.id}").location == f"/admin/plans/{plan.id}"


def test_a_plan_that_went_stale_says_so_and_has_no_button(app: Flask, house: Person, vault: Keyring) -> None:
    press(house, dry_run="yes")
    work_off(app, vault)
    assert 'action="/admin/plans/1/apply"' in house.client.get("/admin/plans/1").text
    press(house)
    work_off(app, vault)
    text = house.client.get("/admin/plans/1").text
    assert "The list of OpenAI changed since this plan was made." in words(text)
    assert 'action="/admin/plans/1/apply"' not in text


def test_without_javascript_the_button_leads_to_the_run(app: Flask, house: Person) -> None:
    answer = house.post(PATH)
    (run,) = runs.list_all_runs(runs.HistoryFilter())[0]
    assert (answer.status_code, answer.location) == (303, f"/history/{run.id}")
    assert house.client.get(f"{PATH}?run={run.id}").location == f"/history/{run.id}"
    assert house.client.get(PATH).location == "/admin/providers"


def test_a_missing_key_and_a_failure_are_shown_in_the_row(app: Flask, house: Person, vault: Keyring) -> None:
    house.post("/admin/providers/groq/sync", htmx=True)
    work_off(app, vault)
    (run,) = runs.list_all_runs(runs.HistoryFilter())[0]
    text = house.client.get(f"/admin/providers/groq/sync?run={run.id}", headers=HTMX).text
    assert "API key not configured: GROQ_API_KEY is not set." in words(text)


def test_what_cannot_be_started_is_said(app: Flask, house: Person) -> None:
    assert house.post("/admin/providers/nobody/sync").status_code == 404
    assert house.post("/admin/providers/ollama/sync").status_code == 404
    assert "/admin/providers/ollama/sync" not in house.client.get("/admin/providers").text
    press(house)
    other = house.post("/admin/providers/groq/sync", htmx=True)
    assert other.status_code == 409 and "of other providers, is under way" in words(other.text)
    assert "under way" in words(house.client.get(house.post("/admin/providers/groq/sync").location).text)
    credentials.providers_by_slug()["openai"].is_active = False
    db.session.commit()
    disabled = press(house)
    assert disabled.status_code == 409 and "disabled" in words(disabled.text)
    assert PATH not in house.client.get("/admin/providers").text
    assert count(RunRow) == 1


def test_without_a_worker_or_redis_the_row_and_the_plan_say_so(app: Flask, house: Person) -> None:
    assert enqueue.NO_WORKER in words(press(house).text)
    assert enqueue.NO_WORKER in words(press(house, dry_run="yes").text)
    with no_redis(app):
        assert enqueue.NO_REDIS in words(press(house, dry_run="yes").text)
        assert enqueue.NO_REDIS in words(house.client.get("/admin/plans/1").text)
    assert house.client.get("/admin/plans/999").status_code == 404
    assert house.post("/admin/plans/999/apply").status_code == 404


def test_keys_of_the_installation_itself_are_not_counted_as_peoples(app: Flask, house: Person, vault: Keyring) -> None:
    before = words(house.client.get("/admin/providers").text).split("Groq")[0]
    enqueue.start_server_sync("api")
    db.session.commit()
    assert words(house.client.get("/admin/providers").text).split("Groq")[0] == before
