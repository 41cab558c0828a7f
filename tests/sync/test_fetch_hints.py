"""What a run does with what a provider said the time before: to wait, or that nothing changed. On both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from sqlalchemy import select

from app.demo.simulator import Simulator
from app.extensions import db
from app.store import credentials
from app.store.http_cache import MAX_AGE
from app.store.schema.tables import CredentialRow
from app.sync.http.retry import RetryPolicy
from app.sync.limits.circuit_breaker import DEFAULT_POLICY
from app.sync.limits.store import RedisLimiterStore
from app.sync.run import SyncContext
from app.vault import ApiKey, PublicKey
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import only, snapshot, synced

pytestmark = both_databases


def state(key: CredentialRow) -> CredentialRow:
    db.session.rollback()
    row = db.session.scalar(
        select(CredentialRow).where(CredentialRow.id == key.id).execution_options(populate_existing=True)
    )
    assert row
    return row


# ------------------------------------------------------------------ put off


def test_a_key_is_put_off_until_the_time_its_provider_names(
    alice: Person, means: SyncContext, simulator: Simulator, clock: Clock
) -> None:
    key = alice.add_key("groq")
    synced(alice, means)
    simulator.set_fault("groq", "rate_limited", seconds=1_200)
    result = only(synced(alice, means))
    assert (result.outcome, result.error_code) == ("failed", "rate_limited")
    assert result.error_message == "Groq asks to wait until 12:20 UTC (429)."
    assert result.error_action.startswith("We kept your last list.")
    until = state(key).put_off_until
    assert until and until - clock() == pytest.approx(timedelta(seconds=1_200), abs=timedelta(seconds=1))

    simulator.clear_fault()
    simulator.clear_requests()
    before = state(key).checked_at
    spared = only(synced(alice, means))
    assert (spared.outcome, spared.error_code) == ("skipped", "put_off")
    assert spared.error_message == "Groq asked to wait until 12:20 UTC, so it was not asked."
    assert simulator.requests() == []
    row = state(key)
    assert (row.outcome, row.checked_at) == ("failed", before)

    clock.forward(seconds=1_200)
    assert only(synced(alice, means)).outcome == "unchanged"
    assert state(key).put_off_until is None


def test_a_wait_beyond_midnight_names_the_day(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("groq")
    simulator.set_fault("groq", "rate_limited", seconds=80_000)
    assert only(synced(alice, means)).error_message == "Groq asks to wait until 2 November 10:13 UTC (429)."


def test_a_short_wait_is_waited_for_within_the_run(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("groq")
    simulator.set_fault("groq", "rate_limited", seconds=5, times=1)
    slept: list[float] = []
    assert only(synced(alice, replace(means, retry_policy=RetryPolicy(sleep=slept.append)))).outcome == "complete"
    assert len(slept) == 1 and slept[0] >= 5


def test_another_key_does_not_wait_for_the_one_before(
    alice: Person, means: SyncContext, simulator: Simulator, public_key: PublicKey
) -> None:
    key = alice.add_key("groq")
    simulator.set_fault("groq", "rate_limited", seconds=1_200)
    synced(alice, means)
    simulator.clear_fault()
    credentials.replace(state(key), "groq", ApiKey("sk-another-good-key-of-alice"), public_key, means.now())
    db.session.commit()
    assert only(synced(alice, means)).outcome == "complete"


# ------------------------------------------------------------------ conditional


def test_a_list_that_its_provider_confirms_is_unchanged_without_being_read(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    key = alice.add_key("openai")
    simulator.set_fault("openai", "conditional")
    first = only(synced(alice, means))
    before, listed_at = snapshot(), state(key).listed_at
    again = only(synced(alice, means))
    assert "if-none-match" in simulator.requests("openai")[-1].headers
    assert (again.outcome, again.fetched, again.chat) == ("unchanged", first.fetched, first.chat)
    assert (again.new, again.changed, again.unlisted, again.uncatalogued) == (0, 0, 0, first.uncatalogued)
    assert snapshot() == before
    assert state(key).listed_at > listed_at
    simulator.add_new("openai", 1)
    changed = only(synced(alice, means))
    assert (changed.outcome, changed.new) == ("complete", 1)
    assert only(synced(alice, means)).outcome == "unchanged"


def test_another_key_or_another_address_is_asked_for_the_whole_list(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator, public_key: PublicKey
) -> None:
    key = alice.add_key("openai")
    simulator.set_fault("openai", "conditional")
    synced(alice, means)
    credentials.replace(state(key), "openai", ApiKey("sk-another-good-key-of-alice"), public_key, means.now())
    db.session.commit()
    assert only(synced(alice, means)).outcome == "unchanged"
    bob.add_key("openai")
    synced(bob, means)
    moved = replace(means, base_urls={**means.base_urls, "openai": means.base_urls["openai"] + "/"})
    synced(alice, moved)
    assert all("if-none-match" not in seen.headers for seen in simulator.requests("openai"))


def test_a_list_is_read_in_full_after_a_week(
    alice: Person, means: SyncContext, simulator: Simulator, clock: Clock
) -> None:
    alice.add_key("openai")
    simulator.set_fault("openai", "conditional")
    synced(alice, means)
    clock.forward(seconds=MAX_AGE.total_seconds())
    synced(alice, means)
    assert "if-none-match" not in simulator.requests("openai")[-1].headers


def test_an_answer_kept_aside_is_never_confirmed(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    key = alice.add_key("openai")
    simulator.set_fault("openai", "conditional")
    whole = simulator.models("openai")
    synced(alice, means)
    simulator.set_models("openai", whole[:2])
    assert [only(synced(alice, means)).outcome for _ in range(2)] == ["suspect", "suspect"]
    assert state(key).validators is None
    simulator.set_models("openai", whole)
    assert only(synced(alice, means)).outcome == "unchanged"


# ------------------------------------------------------------------ circuit breaker


def test_a_provider_in_trouble_costs_only_its_own_users_nothing(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator, clock: Clock, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        shared = replace(means, limiter_store=RedisLimiterStore(connection))
        for number in range(2):
            alice.add_key("groq", f"sk-good-key-of-alice-{number}", label=str(number))
        bob.add_key("groq")
        bob.add_key("openai")
        synced(alice, shared)
        synced(bob, shared)
        simulator.set_fault("groq", "unavailable_503")
        synced(alice, shared)
        synced(bob, shared)
        synced(alice, shared)
        simulator.clear_fault()
        simulator.clear_requests()
        groq, openai = sorted(synced(bob, shared).results, key=lambda result: result.provider)
        assert (groq.outcome, groq.error_code, openai.outcome) == ("failed", "provider_trouble", "unchanged")
        assert groq.error_message == "Groq is having trouble since 12:00 UTC; trying again at 12:05 UTC."
        assert groq.error_action.startswith("We kept your last list.")
        assert simulator.requests("groq") == []
        clock.forward(seconds=DEFAULT_POLICY.rest_s)
        assert {result.outcome for result in synced(bob, shared).results} == {"unchanged"}


def test_a_new_keys_first_sync_is_put_off_in_words(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    key = alice.add_key("groq")
    simulator.set_fault("groq", "rate_limited", seconds=1_200)
    synced(alice, means)
    assert state(key).error_message == "Groq asks to wait until 12:20 UTC (429)."
