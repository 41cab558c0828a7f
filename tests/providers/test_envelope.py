"""What an answer wraps its models in, and what is said where there are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.providers import PROVIDERS
from app.providers.envelope import find_entries
from app.providers.parsing import InvalidResponse

_A, _B = {"id": "a"}, {"id": "b"}
_BOTH = [_A, _B]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_BOTH, id="bare list: Together, Docker Model Runner, Reka"),
        pytest.param(["a", "b"], id="list of ids"),
        pytest.param({"data": _BOTH}, id="OpenAI"),
        pytest.param({"data": ["a", "b"]}, id="data as ids"),
        pytest.param({"models": [{"name": "x"}], "data": _BOTH}, id="llama.cpp: data before models"),
        pytest.param({"data": [], "models": _BOTH}, id="an empty list says less than a full one"),
        pytest.param({"data": None, "models": _BOTH}, id="null beside a list"),
        pytest.param({"result": _BOTH, "success": True, "errors": [], "messages": []}, id="Cloudflare"),
        pytest.param({"endpoints": _BOTH}, id="Databricks"),
        pytest.param({"resources": _BOTH, "first": {"href": "x"}, "limit": 100}, id="watsonx"),
        pytest.param({"modelSummaries": _BOTH}, id="Bedrock"),
        pytest.param({"model_list": _BOTH}, id="model_list"),
        pytest.param({"items": _BOTH, "total": 2}, id="GPUStack's own API"),
        pytest.param({"code": 0, "data": {"total": 2, "list": _BOTH}}, id="one-api: data.list"),
        pytest.param({"code": 0, "data": {"total": 2, "items": _BOTH}}, id="new-api: data.items"),
        pytest.param({"data": {"models": _BOTH}}, id="data.models"),
        pytest.param({"result": {"models": _BOTH}}, id="result.models"),
        pytest.param({"result": {"data": {"list": _BOTH}}}, id="three deep"),
        pytest.param({"response": {"data": _BOTH}, "status": 200}, id="response.data"),
        pytest.param({"a": {"context_length": 1}, "b": {"name": "B"}}, id="keyed by id"),
        pytest.param({"data": {"a": {}, "b": {"name": "B"}}}, id="data keyed by id"),
        pytest.param({"models": {"a": {"x": 1}, "b": {"x": 2}}, "version": 3}, id="models keyed by id"),
        pytest.param({"data": {"0": _A, "1": _B}}, id="a PHP array"),
        pytest.param({"data": {"acme": ["a"], "other": ["b"]}}, id="grouped by provider"),
        pytest.param({"models": {"acme": [_A], "other": [_B]}}, id="entries grouped by provider"),
        pytest.param({"object": "list", "llm_pool": _BOTH, "took": 3}, id="the only list of objects with ids"),
        pytest.param({"served_models": ["a", "b"], "tags": ["x"]}, id="the only texts under a word for models"),
    ],
)
def test_the_models_are_found_whatever_holds_them(answer: Any) -> None:
    assert [entry["id"] for entry in find_entries(answer, "data", "models")] == ["a", "b"]


def test_the_key_of_an_object_is_the_id_unless_the_entry_has_its_own() -> None:
    assert find_entries({"a": {"name": "A"}, "b": {"id": "own"}}) == [{"id": "a", "name": "A"}, {"id": "own"}]


@pytest.mark.parametrize(
    ("answer", "clause"),
    [
        (None, "sent null instead of a list of models"),
        ("text", "sent a text instead of a list of models"),
        (7, "sent a number instead of a list of models"),
        ({}, "sent no “data” list, only an empty object"),
        ({"data": None}, "sent “data”, but it is null instead of a list of models"),
        ({"object": "list", "data": {}}, "sent “data”, but it is an empty object instead of a list of models"),
        ({"data": {"total": 3}}, "sent “data”, but it is an object instead of a list of models"),
        ({"models": "none"}, "sent “models”, but it is a text instead of a list of models"),
        ({"error": {"message": "sk-secret", "type": "x"}}, "sent no “data” list, only “error”"),
        ({"base_resp": {"status_code": 1004, "name": "x"}}, "sent no “data” list"),
        ({"error": {"name": "AuthError"}, "status": {"name": "x"}}, "sent no “data” list, only “error” and “status”"),
        ({"sk-secret": 1}, "sent no “data” list"),
        ({"usage": [{"id": "a"}], "logs": [{"id": "b"}]}, "sent no “data” list, only “usage”"),
    ],
)
def test_an_answer_without_models_says_what_came_instead(answer: Any, clause: str) -> None:
    with pytest.raises(InvalidResponse) as bad:
        find_entries(answer, "data")
    assert str(bad.value) == clause


@pytest.mark.parametrize("slug", ["openai", "groq", "deepseek", "xai", "together", "aihubmix"])
def test_every_provider_of_this_shape_is_read_from_another_envelope(slug: str) -> None:
    id_key = "model_id" if slug == "aihubmix" else "id"
    models = [{id_key: "a", "type": "chat"}]
    for answer in ({"models": models}, {"data": {"list": models}}, {"code": 0, "result": models}):
        assert [model.id for model in PROVIDERS[slug].read(json.dumps(answer).encode()).models] == ["a"]


@pytest.mark.parametrize("answer", [[], {"models": []}, {"result": []}, {"data": {"list": []}}])
def test_an_empty_list_counts_only_where_it_is_expected(answer: Any) -> None:
    with pytest.raises(InvalidResponse):
        PROVIDERS["openai"].read(json.dumps(answer).encode())
    assert PROVIDERS["openai-compatible"].read(json.dumps(answer).encode()).models == []
