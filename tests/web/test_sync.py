"""Sync Now on the page: started, watched, lost and found, with and without htmx."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, periodic, pubsub, queues, tasks
from app.store import runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import ResultRow, RunRow
from app.sync import run as sync_run
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.conftest import Person, both_databases
from tests.sync.test_run import named
from tests.web.text_browser import unsigned, words
from tests.web.worker import no_redis, now, work_off, worker_present

HTMX = {"HX-Request": "true"}


def latest(person: Person) -> run_queries.RunView:
    db.session.rollback()
    run = run_queries.load_latest_run(person.id)
    assert run is not None
    return run


def run_count() -> int:
    return db.session.scalar(select(func.count(RunRow.id))) or 0


def synced(person: Person, app: Flask, vault: Keyring) -> run_queries.RunView:
    """Press the button, let a worker do it."""
    person.post("/sync", htmx=True)
    work_off(app, vault)
    return latest(person)


def test_the_button_answers_with_the_status_and_queues_one_run(app: Flask, alice: Person, vault: Keyring) -> None:
    alice.add_key("openai")
    alice.sign_in()
    alice.post("/profile/settings")
    work_off(app, vault)
    before = run_count()
    with worker_present(app):
        answer = alice.post("/sync", htmx=True)
        again = alice.post("/sync", htmx=True)
    assert answer.status_code == again.status_code == 200
    assert answer.text.lstrip().startswith('<section id="sync-status"')
    assert 'hx-sse:connect="/sync/stream' in answer.text
    assert "Waiting for a worker" in answer.text and "notice" not in answer.text
    assert run_count() == before + 1
    assert unsigned(answer.text) == unsigned(again.text)


@both_databases
def test_without_htmx_the_button_leads_back_to_the_page_with_the_status(
    app: Flask, alice: Person, vault: Keyring
) -> None:
    alice.add_key("openai")
    alice.sign_in()
    answer = alice.post("/sync")
    assert (answer.status_code, answer.location) == (303, "/profile#sync-status")
    work_off(app, vault)
    run = latest(alice)
    assert (run.state, [result.outcome for result in run.results]) == ("done", ["complete"])
    assert "OpenAI" in words(alice.client.get("/profile").text)


@both_databases
def test_without_a_key_the_button_says_so_in_either_way(alice: Person) -> None:
    alice.sign_in()
    message = "There is no active API key to sync. Add one below first."
    answer = alice.post("/sync", htmx=True)
    assert answer.status_code == 200 and message in words(answer.text)
    assert alice.post("/sync").status_code == 303
    assert message in words(alice.client.get("/profile").text)
    assert run_count() == 0


def test_one_providers_button_syncs_that_provider_only(app: Flask, alice: Person, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.add_key("groq")
    alice.sign_in().post("/sync", htmx=True, provider="groq")
    work_off(app, vault)
    assert [result.provider for result in latest(alice).results] == ["groq"]


def test_without_a_worker_it_is_said_at_once_and_the_run_is_kept(app: Flask, alice: Person, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    answer = alice.sign_in().post("/sync", htmx=True)
    assert enqueue.NO_WORKER in words(answer.text)
    assert enqueue.NO_WORKER in words(alice.client.get("/profile").text)
    assert enqueue.NO_WORKER in words(alice.client.get("/sync/status", headers=HTMX).text)
    with worker_present(app):
        assert enqueue.NO_WORKER not in words(alice.client.get("/sync/status", headers=HTMX).text)
    work_off(app, vault)
    assert latest(alice).state == "done"


@both_databases
def test_without_redis_it_is_said_at_once_and_the_run_starts_when_it_is_back(
    app: Flask, alice: Person, vault: Keyring
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    with no_redis(app):
        answer = alice.post("/sync", htmx=True)
        assert answer.status_code == 200
        assert enqueue.NO_REDIS in words(answer.text)
        assert enqueue.NO_REDIS in words(alice.client.get("/profile").text)
    run = latest(alice)
    assert run.state == "queued"
    assert work_off(app, vault) == 0
    periodic.housekeeping()
    assert work_off(app, vault) == 0  # so young a run may still come by itself
    db.session.execute(update(RunRow).values(created_at=now() - timedelta(minutes=1)))
    db.session.commit()
    periodic.housekeeping()
    periodic.housekeeping()
    assert work_off(app, vault) == 1
    assert (latest(alice).id, latest(alice).state) == (run.id, "done")


def test_a_page_that_shows_the_present_state_is_told_nothing(alice: Person, means: SyncContext) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in().post("/sync", htmx=True)
    run = latest(alice)
    same = alice.client.get("/sync/status", query_string={"revision": f"{run.revision}.waits"}, headers=HTMX)
    assert (same.status_code, same.text) == (204, "")
    old = alice.client.get("/sync/status?revision=of-another-time", headers=HTMX)
    assert old.status_code == 200 and 'hx-sse:connect="/sync/stream' in old.text
    sync_run.execute(run.id, means)
    done = alice.client.get("/sync/status", query_string={"revision": f"{run.revision}.waits"}, headers=HTMX)
    assert done.status_code == 200 and "hx-sse" not in done.text and "Sync Now" in done.text


def test_where_the_stream_cannot_be_had_the_status_polls_and_stops(alice: Person, means: SyncContext) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in().post("/sync", htmx=True)
    polling = alice.client.get("/sync/status?poll=", headers=HTMX).text
    assert 'hx-get="/sync/status?poll=' in polling and "every 2s" in polling and "hx-sse" not in polling
    sync_run.execute(latest(alice).id, means)
    assert "hx-trigger" not in status_of(alice.client.get("/sync/status?poll=", headers=HTMX).text)


def test_beyond_the_cap_of_streams_the_answer_polls(app: Flask, alice: Person) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in().post("/sync", htmx=True)
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], max_streams=0)
    answer = alice.client.get("/sync/stream")
    assert answer.mimetype == "text/html"
    assert 'hx-get="/sync/status?poll=' in answer.text


@both_databases
def test_the_stream_tells_each_row_as_it_turns_and_ends_with_the_whole(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator, until: Any
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.add_key("groq", "sk-this-key-was-revoked-1234")
    simulator.set_fault("openai", "hang")
    alice.sign_in().post("/sync", htmx=True)
    run_id = latest(alice).id
    heard: list[str] = []

    def listen() -> None:
        # A stream reads its request's context to the end: it is heard where it was asked for.
        client = FlaskClient(app, app.response_class, use_cookies=True)
        client._cookies = alice.client._cookies
        answer = client.get("/sync/stream")
        assert answer.mimetype == "text/event-stream"
        for piece in answer.iter_encoded():
            heard.append(piece.decode())

    def perform() -> None:
        with app.app_context():
            sync_run.execute(run_id, dataclasses.replace(means, on_progress=pubsub.publish_run_changed))

    listener = threading.Thread(target=listen)
    with worker_present(app):
        listener.start()
        until(lambda: heard)
        assert 'data-state="waiting"' in heard[0]
        worker = threading.Thread(target=perform)
        worker.start()
        until(lambda: any("key revoked" in piece for piece in heard))
    assert not any("event: done" in piece for piece in heard)
    simulator.clear_fault("openai")
    for thread in (listener, worker):
        thread.join(20)
        assert not thread.is_alive()
    rows = [piece for piece in heard if "hx-partial" in piece]
    assert any('data-state="fetching"' in piece for piece in rows)
    assert any('data-state="failed"' in piece and 'data-state="complete"' not in piece for piece in rows)
    assert heard[-1] == "event: done\ndata: \n\n"
    assert 'data: <section id="sync-status"' in heard[-2]
    assert "Groq says the key is revoked." in words(heard[-2])
    assert "hx-sse" not in heard[-2]
    for piece in heard:
        assert piece.endswith("\n\n")
        assert all(line.startswith(("data: ", "event: ", ": ")) for line in piece.rstrip("\n").split("\n"))


def test_a_stream_after_the_end_is_the_plain_status(alice: Person, app: Flask, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    synced(alice, app, vault)
    answer = alice.client.get("/sync/stream")
    assert answer.mimetype == "text/html" and "hx-sse" not in answer.text
    assert "hx-trigger" not in status_of(answer.text)


def status_of(html: str) -> str:
    """Without what comes beside it."""
    return html[html.index('<section id="sync-status"') : html.index("</section>")]


@both_databases
def test_whoever_looks_closes_a_lost_run(alice: Person) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    for path in ("/sync/status", "/sync/stream", "/profile"):
        started = runs.start(alice.id, "manual", now())
        assert started
        long_ago = now() - timedelta(minutes=5)
        assert runs.claim([started.run.id], long_ago, sync_run.LEASE)
        db.session.commit()
        answer = alice.client.get(path, headers=HTMX)
        assert "The worker that ran this sync stopped before it came to this key." in words(answer.text), path
        assert "Sync Now" in words(answer.text)
        assert latest(alice).state == "lost"


def test_the_summary_says_what_came_of_it_and_links_to_the_changes(
    app: Flask, alice: Person, vault: Keyring, simulator: Simulator
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.add_key("groq")
    simulator.set_models("openai", named("gpt-4o", "o3"))
    alice.sign_in()
    synced(alice, app, vault)
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "gpt-99-nobody-knows"))
    simulator.set_fault("groq", "revoked")
    synced(alice, app, vault)
    page = alice.client.get("/profile").text
    assert "2 new models, 1 removed. Groq says the key is revoked." in words(page)
    assert 'href="/changes">See the changes' in page


def test_the_banner_recommends_a_sync_after_thirty_days(alice: Person, app: Flask, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.sign_in()
    assert "Sync recommended" not in words(alice.client.get("/profile").text)
    alice.add_key("openai")
    assert "Your keys have had no complete sync yet." in words(alice.client.get("/profile").text)
    # The banner is part of the status, which a started sync replaces.
    assert "Sync recommended" in words(alice.client.get("/sync/status", headers=HTMX).text)
    started = alice.post("/sync", htmx=True)
    assert started.text.lstrip().startswith('<section id="sync-status"') and "Sync recommended" not in started.text
    assert "Sync recommended" not in words(alice.client.get("/profile").text)
    synced(alice, app, vault)
    assert "Sync recommended" not in words(alice.client.get("/profile").text)
    db.session.execute(update(RunRow).values(ended_at=now() - timedelta(days=30, hours=1)))
    db.session.commit()
    assert "Your last complete sync is over 30 days old." in words(alice.client.get("/profile").text)


def test_a_job_that_comes_late_or_twice_does_no_harm(app: Flask, alice: Person, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    run = synced(alice, app, vault)
    results = db.session.scalar(select(func.count(ResultRow.id)))
    enqueue.enqueue_run(run.id)
    enqueue.enqueue_run(10**9)
    work_off(app, vault)
    assert latest(alice) == run
    assert db.session.scalar(select(func.count(ResultRow.id))) == results


def test_a_person_who_presses_the_button_does_not_wait_behind_the_cron(app: Flask, alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        person.row.sync_on_sign_in = False
        person.add_key("openai")
    run_ids = runs.start_many([alice.id, bob.id], "cron", now())
    db.session.commit()
    tasks.push_runs(run_ids)
    interactive, *_, bulk = queues.open_queues()
    assert (interactive.count, bulk.count) == (0, 1)
    bob.sign_in().post("/sync", htmx=True)
    mine = latest(bob).id
    assert (interactive.job_ids, bulk.job_ids) == ([f"run-{mine}"], ["run-" + "_".join(map(str, run_ids))])
    bob.post("/sync", htmx=True)
    assert interactive.job_ids == [f"run-{mine}"], "pressed twice it is queued once"
