"""The meaning of a provider's error response: from its status, its headers and the words of its body.

Words are matched in JSON and plain text only. An HTML page comes from something in front of the API (a login, a
challenge, a proxy), so its words say nothing about the key. The patterns come from recorded error bodies and the
providers' documentation (2026-08 to 2026-11); the tests name the source of each. Only the meaning leaves this module,
since an error body may repeat the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from app.providers.contract import ErrorMeaning

_KEY = r"(?:api[ _-]?)?(?:key|token)"
_WORDS: tuple[tuple[ErrorMeaning, str], ...] = (
    (
        "region_blocked",
        r"unsupported_(country|region)|country, region|location is not supported"
        r"|not (available|supported|served) in (your|this) (country|region|location|territory)"
        r"|(country|region|territory) (is )?not (supported|allowed|available)|error code: 1009|banned the country",
    ),
    (
        "ip_not_allowed",
        r"ip_not_authorized|ip_address_blocked|unauthorized ip|\bip (address )?restriction|originating ip"
        r"|\bip\b.{0,60}\bnot (allowed|authori[sz]ed|permitted|whitelisted|allowlisted|in (the|your) (allow|white))"
        r"|not (allowed|authori[sz]ed|permitted) (from|for) (this|your) ip\b|\bip\b.{0,20}(不在|不允许)",
    ),
    (
        "key_restricted",
        r"key_(service|http_referrer|android_app|ios_app)_blocked|ip_?referer_?blocked"
        r"|requests? (from|to) (referr?er|this api|this (android|ios)).{0,120}blocked",
    ),
    (
        "api_disabled",
        r"service_disabled|has not been used in project|access_?not_?configured|api (is |was )?not (been )?enabled"
        r"|api .{0,60}is disabled|enable it by visiting",
    ),
    (
        "wrong_project",
        r"mismatched_(project|organi[sz]ation)|(invalid|no|unknown)_(project|organi[sz]ation)\b"
        r"|must be a member of an organi[sz]ation|should match (project|organi[sz]ation)|no such organi[sz]ation"
        r"|(project|organi[sz]ation|workspace)\b.{0,40}(not found|does not exist|been (archived|deleted)"
        r"|is archived)",
    ),
    (
        "tools_only",
        r"only (be )?(available|authorized|used|usable|valid|allowed) (for|with|in|by) .{0,20}(coding|claude code)"
        r"|oauth authentication is (currently )?not supported",
    ),
    (
        "missing_scope",
        r"missing (scope|permission)|insufficient[ _](authentication )?(permission|scope|privilege)"
        r"|scope_insufficient|lacks? (the )?(required )?(permission|scope)|required scope"
        r"|(not|n't) have (the )?(required |sufficient |necessary |enough )?(permission|scope)",
    ),
    # Before the expired ones: what may be either is not called expired.
    ("key_rejected", r"expired,? or (incorrect|invalid|wrong)|(invalid|incorrect),? or (has )?expired"),
    ("key_leaked", r"\bleaked\b|compromised|publicly (exposed|disclosed)"),
    (
        "key_revoked",
        rf"revoked|deactivated"
        rf"|{_KEY}[ _-](is |was |has )?(been )?(disabled|expired|deleted|blocked|suspended|inactive)"
        rf"|expired[ _-]{_KEY}|has been (disabled|suspended|terminated|banned)"
        r"|(account|user|organi[sz]ation)[ _](is |was )?(suspended|disabled|banned|terminated|locked)"
        r"|已过期|状态不可用|被禁用|封禁",
    ),
    (
        "budget_exceeded",
        r"budget[ _]?(has been |is )?(exceeded|exhausted|reached)|exceeded ?(the |your )?(max )?budget|over budget"
        r"|(spend|spending|credit|hard)[ _](limit|cap)[ _]?(has been |is |was )?(exceeded|reached|hit)"
        r"|key limit exceeded|令牌额度",
    ),
    (
        "quota_exhausted",
        r"insufficient[ _](user[ _])?(quota|credit|balance|fund)|exceeded your current quota"
        r"|(quota|balance|credits?)( is| are)? (not enough|too low|used up|depleted|insufficient)"
        r"|(credit|balance)[_a-z ]{0,20}(exhausted|depleted|is low|too low)"
        r"|not[ _]enough[ _](quota|balance|credit)"
        r"|used all (available )?credits|out of credit|in arrears|overdue|额度不足|余额不足|欠费",
    ),
    # Before "billing": OpenAI and Groq end "rate limit reached" with a link to their billing page.
    ("rate_limited", r"rate[ _-]?limit|too many requests|per[ _]?(minute|second)|error code: 1015|限流|频率"),
    (
        "quota_exhausted",
        r"billing|payment|(quota|usage limit|plan limit)[ _](has been |is )?(exceeded|exhausted|reached)",
    ),
    (
        "key_rejected",
        r"api_key_invalid|invalid[ _-]?(x-)?api[ _-]?(key|token)|authentication_?(error|failed|failure)"
        r"|authentication (error|failed|fails|failure)|auth_error|no auth credentials|user not found"
        r"|unauthenticated"
        r"|api[ _-]?key (provided )?(is )?(not valid|invalid|incorrect|wrong|not found|missing|required)"
        r"|(incorrect|wrong|unknown|no|missing)[ _-]api[ _-]?key|unregistered callers|not authorized|unauthorized"
        rf"|invalid[ _](bearer |access |auth |proxy server )?(token|credential)|{_KEY}[ _](is )?(invalid|incorrect)"
        r"|virtual key expected|token_not_found|unable to find token|login fail"
        r"|无效的?(令牌|api)|令牌无效|未提供令牌|(key|密钥) ?(无效|错误)|(鉴权|认证|身份验证)失败",
    ),
    ("unavailable", r"no_db_connection|no connected db"),
    ("access_page", r"error code: 10(06|07|08|10|12|20)\b"),
)
"""Patterns over the lower-case words of a body; the first that matches counts."""
_PATTERNS = tuple((meaning, re.compile(pattern)) for meaning, pattern in _WORDS)
_SERVER_PATTERNS: tuple[tuple[ErrorMeaning, re.Pattern[str]], ...] = (
    ("maintenance", re.compile(r"maintenance|维护")),
    ("overloaded", re.compile(r"overloaded|(at|over|no|out of) capacity")),
)
"""For a status of 500 and above: a 503 that mentions billing says nothing about the key."""
_STATUS: dict[int, ErrorMeaning] = {
    401: "key_rejected",
    402: "quota_exhausted",
    403: "no_access",
    404: "no_model_list",
    405: "no_model_list",
    407: "proxy_auth",
    408: "unavailable",
    410: "gone",
    425: "unavailable",
    429: "rate_limited",
    451: "region_blocked",
    501: "no_model_list",
    511: "access_page",
    529: "overloaded",
}
_MINIMAX_CODES: dict[int, ErrorMeaning] = {
    1002: "rate_limited",
    1004: "key_rejected",
    1008: "quota_exhausted",
    1039: "rate_limited",
    2049: "key_rejected",
    2056: "quota_exhausted",
}
"""`base_resp.status_code` (platform.minimax.io/docs/api-reference/errorcode, 2026-11)."""
_LOGIN_PAGE = re.compile(
    r"just a moment|attention required|access denied|checking your browser|verify (that )?you are (a )?human"
    r"|cloudflare access|sign[ -]?in|log[ -]?in|single sign-on|\bsso\b|authenticate|captcha|security check"
)
_PASSWORD_FIELD = re.compile(r"<input[^>]+type=[\"']?password")
_STATUS_PAGE = re.compile(r"(error )?[45]\d\d\b|unauthorized|authorization required|forbidden|not found")
"""Title of the plain page that a web server sends with a status."""
_LOGIN_URL = re.compile(
    r"(^|[./-])(login|log-in|signin|sign-in|sign_in|sso|oauth2?|saml2?|cas|authorize|accounts)([./?-]|$)"
    r"|cloudflareaccess\.com|/cdn-cgi/access/|/outpost\.goauthentik"
)
_CHALLENGE_HEADERS = ("cf-mitigated", "x-vercel-mitigated", "x-amzn-waf-action", "x-datadome")
_PASSWORD_SCHEMES = re.compile(r"\b(basic|digest|negotiate|ntlm)\b")
_KEY_PAGE_CODES = frozenset(
    ("key_rejected", "key_revoked", "no_access", "ip_not_allowed", "key_restricted", "api_disabled", "wrong_project")
)
"""Stored codes of the errors that are mended on the provider's page of keys."""
_MAX_BODY_BYTES, _MAX_DEPTH = 8_192, 8


def classify_error(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> ErrorMeaning:
    """The meaning of a response with an HTTP status of 400 or above."""
    lowered = {name.lower(): value.lower() for name, value in (headers or {}).items()}
    text = body[:_MAX_BODY_BYTES].decode("utf-8", "replace").lower().lstrip("\ufeff \t\r\n")
    challenge = lowered.get("www-authenticate", "")
    if any(header in lowered for header in _CHALLENGE_HEADERS) or "cloudflare-access" in challenge:
        return "access_page"
    is_page = _is_html(text, lowered)
    meaning = _classify_page(status, text) if is_page else _match_words(status, _readable_text(body, text))
    if status == 401 and (meaning is None or is_page) and _asks_for_password(challenge):
        return "proxy_auth"
    if meaning or status in _STATUS:
        return meaning or _STATUS[status]
    return "unavailable" if status >= 500 else "refused"


def find_embedded_error(body: bytes) -> ErrorMeaning | None:
    """The meaning of a response of status 200 that holds an error or a login page in place of a list.

    None if it holds neither: an unknown shape is no error of the provider's.
    """
    text = body[:_MAX_BODY_BYTES].decode("utf-8", "replace").lower().lstrip("\ufeff \t\r\n")
    if _is_html(text, {}):
        return "access_page" if _is_login_page(text) else None
    try:
        content = json.loads(body[: 8 * _MAX_BODY_BYTES])
    except (ValueError, RecursionError):
        return None
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict):
        return None
    base = content.get("base_resp")
    code = _as_int(base.get("status_code")) if isinstance(base, dict) else None
    if code in _MINIMAX_CODES:
        return _MINIMAX_CODES[code]
    status = next(filter(None, map(_http_status, _error_codes(content))), 0)
    meaning = classify_error(status or 400, body)
    if meaning == "refused" and not (status or code or _is_marked_as_error(content)):
        return None
    return meaning


def key_page_url(slug: str, code: str | None) -> str | None:
    """Where to create or edit a key, if an error of this code is mended there; None for servers of one's own."""
    from app.providers import PROVIDERS  # complete only after all modules of this package are loaded

    provider = PROVIDERS.get(slug)
    if provider is None or code not in _KEY_PAGE_CODES or provider.keys_url == provider.docs_url:
        return None
    return provider.keys_url


def is_login_url(url: str) -> bool:
    """Whether a redirect to this URL leads to a page to sign in at."""
    parts = urlsplit(url.lower())
    return bool(_LOGIN_URL.search(f"{parts.hostname or ''}{parts.path}"))


def _is_html(text: str, headers: Mapping[str, str]) -> bool:
    return text.startswith(("<!doctype html", "<html", "<head", "<body")) or (
        "html" in headers.get("content-type", "") and not text.startswith(("{", "["))
    )


def _classify_page(status: int, text: str) -> ErrorMeaning | None:
    if status >= 500:
        return "access_page" if _is_login_page(text) else _match_words(status, text)
    title = _title(text)
    if "banned the country" in text or "error 1009" in text:
        return "region_blocked"
    if status == 401 and (not title or _STATUS_PAGE.match(title)) and not _is_login_page(text):
        return None  # as Perplexity answers to a wrong key
    if status in (401, 403) or _is_login_page(text):
        return "access_page"
    return None


def _is_login_page(text: str) -> bool:
    return bool(_LOGIN_PAGE.search(_title(text)) or _PASSWORD_FIELD.search(text))


def _title(text: str) -> str:
    """The page's title; its text where it has none."""
    match = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL)
    return (match[1] if match else re.sub(r"<[^>]*>", " ", text)[:200]).strip()


def _asks_for_password(challenge: str) -> bool:
    # OpenAI's own 401 once offered Basic too, but its body speaks of the key.
    return bool(_PASSWORD_SCHEMES.search(challenge)) and "bearer" not in challenge


def _match_words(status: int, text: str) -> ErrorMeaning | None:
    patterns = _SERVER_PATTERNS if status >= 500 else _PATTERNS
    return next((meaning for meaning, pattern in patterns if pattern.search(text)), None)


def _readable_text(body: bytes, text: str) -> str:
    """The strings of a JSON body, unescaped and in lower case; another body as it is."""
    try:
        content = json.loads(body[:_MAX_BODY_BYTES])
    except (ValueError, RecursionError):
        return text
    return " | ".join(_strings(content)).lower()


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and depth < _MAX_DEPTH:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item, depth + 1)


def _is_marked_as_error(content: dict[str, Any]) -> bool:
    return (
        bool(content.get("error") or content.get("errors"))
        or any(content.get(name) is False for name in ("success", "ok", "status"))
        or any(str(content.get(name)).lower() in ("error", "fail", "failed") for name in ("object", "type", "status"))
    )


def _error_codes(content: dict[str, Any]) -> Iterator[Any]:
    error = content.get("error")
    for source in (content, error if isinstance(error, dict) else {}):
        for name in ("code", "status", "status_code", "statusCode", "error_code"):
            yield source.get(name)


def _http_status(value: Any) -> int:
    number = _as_int(value)
    return number if number is not None and 400 <= number < 600 else 0


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7 else None
