"""Whether an answer is the whole list: entries that cannot be read, pages that are announced, keys that come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.matching import CatalogIndex
from app.providers import PROVIDERS
from app.sync.evaluate import PreviousState, evaluate
from app.sync.http import errors
from app.sync.http.fetch import MAX_PAGES, Answer, fetch
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey

BASE = "https://models.example/v1"
CANARY = "sk-canary-Zq7Kw2Xv9Lm4Tr8"
Handler = Callable[[httpx.Request], httpx.Response]
INDEX = CatalogIndex([])


def ask(handler: Handler, slug: str = "openai-compatible", key: str | None = CANARY, base: str = BASE) -> Answer:
    """Fetch from a server that answers by `handler`."""

    def stream(request: httpx.Request) -> httpx.Response:
        response = handler(request)  # its body counts as read, and the fetcher streams
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))

    with httpx.Client(transport=httpx.MockTransport(stream)) as client:
        signing_key = ApiKey(key) if key else None
        return fetch(PROVIDERS[slug], signing_key, client, base_url=base, retry_policy=RetryPolicy(max_attempts=1))


def entries(*ids: object) -> list[dict[str, object]]:
    return [{"id": model_id, "object": "model"} for model_id in ids]


def serve(pages: Mapping[str, Any]) -> Handler:
    """Query (empty for the first page) → body; any other query gets the first page, as from a server without pages."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=pages.get(request.url.query.decode(), pages[""]))

    return handle


def ids(answer: Answer) -> list[str]:
    return [model.id for model in answer.models]


# ------------------------------------------------------------------ unreadable entries


@pytest.mark.parametrize(
    "entry", [None, 7, {}, {"id": None}, {"id": ""}, {"id": 7}, {"id": "x" * 301}, {"id": "a\x00b"}]
)
def test_an_entry_that_cannot_be_read_makes_the_list_incomplete(entry: object) -> None:
    answer = ask(serve({"": {"data": [*entries("a", "b"), entry]}}))
    assert ids(answer) == ["a", "b"]
    assert not answer.complete
    assert answer.caveat == "1 entry could not be read."


@pytest.mark.parametrize(
    "slug", ["openai", "anthropic", "groq", "google", "ollama", "together", "huggingface", "cohere"]
)
def test_it_does_so_for_every_provider(slug: str) -> None:
    body: Any = {"data": [{"id": None}], "models": [{"name": None}, {}]}
    answer = ask(serve({"": [{"id": None}] if slug == "together" else body}), slug)
    assert not answer.complete
    assert "could not be read." in answer.caveat


def test_models_that_are_listed_twice_leave_it_complete() -> None:
    answer = ask(serve({"": {"data": entries("a", "b", "a")}}))
    assert answer.complete
    assert len(answer.skipped) == 1


# ------------------------------------------------------------------ announced pages


@pytest.mark.parametrize(
    ("first", "query"),
    [
        ({"has_more": True, "last_id": "b"}, "after=b"),
        ({"has_more": True, "last_id": None}, "after=b"),
        ({"next_cursor": "n2"}, "cursor=n2"),
        ({"next": "/v1/models?page=2"}, "page=2"),
        ({"next": "https://models.example/v1/models?page=2"}, "page=2"),
        ({"links": {"next": "?page=2"}}, "page=2"),
        ({"next_page_token": "t"}, "page_token=t"),
        ({"nextPageToken": "t"}, "pageToken=t"),
        ({"result_info": {"page": 1, "per_page": 2, "total_pages": 2, "total_count": 3}}, "page=2"),
        ({"total": 3}, "after=b"),
        ({"offset": 0, "limit": 2, "total": 3}, "offset=2&limit=2"),
    ],
)
@pytest.mark.parametrize("slug", ["openai-compatible", "openai", "deepseek", "xai", "vllm"])
def test_an_announced_page_is_read(slug: str, first: dict[str, Any], query: str) -> None:
    answer = ask(serve({"": {"data": entries("a", "b"), **first}, query: {"data": entries("c")}}), slug)
    assert sorted(ids(answer)) == ["a", "b", "c"]
    assert answer.complete and answer.whole
    assert answer.pages == 2


def test_a_page_that_only_a_header_announces_is_read() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.query:
            return httpx.Response(200, json=entries("c"))
        return httpx.Response(200, json=entries("a"), headers={"Link": '<https://models.example/v1/m?p=2>; rel="next"'})

    answer = ask(handle, "together")
    assert ids(answer) == ["a", "c"]
    assert answer.complete


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        ({"has_more": True}, "sent the same one again"),
        ({"total": 40}, "sent the same one again"),
        ({"next": "/v1/models"}, "announced a page that was read before"),
        ({"next": "https://other.example/v1/models?page=2"}, "on another host"),
        ({"page": 1, "total_pages": 1, "total": 40}, "says it has 40 models, but listed 2"),
        ({"next_cursor": CANARY}, "repeats the key"),
        ({"next": f"?key={CANARY}"}, "repeats the key"),
    ],
)
def test_a_page_that_cannot_be_read_makes_the_list_incomplete(envelope: dict[str, Any], reason: str) -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"data": entries("a", "b"), **envelope})

    answer = ask(handle)
    assert ids(answer) == ["a", "b"]
    assert (answer.complete, answer.whole) == (False, False)
    assert answer.skipped == []
    assert reason in answer.caveat
    assert len(asked) <= 2
    assert not any(CANARY in url or "other.example" in url for url in asked)


@pytest.mark.parametrize("status", [400, 404, 405, 422])
def test_a_server_that_refuses_the_usual_parameter_keeps_its_first_page(status: int) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        body = {"data": entries("a"), "has_more": True}
        return httpx.Response(status if request.url.query else 200, json=body)

    answer = ask(handle)
    assert (ids(answer), answer.complete) == (["a"], False)


def test_pages_end_at_the_limit() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"data": entries(f"m{len(asked)}"), "next_cursor": f"c{len(asked)}"})

    answer = ask(handle)
    assert len(asked) == len(answer.models) == MAX_PAGES
    assert answer.caveat == "Not every page of the list could be read: it has more than 100 pages."


# ------------------------------------------------------------------ the list of a key


def openrouter(missing: int | None) -> Handler:
    """missing: status of `/models/user`, None where the server has it."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models/user":
            body: dict[str, Any] = {"data": entries("a/one")}
            return httpx.Response(missing or 200, json={"error": {"message": "Not Found"}} if missing else body)
        return httpx.Response(200, json={"data": entries("a/one", "b/two")})

    return handle


@pytest.mark.parametrize(
    ("key", "missing", "listed", "scope"),
    [
        (CANARY, None, ["a/one"], "key"),
        (CANARY, 404, ["a/one", "b/two"], "provider"),
        (CANARY, 405, ["a/one", "b/two"], "provider"),
        (None, None, ["a/one", "b/two"], "provider"),
    ],
)
def test_openrouter_lists_what_the_key_may_use(
    key: str | None, missing: int | None, listed: list[str], scope: str
) -> None:
    answer = ask(openrouter(missing), "openrouter", key)
    assert (ids(answer), answer.scope, answer.complete) == (listed, scope, True)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_failure_of_the_list_of_a_key_is_not_hidden_by_the_public_one(status: int) -> None:
    with pytest.raises(errors.SyncError) as failure:
        ask(openrouter(status), "openrouter")
    assert failure.value.status == status


# ------------------------------------------------------------------ a key that comes back


@pytest.mark.parametrize("echo", [CANARY, CANARY.upper(), f"Bearer {CANARY}", CANARY[:16], CANARY[-14:]])
@pytest.mark.parametrize("slug", ["openai-compatible", "openrouter", "anthropic", "together"])
def test_a_key_that_a_list_repeats_is_removed(slug: str, echo: str) -> None:
    entry = {"id": "model-1", "name": f"Model for {echo}!", "display_name": f"for {echo}", "description": f"({echo})"}
    more = {"hugging_face_id": echo, "canonical_slug": echo, "architecture": {"input_modalities": ["text", echo]}}
    data = [{**entry, **more}, {"id": f"acme/{echo}"}, {"id": "model-1", "name": echo}]
    answer = ask(serve({"": data if slug == "together" else {"data": data}}), slug)
    assert ids(answer) == ["model-1"]
    assert not answer.complete
    assert "1 entry could not be read." in answer.caveat
    stored = repr(answer).lower()
    assert echo.removeprefix("Bearer ").lower() not in stored
    assert CANARY[3:15].lower() not in stored


@pytest.mark.parametrize("key", ["ollama", "lm-studio", "EMPTY", "none", "not-needed", "sk-1234"])
def test_a_placeholder_for_a_key_removes_nothing(key: str) -> None:
    data = [{"id": f"{key.lower()}/llama-3", "name": f"Served by {key}"}]
    answer = ask(serve({"": {"data": data}}), key=key)
    assert ids(answer) == [f"{key.lower()}/llama-3"]
    assert answer.complete
    assert answer.models[0].name == f"Served by {key}"


# ------------------------------------------------------------------ any sequence of answers

names = st.sampled_from([f"model-{letter}" for letter in "abcdefgh"])
unreadable = st.sampled_from([None, {}, {"id": None}, {"id": 3}])
envelopes = st.sampled_from(
    [{}, {}, {}, {"has_more": True}, {"total": 99}, {"next_cursor": "x"}, {"next": "https://other.example/"}]
)
turns = st.lists(
    st.tuples(st.lists(names, max_size=8), st.lists(unreadable, max_size=2), envelopes), min_size=1, max_size=5
)


@given(turns)
def test_only_a_whole_answer_says_that_a_model_is_gone(
    story: Sequence[tuple[list[str], list[Any], dict[str, Any]]],
) -> None:
    state = PreviousState()
    for listed, bad, envelope in story:
        answer = ask(serve({"": {"data": [*entries(*listed), *bad], **envelope}}))
        evaluation = evaluate("openai-compatible", state, answer, INDEX)
        is_whole = not bad and not envelope
        assert answer.complete == is_whole
        gone = [change for change in evaluation.changes if change.kind == "unlisted"]
        assert not gone or (is_whole and evaluation.grade == "complete")
        assert evaluation.counts.unlisted == len(gone)
        before = {model.id for model in state.listing.models} if state.listing else set()
        in_force = evaluation.in_force or state.listing
        after = {model.id for model in in_force.models} if in_force else set()
        assert is_whole or before <= after
        if state.is_whole:
            assert before - after == {change.model_id for change in gone}
        assert evaluation.counts.fetched - evaluation.counts.skipped == len(evaluation.answered.models)
        if evaluation.grade == "partial":
            assert evaluation.caveat
        if evaluation.quarantine is None:
            state = PreviousState(in_force, evaluation.is_whole)
        else:
            code = "unreadable_list" if bad and not listed else "suspect_list" if listed else "empty_list"
            assert evaluation.quarantine.code == code
