"""Response bodies of `/api/models/sync`, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated

import msgspec

from app.store.schema.tables import OUTCOMES


class ResultError(msgspec.Struct):
    code: str
    message: str | None


ResultError.__name__ = "SyncError"  # its name in the OpenAPI document


class SyncResult(msgspec.Struct):
    """One key's part in a sync, as `result_json` makes it."""

    provider: str
    label: str
    outcome: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(OUTCOMES)})] | None
    fetched: int
    chat: int
    new: int
    changed: int
    unlisted: int
    uncatalogued: int
    skipped: int
    duration_s: float | None
    error: ResultError | None


class FinishedSync(msgspec.Struct):
    id: int
    synced_at: str
    total_new_models: int
    sync_results: list[SyncResult]


class SyncState(msgspec.Struct, rename="camel"):
    last_sync: FinishedSync | None
    needs_sync: bool


class StartedSync(msgspec.Struct):
    run_id: int
    id: int
    started: bool
    notice: str | None


class QueuedSyncs(msgspec.Struct):
    queued: Annotated[int, msgspec.Meta(description="How many users have an active key.")]
    notice: str | None
