"""Keys that are pasted: recognised, shown before they are saved, saved at once, and never read back."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import queues
from app.store import credentials
from app.store.schema.tables import CredentialRow
from app.vault import Keyring
from app.web import key_import
from tests.conftest import Person, both_databases
from tests.test_leaks import Told, read_database, read_redis
from tests.web import text_browser
from tests.web.text_browser import Plainly, read
from tests.web.worker import no_redis, work_off

GROQ, OPENAI = "gsk_a-planted-key-of-alice-4f2a", "sk-" + "proj-a-planted-key-of-alice-7f3c"
UNCLEAR = "sk-0123456789abcdef0123456789abc1d2"
ENV = f"# mine\r\nexport OPENAI_API_KEY='{OPENAI}'\r\nGROQ_API_KEY={GROQ} # of work\r\nDEBUG=true\r\n{UNCLEAR}\r\n"


def words(html: str) -> str:
    """What a person reads; a piece's fields belong to a form that stands elsewhere on the page."""
    return text_browser.words(f"<form>{html}")


def stored(person: Person) -> list[CredentialRow]:
    db.session.rollback()
    db.session.expire_all()
    query = select(CredentialRow).where(CredentialRow.user_id == person.id).order_by(CredentialRow.id)
    return list(db.session.scalars(query))


def opened(person: Person, vault: Keyring) -> dict[str, str]:
    """Provider and label → the key."""
    keys = {}
    for row, slug in credentials.list_for_user(person.id):
        assert row.sealed_key and row.vault_version
        keys[f"{slug} {row.label}".strip()] = vault.open(
            row.sealed_key, row.vault_version, credentials.seal_context(row, slug)
        ).reveal()
    return keys


def fields(html: str) -> dict[str, str]:
    """What a browser would send of the preview's fields."""
    sent = {}
    for tag in re.findall(r"<input[^>]*form=\"paste-form\"[^>]*>", html):
        name = re.search(r'name="([^"]+)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        assert name
        if 'type="checkbox"' not in tag or " checked" in tag:
            sent[name[1]] = value[1] if value else ""
    for name, options in re.findall(r'<select form="paste-form" name="([^"]+)".*?>(.*?)</select>', html, re.S):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        sent[name] = chosen[1] if chosen else ""
    return sent


def previewed(person: Person, text: str, **chosen: str) -> str:
    answer = person.post("/keys/preview", htmx=True, pasted=text, **chosen)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def saved(person: Person, text: str, **chosen: str) -> Any:
    """Save by the preview's own fields, changed by what is `chosen`; "" for a tick takes it away."""
    sent = fields(previewed(person, text)) | chosen
    kept = {name: value for name, value in sent.items() if value or not name.startswith("take-")}
    return person.post("/keys/paste", htmx=True, pasted=text, **kept)


def test_the_preview_says_whose_each_is_and_holds_no_text_of_it(alice: Person) -> None:
    page = previewed(alice.sign_in(), ENV)
    text = words(page)
    assert "OpenAI •••• 7f3c line 2, by its beginning sk-proj-…" in text
    assert "Groq •••• 4f2a line 3, by its beginning gsk_…" in text
    assert "Whose is it? •••• c1d2 line 5, by its form" in text
    assert "DeepSeek" in text and "Alibaba Cloud, China (Beijing)" in text  # to choose among
    assert "Line 4 holds no key that we know." in text and "DEBUG" not in page
    assert "3 keys recognised, 1 to choose the provider of." in text
    assert not any(key in page for key in (GROQ, OPENAI, UNCLEAR, "planted", UNCLEAR[3:20]))
    assert stored(alice) == []


@both_databases
def test_what_was_chosen_is_saved_and_checked(app: Flask, alice: Person, vault: Keyring, simulator: Simulator) -> None:
    alice.sign_in()
    answer = saved(alice, ENV, **{"place-2": "deepseek", "label-0": " work "})
    assert answer.status_code == 200, answer.text
    assert opened(alice, vault) == {"openai work": OPENAI, "groq": GROQ, "deepseek": UNCLEAR}
    text = words(answer.text)
    assert "Saved 3 keys: OpenAI, Groq, DeepSeek." in text and "Saved, waiting to sync" in text
    assert 'id="keys"' in answer.text and 'id="sync-status"' in answer.text  # both come beside it
    assert read(f"<form>{answer.text}").forms and "planted" not in answer.text and "<textarea" in answer.text
    assert work_off(app, vault) == 1  # one run for all of them
    page = words(alice.client.get("/profile").text)
    assert re.search(r"Found \d+ chat models from 3 providers, 3 not in the catalog\.", page)
    assert {seen.headers["authorization"] for seen in simulator.requests("groq")} == {f"Bearer {GROQ}"}
    assert simulator.requests("alibaba") == []


def test_nothing_is_saved_until_every_ticked_key_has_a_provider(alice: Person, vault: Keyring) -> None:
    alice.sign_in()
    refused = saved(alice, ENV)
    assert refused.status_code == 422 and stored(alice) == []
    assert "Choose whose key this is, or leave it out." in words(refused.text)
    assert 'aria-describedby="find-2-place" autofocus' in refused.text
    assert saved(alice, ENV, **{"place-2": "nobody"}).status_code == 422
    assert saved(alice, ENV, **{"place-2": "anthropic"}).status_code == 422  # whose it cannot be
    assert saved(alice, ENV, **{"take-2": ""}).status_code == 200
    assert set(opened(alice, vault)) == {"openai", "groq"}
    none = saved(alice, UNCLEAR, **{"take-0": ""})
    assert none.status_code == 422 and "Tick the keys to save." in words(none.text)


def test_a_text_that_changed_since_the_preview_is_looked_at_anew(alice: Person, vault: Keyring) -> None:
    alice.sign_in()
    chosen = fields(previewed(alice, UNCLEAR)) | {"place-0": "deepseek"}
    other = UNCLEAR.replace("c1d2", "eeee")
    refused = alice.post("/keys/paste", htmx=True, pasted=other, **chosen)
    assert refused.status_code == 422 and "The text changed since you looked." in words(refused.text)
    assert 'value="deepseek" selected' not in refused.text  # nor does the choice go over to another key
    assert "selected" not in previewed(alice, other, **chosen)
    assert 'value="deepseek" selected' in previewed(alice, UNCLEAR, **chosen)
    assert stored(alice) == []
    chosen = fields(previewed(alice, f"{GROQ}\n{OPENAI}"))
    assert alice.post("/keys/paste", htmx=True, pasted=f"{GROQ}\r\n{OPENAI}", **chosen).status_code == 200
    assert opened(alice, vault) == {"groq": GROQ, "openai": OPENAI}  # a line's end is no change


def test_a_stamp_tells_nothing_and_is_good_for_one_person_and_text(alice: Person) -> None:
    stamps = {
        key_import.text_digest("s", 1, "a"),
        key_import.text_digest("s", 2, "a"),
        key_import.text_digest("s", 1, "b"),
        key_import.text_digest("t", 1, "a"),
    }
    assert len(stamps) == 4 and all(re.fullmatch(r"[0-9a-f]{32}", one) for one in stamps)


def test_one_that_looks_like_a_saved_key_is_not_ticked(alice: Person, vault: Keyring) -> None:
    alice.add_key("groq", GROQ)
    page = previewed(alice.sign_in(), f"{GROQ}\n{OPENAI}")
    assert "Looks like one you have: Groq, •••• 4f2a." in words(page)
    assert [name for name in fields(page) if name.startswith("take-")] == ["take-1"]
    refused = saved(alice, GROQ, **{"take-0": "yes"})
    assert "You have a key of Groq without a label already: choose another label." in words(refused.text)
    assert saved(alice, GROQ, **{"take-0": "yes", "label-0": "again"}).status_code == 200
    assert set(opened(alice, vault)) == {"groq", "groq again"}


def test_several_of_one_provider_get_labels_that_tell_them_apart(alice: Person, vault: Keyring) -> None:
    alice.add_key("groq", "gsk_an-older-one-of-alice-0000")
    text = "\n".join(["gsk_the-first-one-1111", "gsk_the-second-one-2222", "gsk_the-first-one-1111"])
    page = previewed(alice.sign_in(), text)
    assert "Line 3 is the same key as line 1." in words(page)
    same = saved(alice, text, **{"label-0": "x", "label-1": "x"})
    assert same.status_code == 422 and "labelled “x” already" in words(same.text)
    long = saved(alice, text, **{"label-0": "x" * 61})
    assert long.status_code == 422 and "at most 60 characters" in words(long.text)
    assert saved(alice, text).status_code == 200
    assert set(opened(alice, vault)) == {"groq", "groq key 2", "groq key 3"}


def test_a_server_of_ones_own_needs_its_address(alice: Person, vault: Keyring) -> None:
    alice.sign_in()
    refused = saved(alice, "OLLAMA_API_KEY=a-key-of-ollama-0123")
    assert refused.status_code == 422 and "Give the address of your server" in words(refused.text)
    bad = saved(alice, "OLLAMA_API_KEY=a-key-of-ollama-0123", **{"address-0": "https://me:secret@example.com"})
    assert "Give a server with a login under" in words(bad.text) and "secret" not in bad.text
    assert (
        saved(alice, "OLLAMA_API_KEY=a-key-of-ollama-0123", **{"address-0": "https://o.example.com"}).status_code == 200
    )
    own = "OPENAI_API_KEY=a-key-of-a-server-4567\nOPENAI_BASE_URL=https://models.example.com/a-path/v1"
    page = previewed(alice, own)
    assert "the address beside it at models.example.com" in words(page) and "a-path" not in page
    assert saved(alice, own).status_code == 200
    china = f"MOONSHOT_BASE_URL=https://api.moonshot.cn/v1\nMOONSHOT_API_KEY={UNCLEAR}"
    assert saved(alice, china).status_code == 200
    assert [row.base_url for row in stored(alice)] == [
        "https://o.example.com",
        "https://models.example.com/a-path/v1",
        "https://api.moonshot.cn/v1",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * (64 * 1024 + 1), "That is more than 64 kB. Paste the lines with keys only."),
        ("x\n" * 501, "Those are more than 500 lines."),
        ("\n".join(f"gsk_a-key-of-many-{number:04}" for number in range(51)), "Those are more than 50 keys."),
        ("dear diary\nOPENAI_API_KEY=", "No key is recognised here."),
    ],
    ids=["bytes", "lines", "keys", "none"],
)
def test_what_cannot_be_read_is_told_in_either_way(alice: Person, text: str, said: str) -> None:
    alice.sign_in()
    assert said in words(alice.post("/keys/preview", htmx=True, pasted=text).text)
    refused = alice.post("/keys/paste", htmx=True, pasted=text)
    assert refused.status_code == 422 and said in words(refused.text)
    assert alice.post("/keys/paste", pasted=text).status_code == 303
    assert said in words(alice.client.get("/profile").text)
    assert stored(alice) == []


def test_an_account_that_is_full_saves_none_of_them(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MAX_KEYS", 1)
    refused = saved(alice.sign_in(), f"{GROQ}\n{OPENAI}")
    assert refused.status_code == 422 and "Delete one that you do not need any more." in words(refused.text)
    assert stored(alice) == []


def test_keys_are_kept_while_redis_is_away(app: Flask, alice: Person) -> None:
    alice.sign_in()
    with no_redis(app):
        assert saved(alice, f"{GROQ}\n{OPENAI}").status_code == 200
    assert all(row.check_asked_at for row in stored(alice))  # what makes their sync start later
    assert sum(queue.count for queue in queues.open_queues()) == 0


# ------------------------------------------------------------------ without a script


def test_without_a_script_what_is_certain_is_saved_and_the_rest_is_told(
    app: Flask, alice: Person, vault: Keyring
) -> None:
    person = Plainly(alice.sign_in().client).open("/profile")
    person.submit("/keys/paste", pasted=ENV + "OLLAMA_API_KEY=a-key-of-ollama-0123\n")
    assert opened(alice, vault) == {"openai": OPENAI, "groq": GROQ}
    assert "Saved 2 keys (OpenAI, Groq). Syncing them now." in person.words
    assert "Line 5 may be of DeepSeek, Alibaba Cloud, OpenAI" in person.words
    assert "paste it again under its provider below." in person.words
    assert "Line 6 looks like a key of Ollama: paste it again under that provider below." in person.words
    assert "Line 4 holds no key that we know." in person.words
    work_off(app, vault)
    assert "chat models from 2 providers" in person.open("/profile").words
    person.submit("/keys/paste", pasted=GROQ)
    assert "Line 1 looks like a key that you have (•••• 4f2a): it was left out." in person.words
    assert len(stored(alice)) == 2
    assert not any("planted" in page or UNCLEAR in page for page in person.seen)


def test_a_preview_without_a_script_leads_to_the_page(alice: Person) -> None:
    answer = alice.sign_in().post("/keys/preview", pasted=GROQ)
    assert (answer.status_code, answer.location) == (303, "/profile#add-keys")


# ------------------------------------------------------------------ nothing is read back


@both_databases
def test_no_pasted_key_is_found_anywhere(
    app: Flask,
    alice: Person,
    vault: Keyring,
    redis_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    mark = "cAnArYmArK"
    told = Told()
    alice.sign_in()

    def post(path: str, *, htmx: bool, **form: str) -> Any:
        answer = alice.post(path, htmx=htmx, **form)
        told.add(path, answer.get_data() + str(answer.headers).encode())
        for cookie in (alice.client._cookies or {}).values():
            told.add("a cookie", cookie.value)
        told.add("the session", _session(alice))
        return answer

    texts = [
        f"GROQ_API_KEY=gsk_{mark}-0001-4f2a",
        f"sk-{mark}-which-nobody-knows-7f3c",
        f"{mark}_API_KEY={mark}0123456789\n{mark} {mark}\n{mark}=\n# {mark}",
        f"OPENAI_API_KEY={mark}-0123456789\nOPENAI_BASE_URL=https://{mark}:{mark}@example.com/v1?k={mark}",
        f"r8_{mark}-0123456789",
        f'{{"type": "service_account", "private_key": "{mark}"}}',
        f"xai-{mark} two words and umläut {mark}",
        f"xai-{mark}-0123456789" + "\n" * 600,
    ]
    for text in texts:
        preview = post("/keys/preview", htmx=True, pasted=text)
        post("/keys/paste", htmx=True, pasted=text, **(fields(preview.text) | {"label-0": "x" * 61}))
        post("/keys/paste", htmx=True, pasted=text, stamp="of another text")
        post("/keys/paste", htmx=True, pasted=text, **fields(preview.text))
        post("/keys/paste", htmx=False, pasted=text)
        told.add("/profile", alice.client.get("/profile").get_data())
    work_off(app, vault)
    told.add("/profile", alice.client.get("/profile").get_data())
    read_database(told, tmp_path)
    assert read_redis(told, redis_url) > 0
    log = "\n".join(f"{record.getMessage()} {record.exc_text} {record.args!r}" for record in caplog.records)
    out, err = capfd.readouterr()
    for place, said in (("the log", log), ("the formatted log", caplog.text), ("stdout", out), ("stderr", err)):
        told.add(place, said)
    assert told.hits("4f2a") and len(stored(alice)) >= 3  # the search looks where things are, and keys were saved
    assert told.hits(mark) == []


def _session(person: Person) -> str:
    with person.client.session_transaction() as session:
        return repr(dict(session))
