"""The fields of a provider's answer, how they differ from an earlier answer's, and the removal of personal data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_SECRET = re.compile(r"^(sk|gsk|pplx|xai|key|hf|r8|nvapi|AIza)[-_A-Za-z0-9]{12,}$|^ey[A-Za-z0-9_-]{20,}\.")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)
_HOME = re.compile(r"(/home/|/Users/|\\Users\\)[^/\\]+")
"""A home folder: vLLM reports the path of a model's files."""
_PERSONAL = frozenset(
    {"account", "account_id", "created_by", "email", "organization", "organization_id", "org_id", "owner", "project"}
    | {"project_id", "request_id", "team", "team_id", "user", "user_id"}
)
REMOVED = "REMOVED"


def field_paths(document: Any, prefix: str = "") -> set[str]:
    """Every field as a path, `data[].pricing.prompt`; all elements of an array share one path."""
    return set(_walk_paths(document, prefix))


def diff_fields(before: Any, after: Any) -> tuple[list[str], list[str]]:
    """The fields that appeared and those that vanished, sorted."""
    old, new = field_paths(before), field_paths(after)
    return sorted(new - old), sorted(old - new)


def scrub(document: Any, *secrets: str) -> Any:
    """A copy without keys and personal identifiers, so that a saved answer does not reveal whose account it was."""
    if isinstance(document, dict):
        return {
            _clean(key, secrets): REMOVED if _is_personal(key, value) else scrub(value, *secrets)
            for key, value in document.items()
        }
    if isinstance(document, list):
        return [scrub(value, *secrets) for value in document if not _is_fine_tune(value)]
    if isinstance(document, str):
        return _clean(document, secrets)
    return document


def _walk_paths(document: Any, prefix: str) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            yield path
            yield from _walk_paths(value, path)
    elif isinstance(document, list):
        for value in document:
            yield from _walk_paths(value, f"{prefix}[]")


def _is_personal(key: str, value: Any) -> bool:
    return key.lower() in _PERSONAL and isinstance(value, str | int)


def _is_fine_tune(value: Any) -> bool:
    # A fine-tune's id names its owner's organisation and purpose.
    return isinstance(value, dict) and isinstance(value.get("id"), str) and value["id"].startswith("ft:")


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, REMOVED)
    return REMOVED if _SECRET.search(text) else _HOME.sub(rf"\1{REMOVED}", _EMAIL.sub(REMOVED, text))
