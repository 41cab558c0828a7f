"""The admin's catalog pages as Carol uses them, with and without htmx, and as Alice is kept out of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue
from app.store import audit, decisions, overrides, sources
from app.store.audit import Actor
from app.store.schema.catalog_tables import AuditRow
from app.store.schema.tables import ListedModelRow, ModelRow
from app.sync.catalog.auto_adopt import adopt_proposals
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import synced
from tests.web.text_browser import Plainly, words
from tests.web.worker import no_redis, now, work_off, worker_present

KNOWN = "openai/gpt-4o"
ROCKET = SimModel("acme/rocket-2", context=128_000, tools=True)
PAGES = ("", "/unknown", "/conflicts", "/audit")
HTMX = {"HX-Request": "true"}


@pytest.fixture
def house(carol: Person, simulator: Simulator, means: SyncContext) -> Person:
    """Carol signed in; two providers list a model that nobody knows, one contradicts the catalog."""
    simulator.set_models("openrouter", [ROCKET, SimModel(KNOWN, context=999_000)])
    simulator.set_models("chutes", [ROCKET, SimModel("acme/only-here")])
    for slug in ("openrouter", "chutes"):
        carol.add_key(slug)
    synced(carol, means)
    return carol.sign_in()


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    with worker_present(app):
        yield


def entries() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(AuditRow)) or 0


def page(person: Person, path: str, **headers: str) -> str:
    answer = person.client.get(f"/admin/catalog{path}", headers=headers)
    assert answer.status_code == 200
    return str(answer.text)


def act(person: Person, path: str, **form: str) -> str:
    """As htmx sends it."""
    answer = person.post(f"/admin/catalog{path}", htmx=True, **form)
    assert answer.status_code == 200, answer.text
    assert "<html" not in answer.text
    return str(answer.text)


# ------------------------------------------------------------------ who may


def test_alice_neither_sees_nor_touches_any_of_it(house: Person, alice: Person) -> None:
    alice.sign_in()
    posts = ("/refresh", "/unknown/match", "/unknown/leave", "/new", "/proposals/accept", "/proposals/dismiss")
    posts += ("/proposals/adopting", "/conflicts/settle", "/audit/undo")
    for path in (*PAGES, "/ids?canonical_id=gpt", "/new?provider=chutes&model_id=acme/only-here"):
        for headers in ({}, HTMX):
            answer = alice.client.get(f"/admin/catalog{path}", headers=headers)
            assert answer.status_code == 403
            assert "rocket" not in answer.text and "gpt" not in answer.text
    for path in posts:
        form = {"provider": "chutes", "model_id": "acme/only-here", "canonical_id": KNOWN, "adopt": "yes"}
        assert alice.post(f"/admin/catalog{path}", **form).status_code == 403
    assert entries() == 0


def test_every_page_varies_by_htmx_and_a_partial_is_its_root_element(house: Person) -> None:
    for path, root in zip(PAGES, ("overview", "unknown", "conflicts", "log"), strict=True):
        answer = house.client.get(f"/admin/catalog{path}", headers=HTMX)
        assert "HX-Request" in answer.headers["Vary"]
        assert "<html" not in answer.text
        assert answer.text.split("<", 2)[1].split()[1].startswith(f'id="catalog-{root}"')
        assert f'id="catalog-{root}"' in page(house, path)


@both_databases
def test_no_page_costs_more_than_eight_queries(house: Person) -> None:
    decisions.save_match("chutes", "acme/only-here", KNOWN, Actor(house.id, "carol@example.com"), now())
    db.session.commit()
    for path in (*PAGES, "/unknown?done=1", "/conflicts?done=1"):
        page(house, path)  # builds the index, once for a process
        with counted() as sent:
            page(house, path)
        assert len(sent) <= 8, path


# ------------------------------------------------------------------ unknown models


@both_databases
def test_a_match_takes_effect_through_the_worker_and_its_undo_too(app: Flask, house: Person, vault: Keyring) -> None:
    answer = act(house, "/unknown/match", provider="chutes", model_id="acme/only-here", canonical_id=KNOWN)
    assert "What Chutes means by acme/only-here" in words(answer) and "Undo" in words(answer)
    assert 'value="acme/only-here"' not in answer
    assert work_off(app, vault) == 1
    assert matched("acme/only-here") == (KNOWN, "decided", KNOWN)
    answer = act(house, "/audit/undo", entry=str(audit.list_entries()[0][0].id), page="unknown")
    assert "taken back" in words(answer) and "Redo" in words(answer)
    work_off(app, vault)
    assert matched("acme/only-here") == (None, "unknown", None)
    assert 'value="acme/only-here"' in page(house, "/unknown")


def matched(model_id: str) -> tuple[str | None, str, str | None]:
    db.session.rollback()
    db.session.expire_all()
    row = db.session.scalars(select(ModelRow).where(ModelRow.provider_model_id == model_id)).one()
    rows = db.session.scalars(
        select(ListedModelRow.canonical_id).where(ListedModelRow.provider_model_id == model_id)
    ).one()
    return row.canonical_id, row.match_rule, rows


def test_the_whole_way_without_javascript(house: Person, worker: None) -> None:
    reader = Plainly(house.client).open("/admin/catalog").follow("/admin/catalog/unknown")
    assert "3 unknown models" in reader.words
    where = {"model_id": "acme/only-here"}
    reader.submit("/admin/catalog/unknown/leave", where)
    assert "What Chutes means by acme/only-here: decided." in reader.words
    assert "2 unknown models" in reader.words
    reader.submit("/admin/catalog/audit/undo")
    assert "taken back" in reader.words and "3 unknown models" in reader.words
    reader.open("/admin/catalog/unknown?provider=chutes")
    reader.submit("/admin/catalog/unknown/leave?provider=chutes", where)
    assert "1 unknown model" in reader.words and "<strong>OpenRouter</strong>" not in reader.html  # the filter is kept
    reader.open("/admin/catalog/unknown?left=yes")
    assert "left unknown" in reader.words
    assert "No worker" not in "".join(map(words, reader.seen))


@pytest.mark.parametrize("typed", ["GPT-4o", "openai/gpt-4o", " gpt-4o "])
def test_another_id_may_be_any_plain_name_of_the_model(house: Person, typed: str) -> None:
    act(house, "/unknown/match", provider="chutes", model_id="acme/only-here", canonical_id=typed)
    assert decisions.load("match").matches == {("chutes", "acme/only-here"): KNOWN}


@pytest.mark.parametrize(("typed", "sentence"), [("acme/nothing<b>", "The catalog has no model"), ("", "Write the id")])
def test_a_wrong_id_is_one_sentence_and_what_was_typed_stays(house: Person, typed: str, sentence: str) -> None:
    form = {"provider": "chutes", "model_id": "acme/only-here", "canonical_id": typed}
    for htmx in (True, False):
        answer = house.post("/admin/catalog/unknown/match?provider=chutes", htmx=htmx, **form)
        assert answer.status_code == 422
        assert ("<html" in answer.text) is not htmx
        assert sentence in words(answer.text) and answer.text.count('role="alert"') == 1
        assert "nothing<b>" not in answer.text
        assert not typed or 'value="acme/nothing&lt;b&gt;"' in answer.text
    assert entries() == 0


def test_what_nobody_lists_cannot_be_decided_about(house: Person) -> None:
    for provider, model_id in (("chutes", "acme/never"), ("groq", "acme/only-here"), ("", "")):
        form = {"provider": provider, "model_id": model_id, "canonical_id": KNOWN}
        for path in ("/unknown/match", "/unknown/leave", "/new"):
            assert house.post(f"/admin/catalog{path}", **form).status_code == 404
        assert house.client.get(f"/admin/catalog/new?provider={provider}&model_id={model_id}").status_code == 404
    assert entries() == 0


def test_a_canonical_model_is_made_out_of_a_listing(app: Flask, house: Person, vault: Keyring) -> None:
    reader = Plainly(house.client).open("/admin/catalog/new?provider=openrouter&model_id=acme/rocket-2")
    form = {"id": "Acme/Rocket-2", "name": "Rocket 2", "context_length": "200k", "input_per_million": "0.000000001"}
    reader.submit("/admin/catalog/new", **form, vision="", reasoning="yes", tools="yes")
    assert "The canonical model acme/rocket-2: decided." in reader.words
    made = decisions.load("canonical").canonicals["acme/rocket-2"]
    assert (made.lab, made.context_length, made.tools, made.vision, made.reasoning) == (
        "acme",
        200_000,
        True,
        None,
        True,
    )
    assert made.served == {"openrouter": ("acme/rocket-2",)}
    work_off(app, vault)
    db.session.rollback()
    db.session.expire_all()
    rows = db.session.scalars(select(ModelRow.canonical_id).where(ModelRow.provider_model_id == "acme/rocket-2"))
    assert set(rows) == {"acme/rocket-2"}  # Chutes means it by the same id
    assert house.client.get("/models/acme/rocket-2").status_code == 200


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("id", "no lab", "Write the id as lab/model"),
        ("id", KNOWN, "has a model of this id already"),
        ("id", "a/" + "x" * 300, "at most 300 characters"),
        ("name", " ", "Write a name"),
        ("context_length", "many", "Context window: write a number of tokens"),
        ("max_output_tokens", "0", "Longest answer: write a number of tokens"),
        ("tools", "perhaps", "Tool use: choose yes, no or unknown"),
        ("input_per_million", "NaN", "Input price: write USD per million tokens"),
        ("output_per_million", "-1", "Output price: write USD per million tokens"),
        ("released_on", "soon", "Released on: write a day"),
    ],
)
def test_a_wrong_field_is_named_in_a_sentence_and_nothing_typed_is_lost(
    house: Person, field: str, typed: str, sentence: str
) -> None:
    form = {"provider": "chutes", "model_id": "acme/only-here", "id": "acme/new-one", "name": "Kept <as> typed"}
    answer = house.post("/admin/catalog/new", **{**form, field: typed})
    assert answer.status_code == 422
    assert sentence in words(answer.text)
    assert answer.text.count('role="alert"') == 1
    assert field == "name" or "Kept &lt;as&gt; typed" in answer.text
    assert field == "tools" or f'value="{typed.strip()}"' in answer.text or f'value="{typed}"' in answer.text
    assert entries() == 0


def test_ids_are_suggested_while_typing(house: Person) -> None:
    assert f'<option value="{KNOWN}">' in page(house, "/ids?canonical_id=gpt-4o")
    assert "<option" not in page(house, "/ids?canonical_id=")


# ------------------------------------------------------------------ proposals


def test_a_proposal_shows_its_evidence_and_is_accepted(app: Flask, house: Person, vault: Keyring) -> None:
    text = words(page(house, "/unknown"))
    assert "1 proposal" in text and "Chutes acme/rocket-2 , OpenRouter acme/rocket-2" in text
    answer = act(house, "/proposals/accept", id="acme/rocket-2")
    assert "The canonical model acme/rocket-2: decided." in words(answer) and "No proposals" in words(answer)
    work_off(app, vault)
    assert "1 unknown model" in words(page(house, "/unknown"))
    assert audit.list_entries()[0][0].reason == "Listed alike by chutes (acme/rocket-2), openrouter (acme/rocket-2)."


def test_a_dismissed_proposal_stays_away_until_that_is_taken_back(house: Person) -> None:
    text = words(act(house, "/proposals/dismiss", id="acme/rocket-2"))
    assert "The proposal acme/rocket-2" in text and "No proposals" in text
    assert "3 unknown models" in text
    assert "1 proposal" in words(act(house, "/audit/undo", entry=str(audit.list_entries()[0][0].id), page="unknown"))


def test_what_is_not_proposed_any_more_is_a_sentence(house: Person) -> None:
    answer = house.post("/admin/catalog/proposals/accept", htmx=True, id="acme/other")
    assert answer.status_code == 422 and "not proposed any more" in words(answer.text)


def test_proposals_are_adopted_by_themselves_only_where_an_admin_said_so(house: Person) -> None:
    assert adopt_proposals(now()) == 0
    assert "Adopted by themselves" in words(act(house, "/proposals/adopting", adopt="yes"))
    db.session.rollback()
    assert adopt_proposals(now()) == 1
    assert audit.list_entries()[0][0].actor == "automatic"
    assert adopt_proposals(now()) == 0
    db.session.commit()
    act(house, "/audit/undo", entry=str(audit.list_entries()[0][0].id), page="log")
    assert adopt_proposals(now()) == 0  # a person took it back: it is only proposed from now on
    assert "1 proposal" in words(page(house, "/unknown"))
    assert "Adopted by hand" in words(act(house, "/proposals/adopting", adopt="no"))
    assert "Adopting proposals by themselves off → on" not in words(page(house, "/audit"))
    assert "on → off" in words(page(house, "/audit"))


# ------------------------------------------------------------------ conflicts


def chosen(choice: str) -> dict[str, str]:
    row = db.session.scalars(select(ModelRow).where(ModelRow.provider_model_id == KNOWN)).one()
    return {"model": str(row.id), "field": "context_length", "said": "128000|999000", "choice": choice}


@both_databases
@pytest.mark.parametrize(
    ("choice", "told"),
    [("catalog", f"{KNOWN} at OpenRouter"), ("provider", f"Context window of {KNOWN}"), ("both", "Context window of")],
)
def test_a_conflict_is_settled_for_good_and_the_choice_can_be_taken_back(
    app: Flask, house: Person, vault: Keyring, choice: str, told: str
) -> None:
    assert "128 000 tokens" in words(page(house, "/conflicts")).replace("\u202f", " ")
    answer = act(house, "/conflicts/settle", **chosen(choice))
    assert told in words(answer) and "999" not in answer
    work_off(app, vault)
    assert "999" not in page(house, "/conflicts")
    text = words(page(house, "/audit")).replace("\u202f", " ")
    assert {"catalog": "→ 128 000", "provider": "→ 999 000", "both": "128 000 tokens in the catalog"}[choice] in text
    act(house, "/audit/undo", entry=str(audit.list_entries()[0][0].id), page="conflicts")
    work_off(app, vault)
    assert "999" in page(house, "/conflicts")
    assert overrides.load_manual() == {} and decisions.load("field").fields == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"said": "128000|5"}, "says something else by now"),
        ({"field": "nose"}, "settled meanwhile"),
        ({"model": "9999999"}, "settled meanwhile"),
        ({"model": "x" * 99}, "settled meanwhile"),
        ({"choice": "neither"}, "Choose one of the three"),
    ],
)
def test_what_moved_meanwhile_is_not_settled_but_told(house: Person, changes: dict[str, str], sentence: str) -> None:
    for htmx in (True, False):
        answer = house.post("/admin/catalog/conflicts/settle", htmx=htmx, **{**chosen("provider"), **changes})
        assert answer.status_code == 422
        assert sentence in words(answer.text)
    assert entries() == 0


# ------------------------------------------------------------------ the audit log


def test_the_log_says_who_decided_what_in_words_page_by_page(house: Person) -> None:
    actor = Actor(house.id, house.row.email)
    for number in range(60):
        decisions.save_match("groq", f"model-{number}", KNOWN, actor, now(), "because")
    db.session.commit()
    reader = Plainly(house.client).open("/admin/catalog/audit")
    assert f"What Groq means by model-59 nothing decided → {KNOWN} because carol@example.com" in reader.words
    assert "model-10 " in reader.words and "model-9 " not in reader.words
    reader.follow("/admin/catalog/audit?before=")
    assert "model-9 " in reader.words and "model-10 " not in reader.words


def test_what_changed_since_is_not_undone_but_told(house: Person) -> None:
    actor = Actor(house.id, house.row.email)
    first = decisions.save_match("groq", "x", KNOWN, actor, now())
    decisions.save_match("groq", "x", None, actor, now())
    db.session.commit()
    assert first is not None
    for htmx in (True, False):
        answer = house.post("/admin/catalog/audit/undo", htmx=htmx, entry=str(first.id), page="log")
        assert answer.status_code == 422
        assert "changed since, by entry" in words(answer.text)
    for entry in ("", "-1", "x", "9" * 30):
        answer = house.post("/admin/catalog/audit/undo", htmx=True, entry=entry, page="nonsense")
        assert answer.status_code == 422 and "no such entry" in words(answer.text)
    assert entries() == 2


# ------------------------------------------------------------------ the overview


def test_the_overview_says_what_is_in_force_and_what_there_is_to_do(house: Person) -> None:
    text = words(page(house, ""))
    assert "3 unknown models 1 proposal" in text and "1 model in conflict" in text
    assert "No source was asked yet" in text and "raw.githubusercontent.com" in text


def test_a_refresh_is_queued_by_a_button_and_its_outcome_is_shown(house: Person, worker: None) -> None:
    answer = act(house, "/refresh", source="modelsdev")
    assert words(answer).count("waits for a worker") == 1 and "No worker" not in answer
    assert 'hx-trigger="load delay:2s"' in answer  # it looks again by itself
    again = answer.split('hx-get="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
    sources.record_failure("modelsdev", "https://models.dev/api.json", "timeout", "It did not answer in time.", now())
    db.session.commit()
    text = house.client.get(again, headers=HTMX).text
    assert "waits for a worker" not in text and "hx-trigger" not in text
    assert "It did not answer in time." in words(text)


def test_refresh_now_asks_all_sources_and_refuses_one_that_does_not_exist(house: Person, worker: None) -> None:
    asked = Plainly(house.client).open("/admin/catalog").submit("/admin/catalog/refresh")
    assert asked.words.count("waits for a worker") == 4
    assert house.post("/admin/catalog/refresh", source="nobody").status_code == 404


def test_without_a_worker_or_redis_the_pages_say_so_and_keep_what_was_decided(app: Flask, house: Person) -> None:
    assert "No worker is running" in act(house, "/refresh", source="litellm")
    left = {"provider": "chutes", "model_id": "acme/only-here"}
    assert "No worker is running" in act(house, "/unknown/leave", **left)
    with no_redis(app):
        assert "cannot be reached" in act(house, "/refresh", source="litellm")
        text = words(act(house, "/unknown/leave", provider="chutes", model_id="acme/rocket-2"))
        assert enqueue.NO_REDIS_FOR_DECISIONS in text
    assert entries() == 2
