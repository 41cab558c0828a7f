"""What runs brought that a person wants to be told of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import func, select

from app.catalog import topics
from app.catalog.changes import Change
from app.extensions import db
from app.store.queries.changes import to_change
from app.store.schema.tables import LIVE_STATES, ChangeRow, CredentialRow, ProviderRow, ResultRow, RunRow

MAX_RESULTS = 500
MAX_CHANGES = 300
"""So many results, the newest, and of each so many changes are looked at; all of them stand in the feed."""


@dataclass(slots=True)
class ProviderNews:
    """What keys of one provider saw, each change once."""

    provider: str
    changes: list[Change] = field(default_factory=list)
    uncatalogued: list[Change] = field(default_factory=list)
    """What a key's first list had that the catalog does not know."""


@dataclass(frozen=True, slots=True)
class DigestKeyProblem:
    provider: str
    label: str
    message: str
    action: str


@dataclass(frozen=True, slots=True)
class DigestContent:
    news: list[ProviderNews] = field(default_factory=list)
    """By the provider's slug."""
    keys: list[DigestKeyProblem] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.news or self.keys)

    def count(self, topic: str) -> int:
        """How many changes, or keys, of this topic there are."""
        if topic == topics.KEYS:
            return len(self.keys)
        told = (change for news in self.news for change in (*news.changes, *news.uncatalogued))
        return sum(topic in topics.change_topics(change) for change in told)


def newest_finished_run(user_id: int) -> int:
    """The number of the newest run of theirs that is over, 0 without any. A user's runs come one after another: all
    before it are over too."""
    query = select(func.max(RunRow.id)).where(RunRow.user_id == user_id, RunRow.state.not_in(LIVE_STATES))
    return db.session.scalar(query) or 0


def load_digest(
    user_id: int, after: int, until: int, wanted: Collection[str], key_problems: Collection[str]
) -> DigestContent:
    """What the runs from `after` (which is told already) to `until` brought, of the wanted topics; three queries.

    key_problems: codes of errors that are the key's fault.
    """
    news = _load_news(user_id, after, until, wanted) if set(wanted) - {topics.KEYS} else []
    keys = _load_key_problems(user_id, after, until, key_problems) if topics.KEYS in wanted else []
    return DigestContent(news, keys)


def _load_news(user_id: int, after: int, until: int, wanted: Collection[str]) -> list[ProviderNews]:
    query = (
        select(ProviderRow.slug, ResultRow.comparison_id, ResultRow.before_listing_id.is_(None))
        .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .join(RunRow, RunRow.id == ResultRow.run_id)
        .where(RunRow.user_id == user_id, RunRow.id > after, RunRow.id <= until, ResultRow.comparison_id.is_not(None))
        .order_by(ResultRow.id.desc())
        .limit(MAX_RESULTS)
    )
    found = db.session.execute(query).all()
    changes = _load_changes({row[1] for row in found if row[1] is not None}, wanted)
    by_slug: dict[str, ProviderNews] = {}
    for slug, comparison_id, is_first in reversed(found):
        for change in changes[comparison_id or 0]:
            news = by_slug.setdefault(slug, ProviderNews(slug))
            if change not in news.changes and change not in news.uncatalogued:
                (news.uncatalogued if is_first else news.changes).append(change)
    return [by_slug[slug] for slug in sorted(by_slug)]


def _load_changes(comparison_ids: set[int], wanted: Collection[str]) -> dict[int, list[Change]]:
    found: dict[int, list[Change]] = defaultdict(list)
    if not comparison_ids:
        return found
    number = func.row_number().over(partition_by=ChangeRow.comparison_id, order_by=ChangeRow.id).label("number")
    ranked = select(ChangeRow.id, number).where(ChangeRow.comparison_id.in_(comparison_ids)).subquery()
    query = (
        select(ChangeRow)
        .join(ranked, ranked.c.id == ChangeRow.id)
        .where(ranked.c.number <= MAX_CHANGES)
        .order_by(ChangeRow.id)
    )
    for row in db.session.scalars(query):
        if change := topics.restrict_to(to_change(row), wanted):
            found[row.comparison_id].append(change)
    return found


def _load_key_problems(user_id: int, after: int, until: int, key_problems: Collection[str]) -> list[DigestKeyProblem]:
    """Keys that began to fail in these runs, for a reason of their own, and do so still; each once."""
    earlier = ResultRow.__table__.alias("earlier")
    before = (
        select(earlier.c.error_code)
        .where(
            earlier.c.credential_id == ResultRow.credential_id,
            earlier.c.id < ResultRow.id,
            earlier.c.outcome.is_not(None),
            earlier.c.outcome != "skipped",
        )
        .order_by(earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    key = CredentialRow
    query = (
        select(key.id, ProviderRow.slug, key.label, key.error_message, key.error_action)
        .join(ResultRow, ResultRow.credential_id == CredentialRow.id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(
            ResultRow.user_id == user_id,
            ResultRow.run_id > after,
            ResultRow.run_id <= until,
            ResultRow.error_code.in_(key_problems),
            func.coalesce(before, "").not_in(key_problems),
            CredentialRow.is_active,
            CredentialRow.outcome == "failed",
            CredentialRow.error_code.in_(key_problems),
        )
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
        .distinct()
    )
    return [
        DigestKeyProblem(slug, label, message or "", action or "")
        for _, slug, label, message, action in db.session.execute(query)
    ]
