"""Try again within a run, where that may help: full jitter on exponential backoff, or as long as the provider asks.

What may help says the error itself (`SyncError.again`): time-outs, broken connections, and the statuses that mean
"later". A key that is refused, a used-up quota and an answer that is no list are the same a second later.
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
"""Beyond a Retry-After, as a share of it: who was turned away at one moment should not come back at one."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a clock that never jumps."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @property
    def left_s(self) -> float:
        """Below zero once it is over."""
        return self.at - self.clock()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often to try. The clock and the sleep are arguments, so that no test waits for luck."""

    tries: int = 4
    first_s: float = 0.5
    """Up to so long is the first wait; the bound doubles with each try."""
    most_s: float = 8.0
    longest_s: float = 20.0
    """The longest Retry-After for which a run waits."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def deadline(self, in_all_s: float) -> Deadline:
        return Deadline(self.clock() + in_all_s, self.clock)

    def is_too_long(self, error: SyncError, deadline: Deadline) -> bool:
        """Whether the provider asks for a longer wait than a run has."""
        wait_s = error.retry_after_s or 0.0
        return wait_s > self.longest_s or (wait_s > 0 and wait_s >= deadline.left_s)

    def persist(self, attempt: Callable[[], T], deadline: Deadline) -> T:
        """The result of the first attempt that succeeds. Raises the SyncError of the last one that was worth it."""
        waits = wait_random_exponential(multiplier=self.first_s, max=self.most_s)

        def wait_s(state: RetryCallState) -> float:
            asked_s = _sync_error(state).retry_after_s or 0.0
            return max(waits(state), asked_s * (1 + random.uniform(0, _JITTER)))  # no secret

        def is_over(state: RetryCallState) -> bool:
            is_late = state.upcoming_sleep >= deadline.left_s
            return state.attempt_number >= self.tries or is_late or self.is_too_long(_sync_error(state), deadline)

        return Retrying(
            retry=retry_if_exception(_is_retryable), wait=wait_s, stop=is_over, sleep=self.sleep, reraise=True
        )(attempt)


DEFAULT_RETRY = RetryPolicy()


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, SyncError) and error.again


def _sync_error(state: RetryCallState) -> SyncError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, SyncError):
        raise TypeError("only what is worth another try is waited for")
    return error
