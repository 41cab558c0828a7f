"""Ask a provider for its list once, as an admin's test: nothing is recorded, and nothing comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.catalog.listing import build_listing
from app.store.runs import RunItem
from app.sync import persist
from app.sync.dispatch import SyncContext, fetch_each
from app.sync.http.fetch import Answer
from app.sync.http.retry import RetryPolicy

SINGLE_TRY = RetryPolicy(tries=1)


@dataclass(frozen=True, slots=True)
class ProviderTestResult:
    """What came of it. It holds no key, and nothing of the provider's own words."""

    took_s: float
    has_key: bool
    """Whether the server's own key was sent; else the list was asked for without one."""
    models: int = 0
    chat: int = 0
    is_whole: bool = True
    error: str = ""
    """Why nothing was read, as a sentence; empty where it was."""
    action: str = ""


def run_test(slug: str, means: SyncContext) -> ProviderTestResult:
    """Ask with the server's own key, or without one where the list is public; one try, no waiting for a later one."""
    part = RunItem(0, 0, 0, 0, slug, "", None, None, 1, None, is_server=True)
    (fetched,) = fetch_each([part], replace(means, patience=SINGLE_TRY))
    has_key, answer = slug in means.server_keys, fetched.answer
    if isinstance(answer, Answer):
        listing = build_listing(slug, answer.models)
        return ProviderTestResult(fetched.duration_s, has_key, len(listing.models), len(listing.chat()), answer.whole)
    failure = persist.failure_fields(answer, has_list=False)
    return ProviderTestResult(
        fetched.duration_s, has_key, error=failure["error_message"], action=failure["error_action"]
    )
