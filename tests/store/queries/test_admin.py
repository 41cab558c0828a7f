"""Read models of the admin's pages: daily counts equal fresh counts, and the last admin cannot be removed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, insert, select, update

from app.extensions import db
from app.store import audit, catalog, credentials
from app.store.accounts import user_actions, users
from app.store.accounts.user_actions import UserActionError
from app.store.audit import Actor
from app.store.queries import admin
from app.store.queries.admin import WHOLE_RUNS
from app.store.queries.runs import HistoryFilter
from app.store.schema.tables import CredentialRow, ResultRow, RunRow, TallyRow, UserRow
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import at_once, counted

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CAROL = Actor(None, "carol@example.com")


def ended(person: Person, slug: str, outcome: str, at: datetime, state: str = "done", key: int | None = None) -> int:
    """A run with one result, both ended at that time."""
    run_id = db.session.scalar(
        insert(RunRow)
        .values(user_id=person.id, trigger="cron", state=state, created_at=at, ended_at=at)
        .returning(RunRow.id)
    )
    provider_id = credentials.providers_by_slug()[slug].id
    facts = {"run_id": run_id, "user_id": person.id, "credential_id": key}
    db.session.execute(insert(ResultRow).values(provider_id=provider_id, outcome=outcome, ended_at=at, **facts))
    db.session.commit()
    return run_id or 0


def sums(now: datetime = NOW, days: int = 30) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for one in admin.load_counts(days, now):
        found[f"{one.day}", one.slug, one.word] += one.number
    return found


@both_databases
def test_daily_counts_equal_a_fresh_count(alice: Person) -> None:
    moments = [NOW - timedelta(days=back, hours=hour) for back in (0, 1, 2, 2, 9, 29) for hour in (0, 11)]
    for number, at in enumerate(moments):
        ended(alice, ("openai", "groq")[number % 2], ("complete", "failed", "suspect")[number % 3], at)
    ended(alice, "openai", "skipped", NOW - timedelta(days=2), state="lost")
    before = sums()
    assert sum(count for (_, slug, _), count in before.items() if slug != WHOLE_RUNS) == len(moments) + 1
    assert before["2026-11-19", WHOLE_RUNS, "lost"] == 1
    admin.aggregate_days(NOW)
    admin.aggregate_days(NOW)
    db.session.commit()
    assert sums() == before
    assert db.session.scalar(select(func.max(TallyRow.day))) == (NOW - timedelta(days=1)).date()
    ended(alice, "groq", "failed", NOW)
    assert sums() - before == Counter({("2026-11-21", "groq", "failed"): 1, ("2026-11-21", WHOLE_RUNS, "done"): 1})


@both_databases
def test_a_day_is_counted_after_its_last_transaction_can_have_ended(alice: Person) -> None:
    midnight = NOW.replace(hour=0)
    ended(alice, "openai", "complete", midnight - timedelta(seconds=1))
    admin.aggregate_days(midnight + timedelta(minutes=59))
    assert db.session.scalar(select(func.count()).select_from(TallyRow)) == 0
    ended(alice, "openai", "complete", midnight - timedelta(milliseconds=1))
    admin.aggregate_days(midnight + timedelta(minutes=61))
    assert db.session.scalars(select(TallyRow.count).where(TallyRow.slug == "openai")).all() == [2]


@both_databases
def test_daily_counts_are_deleted_after_three_months(alice: Person) -> None:
    ended(alice, "openai", "complete", NOW - timedelta(days=80))
    admin.aggregate_days(NOW)
    admin.aggregate_days(NOW + timedelta(days=20))
    assert db.session.scalar(select(func.count()).select_from(TallyRow)) == 0


@both_databases
def test_the_last_24_hours_are_exact_to_the_second(alice: Person) -> None:
    ended(alice, "openai", "complete", NOW - timedelta(hours=23, minutes=59))
    ended(alice, "openai", "failed", NOW - timedelta(hours=24, minutes=1))
    assert admin.count_last_day(NOW) == {(WHOLE_RUNS, "done"): 1, ("results", "complete"): 1}


@both_databases
def test_a_failing_key_has_the_time_of_its_first_failure(alice: Person, bob: Person) -> None:
    key, other, off = alice.add_key("openai"), bob.add_key("groq"), bob.add_key("openai")
    hours = lambda count: NOW - timedelta(hours=count)  # noqa: E731
    for back, outcome in ((9, "failed"), (8, "complete"), (7, "failed"), (6, "suspect"), (5, "failed")):
        ended(alice, "openai", outcome, hours(back), key=key.id)
    sentence = {"outcome": "failed", "error_code": "key_rejected", "error_message": "The provider refuses this key."}
    change = update(CredentialRow).execution_options(synchronize_session=False)
    db.session.execute(change.values(created_at=hours(99), checked_at=hours(5), **sentence))
    db.session.execute(change.where(CredentialRow.id == key.id).values(listed_at=hours(8)))
    db.session.execute(change.where(CredentialRow.id == off.id).values(is_active=False))
    db.session.commit()
    found = {line.id: line for line in admin.list_failing_keys(10)}
    assert set(found) == {key.id, other.id}
    assert (found[key.id].since, found[key.id].email) == (hours(7), "alice@example.com")
    assert found[key.id].error_message == "The provider refuses this key."
    assert found[other.id].since == hours(5)  # it failed as it was checked, before any sync
    assert len(admin.list_failing_keys(1)) == 1
    assert admin.load_totals().failing_keys == 2


@both_databases
def test_the_installations_own_account_is_not_listed(app: Flask, carol: Person) -> None:
    server = users.server_account(NOW)
    db.session.commit()
    assert [line.email for line in admin.list_users()[0]] == ["carol@example.com"]
    assert admin.load_totals().users == 1
    assert admin.load_user(server.id) is None
    assert user_actions.find_by_id(server.id) is None and user_actions.find_by_email(server.email) is None


@both_databases
def test_users_are_searched_and_paged_without_duplicates(app: Flask, carol: Person) -> None:
    for number in range(7):
        users.create(f"person_{number}%@example.com", "x", NOW)
    db.session.commit()
    walked, before = [], None
    while True:
        lines, before = admin.list_users("N_", before, 3)
        walked += [line.email for line in lines]
        if before is None:
            break
    assert walked == [f"person_{number}%@example.com" for number in range(6, -1, -1)]
    assert [line.email for line in admin.list_users("3%")[0]] == ["person_3%@example.com"]
    assert admin.list_users("nobody") == ([], None)


@both_databases
def test_read_models_take_a_constant_number_of_queries(alice: Person, carol: Person) -> None:
    queries: list[list[int]] = []
    for more in (0, 1, 30):
        for number in range(more):
            ended(alice, "openai", "complete", datetime.now(UTC) - timedelta(hours=number))
        db.session.rollback()
        counts = []
        for read in (
            lambda: admin.load_counts(30, datetime.now(UTC)),
            lambda: admin.count_last_day(datetime.now(UTC)),
            admin.load_totals,
            lambda: admin.list_failing_keys(25),
            admin.list_users,
            lambda: admin.load_user(alice.id),
            admin.list_providers,
        ):
            with counted() as sent:
                read()
            counts.append(len(sent))
        queries.append(counts)
    assert queries == [[3, 1, 1, 1, 1, 1, 1]] + [[2, 1, 1, 1, 1, 1, 1]] * 2  # past days are read once


@both_databases
def test_cached_days_are_reloaded_after_new_counts(alice: Person) -> None:
    now = datetime.now(UTC)
    ended(alice, "openai", "failed", now - timedelta(days=3))
    before = list(admin.load_counts(30, now))
    admin.aggregate_days(now)
    db.session.commit()
    after = admin.load_counts(30, now)
    assert sorted(after) == sorted(before) and len(after.closed.counts) == len(before)
    assert admin.load_counts(30, now) == after  # so that derived pages can be cached
    ended(alice, "openai", "failed", now)
    later = admin.load_counts(30, now)
    assert later != after and later.closed is after.closed and sum(one.number for one in later if one.slug) == 2


@both_databases
def test_runs_are_exported_in_batches_without_an_open_transaction(alice: Person) -> None:
    for number in range(7):
        ended(alice, "openai", "failed" if number % 2 else "complete", NOW)
    batches = list(admin.iter_runs(HistoryFilter(outcome="complete"), 3))
    assert [len(batch) for batch in batches] == [3, 1]
    for _ in admin.iter_runs(HistoryFilter(), 2):
        assert not db.session().in_transaction() and not list(db.session)


# ------------------------------------------------------------------ accounts


def row(person: Person) -> UserRow:
    found = user_actions.find_by_id(person.id)
    assert found is not None
    return found


@both_databases
def test_the_last_admin_cannot_be_removed(carol: Person, alice: Person) -> None:
    for act in (user_actions.demote, user_actions.disable, user_actions.remove):
        with pytest.raises(UserActionError):
            act(row(carol), CAROL, NOW)
    assert audit.list_entries()[0] == ()
    facts = admin.load_user(carol.id)
    assert facts is not None and facts.is_last_admin
    user_actions.promote(row(alice), CAROL, NOW)
    user_actions.disable(row(alice), CAROL, NOW)  # a disabled admin does not count
    with pytest.raises(UserActionError):
        user_actions.demote(row(carol), CAROL, NOW)
    user_actions.enable(row(alice), CAROL, NOW)
    user_actions.remove(row(carol), CAROL, NOW)
    db.session.commit()
    assert [line.email for line in admin.list_users()[0]] == ["alice@example.com"]


@both_databases
def test_of_two_admins_who_demote_each_other_concurrently_one_remains(app: Flask, carol: Person, alice: Person) -> None:
    user_actions.promote(row(alice), CAROL, NOW)
    db.session.commit()

    def demote(user_id: int) -> Any:
        def act() -> None:
            found = user_actions.find_by_id(user_id)
            assert found is not None
            user_actions.demote(found, CAROL, NOW)

        return act

    at_once(app, demote(carol.id), demote(alice.id))
    assert db.session.scalar(select(func.count()).where(UserRow.is_admin)) == 1


@both_databases
def test_each_action_is_audited_and_no_op_actions_are_not(carol: Person, alice: Person) -> None:
    stamp = alice.row.auth_stamp
    for name in ("promote", "promote", "demote", "demote", "disable", "disable", "enable", "enable", "sign-out"):
        user_actions.ACTIONS[name](row(alice), CAROL, NOW)
        db.session.commit()
    assert [line.subject for line in audit.list_entries()[0]] == ["alice@example.com"] * 5
    assert row(alice).auth_stamp != stamp


@both_databases
def test_provider_settings_are_saved_and_audited_once(app: Flask, carol: Person) -> None:
    provider = credentials.providers_by_slug()["groq"]
    for _ in range(2):
        catalog.update_provider(
            provider, is_active=False, frequency="weekly", base_url="https://eu.example.com", actor=CAROL, now=NOW
        )
        db.session.commit()
    (line,), _ = audit.list_entries()
    assert (line.action, line.subject) == ("provider", "groq")
    assert line.after == {"enabled": False, "update frequency": "weekly", "base URL": "https://eu.example.com"}
    found = next(line for line in admin.list_providers() if line.slug == "groq")
    assert (found.is_active, found.admin_frequency, found.admin_base_url) == (False, "weekly", "https://eu.example.com")
