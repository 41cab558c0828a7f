"""Ask providers for a run's parts, all at the same time, each within its bounds. No database in here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from app.providers import PROVIDERS
from app.providers.contract import Provider
from app.store.runs import Part
from app.store.tables import CredentialRow
from app.sync import errors
from app.sync.fetch import IN_ALL_S, Answer, fetch, new_client
from app.sync.tokens import signing_key
from app.vault import CannotOpen, Opener, Owner, SecretKey

MOST_AT_ONCE = 64
"""Providers asked at the same time by one run; further ones wait for a thread."""

Clock = Callable[[], datetime]
Tell = Callable[[int], None]
"""Called with the run's id after every commit that changed what people see."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with, given from outside, so that tests patch nothing."""

    vault: Opener
    client: httpx.Client
    base_urls: Mapping[str, str]
    now: Clock = utc_now
    tell: Tell = lambda _run_id: None
    in_all_s: float = IN_ALL_S
    guarded: httpx.Client | None = None
    """For addresses that users chose; without one, a client that reaches public addresses only is made."""


@dataclass(frozen=True, slots=True)
class Fetched:
    part: Part
    answer: Answer | errors.SyncError | Exception
    duration_s: float = 0.0


def ask_each(parts: Sequence[Part], means: Means) -> list[Fetched]:
    """Ask for all parts at once; who does not come in within the bound has timed out."""
    arrived: queue.SimpleQueue[Fetched] = queue.SimpleQueue()
    ask_all(parts, means, arrived)
    deadline = deadline_for(parts, means)
    found: dict[int, Fetched] = {}
    while len(found) < len(parts):
        try:
            fetched = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[fetched.part.credential_id] = fetched
    late = errors.TimedOut()
    return [found.get(part.credential_id) or Fetched(part, late, means.in_all_s) for part in parts]


def ask_all(parts: Sequence[Part], means: Means, arrived: queue.SimpleQueue[Fetched]) -> None:
    todo: queue.SimpleQueue[Part] = queue.SimpleQueue()
    for part in parts:
        todo.put(part)

    def work() -> None:
        while True:
            try:
                part = todo.get_nowait()
            except queue.Empty:
                return
            begun = time.monotonic()
            answer = ask(part, means)
            arrived.put(Fetched(part, answer, time.monotonic() - begun))

    # Daemons: a provider that drips for ever must not keep the process from ending.
    for number in range(min(len(parts), MOST_AT_ONCE)):
        threading.Thread(target=work, name=f"fetch-{number}", daemon=True).start()


def deadline_for(parts: Sequence[Part], means: Means) -> float:
    # Rounds of MOST_AT_ONCE; two seconds for what comes in at the last moment.
    return time.monotonic() + (means.in_all_s + 2) * (1 + len(parts) // MOST_AT_ONCE)


def part_of(row: CredentialRow, slug: str) -> Part:
    """A part of no run, for asking without recording."""
    return Part(
        result_id=0,
        credential_id=row.id,
        user_id=row.user_id,
        provider_id=row.provider_id,
        slug=slug,
        label=row.label,
        sealed_key=row.sealed_key,
        vault_version=row.vault_version,
        key_number=row.key_number,
        base_url=row.base_url,
    )


def ask(part: Part, means: Means) -> Answer | errors.SyncError | Exception:
    """Open the key and fetch. Whatever happens is returned: a thread has nobody to raise to."""
    provider = PROVIDERS.get(part.slug)
    if provider is None:
        return errors.Refused(f"This version of Modelsync has no provider “{part.slug}”")
    try:
        key = signing_key(provider, _open(part, means.vault), means.client, means.base_urls)
        base_url, is_theirs = _place(part, provider, means.base_urls)
        if not is_theirs:
            return fetch(provider, key, means.client, base_url=base_url, in_all_s=means.in_all_s)
        with nullcontext(means.guarded) if means.guarded else new_client(guarded=()) as client:
            return fetch(provider, key, client, base_url=base_url, in_all_s=means.in_all_s)
    except errors.SyncError as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return error


def _place(part: Part, provider: Provider, base_urls: Mapping[str, str]) -> tuple[str, bool]:
    """The base URL to ask at, and whether it is the user's choice. The operator's goes before a region's."""
    if part.base_url and part.base_url not in provider.regions.values():
        return part.base_url, True
    if operators := base_urls.get(part.slug):
        return operators, False
    if part.base_url:
        return part.base_url, False
    if provider.own_url:
        raise errors.NoAddress
    return provider.base_url, False


def _open(part: Part, vault: Opener) -> SecretKey | None:
    if part.sealed_key is None or part.vault_version is None:
        return None
    try:
        return vault.open(part.sealed_key, part.vault_version, Owner(part.user_id, part.credential_id, part.slug))
    except CannotOpen:
        raise errors.KeyUnopenable from None
