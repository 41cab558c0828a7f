"""Fetching from one provider: the request, the error for each fault, and that errors contain no key."""

from __future__ import annotations

import functools
import gzip
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import brotli
import httpx
import pytest
from backports import zstd

from app.demo.faults import FAULTS
from app.demo.simulator import Simulator
from app.providers import PROVIDERS
from app.sync.http import errors
from app.sync.http.client import new_client, process_client
from app.sync.http.fetch import MAX_PAGES, Answer
from app.sync.http.fetch import fetch as patient_fetch
from app.sync.http.request import MAX_BYTES
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey
from tests.demo.test_simulator import READABLE
from tests.providers.shapes import SHAPES, every_shape

KEY = "sk-marked-Zq7Kw2Xv9-tail"
MARK = "Zq7Kw2Xv9"
PAGED = ("anthropic", "google")
WITH_LONG_FAULTS = ("openai", "anthropic")
LONG = {"huge", "gzip_bomb"}
# No retries in these tests: test_retry.py covers them.
fetch = functools.partial(patient_fetch, retry_policy=RetryPolicy(max_attempts=1))
readable_provider = pytest.mark.parametrize("slug", READABLE)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    """One for all tests here, as good as new."""
    running.reset()
    return running


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with new_client() as client:
        yield client


class Asked:
    """Ask the simulator as a run does."""

    def __init__(self, simulator: Simulator, client: httpx.Client) -> None:
        self.simulator, self.client = simulator, client

    def __call__(self, slug: str, fault: str | None = None, total_timeout_s: float = 20.0) -> Answer:
        if fault:
            self.simulator.set_fault(slug, fault)
        base_url = self.simulator.base_urls[slug]
        return fetch(PROVIDERS[slug], ApiKey(KEY), self.client, base_url=base_url, total_timeout_s=total_timeout_s)

    def listed(self, slug: str) -> list[str]:
        shown = [model.id for model in self.simulator.models(slug) if not model.key_substring]
        return sorted(shown + documented(slug))


@pytest.fixture
def ask(simulator: Simulator, client: httpx.Client) -> Asked:
    return Asked(simulator, client)


def documented(slug: str) -> list[str]:
    """Models that are added to every list of a provider from its documentation."""
    added = PROVIDERS[slug].documented
    return sorted(model.id for model in added.models) if added else []


def ids(answer: Answer) -> list[str]:
    return sorted(model.id for model in answer.models)


# ------------------------------------------------------------------ what reaches the provider


@pytest.mark.parametrize(
    ("slug", "name", "value"),
    [
        ("openai", "authorization", f"Bearer {KEY}"),
        ("anthropic", "x-api-key", KEY),
        ("google", "x-goog-api-key", KEY),
        ("groq", "authorization", f"Bearer {KEY}"),
        ("openrouter", "authorization", f"Bearer {KEY}"),
        ("fal", "authorization", f"Key {KEY}"),
        ("google-vertex", "authorization", f"Bearer {KEY}"),
        ("azure", "api-key", KEY),
    ],
)
def test_the_key_is_in_its_header_and_nowhere_else(ask: Asked, slug: str, name: str, value: str) -> None:
    ask(slug)
    (seen,) = ask.simulator.requests(slug)
    assert seen.headers[name] == value
    others = {header: said for header, said in seen.headers.items() if header != name}
    assert MARK not in repr((seen.path, seen.query, others))


@readable_provider
def test_a_request_says_who_asks_and_what_it_understands(ask: Asked, slug: str) -> None:
    ask(slug)
    (seen,) = ask.simulator.requests(slug)
    assert seen.headers["user-agent"].startswith("Modelsync/")
    assert seen.headers["accept"] == PROVIDERS[slug].headers.get("Accept", "application/json")
    assert seen.headers["accept-encoding"] == "gzip, br, zstd"
    assert seen.headers.get("anthropic-version") == ("2023-06-01" if slug == "anthropic" else None)
    assert "cookie" not in seen.headers


def test_without_a_key_nothing_is_signed(simulator: Simulator, client: httpx.Client) -> None:
    answer = fetch(PROVIDERS["openrouter"], None, client, base_url=simulator.base_urls["openrouter"])
    assert answer.complete
    (seen,) = simulator.requests("openrouter")
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("key", ["sk-schlüssel-0123456789", "sk-two\nlines-0123456789", "sk-null\x00-0123456789"])
def test_a_key_that_fits_no_header_is_rejected_without_asking(
    simulator: Simulator, client: httpx.Client, key: str
) -> None:
    with pytest.raises(errors.KeyRejected):
        fetch(PROVIDERS["openai"], ApiKey(key), client, base_url=simulator.base_urls["openai"])
    assert simulator.requests() == []


@pytest.mark.parametrize(("slug", "cursor"), [("anthropic", "after_id"), ("google", "pageToken")])
def test_all_pages_are_read(ask: Asked, slug: str, cursor: str) -> None:
    ask.simulator.page_size = 10
    answer = ask(slug)
    assert answer.complete
    assert ids(answer) == ask.listed(slug)
    first, *following = ask.simulator.requests(slug)
    assert cursor not in first.query
    assert following and all(seen.query[cursor] for seen in following)
    assert answer.pages == 1 + len(following)


# ------------------------------------------------------------------ faults

FAILURES: dict[str, tuple[type[errors.SyncError], str]] = {
    "html": (errors.UnreadableAnswer, "unreadable_answer"),
    "truncated": (errors.UnreadableAnswer, "unreadable_answer"),
    "null": (errors.UnreadableAnswer, "unreadable_answer"),
    "wrong_types": (errors.UnreadableAnswer, "unreadable_answer"),
    "huge": (errors.TooLarge, "answer_too_large"),
    "gzip_bomb": (errors.TooLarge, "answer_too_large"),
    "redirect_elsewhere": (errors.Redirected, "redirected"),
    "reset": (errors.Unreachable, "unreachable"),
    "unauthorized": (errors.KeyRejected, "key_rejected"),
    "echo_key": (errors.KeyRejected, "key_rejected"),
    "revoked": (errors.KeyRevoked, "key_revoked"),
    "forbidden": (errors.NoAccess, "no_access"),
    "quota": (errors.QuotaExhausted, "quota_exhausted"),
    "rate_limited": (errors.RateLimited, "rate_limited"),
    "rate_limited_until": (errors.RateLimited, "rate_limited"),
    "error_500": (errors.Unavailable, "unavailable"),
    "unavailable_503": (errors.Unavailable, "unavailable"),
    "maintenance": (errors.Maintenance, "maintenance"),
}
TIMEOUTS = {"drip", "hang", "slow"}
ANSWERS = {
    "one_bad_model",
    "duplicates",
    "wrong_entries",
    "gzip",
    "conditional",
    "redirect_home",
    "endless_pages",
    "repeated_cursor",
    "empty",
    "shrunk",
}


def test_every_fault_is_tried_here() -> None:
    assert set(FAILURES) | TIMEOUTS | ANSWERS == set(FAULTS)


@pytest.mark.parametrize(
    ("slug", "fault"),
    [(slug, fault) for slug in SHAPES for fault in FAILURES if fault not in LONG or slug in WITH_LONG_FAULTS],
)
def test_a_fault_becomes_its_error_and_tells_no_key(ask: Asked, slug: str, fault: str) -> None:
    kind, code = FAILURES[fault]
    if (slug, fault) == ("google", "forbidden"):  # its own words: the key's restrictions leave this API out
        kind, code = errors.KeyRestricted, "key_restricted"
    with pytest.raises(errors.SyncError) as raised:
        ask(slug, fault)
    assert isinstance(raised.value, kind)
    assert raised.value.code == code
    keeps_the_key(raised.value)


@every_shape
@pytest.mark.parametrize("fault", sorted(LONG))
def test_a_giant_answer_is_refused(ask: Asked, slug: str, fault: str) -> None:
    """Without the search for the key, which takes longest and is done for two providers above."""
    with pytest.raises(errors.TooLarge):
        ask(slug, fault)


@every_shape
@pytest.mark.parametrize("fault", sorted(TIMEOUTS))
def test_a_slow_provider_is_given_up_in_time(ask: Asked, slug: str, fault: str) -> None:
    ask.simulator.set_fault(slug, fault, seconds=0.02 if fault == "drip" else None)
    start = time.monotonic()
    with pytest.raises(errors.TimedOut) as raised:
        ask(slug, total_timeout_s=0.05)
    assert time.monotonic() - start < 10
    keeps_the_key(raised.value)


def keeps_the_key(error: errors.SyncError) -> None:
    """Neither the error, its chain nor a traceback with its frames' locals contains the key."""
    link: BaseException | None = error
    while link is not None:
        # httpx's own errors hold the request, and with it the header.
        assert not isinstance(link, httpx.HTTPError)
        assert MARK not in repr((str(link), link.args, vars(link)))
        link = link.__cause__ or link.__context__
    assert MARK not in "".join(traceback.format_exception(error))
    assert MARK not in "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize("slug", WITH_LONG_FAULTS)
@pytest.mark.parametrize("fault", sorted(LONG))
def test_a_giant_answer_takes_little_memory(ask: Asked, slug: str, fault: str) -> None:
    ask(slug)
    tracemalloc.start()
    try:
        with pytest.raises(errors.TooLarge):
            ask(slug, fault)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000


@every_shape
def test_the_key_does_not_follow_to_another_host(ask: Asked, slug: str) -> None:
    with pytest.raises(errors.Redirected):
        ask(slug, "redirect_elsewhere")
    assert ask.simulator.unexpected_requests() == []
    assert len(ask.simulator.requests()) == 1


@every_shape
def test_a_redirect_on_the_same_host_is_followed(ask: Asked, slug: str) -> None:
    answer = ask(slug, "redirect_home")
    assert answer.whole
    assert ids(answer) == ask.listed(slug)


@every_shape
def test_a_compressed_answer_is_read(ask: Asked, slug: str) -> None:
    assert ids(ask(slug, "gzip")) == ask.listed(slug)


@every_shape
def test_one_bad_model_costs_only_itself(ask: Asked, slug: str) -> None:
    answer = ask(slug, "one_bad_model")
    assert ids(answer) == ask.listed(slug)
    assert len(answer.skipped) == 1
    assert answer.whole


@every_shape
def test_models_that_come_twice_are_kept_once_and_counted(ask: Asked, slug: str) -> None:
    answer = ask(slug, "duplicates")
    assert ids(answer) == ask.listed(slug)
    assert [skipped.reason for skipped in answer.skipped] == ["it is listed twice"] * 3


@every_shape
def test_entries_that_are_no_models_are_skipped_and_counted(ask: Asked, slug: str) -> None:
    answer = ask(slug, "wrong_entries")
    assert ids(answer) == documented(slug)
    assert len(answer.skipped) == 7


@every_shape
def test_an_empty_list_is_an_answer_without_models(ask: Asked, slug: str) -> None:
    answer = ask(slug, "empty")
    assert (ids(answer), answer.skipped, answer.whole) == (documented(slug), [], True)


@readable_provider
def test_a_list_that_is_never_the_whole_truth_is_not_complete(ask: Asked, slug: str) -> None:
    provider, answer = PROVIDERS[slug], ask(slug)
    assert answer.complete == (not provider.caveat and not provider.documented)
    assert answer.complete == (not answer.caveat)
    assert provider.caveat in answer.caveat
    assert not provider.documented or provider.documented.as_of in answer.caveat
    assert sorted(model.id for model in answer.models if model.documented) == documented(slug)
    assert all(model.private == provider.private for model in answer.models)


@pytest.mark.parametrize("slug", PAGED)
def test_endless_pages_end_at_the_hundredth_and_are_not_complete(ask: Asked, slug: str) -> None:
    answer = ask(slug, "endless_pages")
    assert not answer.complete
    assert answer.pages == len(ask.simulator.requests(slug)) == MAX_PAGES == 100
    assert ids(answer) == ask.listed(slug)


@pytest.mark.parametrize("slug", PAGED)
def test_a_cursor_that_repeats_is_not_followed_for_ever(ask: Asked, slug: str) -> None:
    answer = ask(slug, "repeated_cursor")
    assert not answer.complete
    assert len(ask.simulator.requests(slug)) == 2
    assert ids(answer) == ask.listed(slug)


@every_shape
def test_a_rate_limit_says_when_to_come_back(ask: Asked, slug: str) -> None:
    ask.simulator.set_fault(slug, "rate_limited", seconds=17)
    with pytest.raises(errors.RateLimited) as raised:
        ask(slug)
    assert (raised.value.retry_after_s, raised.value.status) == (17.0, 429)


@pytest.mark.parametrize("slug", ["ollama", "lmstudio"])
@pytest.mark.parametrize("pasted", ["/v1", "/v1/"])
def test_a_path_for_chat_programs_does_not_hide_a_servers_list(ask: Asked, slug: str, pasted: str) -> None:
    base_url = ask.simulator.base_urls[slug] + pasted
    assert ids(fetch(PROVIDERS[slug], None, ask.client, base_url=base_url)) == ask.listed(slug)


def test_a_provider_that_works_again_is_read_again(ask: Asked) -> None:
    ask.simulator.set_fault("openai", "reset", times=1)
    with pytest.raises(errors.Unreachable):
        ask("openai")
    assert ids(ask("openai")) == ask.listed("openai")


def test_a_closed_port_is_unreachable(client: httpx.Client) -> None:
    with socket.socket() as taken:  # bound but not listening, so that no other process can take the port
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.ConnectionRefused) as raised:
            fetch(PROVIDERS["openai"], ApiKey(KEY), client, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
    keeps_the_key(raised.value)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:notaport", "nonsense", "http://[::1", "http://\x00/"])
def test_an_address_that_is_none_is_unreachable(client: httpx.Client, base_url: str) -> None:
    with pytest.raises(errors.Unreachable):
        fetch(PROVIDERS["openai"], ApiKey(KEY), client, base_url=base_url)


# ------------------------------------------------------------------ answers that the simulator does not give


class Stream(httpx.SyncByteStream):
    """A body that has not been read yet."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks


def scripted(
    answer: Callable[[httpx.Request], tuple[int, dict[str, str | bytes], Iterable[bytes]]],
) -> Callable[[], Answer]:
    """Ask OpenAI where it answers with a status, headers and the chunks of a body."""

    def handle(request: httpx.Request) -> httpx.Response:
        status, headers, chunks = answer(request)
        raw = [(name.encode(), said if isinstance(said, bytes) else said.encode()) for name, said in headers.items()]
        return httpx.Response(status, headers=raw, stream=Stream(chunks))

    def ask() -> Answer:
        with httpx.Client(transport=httpx.MockTransport(handle)) as client:
            return fetch(PROVIDERS["openai"], ApiKey(KEY), client, base_url="http://provider.test/v1")

    return ask


def fixed(status: int, body: bytes = b"", **headers: str | bytes) -> Callable[[], Answer]:
    named = {name.replace("_", "-"): said for name, said in headers.items()}
    return scripted(lambda _request: (status, named, [body]))


ONE = b'{"data": [{"id": "gpt-4o"}]}'


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("0", 0.0),
        (" 30 ", 30.0),
        ("9" * 400, 86_400.0),
        (b"\xb2", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("1 Jan 99999999999999999999 00:00:00", None),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ],
)
def test_retry_after_is_read_or_left_alone(said: str | bytes, wait_s: float | None) -> None:
    with pytest.raises(errors.RateLimited) as raised:
        fixed(429, Retry_After=said)()
    assert raised.value.retry_after_s == wait_s


def test_retry_after_can_be_a_date() -> None:
    with pytest.raises(errors.RateLimited) as raised:
        fixed(429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True))()
    assert raised.value.retry_after_s == pytest.approx(600, abs=30)


@pytest.mark.parametrize("status", [201, 204, 206, 304, 302])
def test_a_status_that_is_neither_a_list_nor_an_error_is_unreadable(status: int) -> None:
    with pytest.raises(errors.UnreadableAnswer) as raised:
        fixed(status)()
    assert raised.value.status == status


@pytest.mark.parametrize(
    "location",
    [
        "http://elsewhere.test/v1/models",
        "https://provider.test/v1/models",
        "//elsewhere.test/v1/models",
        "http://provider.test:8080/v1/models",
        "http://provider.test@elsewhere.test/",
        "http://user@provider.test/",
        "http://provider.test.elsewhere.test/",
        "ftp://provider.test/",
    ],
)
def test_a_redirect_that_leaves_the_host_is_refused_at_once(location: str) -> None:
    assert hosts_asked(location) == [("http", b"provider.test")]


@pytest.mark.parametrize("location", ["/v1/models", "", "\\\\elsewhere.test/"])
def test_a_redirect_in_a_circle_is_left(location: str) -> None:
    assert hosts_asked(location) == [("http", b"provider.test")] * 4


def hosts_asked(location: str) -> list[tuple[str, bytes]]:
    """Whom a redirect that is refused in the end made us ask."""
    urls: list[httpx.URL] = []

    def answer(request: httpx.Request) -> tuple[int, dict[str, str | bytes], list[bytes]]:
        urls.append(request.url)
        return 302, {"Location": location}, []

    with pytest.raises(errors.Redirected):
        scripted(answer)()
    return [(url.scheme, url.netloc) for url in urls]


@pytest.mark.parametrize("location", ["http://[::1", "javascript:alert(1)"])
def test_a_redirect_to_no_address_at_all_is_a_broken_answer(location: str) -> None:
    with pytest.raises(errors.Unreachable):
        fixed(302, Location=location)()


@pytest.mark.parametrize("encoding", ["deflate", "gzip, br", "gzip, gzip"])
def test_a_compression_that_was_not_asked_for_is_unreadable(encoding: str) -> None:
    with pytest.raises(errors.UnreadableAnswer, match="not asked for"):
        fixed(200, ONE, Content_Encoding=encoding)()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "br": functools.partial(brotli.compress, quality=1),
    "gzip": lambda plain: gzip.compress(plain, mtime=0),
    "zstd": zstd.compress,
}
in_each_coding = pytest.mark.parametrize("coding", PACKERS)


@in_each_coding
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_an_answer_may_come_compressed_in_whatever_pieces(coding: str, step: int) -> None:
    packed = PACKERS[coding](ONE)
    pieces = [packed[start : start + step] for start in range(0, len(packed), step)]
    answer = scripted(lambda _request: (200, {"Content-Encoding": coding}, pieces))()
    assert [model.id for model in answer.models] == ["gpt-4o"]


@in_each_coding
@pytest.mark.parametrize("damage", ["empty", "none of it", "cut off", "headless"])
def test_damaged_compression_is_unreadable(coding: str, damage: str) -> None:
    packed = PACKERS[coding](ONE)
    body = {"empty": b"", "none of it": b"not packed at all", "cut off": packed[:-12], "headless": packed[5:]}[damage]
    with pytest.raises(errors.UnreadableAnswer):
        fixed(200, body, Content_Encoding=coding)()


@in_each_coding
def test_a_small_answer_that_unfolds_to_a_huge_one_is_left_before_it_takes_the_memory(coding: str) -> None:
    bomb = PACKERS[coding](bytes(6 * MAX_BYTES))
    assert len(bomb) < MAX_BYTES / 40
    tracemalloc.start()
    try:
        with pytest.raises(errors.TooLarge):
            fixed(200, bomb, Content_Encoding=coding)()
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_a_frame_that_asks_for_more_memory_than_http_allows_is_unreadable() -> None:
    level = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=level)
    packed = packer.compress(ONE) + packer.flush()
    assert zstd.decompress(packed) == ONE
    with pytest.raises(errors.UnreadableAnswer):
        fixed(200, packed, Content_Encoding="zstd")()


@in_each_coding
def test_what_follows_a_compressed_answer_is_neither_read_nor_kept(coding: str) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        yield PACKERS[coding](ONE)
        for _ in range(1_000):
            sent += 1
            yield bytes(65_536)

    answer = scripted(lambda _request: (200, {"Content-Encoding": coding}, chunks()))()
    assert [model.id for model in answer.models] == ["gpt-4o"]
    assert sent <= 1


def test_an_error_with_a_body_that_cannot_be_read_is_told_by_its_status() -> None:
    with pytest.raises(errors.Unavailable):
        fixed(503, b"\x1b\x00", Content_Encoding="br")()
    with pytest.raises(errors.KeyRejected):
        fixed(401, b"no gzip", Content_Encoding="gzip")()


def test_of_an_endless_error_only_the_beginning_is_read() -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1_000:
            sent += 1
            yield bytes(16_384)

    with pytest.raises(errors.Unavailable):
        scripted(lambda _request: (500, {}, chunks()))()
    assert sent <= 5


def test_the_bound_on_size_is_for_all_pages_together() -> None:
    pages = 0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal pages
        pages += 1
        body = b'{"data": [], "has_more": true, "last_id": "page-%d", "padding": "' % pages + b"a" * 12_000_000 + b'"}'
        return httpx.Response(200, stream=Stream([body]))

    with httpx.Client(transport=httpx.MockTransport(handle)) as client, pytest.raises(errors.TooLarge):
        fetch(PROVIDERS["anthropic"], ApiKey(KEY), client, base_url="http://provider.test")
    assert pages == 3


def test_a_model_that_comes_twice_with_other_facts_is_told_apart() -> None:
    body = b'{"data": [{"id": "gpt-4o", "created": 1715367049}, {"id": "gpt-4o", "created": 1715367050}]}'
    answer = fixed(200, body)()
    (model,) = answer.models
    assert model.created_at == datetime(2024, 5, 10, 18, 50, 49, tzinfo=UTC)
    assert [skipped.reason for skipped in answer.skipped] == ["it is listed twice, with other facts; the first is kept"]


def test_a_cookie_that_comes_with_one_key_does_not_go_with_another(client: httpx.Client) -> None:
    sent: list[str | None] = []

    class Baker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.headers.get("Cookie"))
            self.send_response(200)
            self.send_header("Set-Cookie", "session=whose; Path=/")
            self.send_header("Content-Length", str(len(ONE)))
            self.end_headers()
            self.wfile.write(ONE)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Baker) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            for key in (KEY, "sk-of-somebody-else-0123"):
                fetch(
                    PROVIDERS["openai"],
                    ApiKey(key),
                    client,
                    base_url=f"http://127.0.0.1:{server.server_address[1]}",
                )
        finally:
            server.shutdown()
            thread.join()
    assert sent == [None, None]


def test_the_clients_bounds_are_those_promised(client: httpx.Client) -> None:
    assert (client.timeout.connect, client.timeout.read) == (5.0, 30.0)
    assert not client.follow_redirects


def test_a_process_has_one_client_and_a_forked_one_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = process_client()
    assert process_client() is ours
    assert process_client(()) is process_client([]) is not ours
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert process_client() is not ours


def test_a_connection_is_used_again(ask: Asked) -> None:
    """The simulator counts connections by the port that asks."""
    pool = ask.client._transport._pool  # type: ignore[attr-defined]
    for _ in range(5):
        ask("openai")
    port = f":{ask.simulator.url.rsplit(':', 1)[1]}"
    assert sum(port in repr(one) for one in pool.connections) == 1
