"""What a provider sends back may repeat the key it was sent. It is removed before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import msgspec

from app.catalog.listing import ListedModel
from app.providers.contract import Page, SkippedEntry
from app.vault import ApiKey

MASK = "[API key]"
_TEXT_FRAGMENT_LENGTH = 12
"""This many characters in a row that a text shares with the key are part of it. Fewer may be a word, or a prefix that
all keys of a provider begin with."""
_MIN_KEY_LENGTH, _MIN_LENGTH_OF_WORDS = 8, 16
_PROSE = ("name", "description", "kind_reason")


def repeats_key(text: str, key: ApiKey | None, fragment_length: int = _TEXT_FRAGMENT_LENGTH) -> bool:
    """Whether `text` holds as many characters in a row of the key, in upper or lower case; the whole key if shorter."""
    if key is None or not key.secrets:
        return False
    folded = text.lower()
    return any(fragment in folded for fragment in _fragments(key, fragment_length))


def redact_page(page: Page, key: ApiKey | None) -> Page:
    """The page without any text that repeats the key: prose is masked, a model whose id repeats it is skipped."""
    if key is None or not any(map(_is_secret, key.secrets)) or not repeats_key("\n".join(_texts(page)), key):
        return page
    models: list[ListedModel] = []
    skipped = _redact_entries(page.skipped, key)
    for model in page.models:
        if repeats_key(model.id, key):
            skipped.append(SkippedEntry("an entry", "its id repeats the API key"))
        else:
            models.append(_redact_model(model, key))
    return replace(
        page,
        models=models,
        skipped=skipped,
        remarks=_redact_entries(page.remarks, key),
        ignored=_redact_entries(page.ignored, key),
    )


def _is_secret(value: str) -> bool:
    """False for a placeholder such as "ollama" or "lm-studio", which model names may well contain."""
    has_digit = any(character.isdigit() for character in value)
    return len(value) >= (_MIN_KEY_LENGTH if has_digit else _MIN_LENGTH_OF_WORDS)


def _texts(page: Page) -> Iterator[str]:
    for model in page.models:
        for value in msgspec.structs.astuple(model):
            if isinstance(value, str):
                yield value
            elif isinstance(value, tuple):
                yield from (word for word in value if isinstance(word, str))
    for entry in (*page.skipped, *page.remarks, *page.ignored):
        yield entry.entry
        yield entry.reason


def _redact_model(model: ListedModel, key: ApiKey) -> ListedModel:
    redacted: dict[str, object] = {}
    for field, value in msgspec.structs.asdict(model).items():
        if isinstance(value, str) and repeats_key(value, key):
            redacted[field] = _mask(value, key) if field in _PROSE else ""
        elif isinstance(value, tuple):
            redacted[field] = tuple(word for word in value if not (isinstance(word, str) and repeats_key(word, key)))
    return msgspec.structs.replace(model, **redacted)


def _redact_entries(entries: Iterable[SkippedEntry], key: ApiKey) -> list[SkippedEntry]:
    return [replace(entry, entry=_mask(entry.entry, key), reason=_mask(entry.reason, key)) for entry in entries]


def _mask(text: str, key: ApiKey) -> str:
    folded = text.lower()
    if len(folded) != len(text):
        return MASK if repeats_key(text, key) else text  # positions differ, so the whole text goes
    masked = [False] * len(text)
    for fragment in _fragments(key, _TEXT_FRAGMENT_LENGTH):
        start = folded.find(fragment)
        while start >= 0:
            masked[start : start + len(fragment)] = [True] * len(fragment)
            start = folded.find(fragment, start + 1)
    pieces = []
    for position, character in enumerate(text):
        if not masked[position]:
            pieces.append(character)
        elif position == 0 or not masked[position - 1]:
            pieces.append(MASK)
    return "".join(pieces)


def _fragments(key: ApiKey, length: int) -> set[str]:
    secrets = [secret for secret in key.secrets if _is_secret(secret)] or list(key.secrets)
    return {
        secret.lower()[start : start + length]
        for secret in secrets
        for start in range(max(1, len(secret) - length + 1))
    }
