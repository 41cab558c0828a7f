"""Ask a provider for its list once, as an admin's test: nothing is recorded, and nothing comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.catalog.listing import listing_of
from app.store.runs import Part
from app.sync import persist
from app.sync.dispatch import Means, ask_each
from app.sync.http.fetch import Answer
from app.sync.http.retry import Patience

ONCE = Patience(tries=1)


@dataclass(frozen=True, slots=True)
class Tried:
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


def attempt(slug: str, means: Means) -> Tried:
    """Ask with the server's own key, or without one where the list is public; one try, no waiting for a later one."""
    part = Part(0, 0, 0, 0, slug, "", None, None, 1, None, is_server=True)
    (fetched,) = ask_each([part], replace(means, patience=ONCE))
    has_key, answer = slug in means.server_keys, fetched.answer
    if isinstance(answer, Answer):
        listing = listing_of(slug, answer.models)
        return Tried(fetched.duration_s, has_key, len(listing.models), len(listing.chat()), answer.whole)
    failure = persist.failure_of(answer, has_list=False)
    return Tried(fetched.duration_s, has_key, error=failure["error_message"], action=failure["error_action"])
