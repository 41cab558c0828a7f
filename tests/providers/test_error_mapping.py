"""What error answers mean. The bodies have the shapes of real ones; their texts are ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.providers.contract import ErrorMeaning
from app.providers.error_mapping import classify_error


def openai(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_made_up"}


def google(code: int, status: str, message: str, reason: str = "") -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
    return {"error": {"code": code, "message": message, "status": status} | ({"details": details} if reason else {})}


CASES: list[tuple[str, int, Any, ErrorMeaning]] = [
    ("openai wrong key", 401, openai("Not a key of ours.", "invalid_request_error", "invalid_api_key"), "key_rejected"),
    ("openai scope", 403, openai("Missing scopes: api.model.read", "invalid_request_error", None), "no_access"),
    ("openai quota", 429, openai("Nothing left.", "insufficient_quota", "insufficient_quota"), "quota_exhausted"),
    ("openai unpaid", 429, openai("Look at your billing details.", "x", "billing_not_active"), "quota_exhausted"),
    (
        "openai rate",
        429,
        openai(
            "Rate limit reached for requests. Add a payment method at platform.example/account/billing to have more.",
            "requests",
            "rate_limit_exceeded",
        ),
        "rate_limited",
    ),
    (
        "groq rate",
        429,
        openai("Rate limit reached. Need more? See console.example/settings/billing", "tokens", "rate_limit_exceeded"),
        "rate_limited",
    ),
    (
        "openai region",
        403,
        openai("Not served where you are.", "request_forbidden", "unsupported_country_region_territory"),
        "region_blocked",
    ),
    ("openai deactivated", 401, openai("This account was deactivated.", "x", "account_deactivated"), "key_revoked"),
    ("groq wrong key", 401, openai("Invalid API Key", "invalid_request_error", "invalid_api_key"), "key_rejected"),
    ("anthropic wrong key", 401, anthropic("authentication_error", "invalid x-api-key"), "key_rejected"),
    ("anthropic access", 403, anthropic("permission_error", "Not with this key."), "no_access"),
    (
        "anthropic credit",
        400,
        anthropic("invalid_request_error", "Your credit balance is low: see Plans & Billing."),
        "quota_exhausted",
    ),
    (
        "anthropic disabled",
        400,
        anthropic("invalid_request_error", "This organization has been disabled."),
        "key_revoked",
    ),
    ("anthropic rate", 429, anthropic("rate_limit_error", "More than your organization may."), "rate_limited"),
    ("anthropic overloaded", 529, anthropic("overloaded_error", "Overloaded"), "unavailable"),
    (
        "google wrong key",
        400,
        google(400, "INVALID_ARGUMENT", "That key is not one of ours.", "API_KEY_INVALID"),
        "key_rejected",
    ),
    ("google expired", 400, google(400, "INVALID_ARGUMENT", "API key expired. Renew it."), "key_revoked"),
    ("google keyless", 403, google(403, "PERMISSION_DENIED", "Callers need an identity."), "no_access"),
    (
        "google region",
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for this."),
        "region_blocked",
    ),
    ("google busy", 429, google(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted."), "rate_limited"),
    ("google argument", 400, google(400, "INVALID_ARGUMENT", "pageSize is odd."), "refused"),
    ("openrouter keyless", 401, {"error": {"message": "No auth credentials found", "code": 401}}, "key_rejected"),
    ("openrouter credit", 402, {"error": {"message": "Insufficient credits", "code": 402}}, "quota_exhausted"),
    ("openrouter rate", 429, {"error": {"message": "Rate limit exceeded", "code": 429}}, "rate_limited"),
    ("no error object, code", 401, {"message": "Wrong API Key", "code": "wrong_api_key"}, "key_rejected"),
    ("no error object, id", 401, {"id": "made-up", "message": "invalid api token"}, "key_rejected"),
    ("only a detail", 401, {"detail": "Unauthorized"}, "key_rejected"),
    ("legal", 451, {}, "region_blocked"),
    ("nothing here", 404, {"error": "not found"}, "refused"),
    ("slow request", 408, {}, "unavailable"),
    ("server", 500, openai("An error of ours.", "server_error", None), "unavailable"),
    ("server that mentions billing", 503, {"error": "The billing service is down"}, "unavailable"),
    ("server that mentions keys", 500, {"error": "invalid_api_key lookup failed"}, "unavailable"),
]


@pytest.mark.parametrize(("status", "body", "fault"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_error_answer_has_its_meaning(status: int, body: Any, fault: ErrorMeaning) -> None:
    assert classify_error(status, json.dumps(body).encode()) == fault


def test_a_maintenance_page_is_known_by_its_words() -> None:
    page = b"<html><body><h1>503</h1><p>We are down for scheduled Maintenance.</p></body></html>"
    assert classify_error(503, page) == "maintenance"
    assert classify_error(403, page) == "no_access"


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"<html>", b"[" * 100_000])
@pytest.mark.parametrize(("status", "fault"), [(401, "key_rejected"), (429, "rate_limited"), (502, "unavailable")])
def test_a_body_that_says_nothing_leaves_it_to_the_status(body: bytes, status: int, fault: ErrorMeaning) -> None:
    assert classify_error(status, body) == fault


def test_only_the_beginning_of_a_body_is_looked_at() -> None:
    assert classify_error(403, b" " * 10_000 + b"revoked") == "no_access"
