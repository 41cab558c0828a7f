"""Daily outcomes and key snapshots: exact, own data only, one query each."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, update

from app.demo.simulator import Simulator
from app.extensions import db
from app.store.queries import history
from app.store.schema.tables import ResultRow, RunRow
from app.sync.run import SyncContext
from tests.conftest import Clock, Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import named, synced

pytestmark = both_databases


def test_days_count_only_own_outcomes_within_their_bounds(
    alice: Person, bob: Person, means: SyncContext, clock: Clock, simulator: Simulator
) -> None:
    for person in (alice, bob):
        person.add_key("openai")
    alice.add_key("groq", "sk-this-key-was-revoked-1234")
    start = clock.moment
    synced(alice, means)
    synced(bob, means)
    clock.forward(days=1)
    synced(alice, means)
    bounds = [start - timedelta(hours=1) + timedelta(days=number) for number in range(-1, 4)]
    with counted() as sent:
        found = history.count_outcomes_by_day(alice.id, bounds)
    assert found == [{}, {"complete": 1, "failed": 1}, {"unchanged": 1, "failed": 1}, {}]
    assert len(sent) == 1


def test_snapshots_are_the_changes_of_a_keys_list(
    alice: Person, bob: Person, means: SyncContext, clock: Clock, simulator: Simulator
) -> None:
    key = alice.add_key("openai")
    lists = [named("a", "b"), named("a", "b"), named("a", "b", "c"), [], named("a", "b", "c"), named("a", "b")]
    made = []
    for models in lists:
        simulator.set_models("openai", models)
        made.append(synced(alice, means).results[0])
        clock.forward(days=1)
    assert [result.outcome for result in made] == [
        "complete", "unchanged", "complete", "suspect", "unchanged", "complete",
    ]  # fmt: skip
    found = history.list_snapshots(alice.id, key.id)
    assert [(moment.id, moment.chat) for moment in found] == [(made[5].id, 2), (made[2].id, 3), (made[0].id, 2)]
    assert history.list_snapshots(bob.id, key.id) == []
    with_also = history.list_snapshots(alice.id, key.id, [made[4].id, made[3].id])
    assert [moment.id for moment in with_also] == [made[5].id, made[4].id, made[2].id, made[0].id]  # never the suspect


def test_a_key_with_a_pruned_beginning_still_has_a_snapshot(alice: Person, means: SyncContext) -> None:
    key = alice.add_key("openai")
    first = synced(alice, means)
    again = synced(alice, means).results[0]
    db.session.execute(update(ResultRow).where(ResultRow.run_id == first.id).values(credential_id=None))
    db.session.execute(delete(RunRow).where(RunRow.id == first.id))
    db.session.commit()
    assert again.outcome == "unchanged"
    assert [moment.id for moment in history.list_snapshots(alice.id, key.id)] == [again.id]


def test_a_key_is_visible_to_its_owner_only(alice: Person, bob: Person) -> None:
    key = alice.add_key("openai", label="work")
    found = history.find_key(alice.id, key.id)
    assert found is not None and (found.provider, found.label) == ("openai", "work")
    assert history.find_key(bob.id, key.id) is None
    assert [one.id for one in history.list_keys(alice.id)] == [key.id]
    assert history.list_keys(bob.id) == []
