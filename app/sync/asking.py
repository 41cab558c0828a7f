"""Ask providers for a run's parts, all at the same time, each within its bounds. No database in here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from app.providers import PROVIDERS
from app.providers.contract import Provider
from app.store.asked import NEVER, Asked, Memo
from app.store.runs import Part
from app.store.tables import CredentialRow
from app.sync import errors
from app.sync.breaker import Who
from app.sync.fetch import IN_ALL_S, Answer, NotModified, Validators, fetch, new_client
from app.sync.flights import Flights
from app.sync.gate import Gate
from app.sync.retrying import PATIENT, Deadline, Patience
from app.sync.shared import Store, place_of
from app.sync.tokens import signing_key
from app.vault import CannotOpen, Opener, Owner, SecretKey

MOST_AT_ONCE = 64
"""Providers asked at the same time by one run; further ones wait for a thread."""

Outcome = Answer | NotModified | errors.SyncError | Exception

_flights: Flights[Outcome] = Flights()
_NOBODY: Mapping[int, Asked] = {}

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
    patience: Patience = PATIENT
    shared: Store | None = None
    """What all workers know together; None where this process is the only one."""

    @property
    def gate(self) -> Gate:
        return Gate(self.shared, self.now, self.patience.sleep)


@dataclass(frozen=True, slots=True)
class Fetched:
    part: Part
    answer: Outcome
    duration_s: float = 0.0
    memo: Memo | None = None
    """By what to ask the next time whether the list changed; of a list that did not change, by what was asked."""


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
    """Ask in threads; what comes of it arrives in the queue. asked: what the last answers said, by credential."""
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
            before = asked.get(part.credential_id, NEVER)
            answer = ask(part, means, before)
            memo = _memo(part, answer, before, means)
            arrived.put(Fetched(part, answer, time.monotonic() - begun, memo))

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


def ask(part: Part, means: Means, asked: Asked = NEVER) -> Outcome:
    """Open the key and fetch. Whatever happens is returned: a thread has nobody to raise to."""
    provider = PROVIDERS.get(part.slug)
    if provider is None:
        return errors.Refused(f"This version of Modelsync has no provider “{part.slug}”")
    now, deadline = means.now(), means.patience.deadline(means.in_all_s)
    try:
        if asked.put_off_until and now < asked.put_off_until:
            until = errors.at_clock(asked.put_off_until, now)
            return errors.PutOff(f"{provider.title} asked to wait until {until}, so it was not asked")
        key = signing_key(provider, _open(part, means.vault), means.client, means.base_urls)
        return _ask_once(_Question(part, provider, key, means, asked.memo, deadline))
    except errors.SyncError as error:
        return error
    except Exception as error:  # stored, logged and raised by the caller
        return error


@dataclass(frozen=True, slots=True)
class _Question:
    part: Part
    provider: Provider
    key: SecretKey | None
    means: Means
    memo: Memo | None
    deadline: Deadline

    def known(self, base_url: str) -> Validators:
        """What may be asked by: of an answer from this very address."""
        if self.memo is None or self.memo["base_url"] != base_url:
            return Validators()
        return Validators(self.memo["etag"], self.memo["last_modified"])


def _ask_once(question: _Question) -> Outcome:
    """Through the gate; whoever asks the same at the same time within this process shares the answer."""
    base_url, is_theirs = _place(question.part, question.provider, question.means.base_urls)
    known = question.known(base_url)
    place = question.part.slug, base_url, "theirs" if is_theirs else "ours"
    name = _flights.name(question.key, *place, known.etag, known.last_modified)
    return _flights.join(name, lambda: _ask_now(question, base_url, is_theirs, known), question.deadline)


def _ask_now(question: _Question, base_url: str, is_theirs: bool, known: Validators) -> Outcome:
    part, provider, means, deadline = question.part, question.provider, question.means, question.deadline

    def through(client: httpx.Client) -> Answer:
        in_all_s = deadline.left_s
        return fetch(
            provider, question.key, client, base_url=base_url, in_all_s=in_all_s, patience=means.patience, known=known
        )

    def with_its_client() -> Answer:
        if not is_theirs:
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
    except Exception as error:  # stored, logged and raised by the caller
        return error


def _memo(part: Part, answer: Outcome, before: Asked, means: Means) -> Memo | None:
    if isinstance(answer, NotModified):
        return before.memo
    if not isinstance(answer, Answer) or not answer.validators:
        return None
    base_url, _ = _place(part, PROVIDERS[part.slug], means.base_urls)
    return Memo(
        etag=answer.validators.etag,
        last_modified=answer.validators.last_modified,
        base_url=base_url,
        skipped=len(answer.skipped),
        read_at=means.now().isoformat(),
    )


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
