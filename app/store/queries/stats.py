"""Statistics of models, providers and load, for the operators of the installation.

Used by `/models/stats`, `/providers/stats`, `/metrics` and the status of the admin's sync; each with a constant number
of queries.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, literal_column, select, text, union_all

from app.extensions import db
from app.store.schema.catalog_tables import CatalogVersionRow
from app.store.schema.tables import READ_OUTCOMES, CredentialRow, ModelRow, ProviderRow, ResultRow, RunRow

_DAY = timedelta(days=1)
_RECENT_RESULTS = 20
"""Results that decide on a provider without any today."""


@dataclass(frozen=True, slots=True)
class ModelStats:
    """Counts of the shared table `models`. The maps include unlisted models and are sorted by count, descending."""

    total: int
    active: int
    by_modality: Mapping[str, int]
    """ "text->text" → models; "unknown" if the provider does not state it."""
    by_provider: Mapping[str, int]
    by_kind: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    slug: str
    name: str
    is_active: bool
    is_healthy: bool
    """Enabled, and most results of the last 24 hours (or else the last twenty results) were answered."""
    total_models: int
    active_models: int
    last_synced_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProviderStats:
    total: int
    active: int
    healthy: int
    providers: tuple[ProviderHealth, ...]
    """By slug."""


@dataclass(frozen=True, slots=True)
class ProviderLoad:
    """A provider without model counts, which are expensive."""

    slug: str
    is_active: bool
    is_healthy: bool | None
    """As in `ProviderHealth`; None if it is disabled or was never synced."""
    last_synced_at: datetime | None


@dataclass(frozen=True, slots=True)
class InstallationLoad:
    """Activity of the last 24 hours, and the state of the stored keys."""

    live: Mapping[str, int]
    """queued · running → live runs."""
    runs: Mapping[str, int]
    """Final state → runs of the last 24 hours."""
    results: Mapping[tuple[str, str], int]
    """(provider, outcome) → results of the last 24 hours."""
    credentials: Mapping[str, int]
    """Last outcome → active keys; "none": not used yet."""
    providers: tuple[ProviderLoad, ...]
    """By slug."""


def model_stats() -> ModelStats:
    """One query over all models."""
    total, active = 0, 0
    by_modality, by_provider, by_kind = Counter[str](), Counter[str](), Counter[str]()
    query = (
        select(ProviderRow.slug, ModelRow.kind, ModelRow.modality, ModelRow.is_active, func.count())
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .group_by(ProviderRow.slug, ModelRow.kind, ModelRow.modality, ModelRow.is_active)
    )
    for slug, kind, modality, is_active, count in db.session.execute(query):
        total += count
        active += count if is_active else 0
        by_modality[modality or "unknown"] += count
        by_provider[slug] += count
        by_kind[kind] += count
    return ModelStats(total, active, _sort_by_size(by_modality), _sort_by_size(by_provider), _sort_by_size(by_kind))


def provider_stats(now: datetime) -> ProviderStats:
    """At most four queries, one of them over all models."""
    counts = _count_models()
    rows = _load_providers()
    answering = _is_answering(rows, _tally_since(now - _DAY))
    providers = tuple(
        ProviderHealth(
            slug=row.slug,
            name=row.name,
            is_active=row.is_active,
            is_healthy=answering.get(row.id, False),
            total_models=counts.get(row.id, (0, 0))[0],
            active_models=counts.get(row.id, (0, 0))[1],
            last_synced_at=row.last_synced_at,
        )
        for row in rows
    )
    return ProviderStats(len(providers), sum(one.is_active for one in providers), sum(answering.values()), providers)


def installation_load(now: datetime) -> InstallationLoad:
    """At most six queries; each uses an index, except for the one over all keys. No models are counted."""
    rows = _load_providers()
    slugs = {row.id: row.slug for row in rows}
    tallies = _tally_since(now - _DAY)
    answering = _is_answering(rows, tallies)
    # As literal SQL, SQLite matches the condition with the partial index of live runs; grouping by an expression keeps
    # it from scanning all runs in the order of another index. `_tally_since` does the same.
    state = RunRow.state.op("||")(literal_column("''"))
    live = select(state, func.count()).where(text("runs.state IN ('queued', 'running')")).group_by(state)
    runs = select(RunRow.state, func.count()).where(RunRow.ended_at >= now - _DAY).group_by(RunRow.state)
    keys = select(CredentialRow.outcome, func.count()).where(CredentialRow.is_active).group_by(CredentialRow.outcome)
    return InstallationLoad(
        live={str(state): count for state, count in db.session.execute(live)},
        runs={str(state): count for state, count in db.session.execute(runs)},
        results={(slugs[key], word): count for key, words in tallies.items() for word, count in words.items()},
        credentials={outcome or "none": count for outcome, count in db.session.execute(keys)},
        providers=tuple(
            ProviderLoad(row.slug, row.is_active, answering.get(row.id), row.last_synced_at) for row in rows
        ),
    )


def schema_revision() -> str | None:
    """The database's migration revision; None before the first migration."""
    return MigrationContext.configure(db.session.connection()).get_current_revision()


def catalog_summary() -> tuple[datetime, int] | None:
    """(when the catalog in force was loaded, number of canonical models); None before the first."""
    query = select(CatalogVersionRow.loaded_at, CatalogVersionRow.model_count).order_by(CatalogVersionRow.id.desc())
    row = db.session.execute(query.limit(1)).first()
    return (row.loaded_at, row.model_count) if row else None


def database_size() -> int:
    """Size of the database on disk, bytes; for SQLite without its write-ahead log."""
    if db.engine.dialect.name == "postgresql":
        return int(db.session.scalar(select(func.pg_database_size(func.current_database()))) or 0)
    pages, size = (db.session.connection().exec_driver_sql(f"PRAGMA {word}").scalar() for word in _SQLITE_SIZE)
    return int(pages or 0) * int(size or 0)


_SQLITE_SIZE = ("page_count", "page_size")


def _count_models() -> dict[int, tuple[int, int]]:
    """Provider id → (models, active models)."""
    query = select(ModelRow.provider_id, ModelRow.is_active, func.count()).group_by(
        ModelRow.provider_id, ModelRow.is_active
    )
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for provider_id, is_active, count in db.session.execute(query):
        counts[provider_id][0] += count
        counts[provider_id][1] += count if is_active else 0
    return {provider_id: (total, active) for provider_id, (total, active) in counts.items()}


def _load_providers() -> Sequence[Any]:
    columns = (ProviderRow.id, ProviderRow.slug, ProviderRow.name, ProviderRow.is_active, ProviderRow.last_synced_at)
    return db.session.execute(select(*columns).order_by(ProviderRow.slug)).all()


def _is_answering(rows: Sequence[Any], today: Mapping[int, Counter[str]]) -> dict[int, bool]:
    """Provider id → whether most results were answers, for enabled providers with results; skipped ones don't count."""
    enabled = [row.id for row in rows if row.is_active]
    tallies = {provider_id: _drop_skipped(today.get(provider_id)) for provider_id in enabled}
    tallies |= _tally_recent([provider_id for provider_id in enabled if not tallies[provider_id]])
    return {
        provider_id: 2 * sum(tally[word] for word in READ_OUTCOMES) > tally.total()
        for provider_id, tally in tallies.items()
        if tally
    }


def _drop_skipped(tally: Counter[str] | None) -> Counter[str]:
    return Counter({word: count for word, count in (tally or {}).items() if word != "skipped"})


def _tally_since(since: datetime) -> defaultdict[int, Counter[str]]:
    """Provider id → outcome → results that ended since, using the index on `ended_at`."""
    by_provider = ResultRow.provider_id + literal_column("0")
    query = (
        select(by_provider, ResultRow.outcome, func.count())
        .where(ResultRow.ended_at >= since, ResultRow.outcome.is_not(None))
        .group_by(by_provider, ResultRow.outcome)
    )
    return _to_tallies(db.session.execute(query))


def _tally_recent(provider_ids: Collection[int]) -> defaultdict[int, Counter[str]]:
    """The same over each provider's last results, with one index range per provider."""
    if not provider_ids:
        return defaultdict(Counter)
    last = [
        select(ResultRow.provider_id, ResultRow.outcome)
        .where(ResultRow.provider_id == provider_id, ResultRow.outcome.is_not(None), ResultRow.outcome != "skipped")
        .order_by(ResultRow.run_id.desc())
        .limit(_RECENT_RESULTS)
        .subquery()
        for provider_id in provider_ids
    ]
    both = union_all(*(select(one) for one in last)).subquery()
    query = select(both.c.provider_id, both.c.outcome, func.count()).group_by(both.c.provider_id, both.c.outcome)
    return _to_tallies(db.session.execute(query))


def _to_tallies(rows: Any) -> defaultdict[int, Counter[str]]:
    tallies: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for provider_id, outcome, count in rows:
        tallies[provider_id][outcome] += count
    return tallies


def _sort_by_size(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
