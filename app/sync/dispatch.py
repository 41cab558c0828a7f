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
from app.store.http_cache import NEVER, Asked, Memo
from app.store.runs import Part
from app.store.schema.tables import CredentialRow
from app.sync.http import errors
from app.sync.http.fetch import IN_ALL_S, Answer, NotModified, Trace, Validators, fetch, new_client
from app.sync.http.google_auth import signing_key
from app.sync.http.retry import PATIENT, Deadline, Patience
from app.sync.limits.circuit_breaker import Who
from app.sync.limits.limiter import FOR_PEOPLE, Gate, Share
from app.sync.limits.store import Store, place_of
from app.sync.singleflight import Flights
from app.vault import CannotOpen, Opener, Owner, SecretKey

T = TypeVar("T")
Outcome = Answer | NotModified | errors.SyncError | Exception

_flights: Flights[Outcome] = Flights()
_NOBODY: Mapping[int, Asked] = {}
_Place = tuple[str, str | None]
"""A provider, and where the key's owner wants it asked."""
_MOST_THREADS = 256
_LONGEST_S = 480.0
"""Of asking for all parts of a job: less than a job may take (`jobs`)."""

Clock = Callable[[], datetime]
Tell = Callable[..., None]
"""Called with the ids of runs after every commit that changed what people see of them."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with, given from outside, so that tests patch nothing."""

    vault: Opener
    client: httpx.Client
    base_urls: Mapping[str, str]
    """Provider → where the operator has it asked, by the environment: anywhere."""
    now: Clock = utc_now
    tell: Tell = lambda *_run_ids: None
    in_all_s: float = IN_ALL_S
    guarded: httpx.Client | None = None
    """For addresses that users or admins chose; without one, a client that reaches public addresses only is made."""
    patience: Patience = PATIENT
    share: Share = FOR_PEOPLE
    """How much of what a provider is asked may be ours."""
    shared: Store | None = None
    """What all workers know together; None where this process is the only one."""
    server_keys: Mapping[str, SecretKey] = field(default_factory=dict)
    """Provider → the key that the server's environment holds."""
    interval: timedelta = timedelta(0)
    """How often the server's own keys are synced; zero: never by themselves."""
    admin_base_urls: Mapping[str, str] = field(default_factory=dict)
    """Provider → where an admin has it asked: guarded as what users chose, for all their keys go there."""

    @property
    def gate(self) -> Gate:
        return Gate(self.shared, self.now, self.patience.sleep, self.share)


@dataclass(frozen=True, slots=True)
class Fetched:
    part: Part
    answer: Outcome
    duration_s: float = 0.0
    memo: Memo | None = None
    """By what to ask the next time whether the list changed; of a list that did not change, by what was asked."""
    trace: Trace = field(default_factory=list)


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


def ask_all(
    parts: Sequence[Part],
    means: Means,
    arrived: queue.SimpleQueue[Fetched],
    asked: Mapping[int, Asked] = _NOBODY,
) -> None:
    """Ask in threads; what comes of it arrives in the queue. asked: what the last answers said, by credential.

    Each provider at each address has threads of its own, no more than may ask it at once: one that hangs keeps nobody
    else waiting. Only beyond `_MOST_THREADS` do some places wait for the threads of others.
    """
    by_place: dict[_Place, queue.SimpleQueue[Part]] = defaultdict(queue.SimpleQueue)
    for part in parts:
        by_place[_place_key(part)].put(part)
    seats: queue.SimpleQueue[queue.SimpleQueue[Part]] = queue.SimpleQueue()
    for todo in by_place.values():
        for _ in range(min(todo.qsize(), means.share.at_once)):
            seats.put(todo)

    def work() -> None:
        for todo in _drained(seats):
            for part in _drained(todo):
                arrived.put(_fetched(part, means, asked.get(part.credential_id, NEVER)))

    # Daemons: a provider that drips for ever must not keep the process from ending.
    for number in range(min(seats.qsize(), _MOST_THREADS)):
        threading.Thread(target=work, name=f"fetch-{number}", daemon=True).start()


def _fetched(part: Part, means: Means, before: Asked) -> Fetched:
    """Whatever happens is told: of a thread that dies, the run would wait for the others' deadline."""
    begun = time.monotonic()
    trace: Trace = []
    try:
        answer = ask(part, means, before, trace)
        return Fetched(part, answer, time.monotonic() - begun, _memo(part, answer, before, means), trace)
    except Exception as error:
        return Fetched(part, errors.unforeseen(error), time.monotonic() - begun, trace=trace)


def deadline_for(parts: Sequence[Part], means: Means) -> float:
    """The moment on the clock that never jumps at which whoever has not come in is given up.

    Not after `_LONGEST_S`, however many there are: what came in by then is written, before the job's own time is over.
    """
    at_once = means.share.at_once
    sizes = Counter(_place_key(part) for part in parts)
    seats = sum(min(size, at_once) for size in sizes.values())
    # Rounds of those that may ask at once; two seconds for what comes in at the last moment.
    rounds = (1 + max(sizes.values(), default=0) // at_once) * (1 + seats // _MOST_THREADS)
    return time.monotonic() + min((means.in_all_s + 2) * rounds, _LONGEST_S)


def _place_key(part: Part) -> _Place:
    return part.slug, part.base_url


def _drained(waiting: queue.SimpleQueue[T]) -> Iterator[T]:
    with suppress(queue.Empty):
        while True:
            yield waiting.get_nowait()


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


def ask(part: Part, means: Means, asked: Asked = NEVER, trace: Trace | None = None) -> Outcome:
    """Open the key and fetch. Whatever happens is returned: a thread has nobody to raise to."""
    provider = PROVIDERS.get(part.slug)
    if provider is None:
        return errors.Refused(f"This version of Modelsync has no provider “{part.slug}”")
    now, deadline = means.now(), means.patience.deadline(means.in_all_s)
    try:
        if asked.put_off_until and now < asked.put_off_until:
            until = errors.at_clock(asked.put_off_until, now)
            return errors.PutOff(f"{provider.title} asked to wait until {until}, so it was not asked")
        key = signing_key(provider, _key_of(part, provider, means), means.client, means.base_urls)
        return _ask_once(_Question(part, provider, key, means, asked.memo, deadline, trace))
    except (errors.SyncError, NotModified) as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return errors.unforeseen(error)


@dataclass(frozen=True, slots=True)
class _Question:
    part: Part
    provider: Provider
    key: SecretKey | None
    means: Means
    memo: Memo | None
    deadline: Deadline
    trace: Trace | None = None

    def known(self, base_url: str) -> Validators:
        """What may be asked by: of an answer from this very address."""
        if self.memo is None or self.memo["base_url"] != base_url:
            return Validators()
        return Validators(self.memo["etag"], self.memo["last_modified"], self.memo["digest"])


def _ask_once(question: _Question) -> Outcome:
    """Through the gate; whoever asks the same at the same time within this process shares the answer."""
    base_url, is_typed = _place(question.part, question.provider, question.means)
    known = question.known(base_url)
    place = question.part.slug, base_url, "typed" if is_typed else "ours"
    name = _flights.name(question.key, *place, known.etag, known.last_modified, known.digest)
    return _flights.join(name, lambda: _ask_now(question, base_url, is_typed, known), question.deadline)


def _ask_now(question: _Question, base_url: str, is_typed: bool, known: Validators) -> Outcome:
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

    who = Who(part.user_id, part.credential_id)
    try:
        return means.gate.ask(place_of(part.slug, base_url), provider.title, who, deadline, with_its_client)
    except errors.SyncError as error:
        if not (error.passing and means.patience.is_too_long(error, deadline)):
            return error
        now = means.now()
        return error.put_off(provider.title, now + timedelta(seconds=error.retry_after_s or 0.0), now)
    except NotModified as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return errors.unforeseen(error)


def _memo(part: Part, answer: Outcome, before: Asked, means: Means) -> Memo | None:
    if isinstance(answer, NotModified):
        return before.memo
    if not isinstance(answer, Answer) or not answer.validators:
        return None
    base_url, _ = _place(part, PROVIDERS[part.slug], means)
    return Memo(
        etag=answer.validators.etag,
        last_modified=answer.validators.last_modified,
        digest=answer.validators.digest,
        base_url=base_url,
        skipped=len(answer.skipped),
        read_at=means.now().isoformat(),
    )


def _place(part: Part, provider: Provider, means: Means) -> tuple[str, bool]:
    """The base URL to ask at, and whether a user or an admin typed it. The operator's goes before an admin's, and that
    before a region's.

    Raises NoAddress: also for an address that no page keeps with a key of this provider. Whoever wrote it into the
    database would be sent the key.
    """
    if part.base_url and part.base_url not in provider.regions.values():
        if not provider.own_url:
            raise errors.NoAddress(f"The address that is kept with this key is none of {provider.title}'s")
        return part.base_url, True
    if operators := means.base_urls.get(part.slug):
        return operators, False
    if admins := means.admin_base_urls.get(part.slug):
        return admins, True
    if part.base_url:
        return part.base_url, False
    if provider.own_url:
        raise errors.NoAddress
    return provider.base_url, False


def _key_of(part: Part, provider: Provider, means: Means) -> SecretKey | None:
    """Raises KeyUnopenable; KeyMissing where the environment has none of the server's and the list needs one."""
    if not part.is_server:
        return _open(part, means.vault)
    key = means.server_keys.get(part.slug)
    if key is None and not provider.public:
        name = f"{provider.variable}_API_KEY"
        raise errors.KeyMissing(f"API key not configured: {name} is not set")
    return key


def _open(part: Part, vault: Opener) -> SecretKey | None:
    if part.sealed_key is None or part.vault_version is None:
        return None
    try:
        return vault.open(part.sealed_key, part.vault_version, Owner(part.user_id, part.credential_id, part.slug))
    except CannotOpen:
        raise errors.KeyUnopenable from None
