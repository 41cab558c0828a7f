"""read() for everyone who answers in OpenAI's shape: `{"object": "list", "data": [{"id", "created"}]}`."""

from __future__ import annotations

from app.catalog.kind import kind_of
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Request
from app.providers.parsing import Entry, document, entries, identifier, moment, page


def ask(_cursor: str | None) -> Request:
    """The whole list in one answer."""
    return Request("/models")


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), read_one)


def read_ids(body: bytes) -> Page:
    """For those whose other fields say nothing: their `created` is a constant or not the model's date."""
    return page(entries(document(body), "data"), _read_id)


def _read_id(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = kind_of(model_id)
    return ListedModel(id=model_id, kind=kind, kind_reason=reason)


def read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = kind_of(model_id)
    return ListedModel(id=model_id, kind=kind, kind_reason=reason, created_at=moment(entry, "created"))
