"""The meaning of a provider's error response: by patterns in its body first, by its status second.

The patterns come from recorded error bodies and the providers' documentation (2026-08). Only the meaning leaves this
module, since an error body may repeat the key.
"""

from __future__ import annotations

import re

from app.providers.contract import ErrorMeaning

_PATTERNS: tuple[tuple[ErrorMeaning, re.Pattern[str]], ...] = (
    ("key_revoked", re.compile(r"revoked|deactivated|has been disabled|key (is |has )?(been )?(disabled|expired)")),
    (
        "key_rejected",
        re.compile(
            r"api_key_invalid|invalid_api_key|invalid x-api-key|api key not valid|api key (is )?invalid"
            r"|incorrect api key|invalid api (key|token)|wrong api key|authentication_error|no auth credentials"
            r"|user not found|invalid (bearer )?token"
        ),
    ),
    (
        "quota_exhausted",
        re.compile(r"insufficient_quota|exceeded your current quota|insufficient (credit|balance|fund)"),
    ),
    # Before "billing": OpenAI and Groq end "rate limit reached" with a link to their billing page.
    ("rate_limited", re.compile(r"rate_limit|rate limit (is )?(reached|exceeded)")),
    ("quota_exhausted", re.compile(r"billing|payment")),
    (
        "region_blocked",
        re.compile(r"unsupported_country|country, region|location is not supported|not available in your"),
    ),
    ("maintenance", re.compile(r"maintenance")),
)
_STATUS: dict[int, ErrorMeaning] = {
    401: "key_rejected",
    402: "quota_exhausted",
    403: "no_access",
    429: "rate_limited",
    451: "region_blocked",
}
_MAX_BODY_BYTES = 8_192


def classify_error(status: int, body: bytes) -> ErrorMeaning:
    """The meaning of a response with an HTTP status of 400 or above."""
    content = body[:_MAX_BODY_BYTES].decode("utf-8", "replace").lower()
    for meaning, pattern in _PATTERNS:
        if _applies(meaning, status) and pattern.search(content):
            return meaning
    if status in _STATUS:
        return _STATUS[status]
    return "unavailable" if status >= 500 or status in (408, 425) else "refused"


def _applies(meaning: ErrorMeaning, status: int) -> bool:
    # A 503 page that mentions billing says nothing about the key.
    return status >= 500 if meaning == "maintenance" else status < 500
