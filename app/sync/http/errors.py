"""What can go wrong while a provider's list is fetched. Each error becomes a stored sentence with an action.

SyncError
├── KeyProblem                the key is at fault: a retry changes nothing
│   ├── KeyRejected           the provider does not know the key
│   ├── KeyRevoked            the provider knew it once
│   ├── NoAccess              the key may not read the list
│   ├── QuotaExhausted        its owner has to pay or wait for the next period
│   ├── KeyUnopenable         our own vault cannot open it
│   └── KeyMissing            not in the server's environment, and the list needs one
├── TransientError            may work later
│   ├── Unreachable           no connection: name, network, TLS
│   ├── TimedOut
│   ├── RateLimited
│   ├── Unavailable           5xx
│   ├── Maintenance
│   ├── RetryLater            an earlier Retry-After has not passed yet
│   ├── CircuitOpen           it fails for many users, so requests pause
│   └── ConcurrencyLimited    too many of our own requests to it are running
├── DiskFull                  a good answer, but the server has no room for it
└── UnusableAnswer            the provider answered, but not with a list we can trust
    ├── UnreadableAnswer      HTML, invalid JSON, another shape
    ├── TooLarge
    ├── Redirected            to another host, where the key must not go
    ├── PrivateAddressBlocked  a user's address leads into a private network
    ├── MissingBaseURL        the provider has no default address, and the key names none
    ├── RegionBlocked
    └── RequestRejected       any other 4xx

A code reads as words ("key revoked"), because summaries show it.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import ClassVar, Literal

from app.providers.contract import ErrorMeaning


class SyncError(Exception):
    """A known failure. `str()` is a sentence for people; it never holds a key or text of the provider's."""

    code: ClassVar[str]
    sentence: ClassVar[str]
    action: str
    is_transient: ClassVar[bool] = False
    """Whether trying again later may help."""
    key_at_fault: ClassVar[bool] = False
    outcome: ClassVar[Literal["failed", "skipped"]] = "failed"
    """Outcome of the result: skipped if the provider was deliberately not queried."""
    counts_against_provider: ClassVar[bool] = False
    """Whether the provider itself failed: such errors of many users open its circuit breaker."""
    put_off_until: datetime | None = None
    """The provider's Retry-After time, if it is later than a run waits."""

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        """retry_after_s: as the provider requested. retryable: whether another attempt within the run may help."""
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        self.retryable = retryable
        super().__init__(self.message)

    @property
    def message(self) -> str:
        ending = f" (HTTP {self.status})" if self.status else ""
        return f"{self.detail or self.sentence}{ending}."

    def add_retry_time(self, provider: str, until: datetime, now: datetime) -> SyncError:
        """The same failure, naming the time until which the provider asks to wait."""
        later = type(self)(
            f"{provider} asks to wait until {format_clock_time(until, now)}",
            status=self.status,
            retry_after_s=self.retry_after_s,
        )
        later.put_off_until = until
        later.action = "Your last list is kept. A sync after that time asks again."
        return later


def format_clock_time(moment: datetime, now: datetime) -> str:
    """`10:20 UTC`, with the day (`2 November 10:20 UTC`) unless it is today; for sentences that are stored."""
    moment = moment.astimezone(UTC)
    day = "" if moment.date() == now.astimezone(UTC).date() else f"{moment.day} {moment:%B} "
    return f"{day}{moment:%H:%M} UTC"


class KeyProblem(SyncError):
    key_at_fault = True


class KeyRejected(KeyProblem):
    code = "key_rejected"
    sentence = "The provider says this key is not valid"
    action = "Copy the key again from the provider's site and replace it here."


class KeyRevoked(KeyProblem):
    code = "key_revoked"
    sentence = "The provider says this key is revoked"
    action = "Make a new key on the provider's site and replace it here."


class NoAccess(KeyProblem):
    code = "no_access"
    sentence = "The provider says this key may not list models"
    action = "Give the key the permission to read models, or use another key."


class QuotaExhausted(KeyProblem):
    code = "quota_exhausted"
    sentence = "The provider says this account's quota or credit is used up"
    action = "Check billing on the provider's site, then sync again."


class KeyUnopenable(KeyProblem):
    code = "key_unopenable"
    sentence = "This stored key cannot be opened with the vault keys at hand"
    action = "Enter the key again; the operator may have lost or changed VAULT_PRIVATE_KEYS."


class KeyMissing(KeyProblem):
    outcome = "skipped"
    code = "key_missing"
    sentence = "API key not configured"
    action = "Set it in the environment of the workers, and start them again."


class TransientError(SyncError):
    is_transient = True


class Unreachable(TransientError):
    counts_against_provider = True
    code = "unreachable"
    sentence = "Could not reach the provider"
    action = "Your last list is kept. Try again later; if it stays so, check this server's network."


class TimedOut(TransientError):
    counts_against_provider = True
    code = "timed_out"
    sentence = "The provider did not answer in time"
    action = "Your last list is kept. Try again later."


class RateLimited(TransientError):
    counts_against_provider = True
    code = "rate_limited"
    sentence = "The provider says there were too many requests"
    action = "Your last list is kept. Wait a few minutes, then sync again."


class Unavailable(TransientError):
    counts_against_provider = True
    code = "unavailable"
    sentence = "The provider has trouble of its own"
    action = "Your last list is kept. Try again later."


class Maintenance(TransientError):
    counts_against_provider = True
    code = "maintenance"
    sentence = "The provider is down for maintenance"
    action = "Your last list is kept. Try again later."


class RetryLater(TransientError):
    outcome = "skipped"
    code = "put_off"
    sentence = "The provider asked to wait"
    action = "Your last list is kept. A sync after that time asks again."


class CircuitOpen(TransientError):
    code = "provider_trouble"
    sentence = "The provider is having trouble"
    action = "Your last list is kept. It is not your key: a sync after that time asks again."


class ConcurrencyLimited(TransientError):
    code = "crowded"
    sentence = "Too many other syncs were asking this provider"
    action = "Your last list is kept. Try again later."


class DiskFull(SyncError):
    code = "disk_full"
    sentence = "The server's disk is full, so this answer could not be saved"
    action = "Your last list is kept. Tell the operator, then sync again."


class UnusableAnswer(SyncError):
    pass


class UnreadableAnswer(UnusableAnswer):
    code = "unreadable_answer"
    sentence = "The provider did not send a list of models"
    action = "Your last list is kept. If it stays so, the provider changed its API: please report it."


class TooLarge(UnusableAnswer):
    code = "answer_too_large"
    sentence = "The provider's answer is larger than 32 MB"
    action = "Your last list is kept. If it stays so, please report it."


class Redirected(UnusableAnswer):
    code = "redirected"
    sentence = "The provider's address leads to another host, where the key was not sent"
    action = "Your last list is kept. Check the base URL that is set for this provider."


class PrivateAddressBlocked(UnusableAnswer):
    code = "private_address"
    sentence = "That address leads into a private network, which this server does not open to its users"
    action = "Use a public address, or ask the operator to add the network to ALLOWED_PRIVATE_NETWORKS."


class MissingBaseURL(UnusableAnswer):
    code = "no_address"
    sentence = "This key has no address to ask at"
    action = "Delete it and add it again; a server of yours with its address."


class RegionBlocked(UnusableAnswer):
    code = "region_blocked"
    sentence = "The provider does not serve this server's country"
    action = "Run Modelsync where the provider is available, or disable this key."


class RequestRejected(UnusableAnswer):
    code = "refused"
    sentence = "The provider refused the request"
    action = "Your last list is kept. If it stays so, please report it."


ERROR_BY_FAULT: dict[ErrorMeaning, type[SyncError]] = {
    "key_rejected": KeyRejected,
    "key_revoked": KeyRevoked,
    "no_access": NoAccess,
    "quota_exhausted": QuotaExhausted,
    "rate_limited": RateLimited,
    "region_blocked": RegionBlocked,
    "maintenance": Maintenance,
    "unavailable": Unavailable,
    "refused": RequestRejected,
}


class InternalError(Exception):
    """An unexpected error, raised while a key was in use: its type, and where it happened.

    It has neither the original's message nor its frames, which may hold the key and would be shown in error reports.
    """


def internal_error(error: BaseException) -> InternalError:
    """Replaces an unexpected error; raise or return it outside the `except` block, so that it has no context."""
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return InternalError(f"{type(error).__module__}.{type(error).__qualname__} at " + ", from ".join(reversed(places)))
