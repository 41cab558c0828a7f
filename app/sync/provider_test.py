"""Fetch a provider's list once, as an admin's test; nothing is saved."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.catalog.listing import build_listing
from app.store.runs import RunItem
from app.sync.dispatch import SyncContext, fetch_each
from app.sync.evaluate import failure_fields
from app.sync.http.fetch import Answer
from app.sync.http.retry import RetryPolicy

SINGLE_TRY = RetryPolicy(max_attempts=1)


@dataclass(frozen=True, slots=True)
class ProviderTestResult:
    """Holds no key and no text of the provider's."""

    took_s: float
    has_key: bool
    """Whether the server's own key was sent; False: the list was requested without one."""
    models: int = 0
    chat: int = 0
    is_whole: bool = True
    error: str = ""
    """Why nothing was read, as a sentence; empty on success."""
    action: str = ""


def run_test(slug: str, context: SyncContext) -> ProviderTestResult:
    """Fetch with the server's own key, or without one where the list is public; one attempt, no retries."""
    item = RunItem(0, 0, 0, 0, slug, "", None, None, 1, None, is_server=True)
    (fetched,) = fetch_each([item], replace(context, retry_policy=SINGLE_TRY))
    has_key, answer = slug in context.server_keys, fetched.answer
    if isinstance(answer, Answer):
        listing = build_listing(slug, answer.models)
        return ProviderTestResult(fetched.duration_s, has_key, len(listing.models), len(listing.chat()), answer.whole)
    failure = failure_fields(answer, slug, has_list=False)
    return ProviderTestResult(
        fetched.duration_s, has_key, error=failure["error_message"], action=failure["error_action"]
    )
