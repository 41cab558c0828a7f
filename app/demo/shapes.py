"""Response formats of the real APIs: lists, pages and errors. One class per shape; no IO."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from app.demo.listings import SimModel
from app.providers import PROVIDERS
from app.providers.field_map import FieldMap

ErrorKind = Literal["missing_key", "bad_key", "revoked", "forbidden", "quota", "rate_limited", "error", "unavailable"]
Query = Mapping[str, str]
_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class SimPage:
    """One page of a list, and the cursor of the next one (None on the last)."""

    models: Sequence[SimModel]
    next: str | None = None


class InvalidQuery(Exception):
    """The query requests a page that does not exist."""


class OpenAIShape:
    """OpenAI: one page, ids and dates only. Base of the other shapes."""

    array = "data"
    """Field that holds the models; empty if the body is the array itself."""
    pages = False

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """The API key in the headers, None without one. headers: case-insensitive."""
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        return key if scheme == "Bearer" and key else None

    def header_error(self, headers: Mapping[str, str]) -> str | None:
        """An error about headers other than the key's."""
        return None

    def page_of(self, models: Sequence[SimModel], query: Query, max_size: int | None) -> SimPage:
        """The requested page, of at most `max_size` models. Raises InvalidQuery."""
        return SimPage(models)

    def answer(self, page: SimPage) -> Any:
        return {"object": "list", self.array: [self.entry(model) for model in page.models]}

    def entry(self, model: SimModel) -> dict[str, Any]:
        return {
            "id": model.id,
            "object": "model",
            "created": int(model.created_at.timestamp()),
            "owned_by": "system",
            "shutdown_date": model.retires_on,
        }

    def error(self, kind: ErrorKind, key: str = "") -> tuple[int, dict[str, Any]]:
        """Status and body. key: as the error repeats it, already masked where the provider would mask it."""
        status, message, error_type, code = {
            "missing_key": (401, "You didn't provide an API key.", "invalid_request_error", None),
            "bad_key": (401, f"Incorrect API key provided: {key}.", "invalid_request_error", "invalid_api_key"),
            "revoked": (401, "This API key has been revoked.", "invalid_request_error", "invalid_api_key"),
            "forbidden": (403, "You have insufficient permissions for this operation.", "invalid_request_error", None),
            "quota": (429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
            "rate_limited": (429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
            "error": (500, "The server had an error while processing your request.", "server_error", None),
            "unavailable": (503, "The engine is currently overloaded.", "server_error", None),
        }[kind]
        return status, {"error": {"message": message, "type": error_type, "param": None, "code": code}}


class AnthropicShape(OpenAIShape):
    """Anthropic: capabilities and limits, no prices; pages by `after_id`."""

    pages = True
    default_size, largest_size = 20, 1_000

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("x-api-key") or None

    def header_error(self, headers: Mapping[str, str]) -> str | None:
        return None if headers.get("anthropic-version") else "anthropic-version: header is required"

    def page_of(self, models: Sequence[SimModel], query: Query, max_size: int | None) -> SimPage:
        size = _page_size(query.get("limit"), self.default_size, self.largest_size, max_size)
        start = 0
        if after := query.get("after_id"):
            ids = [model.id for model in models]
            if after not in ids:
                raise InvalidQuery(f"after_id: no model {after!r}")
            start = ids.index(after) + 1
        page = models[start : start + size]
        return SimPage(page, page[-1].id if start + size < len(models) else None)

    def answer(self, page: SimPage) -> dict[str, Any]:
        entries = [self.entry(model) for model in page.models]
        return {
            "data": entries,
            "has_more": page.next is not None,
            "first_id": entries[0]["id"] if entries else None,
            "last_id": page.next or (entries[-1]["id"] if entries else None),
        }

    def entry(self, model: SimModel) -> dict[str, Any]:
        return {
            "type": "model",
            "id": model.id,
            "display_name": model.title,
            "created_at": model.created_at.isoformat().replace("+00:00", "Z"),
            "max_input_tokens": model.context,
            "max_tokens": model.output,
            "capabilities": {
                "batch": {"supported": True},
                "image_input": {"supported": model.vision},
                "pdf_input": {"supported": model.vision},
                "structured_outputs": {"supported": model.structured},
                "thinking": {"supported": model.reasoning},
            },
        }

    def error(self, kind: ErrorKind, key: str = "") -> tuple[int, dict[str, Any]]:
        status, error_type, message = {
            "missing_key": (401, "authentication_error", "x-api-key header is required"),
            "bad_key": (401, "authentication_error", f"invalid x-api-key {key}".rstrip()),
            "revoked": (401, "authentication_error", "This API key has been revoked."),
            "forbidden": (403, "permission_error", "Your API key does not have permission to use this resource."),
            "quota": (400, "invalid_request_error", "Your credit balance is too low: go to Plans & Billing."),
            "rate_limited": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
            "error": (500, "api_error", "Internal server error"),
            "unavailable": (529, "overloaded_error", "Overloaded"),
        }[kind]
        return status, {
            "type": "error",
            "error": {"type": error_type, "message": message},
            "request_id": "req_simulated",
        }


class GoogleShape(OpenAIShape):
    """Google: names like `models/<id>`, methods instead of a type; pages by an opaque `pageToken`."""

    array = "models"
    pages = True
    default_size, largest_size = 50, 1_000

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("x-goog-api-key") or None

    def page_of(self, models: Sequence[SimModel], query: Query, max_size: int | None) -> SimPage:
        size = _page_size(query.get("pageSize"), self.default_size, self.largest_size, max_size)
        start = _decode_token(query["pageToken"]) if query.get("pageToken") else 0
        end = start + size
        return SimPage(models[start:end], _encode_token(end) if end < len(models) else None)

    def answer(self, page: SimPage) -> dict[str, Any]:
        body: dict[str, Any] = {"models": [self.entry(model) for model in page.models]}
        return body | ({"nextPageToken": page.next} if page.next else {})

    def entry(self, model: SimModel) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "name": f"models/{model.id}",
            "version": "001",
            "displayName": model.title,
            "description": f"{model.title}, simulated.",
            "inputTokenLimit": model.context,
            "outputTokenLimit": model.output,
            "supportedGenerationMethods": self._methods(model),
        }
        return facts | ({"thinking": True} if model.reasoning else {})

    def _methods(self, model: SimModel) -> list[str]:
        if model.id.startswith("imagen"):
            return ["predict"]
        return {
            "embedding": ["embedContent", "countTokens"],
            "video": ["predictLongRunning"],
            "realtime": ["countTokens", "bidiGenerateContent"],
            "other": ["generateAnswer"],
        }.get(model.kind, ["generateContent", "countTokens"])

    def error(self, kind: ErrorKind, key: str = "") -> tuple[int, dict[str, Any]]:
        status, word, message = {
            "missing_key": (403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."),
            "bad_key": (400, "INVALID_ARGUMENT", f"API key not valid. Please pass a valid API key. {key}".rstrip()),
            "revoked": (400, "INVALID_ARGUMENT", "API key expired or revoked. Please renew the API key."),
            "forbidden": (403, "PERMISSION_DENIED", "Requests to this API are blocked for this project."),
            "quota": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota: check your plan and billing."),
            "rate_limited": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
            "error": (500, "INTERNAL", "An internal error has occurred."),
            "unavailable": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        }[kind]
        error: dict[str, Any] = {"code": status, "message": message, "status": word}
        if kind in ("bad_key", "revoked"):
            reason = "API_KEY_INVALID" if kind == "bad_key" else "API_KEY_EXPIRED"
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
        return status, {"error": error}


class GroqShape(OpenAIShape):
    """Groq: as OpenAI, with limits, modalities and prices as decimal strings in USD per token."""

    def entry(self, model: SimModel) -> dict[str, Any]:
        features = [*(["tools"] if model.tools else []), *(["reasoning"] if model.reasoning else [])]
        facts: dict[str, Any] = {
            "id": model.id,
            "object": "model",
            "created": int(model.created_at.timestamp()),
            "owned_by": "Groq",
            "active": True,
            "context_window": model.context,
            "public_apps": None,
            "max_completion_tokens": model.output,
            "name": model.title,
            "input_modalities": list(model.inputs),
            "output_modalities": list(model.outputs),
            "supported_features": [*features, *(["structured_outputs"] if model.structured else [])],
        }
        return facts | ({"pricing": _per_token(model)} if model.prompt is not None else {})

    def error(self, kind: ErrorKind, key: str = "") -> tuple[int, dict[str, Any]]:
        status, body = super().error(kind, key)
        if kind in ("missing_key", "bad_key"):
            body["error"]["message"] = f"Invalid API Key {key}".rstrip()
        return status, body


class OpenRouterShape(OpenAIShape):
    """OpenRouter: all facts of each model."""

    def answer(self, page: SimPage) -> dict[str, Any]:
        entries = [self.entry(model) for model in page.models]
        return {"data": entries, "total_count": len(entries), "links": {"next": page.next}}

    def entry(self, model: SimModel) -> dict[str, Any]:
        return {
            "id": model.id,
            "canonical_slug": model.id.lstrip("~").partition(":")[0],
            "hugging_face_id": "",
            "name": f"{model.id.lstrip('~').partition('/')[0].capitalize()}: {model.title}",
            "created": int(model.created_at.timestamp()),
            "description": f"{model.title}, simulated.",
            "context_length": model.context,
            "architecture": {
                "modality": f"{'+'.join(model.inputs)}->{'+'.join(model.outputs)}",
                "input_modalities": list(model.inputs),
                "output_modalities": list(model.outputs),
                "tokenizer": "Other",
                "instruct_type": None,
            },
            "pricing": _per_token(model),
            "top_provider": {
                "context_length": model.context,
                "max_completion_tokens": model.output,
                "is_moderated": False,
            },
            "per_request_limits": None,
            "supported_parameters": list(model.parameters),
            "expiration_date": model.retires_on,
        }

    def error(self, kind: ErrorKind, key: str = "") -> tuple[int, dict[str, Any]]:
        status, message = {
            "missing_key": (401, "No auth credentials found"),
            "bad_key": (401, f"User not found. {key}".rstrip()),
            "revoked": (401, "This API key has been disabled."),
            "forbidden": (403, "Your key is not allowed to do this."),
            "quota": (402, "Insufficient credits."),
            "rate_limited": (429, "Rate limit exceeded."),
            "error": (500, "Internal Server Error"),
            "unavailable": (503, "No provider is available."),
        }[kind]
        return status, {"error": {"message": message, "code": status}}


class PlainShape(OpenAIShape):
    """OpenAI's fields under a provider's own names, with the key in any of the usual headers."""

    def __init__(self, array: str = "data", id_key: str = "id", prefix: str = "") -> None:
        self.array, self._id_key, self._prefix = array, id_key, prefix

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        if key and scheme in ("Bearer", "Key"):
            return key
        named = (headers.get(name) for name in ("api-key", "x-api-key", "x-goog-api-key"))
        return next((key for key in named if key), None)

    def answer(self, page: SimPage) -> Any:
        return super().answer(page) if self.array else [self.entry(model) for model in page.models]

    def entry(self, model: SimModel) -> dict[str, Any]:
        facts = super().entry(model)
        return {self._id_key: self._prefix + facts.pop("id"), **facts}


def _derive_shapes() -> Iterator[tuple[str, PlainShape]]:
    """The shapes of providers that read their list by a `FieldMap` from another array or id than OpenAI's."""
    for slug, provider in PROVIDERS.items():
        if isinstance(provider.read, FieldMap):
            array, id_key, prefix = provider.read.layout
            if (array, id_key, prefix) != ("data", "id", ""):
                yield slug, PlainShape(array, id_key, prefix)


PLAIN = PlainShape()
"""For providers that are not in `SHAPES`."""
SHAPES: dict[str, OpenAIShape] = {
    **dict(_derive_shapes()),
    "openai": OpenAIShape(),
    "anthropic": AnthropicShape(),
    "google": GoogleShape(),
    "groq": GroqShape(),
    "openrouter": OpenRouterShape(),
    "together": PlainShape(array=""),
    "aihubmix": PlainShape(id_key="model_id"),
    "lmstudio": PlainShape("models", "key"),
}


def mask_key(key: str) -> str:
    """A rejected key as providers repeat it: `sk-de******3f9c`."""
    return f"{key[:5]}******{key[-4:]}" if len(key) >= 12 else "******"


def _per_token(model: SimModel) -> dict[str, str]:
    prices = {"prompt": model.prompt, "completion": model.completion}
    return {name: _format_price(price) for name, price in prices.items() if price is not None} | {
        "request": "0",
        "image": "0",
    }


def _format_price(per_million: Decimal) -> str:
    return "-1" if per_million < 0 else format((per_million / _MILLION).normalize(), "f")


def _page_size(requested: str | None, default: int, largest: int, max_size: int | None) -> int:
    if requested is None:
        size = default
    elif requested.isascii() and requested.isdigit() and int(requested) > 0:
        size = min(int(requested), largest)
    else:
        raise InvalidQuery(f"{requested!r} is no page size")
    return min(size, max_size) if max_size else size


def _encode_token(offset: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"offset": offset}).encode()).decode()


def _decode_token(token: str) -> int:
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["offset"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise InvalidQuery(f"{token!r} is no page token") from None
