"""Ask providers for a run's parts, all at the same time, each within its bounds. No database in here."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import httpx

from app.providers import PROVIDERS
from app.providers.contract import Provider
from app.store.http_cache import NO_HINTS, CacheEntry, FetchHints
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow
from app.sync.http import errors
from app.sync.http.fetch import TOTAL_TIMEOUT_S, Answer, NotModified, Trace, Validators, fetch, new_client
from app.sync.http.google_auth import resolve_signing_key
from app.sync.http.retry import DEFAULT_RETRY, Deadline, RetryPolicy
from app.sync.limits.circuit_breaker import Requester
from app.sync.limits.limiter import INTERACTIVE_QUOTA, Limiter, Quota
from app.sync.limits.store import LimiterStore, endpoint_id
from app.sync.singleflight import Flights
from app.vault import ApiKey, Keyring, SealContext, UnsealError

T = TypeVar("T")
FetchOutcome = Answer | NotModified | errors.SyncError | Exception

_flights: Flights[FetchOutcome] = Flights()
_NO_HINTS_KNOWN: Mapping[int, FetchHints] = {}
_EndpointKey = tuple[str, str | None]
"""A provider, and where the key's owner wants it asked."""
_MAX_THREADS = 256
_MAX_TOTAL_S = 480.0
"""Of asking for all parts of a job: less than a job may take (`jobs`)."""

Clock = Callable[[], datetime]
OnProgress = Callable[..., None]
"""Called with the ids of runs after every commit that changed what people see of them."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SyncContext:
    """What a run works with, given from outside, so that tests patch nothing."""

    vault: Keyring
    client: httpx.Client
    base_urls: Mapping[str, str]
    """Provider → where the operator has it asked, by the environment: anywhere."""
    now: Clock = utc_now
    tell: OnProgress = lambda *_run_ids: None
    in_all_s: float = TOTAL_TIMEOUT_S
    guarded: httpx.Client | None = None
    """For addresses that users or admins chose; without one, a client that reaches public addresses only is made."""
    patience: RetryPolicy = DEFAULT_RETRY
    share: Quota = INTERACTIVE_QUOTA
    """How much of what a provider is asked may be ours."""
    shared: LimiterStore | None = None
    """What all workers know together; None where this process is the only one."""
    server_keys: Mapping[str, ApiKey] = field(default_factory=dict)
    """Provider → the key that the server's environment holds."""
    interval: timedelta = timedelta(0)
    """How often the server's own keys are synced; zero: never by themselves."""
    admin_base_urls: Mapping[str, str] = field(default_factory=dict)
    """Provider → where an admin has it asked: guarded as what users chose, for all their keys go there."""

    @property
    def gate(self) -> Limiter:
        return Limiter(self.shared, self.now, self.patience.sleep, self.share)


@dataclass(frozen=True, slots=True)
class FetchResult:
    part: RunItem
    answer: FetchOutcome
    duration_s: float = 0.0
    memo: CacheEntry | None = None
    """By what to ask the next time whether the list changed; of a list that did not change, by what was asked."""
    trace: Trace = field(default_factory=list)


def fetch_each(parts: Sequence[RunItem], means: SyncContext) -> list[FetchResult]:
    """Ask for all parts at once; who does not come in within the bound has timed out."""
    arrived: queue.SimpleQueue[FetchResult] = queue.SimpleQueue()
    fetch_all(parts, means, arrived)
    deadline = deadline_for(parts, means)
    found: dict[int, FetchResult] = {}
    while len(found) < len(parts):
        try:
            fetched = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[fetched.part.credential_id] = fetched
    late = errors.TimedOut()
    return [found.get(part.credential_id) or FetchResult(part, late, means.in_all_s) for part in parts]


def fetch_all(
    parts: Sequence[RunItem],
    means: SyncContext,
    arrived: queue.SimpleQueue[FetchResult],
    asked: Mapping[int, FetchHints] = _NO_HINTS_KNOWN,
) -> None:
    """Ask in threads; what comes of it arrives in the queue. asked: what the last answers said, by credential.

    Each provider at each address has threads of its own, no more than may ask it at once: one that hangs keeps nobody
    else waiting. Only beyond `_MOST_THREADS` do some places wait for the threads of others.
    """
    by_place: dict[_EndpointKey, queue.SimpleQueue[RunItem]] = defaultdict(queue.SimpleQueue)
    for part in parts:
        by_place[_endpoint_key(part)].put(part)
    seats: queue.SimpleQueue[queue.SimpleQueue[RunItem]] = queue.SimpleQueue()
    for todo in by_place.values():
        for _ in range(min(todo.qsize(), means.share.at_once)):
            seats.put(todo)

    def work() -> None:
        for todo in _drain(seats):
            for part in _drain(todo):
                arrived.put(_fetch_safely(part, means, asked.get(part.credential_id, NO_HINTS)))

    # Daemons: a provider that drips for ever must not keep the process from ending.
    for number in range(min(seats.qsize(), _MAX_THREADS)):
        threading.Thread(target=work, name=f"fetch-{number}", daemon=True).start()


def _fetch_safely(part: RunItem, means: SyncContext, before: FetchHints) -> FetchResult:
    """Whatever happens is told: of a thread that dies, the run would wait for the others' deadline."""
    begun = time.monotonic()
    trace: Trace = []
    try:
        answer = fetch_one(part, means, before, trace)
        return FetchResult(part, answer, time.monotonic() - begun, _cache_entry(part, answer, before, means), trace)
    except Exception as error:
        return FetchResult(part, errors.internal_error(error), time.monotonic() - begun, trace=trace)


def deadline_for(parts: Sequence[RunItem], means: SyncContext) -> float:
    """The moment on the clock that never jumps at which whoever has not come in is given up.

    Not after `_LONGEST_S`, however many there are: what came in by then is written, before the job's own time is over.
    """
    at_once = means.share.at_once
    sizes = Counter(_endpoint_key(part) for part in parts)
    seats = sum(min(size, at_once) for size in sizes.values())
    # Rounds of those that may ask at once; two seconds for what comes in at the last moment.
    rounds = (1 + max(sizes.values(), default=0) // at_once) * (1 + seats // _MAX_THREADS)
    return time.monotonic() + min((means.in_all_s + 2) * rounds, _MAX_TOTAL_S)


def _endpoint_key(part: RunItem) -> _EndpointKey:
    return part.slug, part.base_url


def _drain(waiting: queue.SimpleQueue[T]) -> Iterator[T]:
    with suppress(queue.Empty):
        while True:
            yield waiting.get_nowait()


def run_item_for(row: CredentialRow, slug: str) -> RunItem:
    """A part of no run, for asking without recording."""
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
    part: RunItem, means: SyncContext, asked: FetchHints = NO_HINTS, trace: Trace | None = None
) -> FetchOutcome:
    """Open the key and fetch. Whatever happens is returned: a thread has nobody to raise to."""
    provider = PROVIDERS.get(part.slug)
    if provider is None:
        return errors.RequestRejected(f"This version of Modelsync has no provider “{part.slug}”")
    now, deadline = means.now(), means.patience.deadline(means.in_all_s)
    try:
        if asked.put_off_until and now < asked.put_off_until:
            until = errors.format_clock_time(asked.put_off_until, now)
            return errors.RetryLater(f"{provider.title} asked to wait until {until}, so it was not asked")
        key = resolve_signing_key(provider, _load_key(part, provider, means), means.client, means.base_urls)
        return _ask_once(_FetchRequest(part, provider, key, means, asked.memo, deadline, trace))
    except (errors.SyncError, NotModified) as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return errors.internal_error(error)


@dataclass(frozen=True, slots=True)
class _FetchRequest:
    part: RunItem
    provider: Provider
    key: ApiKey | None
    means: SyncContext
    memo: CacheEntry | None
    deadline: Deadline
    trace: Trace | None = None

    def known(self, base_url: str) -> Validators:
        """What may be asked by: of an answer from this very address."""
        if self.memo is None or self.memo["base_url"] != base_url:
            return Validators()
        return Validators(self.memo["etag"], self.memo["last_modified"], self.memo["digest"])


def _ask_once(question: _FetchRequest) -> FetchOutcome:
    """Through the gate; whoever asks the same at the same time within this process shares the answer."""
    base_url, is_typed = _resolve_base_url(question.part, question.provider, question.means)
    known = question.known(base_url)
    place = question.part.slug, base_url, "typed" if is_typed else "ours"
    name = _flights.name(question.key, *place, known.etag, known.last_modified, known.digest)
    return _flights.join(name, lambda: _fetch_limited(question, base_url, is_typed, known), question.deadline)


def _fetch_limited(question: _FetchRequest, base_url: str, is_typed: bool, known: Validators) -> FetchOutcome:
    part, provider, means, deadline = question.part, question.provider, question.means, question.deadline

    def through(client: httpx.Client) -> Answer:
        return fetch(
            provider,
            question.key,
            client,
            base_url=base_url,
            in_all_s=deadline.left_s,
            patience=means.patience,
            known=known,
            trace=question.trace,
        )

    def with_its_client() -> Answer:
        if not is_typed:
            return through(means.client)
        with nullcontext(means.guarded) if means.guarded else new_client(guarded=()) as client:
            return through(client)

    who = Requester(part.user_id, part.credential_id)
    try:
        return means.gate.ask(endpoint_id(part.slug, base_url), provider.title, who, deadline, with_its_client)
    except errors.SyncError as error:
        if not (error.passing and means.patience.is_too_long(error, deadline)):
            return error
        now = means.now()
        return error.put_off(provider.title, now + timedelta(seconds=error.retry_after_s or 0.0), now)
    except NotModified as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return errors.internal_error(error)


def _cache_entry(part: RunItem, answer: FetchOutcome, before: FetchHints, means: SyncContext) -> CacheEntry | None:
    if isinstance(answer, NotModified):
        return before.memo
    if not isinstance(answer, Answer) or not answer.validators:
        return None
    base_url, _ = _resolve_base_url(part, PROVIDERS[part.slug], means)
    return CacheEntry(
        etag=answer.validators.etag,
        last_modified=answer.validators.last_modified,
        digest=answer.validators.digest,
        base_url=base_url,
        skipped=len(answer.skipped),
        read_at=means.now().isoformat(),
    )


def _resolve_base_url(part: RunItem, provider: Provider, means: SyncContext) -> tuple[str, bool]:
    """The base URL to ask at, and whether a user or an admin typed it. The operator's goes before an admin's, and that
    before a region's.

    Raises NoAddress: also for an address that no page keeps with a key of this provider. Whoever wrote it into the
    database would be sent the key.
    """
    if part.base_url and part.base_url not in provider.regions.values():
        if not provider.own_url:
            raise errors.MissingBaseURL(f"The address that is kept with this key is none of {provider.title}'s")
        return part.base_url, True
    if operators := means.base_urls.get(part.slug):
        return operators, False
    if admins := means.admin_base_urls.get(part.slug):
        return admins, True
    if part.base_url:
        return part.base_url, False
    if provider.own_url:
        raise errors.MissingBaseURL
    return provider.base_url, False


def _load_key(part: RunItem, provider: Provider, means: SyncContext) -> ApiKey | None:
    """Raises KeyUnopenable; KeyMissing where the environment has none of the server's and the list needs one."""
    if not part.is_server:
        return _open_key(part, means.vault)
    key = means.server_keys.get(part.slug)
    if key is None and not provider.public:
        name = f"{provider.variable}_API_KEY"
        raise errors.KeyMissing(f"API key not configured: {name} is not set")
    return key


def _open_key(part: RunItem, vault: Keyring) -> ApiKey | None:
    if part.sealed_key is None or part.vault_version is None:
        return None
    try:
        return vault.open(part.sealed_key, part.vault_version, SealContext(part.user_id, part.credential_id, part.slug))
    except UnsealError:
        raise errors.KeyUnopenable from None
