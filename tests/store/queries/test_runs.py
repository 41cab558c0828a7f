"""Pages take the same number of queries at one run and at a thousand; paging covers everything once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, insert, select

from app.catalog.changes import Change
from app.catalog.listing import ListedModel
from app.catalog.matching import UNKNOWN
from app.extensions import db
from app.providers import provider_title
from app.store import credentials, listings, models
from app.store.accounts import users
from app.store.queries import labels, nav, runs
from app.store.queries.runs import HistoryFilter
from app.store.schema.tables import ChangeRow, ComparisonRow, ModelRow, ResultRow, RunRow, UserRow
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced
from tests.web.worker import now

MOST = 9
PATHS = ("/profile", "/history", "/changes", "/admin/history", "/models", "/models/openai/gpt-4o")


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collects the statements sent to the database in the context."""
    sent: list[str] = []

    def note(*args: Any) -> None:
        sent.append(args[2])

    event.listen(db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(db.engine, "before_cursor_execute", note)


def many_runs(person: Person, count: int) -> None:
    """More finished runs like the last one, each with its result and changes."""
    last = db.session.scalars(select(ResultRow).order_by(ResultRow.id.desc())).first()
    assert last is not None
    ids = db.session.scalars(
        insert(RunRow).returning(RunRow.id),
        [
            {"user_id": person.id, "trigger": "cron", "state": "done", "created_at": now(), "ended_at": now()}
            for _ in range(count)
        ],
    ).all()
    facts = {
        "user_id": person.id,
        "credential_id": last.credential_id,
        "provider_id": last.provider_id,
        "outcome": "complete",
        "new": 1,
        "listing_id": last.listing_id,
        "comparison_id": last.comparison_id,
        "ended_at": now(),
    }
    db.session.execute(insert(ResultRow), [{"run_id": run_id, **facts} for run_id in ids])
    db.session.commit()


@both_databases
def test_every_page_takes_at_most_nine_queries_at_one_run_and_at_a_thousand(
    app: Flask, carol: Person, means: SyncContext
) -> None:
    carol.add_key("openai")
    synced(carol, means)
    carol.sign_in()
    queries: dict[str, list[int]] = {path: [] for path in PATHS}
    for more in (0, 999):
        if more:
            many_runs(carol, more)
        for path in PATHS:
            carol.client.get(path)  # warm process caches, such as the catalog index
            with counted() as sent:
                assert carol.client.get(path).status_code == 200
            queries[path].append(len(sent))
    for path, (at_one, at_thousand) in queries.items():
        assert 0 < at_thousand == at_one <= MOST, (path, at_one, at_thousand)


@both_databases
def test_the_counters_of_the_navigation_take_one_query(alice: Person) -> None:
    with counted() as sent:
        assert nav.load_nav(alice.id).unseen_new == 0
    assert len(sent) == 1


def walked(page: Callable[[int | None], tuple[list[Any], int | None]]) -> list[Any]:
    results: list[Any] = []
    before = None
    while True:
        lines, before = page(before)
        assert lines
        results += lines
        if before is None:
            return results


@both_databases
def test_paging_covers_everything_once_newest_first(alice: Person, bob: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    many_runs(alice, 57)
    bob.add_key("openai")
    synced(bob, means)
    mine = [run.id for run in walked(lambda before: runs.list_runs(alice.id, before, size=10))]
    assert mine == sorted(set(mine), reverse=True) and len(mine) == 58
    everyone = [run.id for run in walked(lambda before: runs.list_all_runs(HistoryFilter(), before, size=29))]
    assert len(everyone) == len(set(everyone)) == 59


def test_pages_link_to_older_entries_with_their_filters(carol: Person, means: SyncContext) -> None:
    carol.add_key("openai")
    synced(carol, means)
    many_runs(carol, 30)
    carol.sign_in()
    page = carol.client.get("/admin/history?trigger=cron&user=carol").text
    link = page.split('rel="next" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
    assert "trigger=cron" in link and "user=carol" in link and "before=" in link
    older = carol.client.get(link).text
    assert 'rel="next"' not in older
    assert (page.count("/history/"), older.count("/history/")) == (25 + page.count('href="/admin/history/'), 5)


@both_databases
def test_the_admins_filters_match(alice: Person, bob: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    bob.add_key("groq", "sk-this-key-was-revoked-1234")
    mine, bobs = synced(alice, means), synced(bob, means)
    day = mine.created_at.date()
    for wanted, found in (
        (HistoryFilter(), [bobs.id, mine.id]),
        (HistoryFilter(user="ALICE"), [mine.id]),
        (HistoryFilter(user="%"), []),
        (HistoryFilter(provider="groq"), [bobs.id]),
        (HistoryFilter(outcome="failed"), [bobs.id]),
        (HistoryFilter(provider="openai", outcome="failed"), []),
        (HistoryFilter(trigger="manual"), [bobs.id, mine.id]),
        (HistoryFilter(trigger="cron"), []),
        (HistoryFilter(since=day, until=day), [bobs.id, mine.id]),
        (HistoryFilter(since=day + timedelta(days=1)), []),
        (HistoryFilter(until=day - timedelta(days=1)), []),
        (HistoryFilter(until=date.max), [bobs.id, mine.id]),
    ):
        assert [run.id for run in runs.list_all_runs(wanted)[0]] == found, wanted


def summary(run: runs.RunView) -> str:
    return labels.summarize_run(run, provider_title, lambda _: "2 h ago")


def test_a_first_sync_says_what_it_found(alice: Person, means: SyncContext, simulator: Any) -> None:
    alice.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "o3"))
    assert summary(synced(alice, means)) == "Found 2 chat models."
    assert summary(synced(alice, means)) == "No changes since 2 h ago."
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    assert summary(synced(alice, means)) == "1 new model, 1 removed."
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3"))
    assert summary(synced(alice, means)) == "1 back."
    simulator.set_fault("openai", "empty")
    assert summary(synced(alice, means)) == "OpenAI: list on hold (new list 0, yours 3)."
    simulator.set_fault("openai", "error_500")
    assert summary(synced(alice, means)) == "OpenAI is having problems."


def test_a_first_sync_counts_models_once_per_provider_and_names_what_failed(
    alice: Person, means: SyncContext, simulator: Any
) -> None:
    alice.add_key("openai", label="work")
    alice.add_key("openai", label="home")
    alice.add_key("groq")
    alice.add_key("mistral", "sk-this-key-is-bad-1234")
    simulator.set_models("openai", named("gpt-4o", "o3"))
    simulator.set_models("groq", named("llama-3.3-70b-versatile", "a-model-nobody-knows"))
    run = synced(alice, means)
    assert summary(run) == "Found 4 chat models from 2 providers, 1 not in the catalog. Mistral rejected the key."
    alice.add_key("anthropic")
    simulator.set_models("anthropic", named("claude-opus-4-5"))
    simulator.set_models("openai", named("gpt-4o", "o3", "gpt-5"))
    later = synced(alice, means)
    assert summary(later) == "Found 1 chat model. 1 new model. Mistral rejected the key."
    assert later.total("new") == 1, "new under two keys of one provider"


def test_a_first_sync_of_differing_lists_counts_their_union(alice: Person, means: SyncContext, simulator: Any) -> None:
    for label in ("work", "home"):
        alice.add_key("openai", label=label)
        simulator.set_models("openai", named("gpt-4o", "o3" if label == "work" else "gpt-5"))
        run = synced(alice, means) if label == "work" else None
    assert run is None
    first = [result for result in synced(alice, means).results if result.is_first]
    assert [result.chat for result in first] == [2]
    lists = [result for one in runs.list_runs(alice.id)[0] for result in one.results]
    assert runs.count_chat_models(lists) == 3


# ------------------------------------------------------------------ concurrency


def at_once(app: Flask, *acts: Callable[[], Any]) -> list[Any]:
    """Run all concurrently, each in its own thread, session and transaction; returns their results."""
    start = threading.Barrier(len(acts))
    given: list[Any] = []

    def act(one: Callable[[], Any]) -> None:
        with app.app_context():
            start.wait(10)
            try:
                found = one()
                db.session.commit()
            except Exception as error:
                found = error
            given.append(found)

    db.session.commit()
    threads = [threading.Thread(target=act, args=(one,)) for one in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    db.session.expire_all()
    return given


@both_databases
@pytest.mark.parametrize("attempt", range(3))
def test_of_two_concurrent_first_sign_ups_one_is_admin(app: Flask, attempt: int) -> None:
    def sign_up(email: str) -> Callable[[], Any]:
        return lambda: users.create(email, "x", now()) is not None

    assert at_once(app, *(sign_up(f"{name}@example.com") for name in "abcd")) == [True] * 4
    assert db.session.scalar(select(func.count()).where(UserRow.is_admin)) == 1


@both_databases
def test_of_two_concurrent_sign_ups_with_one_address_one_fails(app: Flask) -> None:
    made = at_once(app, *[lambda: users.create("one@example.com", "x", now()) is not None] * 2)
    assert sorted(made) == [False, True]


@both_databases
def test_two_workers_with_one_listing_write_its_rows_once(app: Flask) -> None:
    provider = credentials.providers_by_slug()["openai"].id
    changes = [Change("new", f"gpt-{number}", f"gpt-{number}", ()) for number in range(20)]
    matched = [(ListedModel(id=f"gpt-{number}", kind="chat"), UNKNOWN) for number in range(200)]
    assert len(set(at_once(app, *[lambda: listings.save_comparison(b"k" * 32, changes, now()).id] * 4))) == 1
    assert db.session.scalar(select(func.count(ComparisonRow.id))) == 1
    assert db.session.scalar(select(func.count(ChangeRow.id))) == 20
    written = at_once(app, *[lambda: models.save(provider, matched, now())] * 4)
    assert all(isinstance(count, int) for count in written), written
    assert db.session.scalar(select(func.count(ModelRow.id))) == 200
