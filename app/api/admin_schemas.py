"""Request and response types of the admin endpoints, with the original specification's field names.

Fields that depend on the request are optional in `ServerSyncDetails`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from app.store.schema.tables import OUTCOMES

Unset = msgspec.UnsetType
UNSET = msgspec.UNSET
"""Default of fields that are left out where they do not apply."""
Fact = str | int | bool | None
Counts = dict[str, int]
Outcome = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(OUTCOMES)})]


# ------------------------------------------------------------------ requests


class WaitQuery(msgspec.Struct, forbid_unknown_fields=True):
    wait: Annotated[bool, msgspec.Meta(description="False: answer at once, with 202.")] = True


class SyncQuery(WaitQuery, forbid_unknown_fields=True):
    dry_run: Annotated[
        bool, msgspec.Meta(description="Ask, and keep a plan of what would change, but change nothing.")
    ] = False


class SyncAllQuery(SyncQuery, forbid_unknown_fields=True):
    providers: Annotated[list[str], msgspec.Meta(description="Only these; may be given several times.")] = []


class WatchQuery(msgspec.Struct, forbid_unknown_fields=True):
    provider: Annotated[str, msgspec.Meta(description="Answer as for this provider alone.")] = ""


# ------------------------------------------------------------------ the sync of the shared catalog


class SyncableProviders(msgspec.Struct):
    providers: list[str]
    count: int


class ProviderCounts(msgspec.Struct):
    total: int
    active: int
    healthy: Annotated[int, msgspec.Meta(description="Enabled, and most of what was asked lately was answered.")]


class SyncedProviders(msgspec.Struct):
    in_database: int
    with_fetch_functions: int
    fetchable_in_db: int
    fetchable_not_in_db: int
    stats: ProviderCounts


class ModelCounts(msgspec.Struct):
    total: int
    active: int
    by_modality: Counts


class SyncedModels(msgspec.Struct):
    stats: ModelCounts


class ProviderError(msgspec.Struct):
    provider: str
    error: str


class LastServerSync(msgspec.Struct):
    run_id: int
    synced_at: str | None
    providers_processed: int
    errors: list[ProviderError]
    status_url: str


class CatalogState(msgspec.Struct):
    providers: SyncedProviders
    models: SyncedModels
    last_sync: LastServerSync | None
    interval_hours: Annotated[int, msgspec.Meta(description="0: not by itself.")]


class PlannedField(msgspec.Struct):
    field: str
    before: Fact
    after: Fact


class PlannedChange(msgspec.Struct):
    provider: str
    kind: str
    model_id: str
    name: str
    fields: list[PlannedField]
    sentence: str


class ServerSyncDetails(msgspec.Struct):
    """Of one provider `models_…`, of many `providers_processed` and `total_models_…`; of a dry run its plan."""

    run_id: int | Unset = UNSET
    plan_id: int | Unset = UNSET
    status_url: str | Unset = UNSET
    plan_url: str | Unset = UNSET
    apply_url: str | Unset = UNSET
    state: str | Unset = UNSET
    notice: str | Unset | None = UNSET
    objection: Annotated[str | Unset | None, msgspec.Meta(description="Why the plan cannot be applied.")] = UNSET
    provider: str | Unset = UNSET
    provider_id: int | Unset | None = UNSET
    outcome: Outcome | Unset | None = UNSET
    models_fetched: int | Unset = UNSET
    models_transformed: int | Unset = UNSET
    models_skipped: int | Unset = UNSET
    models_synced: int | Unset = UNSET
    models_new: int | Unset = UNSET
    models_changed: int | Unset = UNSET
    models_unlisted: int | Unset = UNSET
    providers_processed: int | Unset = UNSET
    total_models_fetched: int | Unset = UNSET
    total_models_transformed: int | Unset = UNSET
    total_models_skipped: int | Unset = UNSET
    total_models_synced: int | Unset = UNSET
    total_models_new: int | Unset = UNSET
    total_models_changed: int | Unset = UNSET
    total_models_unlisted: int | Unset = UNSET
    errors: list[ProviderError] | Unset = UNSET
    changes: list[PlannedChange] | Unset = UNSET
    changes_left_out: int | Unset = UNSET


class ServerSync(msgspec.Struct):
    success: Annotated[bool, msgspec.Meta(description="Whether at least one provider was read.")]
    message: str
    details: ServerSyncDetails


# ------------------------------------------------------------------ statistics and health


class ModelStatistics(msgspec.Struct):
    total: int
    active: int
    by_modality: Counts
    by_provider: Counts
    by_kind: Counts


class ProviderState(msgspec.Struct):
    name: str
    active: bool
    healthy: bool
    total_models: int
    active_models: int
    last_synced: str | None


class ProviderStatistics(msgspec.Struct):
    total: int
    active: int
    healthy: int
    providers: Annotated[dict[str, ProviderState], msgspec.Meta(description="By slug.")]


class Liveness(msgspec.Struct):
    status: str


class ReadinessCheck(msgspec.Struct):
    ok: bool
    sentence: str


class Readiness(msgspec.Struct):
    status: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["ready", "not ready"]})]
    checks: dict[str, ReadinessCheck]
