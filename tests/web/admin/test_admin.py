"""The admin's pages as Carol uses them: what they show, what they change, and what they never tell."""

from __future__ import annotations

import contextvars
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from rq import Queue
from sqlalchemy import func, select, update

from app.extensions import db
from app.jobs import enqueue, monitoring, periodic, queues, tasks
from app.jobs.registry import JOBS
from app.store import audit, credentials
from app.store.accounts import users
from app.store.accounts.sessions import SessionRow
from app.store.queries import admin
from app.store.schema.tables import CredentialRow, ResultRow, RunRow, TallyRow, UserRow
from app.sync.run import SyncContext
from app.vault import Keyring
from app.web.admin import workers
from app.web.app import charts
from tests.conftest import PASSWORD, Person, both_databases
from tests.store.queries.test_runs import counted, many_runs
from tests.sync.test_run import synced
from tests.web.text_browser import Plainly, read, words
from tests.web.worker import no_redis, work_off, worker_present

PAGES = ("/admin", "/admin/history", "/admin/providers", "/admin/users", "/admin/workers")
SECRET = "sk-CaNaRy-of-somebody-8841"


@pytest.fixture
def house(carol: Person) -> Person:
    return carol.sign_in()


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    with worker_present(app):
        yield


def page(person: Person, path: str) -> str:
    answer = person.client.get(path, buffered=True)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


@both_databases
def test_every_page_takes_its_queries_at_no_run_at_one_and_at_a_thousand(
    app: Flask, carol: Person, alice: Person, means: SyncContext
) -> None:
    carol.sign_in()
    queries: dict[str, list[int]] = {}
    for step in ("none", "one", "many", "counted"):
        if step == "one":
            alice.add_key("openai")
            synced(alice, means)
        elif step == "many":
            many_runs(alice, 1_000)
        elif step == "counted":
            days = {row.id: row for row in db.session.scalars(select(ResultRow))}
            for number, row in enumerate(days.values()):
                row.ended_at = datetime.now(UTC) - timedelta(days=number % 28)
            admin.aggregate_days(datetime.now(UTC))
            db.session.commit()
        for path in (*PAGES, f"/admin/users/{alice.id}"):
            page(carol, path)
            with counted() as sent:
                page(carol, path)
            queries.setdefault(path, []).append(len(sent))
    assert all(len(set(counts)) == 1 for counts in queries.values()), queries
    assert max(counts[0] for counts in queries.values()) <= 10, queries


# ------------------------------------------------------------------ overview


@both_databases
def test_the_overview_shows_runs_keys_and_catalog(
    house: Person, alice: Person, means: SyncContext, worker: None
) -> None:
    good, bad = alice.add_key("openai"), alice.add_key("groq", "sk-revoked-key-of-alice-000000001")
    synced(alice, means)
    db.session.execute(
        update(CredentialRow)
        .where(CredentialRow.id == bad.id)
        .values(outcome="failed", error_code="key_rejected", error_message="It <refuses> this key.", is_active=True)
    )
    db.session.execute(update(RunRow).values(ended_at=datetime.now(UTC)))
    db.session.execute(update(ResultRow).values(ended_at=datetime.now(UTC)))
    db.session.commit()
    html = page(house, "/admin")
    text = words(html)
    assert "2 users" in text and "2 API keys" in text and "1 key fails" in text and "1 worker" in text
    assert "1 sync, 2 results" in text
    assert "It <refuses> this key." in text and "<refuses>" not in html
    assert "alice@example.com" in text and "canonical models" in text
    assert good.key_hint not in html and bad.key_hint not in html


def test_charts_can_be_read_without_seeing_and_hold_no_style(house: Person, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    db.session.execute(update(ResultRow).values(ended_at=datetime.now(UTC)))
    db.session.commit()
    html = page(house, "/admin")
    drawings = html.count("<svg") - html.count('<svg class="icon')
    assert drawings == 3 + 1 + 1  # three periods, the days, one provider
    assert html.count('role="img"') == html.count("<desc id=") == drawings
    assert " style=" not in html and "<script>" not in html and "<style" not in html
    assert html.count("<details") == 3  # the table behind each kind
    ids = [part.split('"')[0] for part in html.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def test_a_chart_is_as_high_as_its_numbers() -> None:
    columns = [
        charts.Column("1 Nov", {"complete": 3, "failed": 1}),
        charts.Column("2 Nov", {}),
        charts.Column("<3>", {"failed": 2}),
    ]
    chart = charts.Chart("c", "A & B", "d", ("complete", "failed"), columns)
    drawn = str(charts.draw_bars(chart))
    assert 'viewBox="0 0 34 100"' in drawn and "A &amp; B" in drawn
    assert 'class="in-complete" x="0.00" y="25.00" width="10.00" height="75.00"' in drawn
    assert 'class="in-failed" x="0.00" y="0.00" width="10.00" height="25.00"' in drawn
    assert 'class="in-failed" x="24.00" y="50.00" width="10.00" height="50.00"' in drawn
    assert "1 Nov: 3 complete, 1 failed" in drawn and "&lt;3&gt;" in drawn and "2 Nov" not in drawn
    assert 'y="0.00" width="10.00" height="100.00"' in str(charts.draw_bars(chart, share=True))
    assert 'x="75.00" y="0.00" width="25.00"' in str(charts.draw_strip(chart))


def test_without_redis_the_pages_say_so_in_a_sentence(app: Flask, house: Person) -> None:
    with no_redis(app):
        for path in ("/admin", "/admin/workers"):
            assert "Redis) cannot be reached" in words(page(house, path))
        for act in ("requeue", "delete"):
            answer = house.post(f"/admin/workers/failed/{act}", job="run-1")
            assert answer.status_code == 303
    assert audit.list_entries()[0] == ()


# ------------------------------------------------------------------ history and its export


@both_databases
def test_the_export_has_exactly_the_filtered_runs(house: Person, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    first = synced(alice, means)
    many_runs(alice, 450)
    db.session.execute(update(RunRow).where(RunRow.id == first.id).values(state="lost", trigger="api"))
    db.session.commit()
    for query, count in (
        ("", 451),
        ("?until=9999-12-31&since=0001-01-01&outcome=x", 451),
        ("?state=lost", 1),
        ("?state=done&trigger=cron", 450),
        ("?user=nobody", 0),
    ):
        table = list(csv.DictReader(io.StringIO(page(house, f"/admin/history.csv{query}"))))
        parsed = json.loads(page(house, f"/admin/history.json{query}"))
        assert len(table) == len(parsed) == count, query
        assert [int(line["id"]) for line in table] == [run["id"] for run in parsed]
        assert sorted({run["id"] for run in parsed}, reverse=True) == [run["id"] for run in parsed]
    answer = house.client.get("/admin/history.csv?state=lost", buffered=True)
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=modelsync-")
    assert answer.mimetype == "text/csv" and answer.headers["Cache-Control"] == "no-store"
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert (line["user"], line["state"], line["trigger"], line["complete"]) == ("alice@example.com", "lost", "api", "1")
    assert line["results"].startswith("openai: complete")
    assert "state=lost" in page(house, "/admin/history?state=lost").split("history.csv")[1][:40]


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_export_is_a_formula(house: Person, alice: Person, means: SyncContext, beginning: str) -> None:
    alice.add_key("openai")
    synced(alice, means)
    db.session.execute(update(UserRow).where(UserRow.id == alice.id).values(email=f"{beginning}cmd|' /C calc'!A0"))
    db.session.execute(update(ResultRow).values(label=f"{beginning}HYPERLINK(1)"))
    db.session.commit()
    text = page(house, "/admin/history.csv")
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert line["user"] == f"'{beginning}cmd|' /C calc'!A0"
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in line.values())
    assert json.loads(page(house, "/admin/history.json"))[0]["user"].startswith(beginning)  # JSON runs nothing


def test_the_export_is_written_while_it_is_read(app: Flask, house: Person, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    many_runs(alice, 450)

    def begin() -> None:
        answer = FlaskClient.open(house.client, "/admin/history.json", buffered=False)
        assert next(iter(answer.iter_encoded())).startswith(b"[\n{")
        assert answer.content_length is None
        answer.close()

    with counted() as sent:
        contextvars.Context().run(begin)
    assert len(sent) == 2  # who asks, and the first batch of runs with its results: nothing of the other 251


# ------------------------------------------------------------------ requests of a result


def test_a_result_shows_its_requests(house: Person, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    run = synced(alice, means)
    trace = [[0, 503, 0, 120, "unavailable"], [1400, 0, 0, 2000, "timed_out"], [4000, 200, 1_234_567, 300, ""]]
    db.session.execute(update(ResultRow).values(requests=trace, listing_id=None))
    db.session.commit()
    path = f"/history/{run.id}/results/{run.results[0].id}"
    html = page(house, path)
    text = words(html)
    assert "3 requests" in text and "timed out" in text and "1.2 MB" in text and "1.40 s" in text
    assert html.count("in-troubled") == 2 and html.count("in-read") == 1
    assert f'href="{path}"' in page(house, f"/history/{run.id}")  # though no answer was kept
    db.session.execute(update(ResultRow).values(requests=None))
    db.session.commit()
    assert "What the provider was asked" not in words(page(house, path))


# ------------------------------------------------------------------ providers


def test_the_owners_address_leads_to_the_providers(house: Person) -> None:
    answer = house.client.get("/providers")
    assert (answer.status_code, answer.location) == (303, "/admin/providers")
    html = page(house, "/admin/providers")
    assert html.count('<tr id="provider-') == len(credentials.providers_by_slug())


@both_databases
def test_a_provider_is_changed_with_and_without_htmx(house: Person) -> None:
    # Unticked: disabled.
    form = {"frequency": "weekly", "base_url": " https://groq.example.com/v1/ ", "password": PASSWORD}
    answer = house.post("/admin/providers/groq", htmx=True, **form)
    assert answer.status_code == 200 and answer.text.lstrip().startswith('<tr id="provider-groq"')
    assert "disabled" in words(answer.text) and "saved" in words(answer.text)
    db.session.expire_all()
    row = credentials.providers_by_slug()["groq"]
    assert (row.is_active, row.admin_update_frequency, row.admin_base_url) == (
        False,
        "weekly",
        "https://groq.example.com/v1",
    )
    reader = Plainly(house.client).open("/admin/providers")
    reader.submit("/admin/providers/groq", enabled="yes", frequency="", base_url="")
    assert "Saved what is set for Groq." in reader.words
    db.session.expire_all()
    row = credentials.providers_by_slug()["groq"]
    assert (row.is_active, row.admin_update_frequency, row.admin_base_url) == (True, None, None)
    assert [(line.actor, line.subject) for line in audit.list_entries()[0]] == [("carol@example.com", "groq")] * 2
    text = words(page(house, "/admin/catalog/audit"))
    assert "The settings of Groq" in text and "update frequency: the provider file's → weekly" in text
    assert 'action="/admin/catalog/audit/undo"' not in page(house, "/admin/catalog/audit")


@pytest.mark.parametrize(
    "typed", ["ftp://x.example", "https://user:pass@x.example", "https://x.example/?key=1", "x" * 600]
)
def test_a_wrong_address_is_one_sentence_and_changes_nothing(house: Person, typed: str) -> None:
    for htmx in (True, False):
        answer = house.post("/admin/providers/groq", htmx=htmx, base_url=typed, enabled="yes")
        assert answer.status_code == 422 and answer.text.count('role="alert"') == 1
        assert ("<html" in answer.text) is not htmx
    assert credentials.providers_by_slug()["groq"].admin_base_url is None and audit.list_entries()[0] == ()
    assert house.post("/admin/providers/nobody", enabled="yes").status_code == 404


def test_another_address_for_all_keys_takes_the_admins_password_and_https(
    house: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://groq.example.com/v1"

    def change(base_url: str, **more: str) -> Any:
        answer = house.post("/admin/providers/groq", htmx=True, enabled="yes", base_url=base_url, **more)
        db.session.rollback()
        db.session.expire_all()
        return answer, credentials.providers_by_slug()["groq"].admin_base_url

    for typed in ({}, {"password": "not her password"}):
        answer, kept = change(url, **typed)
        assert answer.status_code == 422 and "type your own password to set it" in words(answer.text) and kept is None
        assert f'value="{url}"' in answer.text and "not her password" not in answer.text
    answer, kept = change("http://groq.example.com/v1", password=PASSWORD)
    assert answer.status_code == 422 and "write an https:// address" in words(answer.text) and kept is None
    answer, kept = change(url, password=PASSWORD)
    assert answer.status_code == 200 and kept == url
    answer, kept = change(url, frequency="daily")  # where it stays, nobody is asked
    assert answer.status_code == 200 and kept == url
    answer, kept = change("")
    assert answer.status_code == 200 and kept is None
    monkeypatch.setattr("app.auth.passwords.verify", lambda *_: False)
    codes = [change(url, password="a guess")[0].status_code for _ in range(8)]
    assert codes[0] == 422 and codes[-1] == 429
    assert change("")[0].status_code == 200  # without a password there is nothing to guess


# ------------------------------------------------------------------ users


@both_databases
def test_a_disabled_user_is_out_at_once_and_told_why(app: Flask, house: Person, alice: Person) -> None:
    alice.sign_in()
    assert alice.client.get("/profile").status_code == 200
    reader = Plainly(house.client).open(f"/admin/users/{alice.id}")
    reader.submit(f"/admin/users/{alice.id}/disable")
    assert "alice@example.com cannot sign in any more" in reader.words
    assert alice.client.get("/profile").status_code == 303
    answer = alice.post("/login", email="alice@example.com", password=PASSWORD)
    assert answer.status_code == 422 and "This account is disabled." in words(answer.text)
    wrong = alice.post("/login", email="alice@example.com", password="not the password at all")
    assert "disabled" not in words(wrong.text)
    reader.submit(f"/admin/users/{alice.id}/enable")
    assert alice.client.get("/profile").status_code == 303  # the old session stays ended
    alice.sign_in()


@both_databases
def test_admins_are_made_and_unmade_but_never_the_last(house: Person, alice: Person) -> None:
    reader = Plainly(house.client).open(f"/admin/users/{house.id}")
    assert "last admin" in reader.words and "/demote" not in reader.html and "/delete" not in reader.html
    for act in ("demote", "disable"):
        answer = house.post(f"/admin/users/{house.id}/{act}")
        assert answer.status_code == 422 and "This is the last admin" in words(answer.text)
    reader.open(f"/admin/users/{alice.id}").submit(f"/admin/users/{alice.id}/promote", password=PASSWORD)
    alice.sign_in()
    assert alice.client.get("/admin").status_code == 200
    reader.submit(f"/admin/users/{alice.id}/demote")
    assert alice.client.get("/admin").status_code == 403


@pytest.mark.parametrize("act", ["promote", "reset-second-factor", "delete"])
def test_what_is_serious_takes_the_admins_own_password(
    house: Person, alice: Person, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that somebody else came by makes no admins, lets nobody in and deletes nothing."""
    alice.row.second_factor_at = datetime.now(UTC)
    db.session.commit()
    path = f"/admin/users/{alice.id}/{act}"

    def tried(**form: str) -> Any:
        answer = house.post(path, email=alice.row.email, **form)
        db.session.rollback()
        db.session.expire_all()
        return answer

    for form in ({}, {"password": ""}, {"password": "not the password at all"}):
        answer = tried(**form)
        assert answer.status_code == 422 and "Your own password is not right" in words(answer.text)
        assert not alice.row.is_admin and alice.row.second_factor_at is not None
    with monkeypatch.context() as guessing:
        guessing.setattr("app.auth.passwords.verify", lambda *_: False)
        assert [tried(password="a guess").status_code for _ in range(20)][-1] == 429
    house.row.password_hash = users.NO_PASSWORD  # who signs in elsewhere has to have done it just now
    db.session.commit()
    assert 'name="password"' not in page(house, f"/admin/users/{alice.id}")
    db.session.execute(update(SessionRow).values(created_at=datetime.now(UTC) - timedelta(minutes=11)))
    db.session.commit()
    assert "Sign out, sign in again" in words(tried().text)
    db.session.execute(update(SessionRow).values(created_at=datetime.now(UTC)))
    db.session.commit()
    assert tried().status_code == 303


def test_sessions_are_ended(house: Person, alice: Person) -> None:
    alice.sign_in()
    house.post(f"/admin/users/{alice.id}/sign-out")
    assert alice.client.get("/profile").status_code == 303
    alice.sign_in()


@both_databases
def test_a_user_is_deleted_with_everything_once_the_address_was_typed(
    house: Person, alice: Person, bob: Person, means: SyncContext
) -> None:
    for person in (alice, bob):
        person.add_key("openai")
        synced(person, means)
    path = f"/admin/users/{alice.id}/delete"
    assert house.post(path, email="bob@example.com", password=PASSWORD).status_code == 422
    assert house.post(path, email="", password=PASSWORD).status_code == 422
    reader = Plainly(house.client).open(f"/admin/users/{alice.id}")
    reader.submit(path, email=" Alice@example.com ", password=PASSWORD)
    assert "alice@example.com is deleted" in reader.words
    db.session.rollback()
    for table in (CredentialRow, RunRow, ResultRow):
        owners = set(db.session.scalars(select(table.user_id)))
        assert owners == {bob.id}, table
    assert users.find_by_email("alice@example.com") is None
    assert house.post(path, email="alice@example.com", password=PASSWORD).status_code == 404


def test_an_invitation_is_a_link_for_one_address(house: Person) -> None:
    answer = house.post("/admin/users/invite", email="Dora@example.com")
    assert answer.status_code == 200
    link = read(answer.text).words[read(answer.text).words.index("Dora@example.com:") + 1]
    assert link.startswith("http://localhost/signup?invite=")
    assert 'value="dora@example.com"' in house.app.test_client().get(link).text
    for email, sentence in (("nonsense", "is not an e-mail address"), ("carol@example.com", "an account with this")):
        answer = house.post("/admin/users/invite", email=email)
        assert answer.status_code == 422 and sentence in words(answer.text)
    assert [line.subject for line in audit.list_entries()[0]] == ["dora@example.com"]


def test_the_installations_own_account_can_neither_be_seen_nor_touched(house: Person) -> None:
    server = users.server_account(datetime.now(UTC))
    db.session.commit()
    assert f"/admin/users/{server.id}" not in page(house, "/admin/users")
    assert house.client.get(f"/admin/users/{server.id}").status_code == 404
    for act in ("disable", "enable", "promote", "demote", "sign-out", "delete"):
        assert house.post(f"/admin/users/{server.id}/{act}", email=server.email).status_code == 404
    assert house.post(f"/admin/users/{house.id}/anything").status_code == 404


def test_account_actions_of_admins_are_in_the_audit_log(house: Person, alice: Person) -> None:
    house.post(f"/admin/users/{alice.id}/disable")
    text = words(page(house, "/admin/catalog/audit"))
    assert "The account alice@example.com" in text and "signing in: allowed → disabled" in text


# ------------------------------------------------------------------ workers


def fail(app: Flask, vault: Keyring, monkeypatch: pytest.MonkeyPatch, run_id: int = 7) -> None:
    """A sync's job that fails with a secret in its words."""

    def broken(*_: Any) -> None:
        raise ConnectionError(f'postgresql://me:{SECRET}@host\nTypeError: {SECRET}\n  File "/x/app/{SECRET}"')

    monkeypatch.setattr(tasks.sync_run, "execute", broken)
    enqueue.enqueue_run(run_id)
    work_off(app, vault)


@pytest.mark.filterwarnings("ignore")
@both_databases
def test_a_failed_job_is_told_without_its_words_and_queued_again_or_deleted(
    app: Flask, house: Person, vault: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(app, vault, monkeypatch)
    html = page(house, "/admin/workers")
    text = words(html)
    assert SECRET not in html and "postgresql://" not in html
    assert "sync 7" in text and "A connection could not be made, or broke. (ConnectionError)" in text
    reader = Plainly(house.client).open("/admin/workers")
    reader.submit("/admin/workers/failed/requeue", {"job": "run-7"})
    assert "It is queued once more." in reader.words and "None within the last day." in reader.words
    assert [line.waiting for line in monitoring.list_queues()] == [1, 0, 0, 0]
    work_off(app, vault)
    answer = house.post("/admin/workers/failed/delete", job="run-7")
    assert answer.status_code == 303 and monitoring.list_failed_jobs() == []
    house.post("/admin/workers/failed/delete", job="run-7")
    house.post("/admin/workers/failed/requeue", job="rq:nothing")
    assert [(line.action, line.subject) for line in audit.list_entries()[0]] == [("job", "run-7")] * 2


@pytest.mark.parametrize(
    ("traceback", "cause"),
    [
        ("", ("", "")),
        ("Work-horse terminated unexpectedly; waitpid returned 9", ("", "")),
        (
            f'Traceback …\n  File "/a/app/sync/run.py", line 12, in f\n    x\nValueError: {SECRET}',
            ("ValueError", "sync.run:12"),
        ),
        (f"rq.timeouts.JobTimeoutException: {SECRET}", ("JobTimeoutException", "")),
        (f"{SECRET}\nsk_Error_{SECRET}: x", ("", "")),
        ("sqlalchemy.exc.OperationalError: (x)\n[SQL: y]\n(Background on this error)", ("OperationalError", "")),
    ],
)
def test_only_the_name_of_an_exception_and_our_own_place_are_told(traceback: str, cause: tuple[str, str]) -> None:
    assert monitoring._parse_traceback(traceback) == cause
    assert "CaNaRy" not in " ".join(monitoring._parse_traceback(traceback))


@both_databases
def test_workers_and_queues_are_shown_as_they_are(app: Flask, house: Person, redis_url: str) -> None:
    html = words(page(house, "/admin/workers"))
    assert "No worker is running" in html and "No scheduler is running" in html
    with worker_present(app):
        enqueue.enqueue_run(3)
        enqueue.enqueue_run(4, queues.NEW_KEYS)
        with redis.Redis.from_url(redis_url) as client:
            client.set(queues.SCHEDULER_KEY, "somebody", ex=70)
        text = words(page(house, "/admin/workers"))
    assert "1 worker" in text and "The scheduler went round" in text and "No scheduler" not in text
    assert "interactive 1" in text and "new-keys 1" in text and "bulk 0" in text
    assert [line.oldest_at is not None for line in monitoring.list_queues()] == [True, True, False, False]


def test_a_worker_whose_job_was_done_and_forgotten_meanwhile_is_a_worker_still(app: Flask, redis_url: str) -> None:
    with worker_present(app), redis.Redis.from_url(redis_url) as client:
        (key,) = client.smembers("rq:workers")
        client.hset(key, "current_job", "a-job-that-was-forgotten")
        (line,) = monitoring.list_workers()
    assert line.is_alive and line.job is None


def test_every_job_has_its_words() -> None:
    assert {name.rpartition(".")[2] for name in JOBS} <= set(workers.JOB_LABELS)


def test_the_scheduler_counts_the_days(app: Flask, house: Person, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    db.session.execute(update(ResultRow).values(ended_at=datetime.now(UTC) - timedelta(days=3)))
    db.session.commit()
    assert periodic.aggregate_days in {one.job for one in periodic.PERIODIC_JOBS}
    periodic.aggregate_days()
    assert db.session.scalar(select(func.sum(TallyRow.count)).where(TallyRow.slug == "openai")) == 1
    assert isinstance(queues.open_queues()[0], Queue)
