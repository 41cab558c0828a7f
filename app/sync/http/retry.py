"""Retries within a run: exponential backoff with full jitter, or as long as Retry-After says.

The error says whether a retry may help (`SyncError.retryable`): timeouts, broken connections, and statuses that mean
"later". A rejected key, a used-up quota or an unreadable answer stays the same a second later.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.wait import wait_random_exponential

from app.sync.http.errors import SyncError

T = TypeVar("T")

_JITTER = 0.1
"""Added to Retry-After, at most this share of it: clients rejected together should not return together."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on a monotonic clock."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @property
    def remaining_s(self) -> float:
        """Negative once the deadline has passed."""
        return self.at - self.clock()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often to try. Clock and sleep are injected, so that no test has to wait."""

    max_attempts: int = 4
    initial_wait_s: float = 0.5
    """Upper bound of the first wait; it doubles with each attempt."""
    max_wait_s: float = 8.0
    max_retry_after_s: float = 20.0
    """The longest Retry-After that a run waits for."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def deadline(self, total_timeout_s: float) -> Deadline:
        return Deadline(self.clock() + total_timeout_s, self.clock)

    def exceeds_budget(self, error: SyncError, deadline: Deadline) -> bool:
        """Whether the provider asks for a longer wait than the policy or the deadline allows."""
        wait_s = error.retry_after_s or 0.0
        return wait_s > self.max_retry_after_s or (wait_s > 0 and wait_s >= deadline.remaining_s)

    def retry(self, attempt: Callable[[], T], deadline: Deadline) -> T:
        """The result of the first attempt that succeeds. Raises the SyncError of the last attempt."""
        waits = wait_random_exponential(multiplier=self.initial_wait_s, max=self.max_wait_s)

        def wait_s(state: RetryCallState) -> float:
            retry_after_s = _sync_error(state).retry_after_s or 0.0
            return max(waits(state), retry_after_s * (1 + random.uniform(0, _JITTER)))  # noqa: S311  # no secret

        def is_over(state: RetryCallState) -> bool:
            is_late = state.upcoming_sleep >= deadline.remaining_s
            return (
                state.attempt_number >= self.max_attempts
                or is_late
                or self.exceeds_budget(_sync_error(state), deadline)
            )

        return Retrying(
            retry=retry_if_exception(_is_retryable), wait=wait_s, stop=is_over, sleep=self.sleep, reraise=True
        )(attempt)


DEFAULT_RETRY = RetryPolicy()


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, SyncError) and error.retryable


def _sync_error(state: RetryCallState) -> SyncError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, SyncError):
        raise TypeError("only a retryable SyncError is waited for")
    return error
