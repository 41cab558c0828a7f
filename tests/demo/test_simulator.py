"""The simulator behaves as described, so that other tests can rely on it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from app.config import ROOT
from app.demo.faults import encode_json
from app.demo.listings import TODAY, SimModel, list_models, load_timeline
from app.demo.server import CONTROL, TOKEN_HEADER
from app.demo.shapes import PLAIN, SHAPES, SimPage
from app.demo.simulator import Simulator
from app.providers import PROVIDERS
from app.providers.contract import join_url
from app.providers.parsing import InvalidResponse
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.fetch import Answer, fetch
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey
from tests.providers.shapes import SHAPES as TESTED_SHAPES
from tests.providers.shapes import every_shape

KEY = "sk-simulated-0123456789"
TOKEN = "a-token-for-tests"
SCRIPTED = ("openai", "anthropic", "google", "groq", "openrouter")
scripted_provider = pytest.mark.parametrize("slug", SCRIPTED)


def _is_readable(slug: str) -> bool:
    """Whether the provider can parse its simulated list; the others are simulated for failures only."""
    with contextlib.suppress(InvalidResponse):
        shown = SimPage(list_models(slug, 0))
        return len(PROVIDERS[slug].read(encode_json(SHAPES.get(slug, PLAIN).answer(shown))).models) == len(shown.models)
    return False


READABLE = [slug for slug in PROVIDERS if slug in SHAPES or _is_readable(slug)]
readable_provider = pytest.mark.parametrize("slug", READABLE)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(token=TOKEN) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    """The shared simulator, reset."""
    running.reset()
    return running


class RawResponse:
    """One plain request and its complete response."""

    def __init__(self, simulator: Simulator, path: str, method: str = "GET", body: str | None = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(simulator.url).port, timeout=5)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            self.status, self.headers, self.body = response.status, response.headers, response.read()
        finally:
            connection.close()

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def list_path(simulator: Simulator, slug: str) -> str:
    build_request = PROVIDERS[slug].build_keyed_request or PROVIDERS[slug].build_request
    return urlsplit(join_url(simulator.base_urls[slug], build_request(None).path)).path


def auth_headers(slug: str, key: str = KEY) -> dict[str, str]:
    return {**PROVIDERS[slug].headers, **PROVIDERS[slug].sign(key)}


def ask(simulator: Simulator, slug: str, key: str | None = KEY, total_timeout_s: float = 5.0) -> Answer:
    with new_client() as client:
        secret = ApiKey(key) if key else None
        base_url = simulator.base_urls[slug]
        once = RetryPolicy(max_attempts=1)
        return fetch(
            PROVIDERS[slug], secret, client, base_url=base_url, total_timeout_s=total_timeout_s, retry_policy=once
        )


def control(simulator: Simulator, order: object = None, token: str = TOKEN) -> RawResponse:
    method = "GET" if order is None else "POST"
    return RawResponse(
        simulator, CONTROL, method, None if order is None else json.dumps(order), **{TOKEN_HEADER: token}
    )


def test_every_shape_has_a_provider_in_the_tests() -> None:
    assert {type(shape) for shape in [*SHAPES.values(), PLAIN]} == {type(SHAPES[slug]) for slug in TESTED_SHAPES}
    assert {SHAPES[slug].answer(SimPage([])) == [] for slug in TESTED_SHAPES} == {True, False}


# ------------------------------------------------------------------ lists


def test_hardly_a_provider_is_not_readable() -> None:
    assert len(READABLE) >= 42


@readable_provider
def test_the_whole_list_is_read(simulator: Simulator, slug: str) -> None:
    answer = ask(simulator, slug)
    assert answer.whole
    assert not answer.skipped
    shown = {model.id for model in simulator.models(slug) if not model.key_substring}
    assert {model.id for model in answer.models if not model.documented} == shown
    assert 25 <= len(shown) <= 60 if slug in SCRIPTED else len(shown) == 3


@every_shape
def test_it_can_be_made_to_list_more(simulator: Simulator, slug: str) -> None:
    added = simulator.add_new(slug, 2)
    assert set(added) < {model.id for model in ask(simulator, slug).models}


@pytest.mark.parametrize("slug", ["openai", "google", "groq", "openrouter"])
def test_not_all_that_is_listed_is_for_chat(simulator: Simulator, slug: str) -> None:
    kinds = {model.kind for model in ask(simulator, slug).models}
    assert "chat" in kinds
    assert len(kinds) > 1


def test_prices_arrive_in_usd_per_million(simulator: Simulator) -> None:
    simulator.reprice("groq", "openai/gpt-oss-120b", "0.125", "0.7")
    model = next(model for model in ask(simulator, "groq").models if model.id == "openai/gpt-oss-120b")
    assert (str(model.input_per_million), str(model.output_per_million)) == ("0.125", "0.7")


def test_a_list_can_be_changed(simulator: Simulator) -> None:
    simulator.set_models("openai", [SimModel("one"), SimModel("two")])
    simulator.add_models("openai", ["three"])
    simulator.remove("openai", "one")
    assert {model.id for model in ask(simulator, "openai").models} == {"two", "three"}
    added = simulator.add_new("openai", 2)
    assert len(set(added)) == 2
    assert set(added) < {model.id for model in ask(simulator, "openai").models}


def test_a_fine_tune_is_listed_for_its_key_only(simulator: Simulator) -> None:
    def private(key: str) -> list[str]:
        return [model.id for model in ask(simulator, "openai", key).models if model.private]

    assert private("sk-proj-work-0123456789")
    assert not private(KEY)


@pytest.mark.parametrize(("slug", "size"), [("anthropic", 10), ("google", 15)])
def test_small_pages_add_up(simulator: Simulator, slug: str, size: int) -> None:
    simulator.page_size = size
    answer = ask(simulator, slug)
    assert answer.complete
    assert answer.pages == len(simulator.requests(slug)) == -(-len(simulator.models(slug)) // size)
    assert len(answer.models) == len(simulator.models(slug))


def test_anthropic_shows_twenty_where_no_limit_is_asked_for(simulator: Simulator) -> None:
    first = RawResponse(simulator, list_path(simulator, "anthropic"), **auth_headers("anthropic")).json
    assert len(first["data"]) == 20
    assert first["has_more"] is True
    second = RawResponse(
        simulator, f"{list_path(simulator, 'anthropic')}?after_id={first['last_id']}", **auth_headers("anthropic")
    )
    assert second.json["has_more"] is False
    unknown = RawResponse(
        simulator, list_path(simulator, "anthropic") + "?after_id=nobody", **auth_headers("anthropic")
    )
    assert unknown.status == 400


def test_googles_default_page_holds_fifty(simulator: Simulator) -> None:
    simulator.set_models("google", [SimModel(f"gemini-{number}") for number in range(60)])
    first = RawResponse(simulator, list_path(simulator, "google"), **auth_headers("google")).json
    assert len(first["models"]) == 50
    rest = RawResponse(
        simulator, f"{list_path(simulator, 'google')}?pageToken={first['nextPageToken']}", **auth_headers("google")
    )
    assert len(rest.json["models"]) == 10
    assert "nextPageToken" not in rest.json


@scripted_provider
def test_the_scripted_lists_hold_together(slug: str) -> None:
    for day in range(TODAY + 1):
        ids = [model.id for model in list_models(slug, day)]
        assert len(ids) == len(set(ids))
        assert 25 <= len(ids) <= 60


def test_the_script_has_a_model_that_leaves_and_comes_back() -> None:
    assert [event.day for event in load_timeline()] == sorted(event.day for event in load_timeline())
    days = [
        any(model.id == "moonshotai/kimi-k2-instruct-0905" for model in list_models("groq", day)) for day in (9, 11, 18)
    ]
    assert days == [True, False, True]


# ------------------------------------------------------------------ headers and keys


@every_shape
def test_requests_are_remembered_with_their_headers(simulator: Simulator, slug: str) -> None:
    ask(simulator, slug)
    (seen,) = simulator.requests(slug)
    assert seen.method == "GET"
    assert seen.path == list_path(simulator, slug)
    for name, value in auth_headers(slug).items():
        assert seen.headers[name.lower()] == value
    assert KEY not in seen.path + str(seen.query)


@every_shape
def test_a_key_in_the_address_is_refused(simulator: Simulator, slug: str) -> None:
    assert RawResponse(simulator, f"{list_path(simulator, slug)}?key={KEY}", **auth_headers(slug)).status == 400


@every_shape
def test_a_key_in_the_wrong_header_does_not_count(simulator: Simulator, slug: str) -> None:
    wrong = {"X-Key": KEY} | dict(PROVIDERS[slug].headers)
    status = RawResponse(simulator, list_path(simulator, slug), **wrong).status
    assert status == (200 if PROVIDERS[slug].public else 403 if slug == "google" else 401)


@every_shape
@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("sk-bad-0123456789", errors.KeyRejected),
        ("short", errors.KeyRejected),
        ("sk-revoked-0123456789", errors.KeyRevoked),
    ],
)
def test_some_keys_are_not_good(simulator: Simulator, slug: str, key: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask(simulator, slug, key)


def test_anthropic_wants_its_version(simulator: Simulator) -> None:
    assert RawResponse(simulator, list_path(simulator, "anthropic"), x_api_key=KEY).status == 400


def test_openrouter_answers_without_a_key(simulator: Simulator) -> None:
    assert ask(simulator, "openrouter", None).complete


def test_there_is_nothing_elsewhere(simulator: Simulator) -> None:
    assert RawResponse(simulator, "/").status == 404
    assert RawResponse(simulator, "/openai/v1/other", **auth_headers("openai")).status == 404


# ------------------------------------------------------------------ faults


@every_shape
def test_endless_pages_mean_nothing_where_there_are_no_pages(simulator: Simulator, slug: str) -> None:
    for fault in ("endless_pages", "repeated_cursor"):
        simulator.set_fault(slug, fault)
        if slug not in ("anthropic", "google"):
            # OpenRouter has no pages yet, but its envelope has a link to the next one, which is followed.
            assert ask(simulator, slug).whole == (slug != "openrouter")


def test_a_slow_answer_is_right(simulator: Simulator) -> None:
    simulator.set_fault("openai", "slow", seconds=0.1)
    start = time.monotonic()
    assert ask(simulator, "openai").whole
    assert time.monotonic() - start >= 0.1


def test_whoever_hangs_is_answered_when_released(simulator: Simulator) -> None:
    simulator.set_fault("openai", "hang")
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(simulator, "openai")))
    waiting.start()
    waiting.join(0.15)
    assert waiting.is_alive()
    simulator.clear_fault("openai")
    waiting.join(5)
    assert answers[0].complete


def test_stopping_releases_whoever_hangs() -> None:
    with Simulator() as simulator:
        simulator.set_fault("openai", "hang")
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(simulator.url).port, timeout=5)
        connection.request("GET", list_path(simulator, "openai"), headers=auth_headers("openai"))
        start = time.monotonic()
    connection.close()
    assert time.monotonic() - start < 5


def test_a_fault_can_last_for_some_requests_only(simulator: Simulator) -> None:
    simulator.set_fault("groq", "error_500", times=2)
    statuses = [RawResponse(simulator, list_path(simulator, "groq"), **auth_headers("groq")).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert simulator.state()["providers"]["groq"]["fault"] is None


def test_a_fault_is_one_providers_own(simulator: Simulator) -> None:
    simulator.set_fault("groq", "error_500")
    assert ask(simulator, "openai").complete


def test_a_fault_that_does_not_exist_cannot_be_set(simulator: Simulator) -> None:
    with pytest.raises(KeyError):
        simulator.set_fault("groq", "gremlins")


def test_a_rate_limit_says_when_to_come_again(simulator: Simulator) -> None:
    simulator.set_fault("openai", "rate_limited", seconds=12)
    assert (
        RawResponse(simulator, list_path(simulator, "openai"), **auth_headers("openai")).headers["Retry-After"] == "12"
    )


@every_shape
def test_an_error_can_repeat_the_key(simulator: Simulator, slug: str) -> None:
    simulator.set_fault(slug, "echo_key")
    assert KEY.encode() in RawResponse(simulator, list_path(simulator, slug), **auth_headers(slug)).body


def test_the_compressed_answer_is_valid(simulator: Simulator) -> None:
    simulator.set_fault("groq", "gzip")
    raw = RawResponse(simulator, list_path(simulator, "groq"), **auth_headers("groq"))
    assert raw.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw.body))["data"]


def test_the_bomb_unfolds_a_thousandfold(simulator: Simulator) -> None:
    simulator.set_fault("groq", "gzip_bomb")
    raw = RawResponse(simulator, list_path(simulator, "groq"), **auth_headers("groq"))
    assert len(raw.body) < 2_000_000
    inflate = zlib.decompressobj(wbits=31)
    some = inflate.decompress(raw.body[:50_000])  # decompressing all would take a second
    assert len(some) / 50_000 * len(raw.body) > 1_000_000_000


def test_a_latency_is_kept(simulator: Simulator) -> None:
    simulator.set_latency("groq", 0.1)
    start = time.monotonic()
    ask(simulator, "groq")
    assert time.monotonic() - start >= 0.1


# ------------------------------------------------------------------ control and process


def test_it_is_steered_over_http(simulator: Simulator) -> None:
    before = len(simulator.models("openai"))
    assert control(simulator, {"provider": "openai", "fault": "shrunk"}).status == 200
    state = control(simulator, {"provider": "openai", "add": 2}).json["providers"]["openai"]
    assert (state["fault"], state["models"]) == ("shrunk", before + 2)
    control(simulator, {"provider": "openai", "fault": None})
    assert control(simulator).json["providers"]["openai"]["fault"] is None


@pytest.mark.parametrize(
    "order",
    [
        {"provider": "nobody", "fault": "html"},
        {"provider": "openai", "fault": "gremlins"},
        {"provider": "openai", "add": True},
        {"provider": "openai", "add": 10_000},
        {"provider": "openai"},
        {"provider": ["openai"]},
        ["openai"],
    ],
)
def test_an_order_that_makes_no_sense_is_refused(simulator: Simulator, order: object) -> None:
    assert control(simulator, order).status == 400


def test_steering_needs_the_token(simulator: Simulator) -> None:
    assert control(simulator, token="another").status == 404
    assert control(simulator, {"provider": "openai", "fault": "html"}, token="").status == 404
    assert simulator.state()["providers"]["openai"]["fault"] is None
    with Simulator() as untold:
        assert control(untold, token="").status == 404


def test_its_port_is_free_again_when_it_stopped() -> None:
    with Simulator() as simulator:
        port = urlsplit(simulator.url).port
        assert ask(simulator, "groq").complete
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


def test_as_a_process_it_stops_on_sigterm() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app.demo", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            _wait_for(port)
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60  # the process imports the whole app first
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
