"""The contents of an e-mail digest: changes and failing keys in a range of runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import func, select

from app.catalog import topics
from app.catalog.changes import Change, count_by_kind
from app.extensions import db
from app.store.queries.changes import load_first_changes
from app.store.schema.tables import LIVE_STATES, CredentialRow, ProviderRow, ResultRow, RunRow

MAX_RESULTS = 500
MAX_CHANGES = 300
"""Limits: the newest results, and the first changes of each; the feed has all."""


@dataclass(slots=True)
class ProviderNews:
    """The changes that keys of one provider saw, each once."""

    provider: str
    changes: list[Change] = field(default_factory=list)
    uncatalogued: list[Change] = field(default_factory=list)
    """Models of keys' first lists that the catalog does not know."""


@dataclass(frozen=True, slots=True)
class DigestKeyProblem:
    provider: str
    label: str
    message: str
    action: str


@dataclass(frozen=True, slots=True)
class DigestContent:
    news: list[ProviderNews] = field(default_factory=list)
    """Ordered by provider slug."""
    keys: list[DigestKeyProblem] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.news or self.keys)

    def count(self, topic: str) -> int:
        """Number of changes, or of keys, of this topic."""
        if topic == topics.KEYS:
            return len(self.keys)
        return sum(
            count_by_kind(
                change for change in (*news.changes, *news.uncatalogued) if topic in topics.change_topics(change)
            ).total()
            for news in self.news
        )


def newest_finished_run(user_id: int) -> int:
    """Id of the user's newest finished run, 0 if there is none. Runs are sequential: all earlier ones are finished."""
    query = select(func.max(RunRow.id)).where(RunRow.user_id == user_id, RunRow.state.not_in(LIVE_STATES))
    return db.session.scalar(query) or 0


def load_digest(
    user_id: int, after: int, until: int, selected_topics: Collection[str], key_problems: Collection[str]
) -> DigestContent:
    """Changes and failing keys of the selected topics, in runs after `after` up to `until`; three queries.

    key_problems: error codes that are the key's fault.
    """
    news = _load_news(user_id, after, until, selected_topics) if set(selected_topics) - {topics.KEYS} else []
    keys = _load_key_problems(user_id, after, until, key_problems) if topics.KEYS in selected_topics else []
    return DigestContent(news, keys)


def _load_news(user_id: int, after: int, until: int, selected_topics: Collection[str]) -> list[ProviderNews]:
    query = (
        select(ProviderRow.slug, ResultRow.comparison_id, ResultRow.before_listing_id.is_(None))
        .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .join(RunRow, RunRow.id == ResultRow.run_id)
        .where(RunRow.user_id == user_id, RunRow.id > after, RunRow.id <= until, ResultRow.comparison_id.is_not(None))
        .order_by(ResultRow.id.desc())
        .limit(MAX_RESULTS)
    )
    results = db.session.execute(query).all()
    changes, _ = load_first_changes({row[1] for row in results if row[1] is not None}, MAX_CHANGES)
    by_slug: dict[str, ProviderNews] = {}
    for slug, comparison_id, is_first in reversed(results):
        selected = (topics.restrict_to(change, selected_topics) for change in changes[comparison_id or 0])
        for change in filter(None, selected):
            news = by_slug.setdefault(slug, ProviderNews(slug))
            if change not in news.changes and change not in news.uncatalogued:
                (news.uncatalogued if is_first else news.changes).append(change)
    return [by_slug[slug] for slug in sorted(by_slug)]


def _load_key_problems(user_id: int, after: int, until: int, key_problems: Collection[str]) -> list[DigestKeyProblem]:
    """Keys that started to fail in these runs, through their own fault, and still do; each once."""
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
