"""Which failures are retried, after which delay, and when retries end; no test here sleeps."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from app.demo.simulator import Simulator
from app.providers import PROVIDERS
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.fetch import Answer, NotModified, fetch
from app.sync.http.request import Validators
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey
from tests.sync.http.test_fetch import Stream

KEY = ApiKey("sk-marked-Zq7Kw2Xv9-tail")


@dataclass
class Clock:
    """A clock that advances only in `sleep`."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(clock=self, sleep=self.sleep)


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.reset()
    return running


@pytest.fixture
def ask(simulator: Simulator, time: Clock) -> Iterator[Callable[..., Answer]]:
    with new_client() as client:

        def ask(slug: str = "openai", total_timeout_s: float = 60.0, known: Validators | None = None) -> Answer:
            url = simulator.base_urls[slug]
            patience = time.retry_policy
            return fetch(
                PROVIDERS[slug],
                KEY,
                client,
                base_url=url,
                total_timeout_s=total_timeout_s,
                retry_policy=patience,
                known=known,
            )

        yield ask


def failing(error: errors.SyncError, times: int = 100) -> Callable[[], str]:
    left = [error] * times

    def attempt() -> str:
        if left:
            raise left.pop()
        return "answered"

    return attempt


LATER = (408, 425, 429, 500, 502, 503, 504)
PASSING = ["error_500", "unavailable_503", "maintenance", "reset", "rate_limited"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_tried_again(ask: Callable[..., Answer], simulator: Simulator, fault: str) -> None:
    simulator.set_fault("openai", fault, times=2, seconds=1)
    assert ask().complete
    assert len(simulator.requests("openai")) == 3


@pytest.mark.parametrize("fault", PASSING)
def test_it_is_given_up_after_four_tries(ask: Callable[..., Answer], simulator: Simulator, fault: str) -> None:
    simulator.set_fault("openai", fault, seconds=1)
    with pytest.raises(errors.TransientError):
        ask()
    assert len(simulator.requests("openai")) == 4


@pytest.mark.parametrize(
    "fault",
    ["unauthorized", "revoked", "forbidden", "quota", "html", "null", "truncated", "redirect_elsewhere", "gzip_bomb"],
)
def test_what_stays_is_asked_once(ask: Callable[..., Answer], simulator: Simulator, time: Clock, fault: str) -> None:
    simulator.set_fault("openai", fault)
    with pytest.raises(errors.SyncError):
        ask()
    assert (len(simulator.requests("openai")), time.slept) == (1, [])


@pytest.mark.parametrize(
    ("status", "tries"),
    [(status, 4 if status in LATER else 1) for status in (400, 401, 403, 404, 409, 451, 501, 505, 507, *LATER)],
)
def test_the_statuses_that_mean_later(time: Clock, status: int, tries: int) -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.method == "HEAD":
            raise httpx.ConnectError("no TLS")
        asked += 1
        return httpx.Response(status, stream=Stream([]))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(errors.SyncError):
        fetch(PROVIDERS["openai"], KEY, client, base_url="http://provider.test", retry_policy=time.retry_policy)
    assert asked == tries


def _distrusted(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("handshake") from ssl.SSLCertVerificationError("self-signed")


def _raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (_raising(httpx.ConnectTimeout("slow")), 4),
        (_raising(httpx.ReadTimeout("slow")), 4),
        (_raising(httpx.ConnectError("refused")), 4),
        (_raising(httpx.ReadError("broken")), 4),
        (_raising(httpx.RemoteProtocolError("hung up")), 4),
        (_raising(httpx.UnsupportedProtocol("gopher")), 1),
        (_raising(httpx.InvalidURL("none")), 1),
        (_distrusted, 1),
    ],
)
def test_connections_that_broke_are_made_again(
    time: Clock, answer: Callable[[httpx.Request], httpx.Response], tries: int
) -> None:
    asked = 0

    def counted(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += request.method == "GET"  # not the question whether the other scheme works
        return answer(request)

    with httpx.Client(transport=httpx.MockTransport(counted)) as client, pytest.raises(errors.TransientError):
        fetch(PROVIDERS["openai"], KEY, client, base_url="http://provider.test", retry_policy=time.retry_policy)
    assert asked == tries


def test_a_page_that_fails_is_not_paid_with_the_pages_before(ask: Callable[..., Answer], simulator: Simulator) -> None:
    simulator.page_size = 10
    whole = ask("anthropic").pages
    simulator.clear_requests()
    simulator.set_fault("anthropic", "reset", times=1)
    assert ask("anthropic").pages == whole
    assert len(simulator.requests("anthropic")) == whole + 1


def test_waits_double_at_most_and_are_spread_over_their_whole_range() -> None:
    longest = [0.0, 0.0, 0.0]
    shortest = [9.0, 9.0, 9.0]
    for _ in range(300):
        time = Clock()
        with pytest.raises(errors.Unavailable):
            time.retry_policy.retry(failing(errors.Unavailable(retryable=True)), time.retry_policy.deadline(60))
        longest = list(map(max, longest, time.slept))
        shortest = list(map(min, shortest, time.slept))
    for most, least, bound in zip(longest, shortest, (0.5, 1.0, 2.0), strict=True):
        assert 0.8 * bound < most <= bound
        assert least < 0.2 * bound


@pytest.mark.parametrize("fault", ["rate_limited", "rate_limited_until"])
def test_retry_after_is_obeyed_in_both_forms(
    ask: Callable[..., Answer], simulator: Simulator, time: Clock, fault: str
) -> None:
    simulator.set_fault("openai", fault, seconds=17, times=1)
    assert ask().complete
    (slept,) = time.slept
    assert 15 <= slept <= 17 * 1.1


@pytest.mark.parametrize(("wait_s", "total_timeout_s"), [(21, 60), (3_600, 60), (15, 10)])
def test_a_wait_that_no_run_has_time_for_ends_it_at_once(time: Clock, wait_s: float, total_timeout_s: float) -> None:
    error = errors.RateLimited(status=429, retry_after_s=wait_s, retryable=True)
    deadline = time.retry_policy.deadline(total_timeout_s)
    with pytest.raises(errors.RateLimited):
        time.retry_policy.retry(failing(error), deadline)
    assert time.slept == []
    assert time.retry_policy.exceeds_budget(error, deadline)


def test_nothing_is_tried_after_the_deadline(time: Clock) -> None:
    started_at: list[float] = []

    def attempt() -> None:
        started_at.append(time.now)
        time.now += 0.4
        raise errors.Unavailable(retryable=True)

    deadline = time.retry_policy.deadline(1.0)
    with pytest.raises(errors.Unavailable):
        time.retry_policy.retry(attempt, deadline)
    assert len(started_at) < 4
    assert all(at < deadline.at for at in started_at)


def test_a_slow_provider_is_not_asked_beyond_the_bound(ask: Callable[..., Answer], simulator: Simulator) -> None:
    simulator.set_fault("openai", "maintenance")
    with pytest.raises(errors.Maintenance):
        ask(total_timeout_s=0.0001 + 5)
    assert len(simulator.requests("openai")) <= 4


# ------------------------------------------------------------------ conditional requests


def test_a_list_that_did_not_change_is_not_sent_again(ask: Callable[..., Answer], simulator: Simulator) -> None:
    simulator.set_fault("openai", "conditional")
    answer = ask()
    assert answer.validators.etag.startswith('W/"') and answer.validators.last_modified
    with pytest.raises(NotModified):
        ask(known=answer.validators)
    seen = simulator.requests("openai")[-1].headers
    assert seen["if-none-match"] == answer.validators.etag
    assert seen["if-modified-since"] == answer.validators.last_modified
    simulator.add_new("openai", 1)
    assert ask(known=answer.validators).validators != answer.validators


def test_a_list_of_several_pages_is_always_read(ask: Callable[..., Answer], simulator: Simulator) -> None:
    simulator.page_size = 10
    assert not ask("anthropic").validators


def answering(**headers: str) -> httpx.Client:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b'{"data": [{"id": "gpt-4o"}]}'
    return httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=named, stream=Stream([body])))
    )


@pytest.mark.parametrize(
    "etag", ['"sk-marked-Zq7Kw2Xv9-tail"', '"Zq7Kw2Xv9"', '"x-marked-Z-x"', '"' + "a" * 200 + '"', '"\x01"']
)
def test_validators_that_repeat_the_key_or_fit_no_header_are_dropped(etag: str) -> None:
    with answering(ETag=etag) as client:
        kept = fetch(PROVIDERS["openai"], KEY, client, base_url="http://provider.test").validators
        assert (kept.etag, kept.last_modified) == ("", "")


def test_nobody_is_asked_by_validators_that_are_not_known(time: Clock) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert "if-none-match" not in request.headers and "if-modified-since" not in request.headers
        return httpx.Response(304, stream=Stream([]))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(errors.UnreadableAnswer):
        fetch(PROVIDERS["openai"], KEY, client, base_url="http://provider.test", known=Validators())
