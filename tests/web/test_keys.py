"""API keys on the profile: saved, checked, replaced, disabled, deleted, and never shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, periodic, queues, tasks
from app.store import credentials, runs
from app.store.schema.tables import CredentialRow, ResultRow, RunRow
from app.sync import run as sync_run
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring
from tests.conftest import Person, both_databases
from tests.web.text_browser import Plainly, words
from tests.web.worker import no_redis, now, work_off

KEY = "sk-a-planted-key-of-alice-7f3c"
OTHER = "sk-the-second-key-of-alice-91ab"


def stored(person: Person) -> list[CredentialRow]:
    db.session.rollback()
    db.session.expire_all()
    query = select(CredentialRow).where(CredentialRow.user_id == person.id).order_by(CredentialRow.id)
    return list(db.session.scalars(query))


def key_of(row: CredentialRow, slug: str, vault: Keyring) -> str:
    assert row.sealed_key and row.vault_version
    return vault.open(row.sealed_key, row.vault_version, credentials.seal_context(row, slug)).reveal()


def row_text(person: Person, row: CredentialRow) -> str:
    page = person.client.get("/profile").text
    return words(page[page.index(f'<li id="key-{row.id}"') :].split('<div class="key-deeds">')[0] + "</li>")


@pytest.mark.parametrize("deep", ['{"a":' * 1_599, '{"a":' + "[" * 7_990, '{"a":' + "[" * 3_990 + "]" * 3_990 + "}"])
def test_a_key_that_is_nested_without_end_is_refused_in_a_sentence(alice: Person, deep: str) -> None:
    alice.sign_in()
    answer = alice.post("/keys", htmx=True, provider="google-vertex", key=deep)
    assert answer.status_code == 422 and "is not whole" in answer.text
    assert stored(alice) == []


@pytest.fixture(params=["htmx", "plain form"])
def send(request: pytest.FixtureRequest, alice: Person) -> Callable[..., str]:
    """Send a form of the profile in either way; what the person sees then."""
    alice.sign_in()

    def by_htmx(path: str, **form: str) -> str:
        answer = alice.post(path, htmx=True, **form)
        assert answer.status_code in (200, 422), answer.text
        assert answer.text.lstrip().startswith(("<section", "<li")) and "<html" not in answer.text
        return str(answer.text)

    def by_plain_form(path: str, **form: str) -> str:
        answer = alice.post(path, htmx=False, **form)
        assert answer.status_code == 303
        assert answer.location.startswith("/profile#provider-")
        return str(alice.client.get("/profile").text)

    return by_htmx if request.param == "htmx" else by_plain_form


def test_a_key_is_added_replaced_disabled_and_deleted(alice: Person, vault: Keyring, send: Callable[..., str]) -> None:
    page = send("/keys", provider="openai", key=f"  {KEY}\n", label=" work ")
    (row,) = stored(alice)
    assert (row.label, row.key_hint, row.is_active, key_of(row, "openai", vault)) == ("work", "•••• 7f3c", True, KEY)
    assert "•••• 7f3c" in page and KEY not in page
    assert "Saved, waiting to sync" in words(page)

    page = send(f"/keys/{row.id}/label", label=" home ")
    assert [row.label for row in stored(alice)] == ["home"] and "home" in words(page)

    page = send(f"/keys/{row.id}/replace", key=OTHER)
    (row,) = stored(alice)
    assert (row.key_number, key_of(row, "openai", vault)) == (2, OTHER)
    assert "•••• 91ab" in page and OTHER not in page and "7f3c" not in page

    assert "Disabled" in words(send(f"/keys/{row.id}/active", active="no"))
    assert [row.is_active for row in stored(alice)] == [False]
    assert "Enable" not in words(send(f"/keys/{row.id}/active", active="yes"))
    assert [row.is_active for row in stored(alice)] == [True]

    assert f'id="key-{row.id}"' not in send(f"/keys/{row.id}/delete")
    assert stored(alice) == []


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "Paste the key first."),
        ("sk-12", "That is too short for a key. Copy it again from the provider's site."),
        ("x" * 8_001, "That is longer than any key (8000 characters at most). Paste the key alone."),
        ("sk-two words-1234567", "That has spaces or characters that no key has."),
        ("sk-with\nnewline-1234567", "That has spaces or characters that no key has."),
        ("sk-umlaut-ä-1234567", "That has spaces or characters that no key has."),
        ("sk-nul-\x00-1234567", "That has spaces or characters that no key has."),
    ],
)
def test_what_cannot_be_a_key_is_refused_with_a_sentence_and_not_stored(alice: Person, key: str, sentence: str) -> None:
    alice.sign_in()
    stored_key = alice.add_key("groq", KEY)
    refused = alice.post("/keys", htmx=True, provider="openai", key=key, label="mine")
    assert refused.status_code == 422
    assert sentence in words(refused.text)
    assert 'value="mine"' in refused.text and (not key or key not in refused.text)
    replaced = alice.post(f"/keys/{stored_key.id}/replace", htmx=True, key=key)
    assert replaced.status_code == 422 and sentence in words(replaced.text)
    alice.post("/keys", provider="openai", key=key)
    assert sentence in words(alice.client.get("/profile").text)
    (row,) = stored(alice)
    assert (row.id, row.key_number) == (stored_key.id, 1)


@both_databases
def test_a_label_tells_keys_apart_and_is_taken_once(alice: Person) -> None:
    alice.sign_in()
    for label, status in (("", 200), ("", 422), ("work", 200), (" work ", 422), ("x" * 60, 200), ("x" * 61, 422)):
        assert alice.post("/keys", htmx=True, provider="openai", key=KEY, label=label).status_code == status, label
    assert "without a label already" in words(alice.post("/keys", htmx=True, provider="openai", key=KEY).text)
    assert alice.post("/keys", htmx=True, provider="openai", key=KEY, label="a\x00b").status_code == 422
    assert alice.post("/keys", htmx=True, provider="groq", key=KEY, label="work").status_code == 200
    assert len(stored(alice)) == 4


@both_databases
def test_a_form_sent_twice_at_one_moment_stores_one_key(app: Flask, alice: Person) -> None:
    provider, alice_id = credentials.providers_by_slug()["openai"], alice.id
    db.session.commit()
    both = threading.Barrier(2)
    made: list[bool] = []

    def add() -> None:
        with app.app_context():
            both.wait(10)
            row = credentials.add(alice_id, provider, "twice", ApiKey(KEY), alice.public_key, now())
            made.append(row is not None)
            db.session.commit()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(made) == [False, True]
    assert len(stored(alice)) == 1


def test_openrouter_needs_no_key_and_the_others_do(alice: Person, app: Flask, vault: Keyring) -> None:
    alice.sign_in()
    page = alice.post("/keys", htmx=True, provider="openrouter")
    assert page.status_code == 200 and "no key needed" in words(page.text)
    (row,) = stored(alice)
    assert (row.sealed_key, row.vault_version, row.key_hint) == (None, None, "")
    assert work_off(app, vault) == 1
    assert "chat models" in row_text(alice, row)
    assert alice.post("/keys", htmx=True, provider="anthropic").status_code == 422


def test_a_label_that_another_key_has_is_refused_beside_its_field(alice: Person) -> None:
    alice.sign_in()
    first, second = alice.add_key("openai", label="work"), alice.add_key("openai", label="home")
    for label, said in (
        ("work", "You have a key of OpenAI labelled “work” already."),
        ("x" * 61, "at most 60 characters"),
    ):
        refused = alice.post(f"/keys/{second.id}/label", htmx=True, label=label)
        assert refused.status_code == 422 and said in words(refused.text)
        assert f'aria-describedby="wrong-{second.id}"' in refused.text
        alice.post(f"/keys/{second.id}/label", label=label)
        assert said in words(alice.client.get("/profile").text)
    assert alice.post(f"/keys/{second.id}/label", htmx=True, label="home").status_code == 200  # its own
    assert [row.label for row in stored(alice)] == ["work", "home"] and first.id != second.id


@both_databases
def test_one_key_is_synced_by_itself(app: Flask, alice: Person, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai", label="work")
    key = alice.add_key("openai", label="home")
    alice.sign_in()
    assert 'id="sync-status"' in alice.post(f"/keys/{key.id}/sync", htmx=True).text
    work_off(app, vault)
    (result,) = db.session.scalars(select(ResultRow))
    assert result.credential_id == key.id
    answer = alice.post(f"/keys/{key.id}/sync")
    assert (answer.status_code, answer.location) == (303, "/profile#sync-status")


@pytest.mark.parametrize("htmx", [True, False])
def test_one_button_adds_the_list_that_needs_no_key_and_syncs_it(
    app: Flask, alice: Person, vault: Keyring, htmx: bool
) -> None:
    alice.row.sync_on_sign_in = False
    page = alice.sign_in().client.get("/profile").text
    assert "Try OpenRouter without a key" in words(page) and "flask up --demo" in words(page)
    for _ in range(2):  # pressed twice it is there once
        answer = alice.post("/keys/try", htmx=htmx)
        assert answer.status_code == (200 if htmx else 303)
        if htmx:
            assert answer.text.lstrip().startswith('<section id="sync-status"') and "no key needed" in words(
                answer.text
            )
    assert [row.key_hint for row in stored(alice)] == [""]
    assert db.session.scalar(select(func.count(RunRow.id))) == 1
    work_off(app, vault)
    text = words(alice.client.get("/profile").text)
    assert "See your models" in text and "Start here" not in text and "chat models" in text


def test_an_unknown_provider_is_not_found(alice: Person) -> None:
    alice.sign_in()
    assert alice.post("/keys", htmx=True, provider="nobody", key=KEY).status_code == 404
    assert stored(alice) == []


# ------------------------------------------------------------------ what a worker finds out


@both_databases
@pytest.mark.parametrize(
    ("key", "fault", "said"),
    [
        (KEY, None, "chat models"),
        ("sk-this-key-was-revoked-1234", None, "OpenAI says this key was revoked, disabled or has expired (401)."),
        ("sk-this-key-is-bad-1234", None, "OpenAI rejected this key (401)."),
        (KEY, "error_500", "OpenAI is having problems (500)."),
        (KEY, "html", "The provider answered with a web page instead of a list of models"),
    ],
)
def test_the_row_says_within_a_moment_what_came_of_a_key(
    app: Flask, alice: Person, vault: Keyring, simulator: Simulator, key: str, fault: str | None, said: str
) -> None:
    if fault:
        simulator.set_fault("openai", fault)
    alice.sign_in()
    page = alice.post("/keys", htmx=True, provider="openai", key=key).text
    (row,) = stored(alice)
    assert 'id="sync-status"' in page and "hx-sse:connect" in page  # the page watches the sync that this started
    assert work_off(app, vault) == 1
    status = alice.client.get("/sync/status", headers={"HX-Request": "true"}).text
    assert f'hx-target="#key-{row.id}"' in status  # whose end brings the row
    after = row_text(alice, row)
    assert said in after and key not in status
    if said == "chat models":
        chat = stored(alice)[0].chat_count
        assert chat and f"{chat} chat models" in after
        assert f"Found {chat} chat models" in words(status)
        assert f"{chat} models" in words(alice.client.get("/models").text)
    assert simulator.requests("openai")[0].headers["authorization"] == f"Bearer {key}"


def test_a_provider_out_of_reach_is_a_sentence_on_the_row(alice: Person, means: SyncContext) -> None:
    alice.sign_in()
    alice.post("/keys", htmx=True, provider="openai", key=KEY)
    (row,) = stored(alice)
    nowhere = SyncContext(vault=means.vault, client=means.client, base_urls={"openai": "http://127.0.0.1:1/v1"})
    (run_id,) = db.session.scalars(select(RunRow.id))
    sync_run.execute(run_id, nowhere)
    assert "Nothing answers at 127.0.0.1:1" in row_text(alice, row)


def test_a_key_saved_while_redis_is_away_is_kept_and_says_what_happens(
    app: Flask, alice: Person, vault: Keyring
) -> None:
    alice.sign_in()
    with no_redis(app):
        answer = alice.post("/keys", htmx=True, provider="openai", key=KEY)
        assert answer.status_code == 200 and enqueue.NO_REDIS in words(answer.text)
    (row,) = stored(alice)
    assert "Saved, waiting to sync" in row_text(alice, row)
    db.session.execute(update(RunRow).values(created_at=now() - timedelta(minutes=1)))
    db.session.commit()
    periodic.housekeeping()
    assert work_off(app, vault) == 1
    assert "chat models" in row_text(alice, row)


def test_a_key_saved_without_a_worker_says_so(alice: Person) -> None:
    alice.sign_in()
    page = words(alice.post("/keys", htmx=True, provider="openai", key=KEY).text)
    assert enqueue.NO_WORKER in page and "Saved, waiting to sync" in page


def test_a_key_saved_during_a_sync_is_watched_until_its_own(app: Flask, alice: Person, vault: Keyring) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("groq")
    alice.sign_in()
    started = runs.start(alice.id, "manual", now())
    assert started and runs.claim([started.run.id], now(), sync_run.LEASE)
    db.session.commit()
    page = alice.post("/keys", htmx=True, provider="openai", key=KEY).text
    assert "Saved, waiting to sync" in words(page) and "hx-sse:connect" in page
    runs.close([started.run.id], now())
    db.session.commit()
    status = alice.client.get("/sync/status", headers={"HX-Request": "true"}).text
    assert 'hx-trigger="load delay:2s"' in status and "Sync recommended" not in status
    tasks.start_first_syncs()
    assert "hx-sse:connect" in alice.client.get("/sync/status", headers={"HX-Request": "true"}).text
    work_off(app, vault)
    status = alice.client.get("/sync/status", headers={"HX-Request": "true"}).text
    assert "load delay" not in status and "Found" in words(status)


def test_keys_work_by_the_forms_of_the_page_alone(alice: Person, app: Flask, vault: Keyring) -> None:
    person = Plainly(alice.sign_in().client).open("/profile")
    person.submit("/keys", {"provider": "anthropic"}, key=KEY, label="mine")
    (row,) = stored(alice)
    assert "•••• 7f3c" in person.words
    person.submit(f"/keys/{row.id}/replace", key=OTHER)
    assert "•••• 91ab" in person.words
    work_off(app, vault)
    assert "Found" in person.open("/profile").words
    assert "Disabled" in person.submit(f"/keys/{row.id}/active").words
    assert "Disabled" not in person.submit(f"/keys/{row.id}/active").words
    person.submit(f"/keys/{row.id}/delete")
    assert stored(alice) == []
    assert all(key not in page for page in person.seen for key in (KEY, OTHER))


def test_deleting_a_key_keeps_its_history(alice: Person, means: SyncContext) -> None:
    from tests.sync.test_run import synced

    key = alice.add_key("openai")
    run = synced(alice, means)
    alice.sign_in().post(f"/keys/{key.id}/delete")
    page = alice.client.get(f"/history/{run.id}")
    assert page.status_code == 200 and "OpenAI" in page.text
    assert alice.client.get(f"/history/{run.id}/results/{run.results[0].id}").status_code == 200


def test_the_job_payload_holds_an_id_and_nothing_else(app: Flask, alice: Person) -> None:
    alice.sign_in().post("/keys", htmx=True, provider="openai", key=KEY)
    (row,) = stored(alice)
    (job,) = [job for queue in queues.open_queues() for job in queue.jobs]
    (run_id,) = db.session.scalars(select(RunRow.id).where(RunRow.user_id == row.user_id))
    assert (job.func_name, job.args, job.kwargs) == ("app.jobs.tasks.run_sync", [run_id], {})


def test_to_accept_what_is_not_kept_aside_starts_nothing_and_has_a_limit(alice: Person) -> None:
    alice.row.sync_on_sign_in = False
    row = alice.add_key("openai")
    alice.sign_in()
    token = alice.token("/profile")
    data, headers = {"csrf_token": token}, {"HX-Request": "true"}
    codes = [alice.client.post(f"/keys/{row.id}/accept", data=data, headers=headers).status_code for _ in range(61)]
    assert codes == [200] * 60 + [429]
    assert db.session.scalar(select(func.count(RunRow.id))) == 0
