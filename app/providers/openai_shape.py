"""read() for everyone who answers in OpenAI's shape: `{"object": "list", "data": [{"id", "created"}]}`."""

from __future__ import annotations

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Request
from app.providers.parsing import JsonObject, build_page, decode_json, entries, identifier, timestamp


def ask(_cursor: str | None) -> Request:
    """The whole list in one answer."""
    return Request("/models")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), read_one)


def read_ids(body: bytes) -> Page:
    """For those whose other fields say nothing: their `created` is a constant or not the model's date."""
    return build_page(entries(decode_json(body), "data"), _read_id)


def _read_id(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = classify_model(model_id)
    return ListedModel(id=model_id, kind=kind, kind_reason=reason)


def read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = classify_model(model_id)
    return ListedModel(id=model_id, kind=kind, kind_reason=reason, created_at=timestamp(entry, "created"))
