"""The feed of changes: days, providers, each change once, filters, paging."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.catalog.changes import Change, FieldChange
from app.extensions import db
from app.store.queries import changes
from app.store.queries.changes import MAX_CHANGES, PAGE_SIZE, ChangeFilter, FeedDay
from app.store.schema.tables import ProviderRow, RunRow
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.web.change_rows import add_changes, new_changes

pytestmark = both_databases

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVERYTHING = ChangeFilter()
CHEAPER = Change("changed", "gpt-4o", "GPT 4o", (FieldChange("output_per_million", "10", "8"),))


def days_of(person: Person, wanted: ChangeFilter = EVERYTHING, seen_at: datetime | None = None) -> list[FeedDay]:
    return changes.load_feed(person.id, wanted, seen_at=seen_at, zone=UTC).days


def ids(days: list[FeedDay]) -> list[list[tuple[str, list[str]]]]:
    """Day by day: provider and ids of its changes."""
    return [[(news.provider, [told.change.model_id for told in news.entries]) for news in day.news] for day in days]


def test_changes_are_grouped_by_day_and_then_by_provider_newest_first(alice: Person) -> None:
    openai, groq = alice.add_key("openai"), alice.add_key("groq")
    add_changes(alice, *new_changes("a"), at=NOON, key=openai)
    add_changes(alice, *new_changes("b"), at=NOON + timedelta(hours=1), key=groq)
    add_changes(alice, *new_changes("c"), at=NOON + timedelta(hours=2), key=openai)
    add_changes(alice, *new_changes("d"), at=NOON + timedelta(days=1), key=groq)
    days = days_of(alice)
    assert ids(days) == [[("groq", ["d"])], [("openai", ["a", "c"]), ("groq", ["b"])]]
    assert [sighting.at for sighting in days[1].news[0].occurrences] == [NOON + timedelta(hours=2), NOON]


def test_days_follow_the_users_time_zone(alice: Person) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("late"), at=NOON.replace(hour=23, minute=30), key=key)
    (day,) = changes.load_feed(alice.id, EVERYTHING, seen_at=None, zone=ZoneInfo("Europe/Berlin")).days
    assert day.day.isoformat() == "2026-11-02"
    assert days_of(alice)[0].day.isoformat() == "2026-11-01"


def test_a_change_seen_by_several_keys_appears_once_with_all_of_them(alice: Person) -> None:
    work, home = alice.add_key("openai", label="work"), alice.add_key("openai", label="home")
    add_changes(alice, *new_changes("a", "b"), at=NOON, key=work)
    add_changes(alice, *new_changes("a", "c"), at=NOON + timedelta(hours=30), key=home)  # synced on the next day
    assert ids(days_of(alice)) == [[("openai", ["c"])], [("openai", ["a", "b"])]]
    told = days_of(alice)[1].news[0].entries
    assert [one.labels for one in told] == [["home", "work"], ["work"]]


def test_a_repeated_later_or_other_providers_change_appears_again(alice: Person) -> None:
    work, home, groq = (
        alice.add_key("openai", label="work"),
        alice.add_key("openai", label="home"),
        alice.add_key("groq"),
    )
    add_changes(alice, CHEAPER, at=NOON, key=work)
    add_changes(alice, CHEAPER, at=NOON + timedelta(hours=1), key=work)
    add_changes(alice, CHEAPER, at=NOON + timedelta(hours=2), key=groq)
    add_changes(alice, CHEAPER, at=NOON + timedelta(days=9), key=home)
    assert ids(days_of(alice)) == [[("openai", ["gpt-4o"])], [("groq", ["gpt-4o"]), ("openai", ["gpt-4o", "gpt-4o"])]]


def test_a_day_is_split_at_the_last_visit(alice: Person) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("a"), at=NOON, key=key)
    add_changes(alice, *new_changes("b"), at=NOON + timedelta(hours=1), key=key)
    days = days_of(alice, seen_at=NOON)
    assert [(day.is_unseen, ids([day])[0][0][1]) for day in days] == [(True, ["b"]), (False, ["a"])]
    assert [day.is_unseen for day in days_of(alice, seen_at=None)] == [True]
    assert [day.is_unseen for day in days_of(alice, seen_at=NOON + timedelta(days=1))] == [False]


def test_every_filter_matches_only_the_users_own_changes(alice: Person, bob: Person) -> None:
    openai, groq = alice.add_key("openai"), alice.add_key("groq")
    bobs = bob.add_key("openai")
    add_changes(alice, *new_changes("a", "100%"), CHEAPER, at=NOON, key=openai)
    add_changes(alice, Change("unlisted", "b", "B"), at=NOON + timedelta(days=1), key=groq)
    add_changes(alice, Change("relisted", "b", "B"), at=NOON + timedelta(days=2), key=groq)
    add_changes(bob, *new_changes("bobs"), at=NOON, key=bobs)
    found = {
        ChangeFilter(kind="new"): ["a", "100%"],
        ChangeFilter(kind="changed"): ["gpt-4o"],
        ChangeFilter(kind="unlisted"): ["b"],
        ChangeFilter(kind="relisted"): ["b"],
        ChangeFilter(provider="groq"): ["b", "b"],
        ChangeFilter(provider="nobody"): [],
        ChangeFilter(credential_id=openai.id): ["a", "100%", "gpt-4o"],
        ChangeFilter(credential_id=bobs.id): [],
        ChangeFilter(text="GPT 4"): ["gpt-4o"],
        ChangeFilter(text="%"): ["100%"],
        ChangeFilter(text="_"): [],
        ChangeFilter(since=NOON): ["b", "b"],
        ChangeFilter(kind="unlisted", since=NOON + timedelta(days=1)): [],
        ChangeFilter(kind="new", provider="groq"): [],
    }
    for wanted, models in found.items():
        told = [told.change.model_id for day in days_of(alice, wanted) for news in day.news for told in news.entries]
        assert told == models, wanted
        assert [
            one.change.model_id for news in changes.load_entries(alice.id, wanted) for one in news.entries
        ] == models


def test_pages_end_at_the_end_of_a_day_and_cover_everything_once(alice: Person) -> None:
    key = alice.add_key("openai")
    for number in range(3 * PAGE_SIZE):
        add_changes(alice, *new_changes(f"m{number:03}"), at=NOON + timedelta(hours=number), key=key)
    seen: list[str] = []
    before, pages = None, []
    while True:
        page = changes.load_feed(alice.id, EVERYTHING, seen_at=None, zone=UTC, before=before)
        before = page.following
        pages.append([day.day for day in page.days])
        seen += [told.change.model_id for day in page.days for news in day.news for told in reversed(news.entries)]
        if before is None:
            break
    assert seen == [f"m{number:03}" for number in reversed(range(3 * PAGE_SIZE))]
    assert len(pages) > 2
    every = [day for page in pages for day in page]
    assert every == sorted(set(every), reverse=True)


def test_a_day_longer_than_a_page_continues_on_the_next(alice: Person) -> None:
    key = alice.add_key("openai")
    for number in range(PAGE_SIZE + 5):
        add_changes(alice, *new_changes(f"m{number:03}"), at=NOON + timedelta(seconds=number), key=key)
    first = changes.load_feed(alice.id, EVERYTHING, seen_at=None, zone=UTC)
    rest = changes.load_feed(alice.id, EVERYTHING, seen_at=None, zone=UTC, before=first.following)
    assert [len(page.days[0].news[0].entries) for page in (first, rest)] == [PAGE_SIZE, 5]
    assert rest.following is None


def test_a_page_knows_whether_the_previous_entry_is_unseen(alice: Person) -> None:
    key = alice.add_key("openai")
    for number in range(PAGE_SIZE + 1):
        add_changes(alice, *new_changes(f"m{number:03}"), at=NOON + timedelta(days=number), key=key)
    for seen, follows in ((NOON, True), (NOON + timedelta(days=1), False), (None, True)):
        first = changes.load_feed(alice.id, EVERYTHING, seen_at=seen, zone=UTC)
        rest = changes.load_feed(alice.id, EVERYTHING, seen_at=seen, zone=UTC, before=first.following)
        assert (first.follows_unseen, rest.follows_unseen) == (False, follows), seen
        assert ids(rest.days) == [[("openai", ["m000"])]]


def test_changes_beyond_the_limit_are_counted(alice: Person) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes(*(f"m{number:04}" for number in range(MAX_CHANGES + 7))), at=NOON, key=key)
    (news,) = days_of(alice)[0].news
    assert (len(news.entries), news.left_out) == (MAX_CHANGES, 7)


def test_models_of_a_first_list_are_not_additions(alice: Person) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("odd"), at=NOON, key=key, first=True)
    (news,) = days_of(alice)[0].news
    assert (news.changes, [change.model_id for change in news.uncatalogued]) == ([], ["odd"])


def test_changes_of_a_deleted_key_remain(alice: Person) -> None:
    provider_id = db.session.query(ProviderRow.id).filter_by(slug="groq").scalar()
    add_changes(alice, *new_changes("a"), at=NOON, provider_id=provider_id)
    assert ids(days_of(alice)) == [[("groq", ["a"])]]


def test_a_feed_entry_is_one_run_at_one_provider(alice: Person) -> None:
    work, home = alice.add_key("openai", label="work"), alice.add_key("openai", label="home")
    groq = alice.add_key("groq")
    run = RunRow(user_id=alice.id, trigger="cron", state="done", created_at=NOON, ended_at=NOON)
    db.session.add(run)
    db.session.flush()
    same = b"x" * 32
    add_changes(alice, *new_changes("a"), at=NOON, key=work, run=run, key_of_comparison=same)
    add_changes(alice, *new_changes("a"), at=NOON + timedelta(seconds=1), key=home, run=run, key_of_comparison=same)
    add_changes(alice, *new_changes("b"), at=NOON + timedelta(seconds=2), key=groq, run=run)
    add_changes(alice, *new_changes("c"), at=NOON + timedelta(hours=1), key=work)
    found = [
        (news.provider, [one.change.model_id for one in news.entries])
        for news in changes.load_entries(alice.id, EVERYTHING)
    ]
    assert found == [("openai", ["c"]), ("groq", ["b"]), ("openai", ["a"])]


@pytest.mark.parametrize("wanted", [EVERYTHING, ChangeFilter(kind="new", text="m")])
def test_a_page_takes_two_queries(alice: Person, wanted: ChangeFilter) -> None:
    key = alice.add_key("openai")
    for number in range(40):
        with counted() as sent:
            days_of(alice, wanted)
        assert len(sent) == (2 if number else 1)
        add_changes(alice, *new_changes(f"m{number}"), at=NOON + timedelta(hours=number), key=key)
