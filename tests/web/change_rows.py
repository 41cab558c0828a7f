"""News as a sync would leave it, written straight into the database: at any moment, with any names."""

from __future__ import annotations

import uuid
from datetime import datetime

from app.catalog.changes import Change
from app.catalog.listing import build_listing
from app.extensions import db
from app.store import listings
from app.store.schema.tables import CredentialRow, ResultRow, RunRow
from tests.conftest import Person


def add_changes(
    person: Person,
    *changes: Change,
    at: datetime,
    key: CredentialRow | None = None,
    provider_id: int | None = None,
    first: bool = False,
    run: RunRow | None = None,
    key_of_comparison: bytes | None = None,
) -> ResultRow:
    """A result of this moment that brought these changes; of `run`, or of one of its own.

    provider_id: needed where the key was deleted. first: it was the key's first list.
    """
    if run is None:
        run = RunRow(user_id=person.id, trigger="cron", state="done", created_at=at, started_at=at, ended_at=at)
        db.session.add(run)
        db.session.flush()
    comparison = listings.save_comparison(key_of_comparison or uuid.uuid4().bytes * 2, changes, at)
    result = ResultRow(
        run_id=run.id,
        user_id=person.id,
        credential_id=key.id if key else None,
        provider_id=key.provider_id if key else provider_id,
        label=key.label if key else "",
        outcome="complete",
        comparison_id=comparison.id,
        before_listing_id=None if first else _some_listing(key.provider_id if key else provider_id or 0, at),
        new=sum(change.kind == "new" for change in changes),
        started_at=at,
        ended_at=at,
    )
    db.session.add(result)
    db.session.commit()
    return result


def new_changes(*model_ids: str) -> list[Change]:
    return [Change("new", model_id, model_id) for model_id in model_ids]


def _some_listing(provider_id: int, at: datetime) -> int:
    return listings.save(provider_id, build_listing("openai", []), at).id
