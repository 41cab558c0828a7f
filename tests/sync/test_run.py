"""A run from claim to close, against simulated providers, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, text, update

from app.catalog.humanize import describe_change
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import Row, db
from app.store import credentials, runs
from app.store.queries import keys, models_of_keys, nav
from app.store.queries import runs as run_queries
from app.store.queries.runs import ResultView, RunView
from app.store.schema.tables import ChangeRow, CredentialRow, ListingRow, ModelRow, ResultRow, RunRow
from app.sync import run as sync
from app.sync.http import fetch
from app.sync.run import SyncContext
from app.vault import ApiKey, PublicKey
from tests.conftest import Clock, Person, both_databases

pytestmark = both_databases


def synced(person: Person, means: SyncContext, provider: str | None = None) -> RunView:
    """Start a run and do it in this process."""
    started = runs.start(person.id, "manual", means.now(), provider=provider)
    db.session.commit()
    assert started is not None
    assert sync.execute(started.run.id, means)
    run = run_queries.load_run(started.run.id)
    assert run is not None
    return run


def named(*model_ids: str) -> list[SimModel]:
    return [SimModel(model_id) for model_id in model_ids]


def only(run: RunView) -> ResultView:
    (result,) = run.results
    return result


def count(row: type[Row]) -> int:
    return db.session.scalar(select(func.count()).select_from(row)) or 0


def snapshot() -> dict[str, list[tuple[object, ...]]]:
    """All rows that describe models and changes, without ids and times of results and runs."""
    return {
        "models": list(
            map(
                tuple,
                db.session.execute(
                    text("SELECT provider_model_id, is_active, facts_hash FROM models ORDER BY provider_model_id")
                ),
            )
        ),
        "listings": list(map(tuple, db.session.execute(text("SELECT fingerprint FROM listings ORDER BY fingerprint")))),
        "changes": list(
            map(tuple, db.session.execute(text("SELECT kind, provider_model_id FROM changes ORDER BY 1, 2")))
        ),
    }


def test_a_first_sync_reads_every_provider_and_counts_what_it_found(alice: Person, means: SyncContext) -> None:
    for slug in ("openai", "anthropic", "google", "groq", "openrouter"):
        alice.add_key(slug)
    run = synced(alice, means)
    assert run.state == "done"
    assert [result.outcome for result in run.results] == ["complete"] * 5
    for result in run.results:
        assert 0 < result.chat <= result.fetched
        assert result.duration_s is not None
    # What the page calls chat models is what the database has as chat models.
    chat = db.session.scalar(select(func.count()).where(ModelRow.kind == "chat"))
    assert chat == sum(result.chat for result in run.results)


def test_new_on_a_first_sync_means_unknown_to_the_catalog(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows"))
    result = only(synced(alice, means))
    assert (result.chat, result.new, result.uncatalogued) == (2, 1, 1)
    assert [change.model_id for group in run_queries.load_changes([result]) for change in group.changes] == [
        "gpt-99-nobody-knows"
    ]


def test_a_second_sync_of_the_same_list_writes_one_result_row_and_no_model(alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    alice.add_key("openrouter")
    synced(alice, means)
    before, results = snapshot(), count(ResultRow)
    stamps = db.session.execute(select(ModelRow.id, ModelRow.updated_at).order_by(ModelRow.id)).all()
    again = synced(alice, means)
    assert [result.outcome for result in again.results] == ["unchanged", "unchanged"]
    assert snapshot() == before
    assert db.session.execute(select(ModelRow.id, ModelRow.updated_at).order_by(ModelRow.id)).all() == stamps
    assert count(ResultRow) == results + 2
    assert [result.chat for result in again.results] == [row.chat for row in again.results]


def test_a_model_that_appears_is_new_also_when_the_catalog_knows_it(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    simulator.set_models("openai", named("gpt-4o"))
    assert only(synced(alice, means)).new == 0
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    result = only(synced(alice, means))
    assert (result.outcome, result.new, result.uncatalogued) == ("complete", 1, 0)


def test_a_vanished_model_is_unlisted_not_deleted(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3"))
    synced(alice, means)
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    result = only(synced(alice, means))
    assert (result.outcome, result.unlisted, result.new) == ("complete", 1, 0)
    row = db.session.scalars(select(ModelRow).where(ModelRow.provider_model_id == "o3")).one()
    assert not row.is_active


def test_a_model_that_comes_back_is_relisted_not_new(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("openai")
    full = named("gpt-4o", "gpt-5", "o3")
    for models in (full, full[:2], full):
        simulator.set_models("openai", models)
        result = only(synced(alice, means))
    assert result.new == 0
    (group,) = run_queries.load_changes([result])
    assert [(change.kind, change.model_id) for change in group.changes] == [("relisted", "o3")]
    assert db.session.scalars(select(ModelRow.is_active).where(ModelRow.provider_model_id == "o3")).one()


def test_a_price_change_is_described_in_words(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("openrouter", None)
    synced(alice, means)
    target = next(model for model in simulator.models("openrouter") if model.completion and float(model.completion) > 0)
    simulator.reprice("openrouter", target.id, str(target.prompt), f"{float(target.completion or 0) * 2:.10f}")
    result = only(synced(alice, means))
    assert (result.changed, result.new, result.unlisted) == (1, 0, 0)
    (group,) = run_queries.load_changes([result])
    said = describe_change(group.changes[0])
    assert said.startswith("output price $")
    assert "+100" in said


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        ("empty", "empty_list", "answered with an empty list, so it was kept aside; yours has"),
        ("shrunk", "suspect_list", "are missing from this answer"),
        ("wrong_entries", "unreadable_list", "None of the 7 entries of this answer could be read"),
    ],
)
def test_a_suspicious_answer_is_kept_aside_and_nothing_is_lost(
    alice: Person, means: SyncContext, simulator: Simulator, fault: str, code: str, sentence: str
) -> None:
    key = alice.add_key("openai")
    synced(alice, means)
    before = snapshot()
    in_force = db.session.scalar(select(CredentialRow.listing_id).where(CredentialRow.id == key.id))
    simulator.set_fault("openai", fault)
    result = only(synced(alice, means))
    assert result.outcome == "suspect"
    assert result.error_code == code
    assert sentence in (result.error_message or "")
    assert result.unlisted == 0
    assert db.session.scalar(select(CredentialRow.listing_id).where(CredentialRow.id == key.id)) == in_force
    assert snapshot()["models"] == before["models"]
    simulator.clear_fault("openai")
    assert only(synced(alice, means)).outcome == "unchanged"


def test_a_partial_answer_can_add_but_not_take_away(
    alice: Person, means: SyncContext, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add_key("anthropic")
    simulator.set_models("anthropic", named("claude-a", "claude-b", "claude-c", "claude-d"))
    synced(alice, means)
    # The first page has one new model, and lacks two that are on the second, which is not read.
    simulator.set_models("anthropic", named("claude-new", "claude-a", "claude-b", "claude-c", "claude-d"))
    simulator.page_size = 3
    monkeypatch.setattr(fetch, "MAX_PAGES", 1)
    result = only(synced(alice, means))
    assert (result.outcome, result.new, result.unlisted) == ("partial", 1, 0)
    everything = ["claude-a", "claude-b", "claude-c", "claude-d", "claude-new"]
    assert active_models() == everything
    # Read to its end, the same list takes away what it lacks.
    simulator.set_models("anthropic", named("claude-new", "claude-a", "claude-b"))
    result = only(synced(alice, means))
    assert (result.outcome, result.new, result.unlisted) == ("complete", 0, 2)
    assert active_models() == ["claude-a", "claude-b", "claude-new"]


def active_models() -> list[str]:
    return sorted(db.session.scalars(select(ModelRow.provider_model_id).where(ModelRow.is_active)))


def test_a_failure_of_one_provider_is_a_sentence_and_leaves_the_others_alone(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    alice.add_key("groq")
    synced(alice, means)
    before = snapshot()
    simulator.set_fault("groq", "error_500")
    openai, groq = synced(alice, means).results
    assert openai.outcome == "unchanged"
    assert (groq.outcome, groq.error_code) == ("failed", "unavailable")
    assert groq.error_message and groq.error_action
    assert snapshot() == before


def test_ten_users_with_one_list_share_its_rows(app: Flask, alice: Person, bob: Person, means: SyncContext) -> None:
    alice.add_key("openrouter", None)
    bob.add_key("openrouter", None)
    synced(alice, means)
    rows = count(ListingRow), count(ModelRow), count(ChangeRow)
    synced(bob, means)
    assert (count(ListingRow), count(ModelRow), count(ChangeRow)) == rows


def test_a_model_that_another_key_still_lists_stays_active(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    bob.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3"))
    synced(alice, means)
    synced(bob, means)
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    assert only(synced(bob, means)).unlisted == 1
    assert db.session.scalars(select(ModelRow.is_active).where(ModelRow.provider_model_id == "o3")).one()
    assert only(synced(alice, means)).unlisted == 1
    assert not db.session.scalars(select(ModelRow.is_active).where(ModelRow.provider_model_id == "o3")).one()


def test_a_fine_tune_stays_its_owners(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    alice.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "ft:gpt-4o-mini-2024-07-18:acme::abc"))
    assert only(synced(alice, means)).chat == 2
    assert db.session.scalars(select(ModelRow.provider_model_id)).all() == ["gpt-4o"]
    (key,) = models_of_keys.load_key_models(alice.id)
    assert [model.id for model in key.models] == ["ft:gpt-4o-mini-2024-07-18:acme::abc", "gpt-4o"]


def test_one_user_has_one_live_run(alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    first = runs.start(alice.id, "manual", means.now())
    second = runs.start(alice.id, "api", means.now())
    db.session.commit()
    assert first and second and first.is_new and not second.is_new
    assert first.run.id == second.run.id
    assert runs.start_many([alice.id], "cron", means.now()) == []


def test_a_run_is_performed_once(alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    run = synced(alice, means)
    assert not sync.execute(run.id, means)


def test_a_dead_workers_run_closes_itself_as_lost_and_can_be_run_again(
    alice: Person, means: SyncContext, clock: Clock
) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", clock())
    assert started
    runs.claim([started.run.id], clock(), sync.LEASE)
    db.session.commit()
    assert runs.close_lost(clock()) == []
    clock.forward(seconds=sync.LEASE.total_seconds() + 1)
    run = synced(alice, means)
    lost = run_queries.load_run(started.run.id)
    assert lost and lost.state == "lost"
    assert (only(lost).outcome, only(lost).error_code) == ("skipped", "run_lost")
    assert run.id != started.run.id and only(run).outcome == "complete"


def test_a_worker_that_lost_its_lease_writes_nothing(alice: Person, means: SyncContext, clock: Clock) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", clock())
    db.session.commit()
    assert started

    def seize(_run_id: int) -> None:
        # Another reader finds the lease expired while this worker was away.
        clock.forward(seconds=60)
        runs.close_lost(clock())
        db.session.commit()

    late = SyncContext(vault=means.vault, client=means.client, base_urls=means.base_urls, now=clock, on_progress=seize)
    assert not sync.execute(started.run.id, late)
    run = run_queries.load_run(started.run.id)
    assert run and run.state == "lost"
    assert count(ListingRow) == 0


def test_a_key_of_another_vault_is_named_and_not_overwritten(alice: Person, means: SyncContext) -> None:
    from app.vault import Keyring, generate_private_key

    key = alice.add_key("openai")
    sealed = key.sealed_key
    other = SyncContext(
        vault=Keyring(generate_private_key()), client=means.client, base_urls=means.base_urls, now=means.now
    )
    result = only(synced(alice, other))
    assert (result.outcome, result.error_code) == ("failed", "key_unopenable")
    assert db.session.scalar(select(CredentialRow.sealed_key).where(CredentialRow.id == key.id)) == sealed


def test_a_key_removed_or_replaced_mid_run_is_skipped(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    key = alice.add_key("openai")
    started = runs.start(alice.id, "manual", means.now())
    db.session.commit()
    assert started

    def replace(_run_id: int) -> None:
        db.session.execute(text("UPDATE credentials SET key_number = key_number + 1 WHERE id = :id"), {"id": key.id})
        db.session.commit()

    meddled = SyncContext(
        vault=means.vault, client=means.client, base_urls=means.base_urls, now=means.now, on_progress=replace
    )
    assert sync.execute(started.run.id, meddled)
    run = run_queries.load_run(started.run.id)
    assert run and (run.state, only(run).outcome, only(run).error_code) == ("done", "skipped", "key_removed")


def test_nothing_written_by_a_dry_run(alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    alice.add_key("groq", "a-revoked-key-1234")
    before = snapshot(), count(RunRow), count(ResultRow)
    groq, openai = sync.dry_run(alice.id, None, means).results
    assert (openai["outcome"], openai["error"]) == ("complete", None)
    assert openai["chat"] > 0
    assert groq["error"]["code"] == "key_revoked"
    assert (snapshot(), count(RunRow), count(ResultRow)) == before


def test_a_dry_run_trusts_another_key_as_the_sync_does(
    alice: Person, means: SyncContext, simulator: Simulator, public_key: PublicKey
) -> None:
    key = alice.add_key("openai")
    simulator.set_models("openai", named(*(f"gpt-{number}" for number in range(10))))
    synced(alice, means)
    credentials.replace(key, "openai", ApiKey("sk-a-narrow-key-of-a-test"), public_key, means.now())
    db.session.commit()
    simulator.set_models("openai", named("gpt-0", "gpt-1"))
    (preview,) = sync.dry_run(alice.id, None, means).results
    assert (preview["outcome"], preview["unlisted"]) == ("complete", 8)
    result = only(synced(alice, means))
    assert (result.outcome, result.unlisted) == ("complete", 8)


def test_a_dry_run_counts_a_model_that_is_new_for_two_keys_once(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai", label="work")
    alice.add_key("openai", "sk-another-good-key-5678", label="home")
    synced(alice, means)
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows"))
    report = sync.dry_run(alice.id, None, means)
    assert [result["new"] for result in report.results] == [1, 1]
    assert report.total_new_models == synced(alice, means).total_new_models == 1


def test_a_dry_run_leaves_a_provider_alone_that_asked_to_wait(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    key = alice.add_key("openai")
    until = means.now() + timedelta(hours=1)
    db.session.execute(update(CredentialRow).where(CredentialRow.id == key.id).values(put_off_until=until))
    db.session.commit()
    (preview,) = sync.dry_run(alice.id, None, means).results
    assert (preview["outcome"], preview["error"]["code"]) == ("skipped", "put_off")
    assert simulator.requests("openai") == []


def test_the_badge_counts_unseen_new_models_for_each_person(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator
) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    for person in (alice, bob):
        person.add_key("openai")
        synced(person, means)
    simulator.add_new("openai", 2)
    synced(alice, means)
    assert (nav.load_nav(alice.id).unseen_new, nav.load_nav(bob.id).unseen_new) == (2, 0)
    alice.sign_in().client.get("/changes")
    synced(bob, means)
    assert (nav.load_nav(alice.id).unseen_new, nav.load_nav(bob.id).unseen_new) == (0, 2)


def test_the_wall_time_of_a_run_is_that_of_its_slowest_provider(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    import time

    for slug in ("openai", "anthropic", "google", "groq", "openrouter"):
        alice.add_key(slug)
        simulator.set_latency(slug, 1.0)
    start = time.monotonic()
    synced(alice, means)
    assert time.monotonic() - start < 4 * 1.0  # one after the other takes five; the ratio is in the benchmarks


def test_a_model_new_for_two_keys_is_one_new_model(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    alice.add_key("openai", label="work")
    alice.add_key("openai", "sk-another-good-key-5678", label="home")
    synced(alice, means)
    simulator.add_new("openai", 1)
    run = synced(alice, means)
    assert [result.new for result in run.results] == [1, 1]
    assert run.total_new_models == nav.load_nav(alice.id).unseen_new == 1


def test_another_key_that_sees_less_is_not_suspected(
    alice: Person, means: SyncContext, simulator: Simulator, public_key: PublicKey
) -> None:
    key = alice.add_key("openai")
    simulator.set_models("openai", named(*(f"gpt-{number}" for number in range(10))))
    synced(alice, means)
    credentials.replace(key, "openai", ApiKey("sk-a-narrow-key-of-a-test"), public_key, means.now())
    db.session.commit()
    simulator.set_models("openai", named("gpt-0", "gpt-1"))
    result = only(synced(alice, means))
    assert (result.outcome, result.unlisted) == ("complete", 8)


def test_an_answer_kept_aside_can_be_accepted(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    key = alice.add_key("openai")
    synced(alice, means)
    simulator.set_fault("openai", "shrunk")
    assert only(synced(alice, means)).outcome == "suspect"
    assert only(synced(alice, means)).outcome == "suspect"
    db.session.execute(update(CredentialRow).where(CredentialRow.id == key.id).values(suspect_accepted=True))
    db.session.commit()
    result = only(synced(alice, means))
    assert result.outcome == "complete"
    assert result.unlisted > 0


def test_three_suspect_answers_that_agree_are_proposed_for_acceptance(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    simulator.set_models("openai", named(*(f"gpt-{number}" for number in range(10))))
    synced(alice, means)
    simulator.set_models("openai", named("gpt-0"))
    for _ in range(2):
        assert "agree" not in (only(synced(alice, means)).error_message or "")
    simulator.set_models("openai", named("gpt-0", "gpt-1"))
    assert "agree" not in (only(synced(alice, means)).error_message or ""), "another answer begins anew"
    for _ in range(2):
        result = only(synced(alice, means))
    assert result.outcome == "suspect"
    assert result.error_message == (
        "8 of 10 models are missing from this answer, so it was kept aside. The last 3 answers agree on it."
    )
    assert result.error_action == "It is probably right: accept it, or keep the old list if you know better."


def test_a_list_that_is_kept_forgets_what_was_kept_aside(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    key = alice.add_key("openai")
    synced(alice, means)
    runner = app.test_cli_runner()
    refused = runner.invoke(args=["keys", "keep", "alice@example.com", str(key.id)])
    assert refused.exit_code == 1 and "is kept aside" in refused.output
    simulator.set_fault("openai", "shrunk")
    synced(alice, means)
    assert keys.list_keys(alice.id)[0].can_accept
    assert runner.invoke(args=["keys", "keep", "alice@example.com", str(key.id)]).exit_code == 0
    db.session.expire_all()
    line = keys.list_keys(alice.id)[0]
    assert (line.can_accept, line.outcome, line.error_message) == (False, "unchanged", None)
    synced(alice, means)
    assert runner.invoke(args=["keys", "accept", "alice@example.com", str(key.id)]).exit_code == 0
    assert only(synced(alice, means)).outcome == "complete"


def test_what_a_first_partial_answer_missed_is_no_news_later(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("anthropic")
    simulator.page_size = 5
    simulator.set_fault("anthropic", "repeated_cursor")
    assert only(synced(alice, means)).outcome == "partial"
    simulator.clear_fault("anthropic")
    result = only(synced(alice, means))
    assert result.outcome in ("complete", "unchanged")
    assert result.new <= result.uncatalogued


def test_the_id_of_a_deleted_key_is_never_given_again(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator
) -> None:
    """A worker that still holds a deleted key's answer must not write it to another key with its id."""
    key = alice.add_key("openai")
    started = runs.start(alice.id, "manual", means.now())
    db.session.commit()
    assert started
    simulator.set_models("openai", named("ft:gpt-4o:alice-secret::1", "gpt-4o"))
    bobs: list[CredentialRow] = []

    def meddle(_run_id: int) -> None:
        if not bobs:
            db.session.execute(delete(CredentialRow).where(CredentialRow.id == key.id))
            bobs.append(bob.add_key("groq"))

    meddled = SyncContext(
        vault=means.vault, client=means.client, base_urls=means.base_urls, now=means.now, on_progress=meddle
    )
    sync.execute(started.run.id, meddled)
    assert bobs[0].id != key.id
    assert models_of_keys.load_key_models(bob.id) == []


def test_a_key_disabled_after_the_start_is_not_asked(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    key = alice.add_key("openai")
    started = runs.start(alice.id, "manual", means.now())
    assert started
    db.session.execute(update(CredentialRow).where(CredentialRow.id == key.id).values(is_active=False))
    db.session.commit()
    sync.execute(started.run.id, means)
    assert simulator.requests("openai") == []
    run = run_queries.load_run(started.run.id)
    assert run and only(run).outcome == "skipped"


def test_a_rename_is_one_change_and_neither_news_nor_a_loss(
    alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("groq", named("llama3-8b-8192", "gemma2-9b-it"))
    alice.add_key("groq")
    synced(alice, means)
    simulator.set_models("groq", named("meta-llama/Meta-Llama-3-8B-Instruct", "gemma2-9b-it"))
    result = only(synced(alice, means))
    assert (result.new, result.changed, result.unlisted) == (0, 1, 0)
    (group,) = run_queries.load_changes([result])
    assert describe_change(group.changes[0]).startswith("renamed llama3-8b-8192 → meta-llama/Meta-Llama-3-8B-Instruct")
