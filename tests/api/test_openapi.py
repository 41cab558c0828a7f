"""The OpenAPI document and its page: complete, valid, and in step with the routes."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask

from app.api.openapi import build_document
from tests.conftest import Person
from tests.web.text_browser import words

_FOR_PROGRAMS = ("/api/", "/v1/", "/api.json", "/admin/model-sync/", "/models/stats", "/providers/stats", "/health")


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    return build_document(app)


def test_a_stranger_may_read_the_document(app: Flask, document: dict[str, Any]) -> None:
    answer = app.test_client().get("/api/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == document and document["openapi"] == "3.1.0"


def test_every_route_of_the_api_is_in_it(app: Flask, document: dict[str, Any]) -> None:
    told = {(path, method.upper()) for path, one in document["paths"].items() for method in one}
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(_FOR_PROGRAMS) and not rule.endpoint.startswith("openapi.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert told == routes


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    refs = set(re.findall(r"'\$ref': '#/components/(\w+/[\w-]+)'", repr(document)))
    parts = {f"{kind}/{name}" for kind in ("schemas", "headers") for name in document["components"][kind]}
    assert refs == parts


def test_every_schema_is_a_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_operation_says_who_may_call_it_and_how_it_refuses(document: dict[str, Any]) -> None:
    ids = []
    for path, operations in document["paths"].items():
        for method, one in operations.items():
            ids.append(one["operationId"])
            assert one["summary"] and len(one["tags"]) == 1, path
            if path.startswith("/health"):
                assert one["security"] == [] and "401" not in one["responses"]
                continue
            assert one["security"] and "401" in one["responses"] and "503" in one["responses"]
            if "Administration" in one["tags"]:
                assert {"admin": []} in one["security"]
                assert {"token": ["read" if method == "get" else "sync"]} in one["security"]
                assert "application/problem+json" in one["responses"]["404"]["content"]
                continue
            if path.startswith("/api/v1"):
                assert "application/problem+json" in one["responses"]["401"]["content"]
                assert {"token": ["read" if method == "get" else "sync"]} in one["security"]
            if method == "get" and path != "/api/models/sync" and "cron" not in path:
                assert "304" in one["responses"] and "ETag" in one["responses"]["200"]["headers"]
    assert len(set(ids)) == len(ids)


def test_the_page_tells_all_that_the_document_does_without_a_script(app: Flask, document: dict[str, Any]) -> None:
    answer = app.test_client().get("/api/docs")
    assert answer.status_code == 200 and "unsafe" not in answer.headers["Content-Security-Policy"]
    body = answer.text.partition("<body>")[2]
    assert "<script" not in body and "style=" not in body
    text = words(answer.text)
    for path, operations in document["paths"].items():
        assert path in text
        for one in operations.values():
            assert one["summary"] in text and f'id="{one["operationId"]}"' in answer.text


def test_the_profile_leads_to_the_tokens_and_they_to_the_page(alice: Person) -> None:
    alice.sign_in()
    assert 'href="/settings/tokens"' in alice.client.get("/profile").text
    assert 'href="/api/docs"' in alice.client.get("/settings/tokens").text
