"""What a person may be told of, by topic; and which topic a change belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from app.catalog.changes import Change
from app.catalog.listing import PRICES

NEW, GONE, TERMS, KEYS = "new", "gone", "terms", "keys"
TOPICS = (NEW, GONE, TERMS, KEYS)
"""New models; models that went away, will or came back; other prices or limits; keys that began to fail."""
_BY_KIND = {"new": NEW, "relisted": GONE, "unlisted": GONE}
_BY_FIELD: Mapping[str, str] = {
    "id": GONE,  # renamed: nobody is served under the old name
    "deprecated_at": GONE,
    "retires_at": GONE,
    "context_length": TERMS,
    "max_output_tokens": TERMS,
    **dict.fromkeys(PRICES, TERMS),
}


def parse(text: str) -> frozenset[str]:
    """The topics of a list with commas between; what is none is left out."""
    return frozenset(text.split(",")) & frozenset(TOPICS)


def serialize(topics: Iterable[str]) -> str:
    """The same the other way round, in their order."""
    chosen = frozenset(topics)
    return ",".join(topic for topic in TOPICS if topic in chosen)


def change_topics(change: Change) -> frozenset[str]:
    """Where it is told; nowhere, where only a name or a capability moved."""
    if change.kind != "changed":
        return frozenset({_BY_KIND[change.kind]})
    return frozenset(_BY_FIELD[one.field] for one in change.fields if one.field in _BY_FIELD)


def restrict_to(change: Change, topics: Collection[str]) -> Change | None:
    """The change as far as it belongs to these topics; None if nothing of it does."""
    if change.kind != "changed":
        return change if _BY_KIND[change.kind] in topics else None
    fields = tuple(one for one in change.fields if _BY_FIELD.get(one.field) in topics)
    return msgspec.structs.replace(change, fields=fields) if fields else None
