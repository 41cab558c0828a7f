"""What error answers mean. The bodies have the shapes of real ones; their texts are ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.providers.contract import ErrorMeaning
from app.providers.error_mapping import classify_error, find_embedded_error, is_login_url


def openai(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_made_up"}


def google(code: int, status: str, message: str, reason: str = "") -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
    return {"error": {"code": code, "message": message, "status": status} | ({"details": details} if reason else {})}


CASES: list[tuple[str, int, Any, ErrorMeaning]] = [
    ("openai wrong key", 401, openai("Not a key of ours.", "invalid_request_error", "invalid_api_key"), "key_rejected"),
    ("openai scope", 403, openai("Missing scopes: api.model.read", "invalid_request_error", None), "missing_scope"),
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
    ("anthropic overloaded", 529, anthropic("overloaded_error", "Overloaded"), "overloaded"),
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
    ("nothing here", 404, {"error": "not found"}, "no_model_list"),
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
    assert classify_error(403, page) == "access_page"


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"<html>", b"[" * 100_000])
@pytest.mark.parametrize(("status", "fault"), [(401, "key_rejected"), (429, "rate_limited"), (502, "unavailable")])
def test_a_body_that_says_nothing_leaves_it_to_the_status(body: bytes, status: int, fault: ErrorMeaning) -> None:
    assert classify_error(status, body) == fault


def test_only_the_beginning_of_a_body_is_looked_at() -> None:
    assert classify_error(403, b" " * 10_000 + b"revoked") == "no_access"


# ------------------------------------------------------------------ further shapes, with the source of each in its id


def litellm(message: str, kind: str, code: str = "400") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": "None", "code": code}}


FURTHER: list[tuple[str, int, Any, ErrorMeaning]] = [
    ("cline#1766", 400, litellm("Authentication Error, LiteLLM Virtual Key expected.", "auth_error"), "key_rejected"),
    (
        "litellm#11639",
        401,
        litellm("Invalid proxy server token passed. Unable to find token in cache.", "token_not_found_in_db"),
        "key_rejected",
    ),
    ("litellm#18731", 400, litellm("Authentication Error - Expired Key.", "expired_key"), "key_revoked"),
    ("litellm blocked", 401, litellm("Authentication Error, Key is blocked.", "auth_error"), "key_revoked"),
    ("litellm#30670", 400, litellm("Budget has been exceeded! Max budget: 10.0", "budget_exceeded"), "budget_exceeded"),
    ("litellm without a database", 400, litellm("No connected db.", "no_db_connection"), "unavailable"),
    (
        "openrouter limit",
        403,
        {"error": {"message": "Key limit exceeded (total limit).", "code": 403}},
        "budget_exceeded",
    ),
    (
        "new-api quota",
        403,
        {"error": {"message": "user quota is not enough", "code": "insufficient_user_quota"}},
        "quota_exhausted",
    ),
    ("new-api token", 401, {"error": {"message": "无效的令牌", "type": "new_api_error"}}, "key_rejected"),
    ("new-api disabled", 401, {"error": {"message": "该令牌状态不可用", "type": "new_api_error"}}, "key_revoked"),
    ("new-api expired", 401, {"error": {"message": "该令牌已过期", "type": "new_api_error"}}, "key_revoked"),
    ("new-api spent", 401, {"error": {"message": "该令牌额度已用尽", "type": "new_api_error"}}, "budget_exceeded"),
    ("new-api ip", 403, {"error": {"message": "您的 IP 不在令牌允许访问的列表中"}}, "ip_not_allowed"),
    ("jiekou balance", 403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "余额不足"}, "quota_exhausted"),
    ("openai ip allowlist guide", 401, openai("Not from there.", "x", "ip_not_authorized"), "ip_not_allowed"),
    (
        "openai/codex#1000",
        401,
        openai("The header should match organization for API key", "invalid_request_error", "mismatched_organization"),
        "wrong_project",
    ),
    (
        "screenshot-to-code#9",
        401,
        openai("You must be a member of an organization to use the API.", "x", "no_organization"),
        "wrong_project",
    ),
    ("openai archived", 401, openai("The project you are requesting has been archived", "x", None), "wrong_project"),
    ("openai credit 2026", 429, openai("Nothing left.", "x", "credit_balance_exhausted"), "quota_exhausted"),
    ("continue#11541", 403, google(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), "key_leaked"),
    (
        "kiris#39",
        403,
        google(403, "PERMISSION_DENIED", "It has not been used in project 1 before or it is disabled."),
        "api_disabled",
    ),
    ("google reason", 403, google(403, "PERMISSION_DENIED", "No.", "SERVICE_DISABLED"), "api_disabled"),
    ("continue#12781", 403, google(403, "PERMISSION_DENIED", "No.", "API_KEY_SERVICE_BLOCKED"), "key_restricted"),
    (
        "deprecated-generative-ai-dart#219",
        403,
        google(403, "PERMISSION_DENIED", "Requests from referer <empty> are blocked."),
        "key_restricted",
    ),
    (
        "google ip",
        403,
        google(403, "PERMISSION_DENIED", "The key has an IP address restriction.", "API_KEY_IP_ADDRESS_BLOCKED"),
        "ip_not_allowed",
    ),
    ("google scopes", 403, google(403, "X", "No.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), "missing_scope"),
    ("opencode#11239", 403, {"error": {"message": "It has been disabled in this account"}}, "key_revoked"),
    ("a stream's array", 400, [google(400, "INVALID_ARGUMENT", "No.", "API_KEY_INVALID")], "key_rejected"),
    ("claude-code#28091", 401, anthropic("x", "OAuth authentication is currently not supported."), "tools_only"),
    (
        "openless#947",
        405,
        {"error": "Coding Plan is currently only available for Coding Agents"},
        "tools_only",
    ),
    ("minimax-m2#96", 401, anthropic("authentication_error", "login fail: carry the secret key"), "key_rejected"),
    (
        "no method",
        405,
        {"success": False, "errors": [{"code": 10405, "message": "GET not supported"}]},
        "no_model_list",
    ),
    ("not implemented", 501, {"error": "not implemented"}, "no_model_list"),
    ("gone", 410, {"message": "This service has ended."}, "gone"),
    ("nothing said", 402, {}, "quota_exhausted"),
    ("no engine", 503, openai("The engine is currently overloaded.", "server_error", None), "overloaded"),
    ("either", 401, {"code": 401, "msg": "token expired or incorrect", "success": False}, "key_rejected"),
    ("google metric", 429, google(429, "X", "Quota exceeded for requests per minute"), "rate_limited"),
]


@pytest.mark.parametrize(
    ("status", "body", "meaning"), [case[1:] for case in FURTHER], ids=[case[0] for case in FURTHER]
)
def test_words_say_more_than_the_status(status: int, body: Any, meaning: ErrorMeaning) -> None:
    assert classify_error(status, json.dumps(body).encode()) == meaning
    assert classify_error(status, json.dumps(body, ensure_ascii=False).encode()) == meaning


_CHALLENGE = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>payment, invalid api key</body></html>"
)
_PERPLEXITY = (
    "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body><center><h1>401 Authorization Required"
    "</h1></center><hr><center>openresty/1.27.4</center><script>src='/cdn-cgi/challenge-platform/main.js'</script></html>"
)
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("status", "text", "headers", "meaning"),
    [
        pytest.param(403, _CHALLENGE, HTML, "access_page", id="claude-code#30437"),
        pytest.param(503, _CHALLENGE, HTML, "access_page", id="cloudflare's earlier status"),
        pytest.param(401, _CHALLENGE, HTML, "access_page", id="a challenge with 401"),
        pytest.param(403, "", {"cf-mitigated": "challenge"}, "access_page", id="openai/codex#16052"),
        pytest.param(
            403,
            "<!doctype html>\n\n <html> <head> <title>Access denied | a.example used Cloudflare</title>",
            {},
            "access_page",
            id="oai-compatible-copilot#287",
        ),
        pytest.param(403, "error code: 1010", {"Content-Type": "text/plain"}, "access_page", id="cloudflare as text"),
        pytest.param(403, "error code: 1009", {"Content-Type": "text/plain"}, "region_blocked", id="cloudflare 1009"),
        pytest.param(401, "", {"WWW-Authenticate": "Cloudflare-Access x=y"}, "access_page", id="open-webui#29868"),
        pytest.param(
            401, "<html><title>Sign in</title><form><input type='password'></form>", HTML, "access_page", id="a login"
        ),
        pytest.param(
            403, "<html><title>403 Forbidden</title>nginx</html>", HTML, "access_page", id="a web server's 403"
        ),
        pytest.param(401, _PERPLEXITY, HTML, "key_rejected", id="perplexity api-discussion#281"),
        pytest.param(
            401, _PERPLEXITY, HTML | {"WWW-Authenticate": 'Basic realm="llm"'}, "proxy_auth", id="nginx's auth_basic"
        ),
        pytest.param(401, "", {"www-authenticate": "Digest realm=x"}, "proxy_auth", id="digest"),
        pytest.param(
            401,
            '{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}',
            {"WWW-Authenticate": 'Basic realm="OpenAI API"'},
            "key_rejected",
            id="an API that speaks of the key",
        ),
        pytest.param(401, "", {"WWW-Authenticate": "Bearer, Basic"}, "key_rejected", id="an API that takes both"),
        pytest.param(407, "", {"Proxy-Authenticate": "Basic"}, "proxy_auth", id="a forward proxy"),
        pytest.param(404, "<html>404 Not Found</html>", HTML, "no_model_list", id="a web server's 404"),
        pytest.param(429, "<html><title>429 Too Many Requests</title>", HTML, "rate_limited", id="nginx's limit_req"),
        pytest.param(502, "<html><title>502 Bad Gateway</title>", HTML, "unavailable", id="nginx's 502"),
        pytest.param(511, "", {}, "access_page", id="a captive portal"),
    ],
)
def test_a_page_in_front_is_not_about_the_key(
    status: int, text: str, headers: dict[str, str], meaning: ErrorMeaning
) -> None:
    assert classify_error(status, text.encode(), headers) == meaning


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        pytest.param(openai("Invalid API key provided", "x", "invalid_api_key"), "key_rejected", id="worker-vllm#57"),
        pytest.param({"base_resp": {"status_code": 2049, "status_msg": "no"}}, "key_rejected", id="MiniMax-M2.5#18"),
        pytest.param({"base_resp": {"status_code": 1008, "status_msg": "no"}}, "quota_exhausted", id="minimax balance"),
        pytest.param({"base_resp": {"status_code": 1002, "status_msg": "no"}}, "rate_limited", id="minimax rate"),
        pytest.param({"base_resp": {"status_code": 2013, "status_msg": "no"}}, "refused", id="minimax parameters"),
        pytest.param({"object": "error", "message": "Invalid API key", "code": 401}, "key_rejected", id="vllm"),
        pytest.param({"code": 401, "msg": "no", "success": False}, "key_rejected", id="zhipu"),
        pytest.param(
            {"success": False, "message": "insufficient balance", "data": None}, "quota_exhausted", id="new-api"
        ),
        pytest.param({"success": False, "message": "无效的令牌", "data": []}, "key_rejected", id="one-api"),
        pytest.param({"code": "90402", "message": "Invalid API Key"}, "key_rejected", id="iflow error codes"),
        pytest.param({"code": 60400, "message": "Insufficient credits"}, "quota_exhausted", id="iflow credits"),
        pytest.param({"detail": "Unauthorized"}, "key_rejected", id="fastapi"),
        pytest.param({"error": "something of its own"}, "refused", id="an error without known words"),
        pytest.param({"status": "error", "message": "x"}, "refused", id="a status of its own"),
        pytest.param([{"error": {"code": 403, "message": "x"}}], "no_access", id="an array of one error"),
        pytest.param({"error": {"message": "x"}, "status": 503}, "unavailable", id="a status in the body"),
        pytest.param({"models": "none"}, None, id="an unknown shape"),
        pytest.param({"success": True, "code": 200, "error": None, "data": []}, None, id="an empty list"),
        pytest.param({}, None, id="an empty object"),
        pytest.param([], None, id="an empty array"),
        pytest.param(None, None, id="null"),
    ],
)
def test_an_error_within_a_200_has_its_meaning(body: Any, meaning: ErrorMeaning | None) -> None:
    assert find_embedded_error(json.dumps(body).encode()) == meaning


def test_a_login_page_within_a_200_is_known_and_another_page_is_not() -> None:
    login = b"\xef\xbb\xbf<!DOCTYPE html><html><head><title>Log in - Acme</title></head>"
    assert find_embedded_error(login) == "access_page"
    assert find_embedded_error(b'<html><body><form><input name=p type="password"></form>') == "access_page"
    assert find_embedded_error(b"<!doctype html><html><head><title>Acme</title></head><div id=root></div>") is None
    assert find_embedded_error(b"[" * 100_000) is None


@pytest.mark.parametrize(
    ("url", "is_login"),
    [
        ("https://acme.cloudflareaccess.com/cdn-cgi/access/login/llm.acme.example?kid=1", True),
        ("https://llm.example/login?next=/v1/models", True),
        ("https://llm.example/auth/sign_in", True),
        ("https://login.microsoftonline.com/common/oauth2/authorize", True),
        ("https://accounts.google.com/o/oauth2/v2/auth", True),
        ("https://llm.example/oauth2/start", True),
        ("https://llm.example/v1/models/", False),
        ("https://api2.example/v1/models", False),
        ("https://catalogin.example/models", False),
    ],
)
def test_a_redirect_to_a_login_is_told_from_another_address(url: str, is_login: bool) -> None:
    assert is_login_url(url) is is_login
