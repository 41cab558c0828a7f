"""Plan, then apply: a plan writes nothing, and what is applied is exactly what it shows."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select, text, update

from app.clock import utc_now
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, monitoring, periodic, queues
from app.providers.contract import SkippedEntry
from app.store import credentials, plans
from app.store.accounts import users
from app.store.audit import COMMAND_LINE
from app.store.engine import retention
from app.store.plans import Plan, PlanPartRow, PlanRow
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow, ListingRow, ModelRow, ResultRow, RunRow
from app.sync import planning, server_keys
from app.sync import run as sync
from app.sync.dispatch import FetchResult, fetch_one, run_item_for
from app.sync.http import errors
from app.sync.http.fetch import Answer
from app.sync.planning import StalePlan
from app.sync.run import SyncContext
from app.vault import ApiKey
from tests.conftest import Clock, both_databases
from tests.sync.test_run import count, named, snapshot

pytestmark = both_databases

KEYS = {"openai": ApiKey("sk-of-the-server-0a1b"), "groq": ApiKey("gsk-of-the-server-2c3d")}
BOTH = ["openai", "groq"]


@pytest.fixture
def ours(means: SyncContext, simulator: Simulator) -> SyncContext:
    """A worker's context, with the server's own keys."""
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    simulator.set_models("groq", named("llama-3.1-8b-instant"))
    return replace(means, server_keys=KEYS)


def planned(means: SyncContext, *slugs: str) -> Plan:
    plan_id = planning.request_plan(slugs or BOTH, COMMAND_LINE, means.now())
    db.session.commit()
    assert planning.make_plan(plan_id, means)
    plan = plans.get(plan_id)
    assert plan is not None
    return plan


def applied(plan: Plan, means: SyncContext) -> run_queries.RunView:
    run = planning.start(plan.id, COMMAND_LINE, "cli", means.now())
    db.session.commit()
    assert sync.execute(run.id, means)
    line = run_queries.load_run(run.id)
    assert line is not None
    return line


def synced(means: SyncContext, *slugs: str) -> run_queries.RunView:
    started = server_keys.start(slugs or BOTH, "cli", means.now())
    db.session.commit()
    assert sync.execute(started.run.id, means)
    line = run_queries.load_run(started.run.id)
    assert line is not None
    return line


def refusal(plan: Plan, means: SyncContext) -> str:
    with pytest.raises(StalePlan) as refused:
        planning.start(plan.id, COMMAND_LINE, "cli", means.now())
    db.session.rollback()
    assert plans.get(plan.id) == plan
    return str(refused.value)


def test_making_a_plan_writes_nothing_else(app: Flask, ours: SyncContext) -> None:
    synced(ours, "openai")
    before = snapshot()
    results, runs, lists = count(ResultRow), count(RunRow), count(ListingRow)
    keys = {slug: (row.listing_id, row.outcome, row.checked_at) for row, slug in of_server(ours)}
    plan = planned(ours)
    assert snapshot() == before
    assert (count(ResultRow), count(RunRow), count(ListingRow)) == (results, runs, lists)
    now_keys = {slug: (row.listing_id, row.outcome, row.checked_at) for row, slug in of_server(ours)}
    assert {slug: now_keys[slug] for slug in keys} == keys
    assert [(part.provider, part.outcome) for part in plan.parts] == [("groq", "complete"), ("openai", "unchanged")]


def of_server(means: SyncContext) -> list[tuple[CredentialRow, str]]:
    server = users.server_account(means.now())
    assert server is not None
    return credentials.list_for_user(server.id)


def test_what_is_applied_is_what_a_sync_would_have_written(
    app: Flask, ours: SyncContext, simulator: Simulator, clock: Clock
) -> None:
    """The same two steps twice: once by a sync, once by a plan. The rows are the same, to the descriptions."""
    first, second = named("gpt-4o", "o3"), [SimModel("gpt-4o"), SimModel("gpt-99-nobody-knows"), SimModel("whisper-1")]
    simulator.set_models("openai", first)
    applied(planned(ours, "openai"), ours)
    simulator.set_models("openai", second)
    plan = planned(ours, "openai")
    request_count = len(simulator.requests("openai"))
    simulator.set_models("openai", named("something-else"))
    run = applied(plan, ours)
    assert len(simulator.requests("openai")) == request_count, "nobody is asked again"
    by_plan = snapshot(), facts(), changes(run)
    (part,) = plan.parts
    assert changes(run) == [(change.kind, change.model_id) for change in part.changes]
    assert [run.results[0].new, run.results[0].unlisted] == [part.new, part.unlisted] == [1, 1]
    assert run.results[0].requests, "the timeline of its requests is kept too"

    forget_everything()
    simulator.set_models("openai", first)
    synced(ours, "openai")
    simulator.set_models("openai", second)
    again = synced(ours, "openai")
    assert (snapshot(), facts(), changes(again)) == by_plan


def facts() -> list[tuple[object, ...]]:
    query = text(
        "SELECT provider_model_id, model_name, description, kind, context_length, input_per_million, is_active "
        "FROM models ORDER BY provider_model_id"
    )
    return [tuple(row) for row in db.session.execute(query)]


def changes(run: run_queries.RunView) -> list[tuple[str, str]]:
    return [
        (change.kind, change.model_id) for group in run_queries.load_changes(run.results) for change in group.changes
    ]


def forget_everything() -> None:
    for table in ("plans", "runs", "overrides", "models", "listed_models", "credentials", "changes", "comparisons"):
        db.session.execute(text(f"DELETE FROM {table}"))
    db.session.execute(delete(ListingRow))
    db.session.commit()
    db.session.expunge_all()


def test_descriptions_prices_and_what_could_not_be_read_survive_the_keeping(
    app: Flask, ours: SyncContext, simulator: Simulator
) -> None:
    plan = planned(ours, "openrouter")
    (part,) = plan.parts
    assert part.outcome == "complete" and part.fetched > 20
    run = applied(plan, ours)
    assert (run.results[0].fetched, run.results[0].chat) == (part.fetched, part.chat)
    described = db.session.scalar(select(ModelRow.description).where(ModelRow.description != "").limit(1))
    priced = db.session.scalar(select(ModelRow.id).where(ModelRow.input_per_million > 0).limit(1))
    assert described and priced


def test_an_answer_comes_back_from_its_keeping_as_it_was(app: Flask, ours: SyncContext) -> None:
    planned(ours, "openai")
    row, slug = next(pair for pair in of_server(ours) if pair[1] == "openai")
    part = run_item_for(row, slug)
    answer = fetch_one(replace(part, is_server=True), ours)
    assert isinstance(answer, Answer)
    answer = replace(
        answer,
        skipped=[SkippedEntry("entry 3", "no id")],
        remarks=(SkippedEntry("gpt-5", "odd price"),),
        caveat="Not all of it.",
        complete=False,
        whole=False,
    )
    fetched = FetchResult(part, answer, 1.5, None, [(0, 200, 1234, 56, "")])
    back = planning._decode_answer(part, planning._encode_answer(fetched, answer), 1.5)
    assert isinstance(back.answer, Answer)
    assert replace(back.answer, remarks=(), validators=answer.validators) == replace(answer, remarks=())
    assert [*back.answer.remarks] == [*answer.remarks]
    assert back.trace == fetched.trace and back.duration_s == 1.5


def test_a_failure_is_part_of_the_plan_and_not_of_its_run(app: Flask, ours: SyncContext, simulator: Simulator) -> None:
    simulator.set_fault("groq", "error_500")
    plan = planned(ours, "openai", "groq", "anthropic")
    told = {part.provider: (part.outcome, part.error_code) for part in plan.parts}
    assert told["openai"] == ("complete", None) and told["anthropic"] == ("skipped", "key_missing")
    assert told["groq"][0] == "failed"
    assert [result.provider for result in applied(plan, ours).results] == ["openai"]


def test_a_plan_in_which_nobody_answered_cannot_be_applied(app: Flask, ours: SyncContext) -> None:
    assert "No provider answered" in refusal(planned(ours, "anthropic"), ours)


def test_a_provider_that_asked_to_wait_is_left_alone(app: Flask, ours: SyncContext, simulator: Simulator) -> None:
    planned(ours, "openai")
    request_count = len(simulator.requests("openai"))
    db.session.execute(update(CredentialRow).values(put_off_until=ours.now() + timedelta(hours=1)))
    db.session.commit()
    plan = planned(ours, "openai")
    assert len(simulator.requests("openai")) == request_count
    assert (plan.parts[0].outcome, plan.parts[0].error_code) == (errors.RetryLater.outcome, errors.RetryLater.code)


def test_an_answer_that_shrank_is_told_as_suspect_and_applied_as_suspect(
    app: Flask, ours: SyncContext, simulator: Simulator
) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3", "o4-mini"))
    synced(ours, "openai")
    simulator.set_models("openai", named("gpt-4o"))
    plan = planned(ours, "openai")
    assert (plan.parts[0].outcome, plan.parts[0].changes) == ("suspect", ())
    run = applied(plan, ours)
    assert run.results[0].outcome == "suspect"
    assert db.session.scalar(select(ModelRow.id).where(~ModelRow.is_active)) is None, "nothing is taken away"


# ------------------------------------------------------------------ what is refused


def test_a_plan_is_applied_once(app: Flask, ours: SyncContext) -> None:
    plan = planned(ours)
    run = applied(plan, ours)
    after = plans.get(plan.id)
    assert after is not None and after.run_id == run.id and after.state(ours.now()) == "applied"
    assert refusal(after, ours).startswith(f"This plan was applied already, by sync {run.id}.")


def test_a_plan_is_too_old_after_a_day(app: Flask, ours: SyncContext, clock: Clock) -> None:
    plan = planned(ours)
    clock.forward(hours=23, minutes=59)
    assert plan.state(clock()) == "ready"
    clock.forward(minutes=2)
    assert "older than 24 hours" in refusal(plan, ours)


def test_a_plan_is_stale_once_a_list_changed_and_not_for_a_sync_that_found_the_same(
    app: Flask, ours: SyncContext, simulator: Simulator
) -> None:
    synced(ours)
    plan = planned(ours)
    synced(ours)
    applied(plan, ours)
    plan = planned(ours)
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3"))
    synced(ours)
    assert refusal(plan, ours) == (
        "The list of OpenAI changed since this plan was made. Make another plan by a dry run."
    )


def test_a_plan_is_stale_once_a_key_was_replaced_or_a_provider_disabled(app: Flask, ours: SyncContext) -> None:
    server_keys.mirror_keys(KEYS, ours.vault, ours.now(), timedelta(0))
    plan = planned(ours)
    server_keys.mirror_keys({**KEYS, "groq": ApiKey("gsk-another-9z8y")}, ours.vault, ours.now(), timedelta(0))
    db.session.commit()
    assert refusal(plan, ours).startswith("The key for Groq was replaced")
    credentials.providers_by_slug()["groq"].is_active = False
    db.session.commit()
    assert refusal(plan, ours).startswith("Groq was disabled or removed")


def test_another_catalog_makes_a_plan_stale_only_if_it_sees_other_changes(
    app: Flask, ours: SyncContext, simulator: Simulator
) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows"))
    plan = planned(ours, "openai")
    assert plan.parts[0].new == 1
    db.session.execute(update(PlanRow).values(catalog_version=-1))
    db.session.commit()
    other = plans.get(plan.id)
    assert other is not None
    planning._require_current(other, other.parts)  # another version, the same changes
    db.session.execute(update(PlanPartRow).values(changes=[]))
    db.session.commit()
    other = plans.get(plan.id)
    assert other is not None
    assert refusal(other, ours).startswith("The catalog changed since this plan was made")


def test_while_a_sync_is_under_way_nothing_is_applied(app: Flask, ours: SyncContext) -> None:
    plan = planned(ours)
    live = server_keys.start(["openai"], "cli", ours.now())
    db.session.commit()
    with pytest.raises(planning.SyncInProgress) as busy:
        planning.start(plan.id, COMMAND_LINE, "cli", ours.now())
    db.session.rollback()
    assert busy.value.run_id == live.run.id
    assert plans.get(plan.id) == plan


def test_a_key_that_was_replaced_after_all_writes_no_old_answer(
    app: Flask, ours: SyncContext, simulator: Simulator
) -> None:
    plan = planned(ours, "openai")
    run = planning.start(plan.id, COMMAND_LINE, "cli", ours.now())
    db.session.execute(update(CredentialRow).values(key_number=CredentialRow.key_number + 1))
    db.session.commit()
    request_count = len(simulator.requests("openai"))
    assert sync.execute(run.id, ours)
    line = run_queries.load_run(run.id)
    assert line is not None and line.results[0].outcome == "failed"
    assert len(simulator.requests("openai")) == request_count and count(ModelRow) == 0


# ------------------------------------------------------------------ how it is made


def test_a_plan_is_made_once_however_often_its_job_comes(app: Flask, ours: SyncContext, clock: Clock) -> None:
    plan_id = planning.request_plan(BOTH, COMMAND_LINE, clock())
    db.session.commit()
    assert plans.claim(plan_id, clock()) == sorted(BOTH)
    db.session.commit()
    assert not planning.make_plan(plan_id, ours), "another worker is at it"
    assert plans.stale_requests(clock(), timedelta(seconds=15)) == []
    clock.forward(minutes=4)
    assert plans.stale_requests(clock(), timedelta(seconds=15)) == [plan_id], "that worker is dead"
    assert planning.make_plan(plan_id, ours)
    assert not planning.make_plan(plan_id, ours)
    assert plans.stale_requests(clock(), timedelta(seconds=15)) == []


def test_what_nobody_foresaw_is_a_sentence_on_the_plan_and_raised(
    app: Flask, ours: SyncContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    plan_id = planning.request_plan(BOTH, COMMAND_LINE, ours.now())
    db.session.commit()
    monkeypatch.setattr(planning, "_part_fields", broken)
    with pytest.raises(RuntimeError):
        planning.make_plan(plan_id, ours)
    plan = plans.get(plan_id)
    assert plan is not None and plan.error_message == planning.PLAN_FAILED
    assert "could not be made" in refusal(plan, ours)


def test_old_plans_are_pruned_and_hold_no_list_back(app: Flask, ours: SyncContext, clock: Clock) -> None:
    synced(ours)
    plan = planned(ours)
    assert plans.prune(clock()) == 0
    clock.forward(days=31)
    assert plans.prune(clock()) == 1
    db.session.commit()
    assert plans.get(plan.id) is None and count(PlanPartRow) == 0
    fresh = planned(ours)
    db.session.execute(update(CredentialRow).values(listing_id=None))
    db.session.execute(delete(RunRow))
    while not retention.prune(clock() + timedelta(days=1)).is_empty:
        db.session.commit()
    assert count(ListingRow) == 0, "a plan keeps its answers itself"
    assert plans.get(fresh.id) is not None


def test_housekeeping_makes_plans_whose_job_was_lost(app: Flask) -> None:
    plan_id, _ = enqueue.start_plan(COMMAND_LINE, ["openai"])
    queues.open_queues()[0].empty()
    periodic.housekeeping()
    assert monitoring.inspect_queues().queued == 0, "it is young: its job may come yet"
    db.session.execute(update(PlanRow).values(created_at=utc_now() - timedelta(minutes=1)))
    db.session.commit()
    periodic.housekeeping()
    periodic.housekeeping()
    assert queues.open_queues()[0].job_ids == [f"plan-{plan_id}"]


@pytest.mark.parametrize("damaged", [b"no zlib at all", zlib.compress(b"\x81\xa1x"), zlib.compress(b"\x90")])
def test_an_answer_that_was_damaged_meanwhile_is_a_sentence_and_stops_no_sync(
    app: Flask, ours: SyncContext, damaged: bytes
) -> None:
    plan = planned(ours)
    run = planning.start(plan.id, COMMAND_LINE, "cli", ours.now())
    openai = next(part.id for part in plan.parts if part.provider == "openai")
    db.session.execute(update(PlanPartRow).where(PlanPartRow.id == openai).values(answer=damaged))
    db.session.commit()
    assert sync.execute(run.id, ours)
    line = run_queries.load_run(run.id)
    assert line is not None and line.state == "done"
    told = {result.provider: (result.outcome, result.error_message) for result in line.results}
    assert told.pop("openai") == ("failed", "The answer that the plan kept for this key cannot be read any more.")
    assert {outcome for outcome, _ in told.values()} == {"complete"}
    synced(ours)  # and the installation's next run is not held up


def test_a_damaged_plan_is_refused_where_its_changes_are_looked_at_again(app: Flask, ours: SyncContext) -> None:
    plan = planned(ours, "openai")
    db.session.execute(update(PlanPartRow).values(answer=b"no zlib at all"))
    db.session.execute(update(PlanRow).values(catalog_version=-1))
    db.session.commit()
    other = plans.get(plan.id)
    assert other is not None
    assert "cannot be read any more" in refusal(other, ours)
