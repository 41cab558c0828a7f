"""Topics of notifications, and the topics that a change belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from app.catalog.changes import Change
from app.catalog.listing import PRICES

NEW, GONE, TERMS, KEYS = "new", "gone", "terms", "keys"
TOPICS = (NEW, GONE, TERMS, KEYS)
"""New models; models that were removed, will be or are back; changed prices or limits; keys that began to fail."""
_BY_KIND = {"new": NEW, "relisted": GONE, "unlisted": GONE}
_BY_FIELD: Mapping[str, str] = {
    "id": GONE,  # renamed: the old name no longer works
    "deprecated_at": GONE,
    "retires_at": GONE,
    "context_length": TERMS,
    "max_output_tokens": TERMS,
    **dict.fromkeys(PRICES, TERMS),
}


def parse(text: str) -> frozenset[str]:
    """The topics in a comma-separated list; unknown ones are dropped."""
    return frozenset(text.split(",")) & frozenset(TOPICS)


def serialize(topics: Iterable[str]) -> str:
    """The inverse of `parse`, in the order of `TOPICS`."""
    chosen = frozenset(topics)
    return ",".join(topic for topic in TOPICS if topic in chosen)


def change_topics(change: Change) -> frozenset[str]:
    """Topics of a change; none if only a name or a capability changed."""
    if change.kind != "changed":
        return frozenset({_BY_KIND[change.kind]})
    return frozenset(_BY_FIELD[field.field] for field in change.fields if field.field in _BY_FIELD)


def restrict_to(change: Change, topics: Collection[str]) -> Change | None:
    """The part of a change that belongs to these topics; None if there is none."""
    if change.kind != "changed":
        return change if _BY_KIND[change.kind] in topics else None
    fields = tuple(field for field in change.fields if _BY_FIELD.get(field.field) in topics)
    return msgspec.structs.replace(change, fields=fields) if fields else None
