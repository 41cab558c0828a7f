"""Fetch the lists of many run items at once, each within its limits. No database in here."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import httpx

from app import clock
from app.providers import PROVIDERS
from app.providers.contract import Provider
from app.store.http_cache import NO_HINTS, CacheEntry, FetchHints
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow
from app.sync.http import errors
from app.sync.http.client import TOTAL_TIMEOUT_S, new_client
from app.sync.http.fetch import Answer, NotModified, Trace, fetch
from app.sync.http.google_auth import resolve_signing_key
from app.sync.http.request import NO_VALIDATORS, Validators
from app.sync.http.retry import DEFAULT_RETRY, Deadline, RetryPolicy
from app.sync.limits.circuit_breaker import Requester
from app.sync.limits.limiter import INTERACTIVE_QUOTA, Lane, Limiter
from app.sync.limits.store import LimiterStore, Quota, endpoint_id
from app.vault import ApiKey, Keyring, SealContext, UnsealError

T = TypeVar("T")
FetchOutcome = Answer | NotModified | errors.SyncError | Exception
Clock = Callable[[], datetime]
OnProgress = Callable[..., None]
"""Called with run ids after every commit that changed what people see of those runs."""

_NO_HINTS_KNOWN: Mapping[int, FetchHints] = {}
_EndpointKey = tuple[str, str | None]
"""A provider's slug, and the base URL that the key's owner chose."""
_MAX_THREADS = 256
_MAX_TOTAL_S = 480.0
"""Upper bound on the fetches of one job; less than the job's own timeout (see `jobs`)."""


@dataclass(frozen=True, slots=True)
class SyncContext:
    """Everything a run needs from outside, injected so that tests patch nothing."""

    vault: Keyring
    client: httpx.Client
    base_urls: Mapping[str, str]
    """Provider → base URL that the operator set in the environment; unrestricted."""
    now: Clock = clock.utc_now
    on_progress: OnProgress = lambda *_run_ids: None
    total_timeout_s: float = TOTAL_TIMEOUT_S
    """Of one list, retries included."""
    restricted: httpx.Client | None = None
    """SSRF-safe client for addresses that users or admins chose. None: one for public addresses is made when needed."""
    retry_policy: RetryPolicy = DEFAULT_RETRY
    quota: Quota = INTERACTIVE_QUOTA
    limiter_store: LimiterStore | None = None
    """State shared by all workers; None: this process limits itself."""
    server_keys: Mapping[str, ApiKey] = field(default_factory=dict)
    """Provider → API key in the server's environment."""
    interval: timedelta = timedelta(0)
    """Sync interval of the server's own keys; zero: never automatically."""
    admin_base_urls: Mapping[str, str] = field(default_factory=dict)
    """Provider → base URL that an admin set; restricted like those of users, because every user's key goes there."""

    @property
    def limiter(self) -> Limiter:
        return Limiter(self.limiter_store, self.now, self.retry_policy.sleep, self.quota)


@dataclass(frozen=True, slots=True)
class FetchResult:
    item: RunItem
    answer: FetchOutcome
    duration_s: float = 0.0
    cache_entry: CacheEntry | None = None
    """Validators for the next conditional request; after NotModified those that were sent."""
    trace: Trace = field(default_factory=list)


def fetch_each(
    items: Sequence[RunItem], context: SyncContext, hints: Mapping[int, FetchHints] = _NO_HINTS_KNOWN
) -> list[FetchResult]:
    """Fetch all items at once, as `fetch_all`; those that miss the deadline are results with TimedOut."""
    arrivals: queue.SimpleQueue[FetchResult] = queue.SimpleQueue()
    fetch_all(items, context, arrivals, hints)
    deadline = deadline_for(items, context)
    results: dict[int, FetchResult] = {}
    while len(results) < len(items):
        try:
            result = arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        results[result.item.credential_id] = result
    late = errors.TimedOut()
    return [results.get(item.credential_id) or FetchResult(item, late, context.total_timeout_s) for item in items]


def fetch_all(
    items: Sequence[RunItem],
    context: SyncContext,
    arrivals: queue.SimpleQueue[FetchResult],
    hints: Mapping[int, FetchHints] = _NO_HINTS_KNOWN,
) -> None:
    """Start fetching all items in threads and return; each result is put into `arrivals`. hints: by credential id.

    Each endpoint has threads of its own, as many as its quota allows, so that one that hangs delays no other. Only
    beyond `_MAX_THREADS` do endpoints share threads.
    """
    by_endpoint: dict[_EndpointKey, queue.SimpleQueue[RunItem]] = defaultdict(queue.SimpleQueue)
    for item in items:
        by_endpoint[_endpoint_key(item)].put(item)
    slots: queue.SimpleQueue[queue.SimpleQueue[RunItem]] = queue.SimpleQueue()
    for pending in by_endpoint.values():
        for _ in range(min(pending.qsize(), context.quota.max_concurrent)):
            slots.put(pending)

    def work() -> None:
        for pending in _drain(slots):
            _fetch_pending(pending, context, arrivals, hints)

    # Daemon threads: a provider that trickles bytes for ever must not keep the process from exiting.
    for number in range(min(slots.qsize(), _MAX_THREADS)):
        threading.Thread(target=work, name=f"fetch-{number}", daemon=True).start()


def _fetch_pending(
    pending: queue.SimpleQueue[RunItem],
    context: SyncContext,
    arrivals: queue.SimpleQueue[FetchResult],
    hints: Mapping[int, FetchHints],
) -> None:
    """Fetch the items of one endpoint, one after the other, until none is left."""
    with Lane(context.limiter) as lane:
        for item in _drain(pending):
            upcoming = 1 + pending.qsize() // context.quota.max_concurrent
            hint = hints.get(item.credential_id, NO_HINTS)
            result = _fetch_safely(item, context, hint, lane, upcoming)
            if pending.empty():
                lane.release()  # after the last result the job may end, and close Redis
            arrivals.put(result)


def _fetch_safely(item: RunItem, context: SyncContext, hints: FetchHints, lane: Lane, upcoming: int) -> FetchResult:
    """Never raises: a result that does not arrive would hold up the run until its deadline."""
    started = time.monotonic()
    trace: Trace = []
    try:
        answer = fetch_one(item, context, hints, trace, lane, upcoming)
        return FetchResult(item, answer, time.monotonic() - started, _cache_entry(item, answer, hints, context), trace)
    except Exception as error:
        return FetchResult(item, errors.internal_error(error), time.monotonic() - started, trace=trace)


def deadline_for(items: Sequence[RunItem], context: SyncContext) -> float:
    """The monotonic time at which the missing results time out.

    At most `_MAX_TOTAL_S` from now, however many items there are, so that the job can still save what arrived.
    """
    max_concurrent = context.quota.max_concurrent
    sizes = Counter(_endpoint_key(item) for item in items)
    slots = sum(min(size, max_concurrent) for size in sizes.values())
    rounds = (1 + max(sizes.values(), default=0) // max_concurrent) * (1 + slots // _MAX_THREADS)
    # Two more seconds a round: a fetch that uses its whole timeout still has to be reported.
    return time.monotonic() + min((context.total_timeout_s + 2) * rounds, _MAX_TOTAL_S)


def _endpoint_key(item: RunItem) -> _EndpointKey:
    return item.slug, item.base_url


def _drain(pending: queue.SimpleQueue[T]) -> Iterator[T]:
    with suppress(queue.Empty):
        while True:
            yield pending.get_nowait()


def run_item_for(row: CredentialRow, slug: str) -> RunItem:
    """An item that belongs to no run, for fetching without saving a result."""
    return RunItem(
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


def fetch_one(
    item: RunItem,
    context: SyncContext,
    hints: FetchHints = NO_HINTS,
    trace: Trace | None = None,
    lane: Lane | None = None,
    upcoming: int = 1,
) -> FetchOutcome:
    """Open the key and fetch the list. Errors are returned, not raised.

    lane: the thread's; None: one for this fetch alone. upcoming: how many fetches the lane expects, this one included.
    """
    provider = PROVIDERS.get(item.slug)
    if provider is None:
        return errors.RequestRejected(f"This version of Modelsync has no provider “{item.slug}”")
    now, deadline = context.now(), context.retry_policy.deadline(context.total_timeout_s)
    try:
        if hints.put_off_until and now < hints.put_off_until:
            until = errors.format_clock_time(hints.put_off_until, now)
            return errors.RetryLater(f"{provider.title} asked to wait until {until}, so it was not asked")
        key = resolve_signing_key(provider, _load_key(item, provider, context), context.client, context.base_urls)
        with nullcontext(lane) if lane else Lane(context.limiter) as lane:
            return _fetch_limited(item, provider, key, context, hints.cache_entry, deadline, trace, lane, upcoming)
    except (errors.SyncError, NotModified) as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return errors.internal_error(error)


def _fetch_limited(
    item: RunItem,
    provider: Provider,
    key: ApiKey | None,
    context: SyncContext,
    cache_entry: CacheEntry | None,
    deadline: Deadline,
    trace: Trace | None,
    lane: Lane,
    upcoming: int,
) -> Answer:
    """Fetch through the limiter. Raises SyncError; one that asks for a longer wait than the run has names the time."""
    base_url, is_custom = _resolve_base_url(item, provider, context)

    def fetch_with(client: httpx.Client) -> Answer:
        return fetch(
            provider,
            key,
            client,
            base_url=base_url,
            total_timeout_s=deadline.remaining_s,
            retry_policy=context.retry_policy,
            known=_validators_for(base_url, cache_entry),
            trace=trace,
        )

    def fetch_list() -> Answer:
        if not is_custom:
            return fetch_with(context.client)
        with nullcontext(context.restricted) if context.restricted else new_client(restricted=()) as client:
            return fetch_with(client)

    requester = Requester(item.user_id, item.credential_id)
    try:
        return lane.call(endpoint_id(item.slug, base_url), provider.title, requester, deadline, fetch_list, upcoming)
    except errors.SyncError as error:
        if not (error.is_transient and context.retry_policy.exceeds_budget(error, deadline)):
            raise
        now = context.now()
        later = error.add_retry_time(provider.title, now + timedelta(seconds=error.retry_after_s or 0.0), now)
    raise later


def _validators_for(base_url: str, cache_entry: CacheEntry | None) -> Validators:
    """The stored validators, if they come from this very address."""
    if cache_entry is None or cache_entry["base_url"] != base_url:
        return NO_VALIDATORS
    return Validators(cache_entry["etag"], cache_entry["last_modified"], cache_entry["digest"])


def _cache_entry(item: RunItem, answer: FetchOutcome, hints: FetchHints, context: SyncContext) -> CacheEntry | None:
    if isinstance(answer, NotModified):
        return hints.cache_entry
    if not isinstance(answer, Answer) or not answer.validators:
        return None
    base_url, _ = _resolve_base_url(item, PROVIDERS[item.slug], context)
    return CacheEntry(
        etag=answer.validators.etag,
        last_modified=answer.validators.last_modified,
        digest=answer.validators.digest,
        base_url=answer.base_url or base_url,
        skipped=len(answer.skipped),
        read_at=context.now().isoformat(),
    )


def _resolve_base_url(item: RunItem, provider: Provider, context: SyncContext) -> tuple[str, bool]:
    """The base URL to use, and whether a user or an admin chose it.

    Precedence: the user's own server, the operator's setting, the admin's, the key's region, the provider's default.

    Raises MissingBaseURL, also for a stored address that no form accepts for this provider: whoever wrote it into the
    database would be sent the key.
    """
    if item.base_url and item.base_url not in provider.regions.values():
        if not provider.base_url_example:
            raise errors.MissingBaseURL(f"The address that is kept with this key is none of {provider.title}'s")
        return item.base_url, True
    if operator_url := context.base_urls.get(item.slug):
        return operator_url, False
    if admin_url := context.admin_base_urls.get(item.slug):
        return admin_url, True
    if item.base_url:
        return item.base_url, False
    if provider.base_url_example:
        raise errors.MissingBaseURL
    return provider.base_url, False


def _load_key(item: RunItem, provider: Provider, context: SyncContext) -> ApiKey | None:
    """None for lists that need no key. Raises KeyUnopenable, and KeyMissing if the environment lacks the server's."""
    if not item.is_server:
        return _open_key(item, context.vault)
    key = context.server_keys.get(item.slug)
    if key is None and not provider.public:
        raise errors.KeyMissing(f"API key not configured: {provider.key_variable} is not set")
    return key


def _open_key(item: RunItem, vault: Keyring) -> ApiKey | None:
    if item.sealed_key is None or item.vault_version is None:
        return None
    try:
        return vault.open(item.sealed_key, item.vault_version, SealContext(item.user_id, item.credential_id, item.slug))
    except UnsealError:
        raise errors.KeyUnopenable from None
