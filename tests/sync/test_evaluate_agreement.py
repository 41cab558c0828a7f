"""Sync, plan and dry run report the same for every answer, with any list in force and either trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from app.catalog.changes import Change, FieldChange
from app.catalog.listing import ListedModel
from app.extensions import db
from app.providers.contract import SkippedEntry
from app.store import credentials, plans
from app.store.accounts import users
from app.store.audit import COMMAND_LINE
from app.store.queries import runs as run_queries
from app.store.schema.tables import ChangeRow, CredentialRow, ListingRow, ModelRow, RunRow
from app.sync import dispatch, planning, server_keys
from app.sync import run as sync
from app.sync.dispatch import FetchOutcome
from app.sync.http import errors
from app.sync.http.fetch import Answer
from app.sync.run import SyncContext
from app.vault import ApiKey

REPORTED = ("outcome", "fetched", "chat", "new", "changed", "unlisted", "uncatalogued", "skipped")
IN_PLANS = (*REPORTED, "relisted", "error_code", "error_message", "error_action")
KEY = ApiKey("sk-of-the-server-0a1b")

IDS = ["gpt-4o", "gpt-4o-2024-08-06", "whisper-1", *(f"model-{letter}" for letter in "abcde")]


@dataclass(frozen=True)
class Step:
    """One answer, and what happens to the credential before it."""

    outcome: FetchOutcome
    event: str
    """nothing · replaced (another key) · accepted (the quarantined answer) · waiting (Retry-After has not passed)"""


def _listed(draw: st.DrawFn) -> list[ListedModel]:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True, max_size=len(IDS)))
    priced = draw(st.sets(st.sampled_from(IDS), max_size=3))
    return [
        ListedModel(
            id=model_id,
            kind="transcription" if model_id == "whisper-1" else "chat",
            context_length=8_192 if model_id in priced else None,
        )
        for model_id in ids
    ]


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    is_whole = draw(st.booleans())
    is_complete = is_whole and draw(st.integers(0, 3)) > 0
    skipped = [SkippedEntry(f"entry {number}", "no id") for number in range(draw(st.integers(0, 2)))]
    caveat = "" if is_complete else "Not every page of the list could be read."
    return Answer(_listed(draw), skipped, is_complete, 1, caveat, [], is_whole)


failures = st.sampled_from(
    [
        errors.TimedOut(),
        errors.KeyRejected(status=401),
        errors.KeyMissing(),
        errors.CircuitOpen("OpenAI is having trouble since 12:02 UTC; trying again at 12:20 UTC"),
        RuntimeError("nobody thought of this"),
    ]
)
outcomes = st.one_of(answers(), answers(), answers(), failures)
events = st.sampled_from(["nothing", "nothing", "replaced", "accepted", "waiting"])
steps = st.lists(st.builds(Step, outcomes, events), min_size=1, max_size=4)


@pytest.fixture
def server(app: Flask, means: SyncContext) -> SyncContext:
    """The context of a worker that has the server's own key for one provider."""
    return replace(means, server_keys={"openai": KEY})


# Half as many examples as usual: each is several syncs.
@settings(max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_dry_run_plan_and_sync_report_the_same(
    app: Flask, server: SyncContext, monkeypatch: pytest.MonkeyPatch, story: Sequence[Step]
) -> None:
    forget_everything()
    credential_id = add_server_credential(server)
    for step in story:
        prepare(credential_id, step, server)
        with monkeypatch.context() as patch:
            patch.setattr(dispatch, "_fetch_limited", lambda *_, outcome=step.outcome: deliver(outcome))
            preview = dry_run(credential_id, server)
            plan_fields, plan_changes = plan(server)
            result = run(server)
        assert {name: preview[name] for name in REPORTED} == {name: getattr(result, name) for name in REPORTED}
        expected_error = {"code": result.error_code, "message": result.error_message} if result.error_code else None
        assert preview["error"] == expected_error
        assert plan_fields == {name: getattr(result, name) for name in IN_PLANS}
        assert plan_changes == saved_changes(result)


def deliver(outcome: FetchOutcome) -> Answer:
    if isinstance(outcome, Answer):
        return outcome
    raise outcome


def forget_everything() -> None:
    for row in (plans.PlanRow, RunRow, ModelRow, CredentialRow, ListingRow):
        db.session.execute(delete(row))
    db.session.commit()
    db.session.expunge_all()


def add_server_credential(context: SyncContext) -> int:
    account = users.server_account(context.now())
    assert account is not None
    credentials.create_for_server(account.id, ["openai"], context.now())
    server_keys.mirror_keys(context.server_keys, context.vault, context.now(), timedelta(0))
    db.session.commit()
    return db.session.scalars(select(CredentialRow.id).where(CredentialRow.user_id == account.id)).one()


def prepare(credential_id: int, step: Step, context: SyncContext) -> None:
    until = context.now() + timedelta(hours=1) if step.event == "waiting" else None
    fields: dict[str, Any] = {"put_off_until": until}
    if step.event == "replaced":
        row = db.session.get_one(CredentialRow, credential_id, populate_existing=True)
        fields |= {"key_number": row.key_number + 1, "validators": None}
        fields |= {"suspect_listing_id": None, "suspect_accepted": False, "suspect_count": 0}
    if step.event == "accepted":
        credentials.accept_quarantined(db.session.get_one(CredentialRow, credential_id, populate_existing=True))
    db.session.execute(update(CredentialRow).where(CredentialRow.id == credential_id).values(fields))
    db.session.commit()


def dry_run(credential_id: int, context: SyncContext) -> dict[str, Any]:
    row = db.session.get_one(CredentialRow, credential_id, populate_existing=True)
    (result,) = sync.dry_run(row.user_id, "openai", context).results
    return result


def plan(context: SyncContext) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """The columns of a plan's only part, and its changes. A plan is made in spite of an unknown error."""
    plan_id = planning.request_plan(["openai"], COMMAND_LINE, context.now())
    db.session.commit()
    try:
        planning.make_plan(plan_id, context)
    except errors.InternalError:
        db.session.rollback()
    made = plans.get(plan_id)
    assert made is not None
    (part,) = made.parts
    return {name: getattr(part, name) for name in IN_PLANS}, part.changes


def run(context: SyncContext) -> run_queries.ResultView:
    started = server_keys.start(["openai"], "cli", context.now())
    db.session.commit()
    try:
        sync.execute(started.run.id, context)
    except errors.InternalError:
        db.session.rollback()
    view = run_queries.load_run(started.run.id)
    assert view is not None
    (result,) = view.results
    return result


def saved_changes(result: run_queries.ResultView) -> tuple[Change, ...]:
    if result.comparison_id is None:
        return ()
    query = select(ChangeRow).where(ChangeRow.comparison_id == result.comparison_id).order_by(ChangeRow.id)
    return tuple(
        Change(row.kind, row.provider_model_id, row.model_name, tuple(FieldChange(*field) for field in row.fields))  # type: ignore[arg-type]
        for row in db.session.scalars(query)
    )
