"""Finds the models in an answer, whatever the answer wraps them in.

Shapes seen (September to November 2026): a bare list (Together, Docker Model Runner), `data` (OpenAI), `data` and
`models` at once (llama.cpp), `result` (Cloudflare), `endpoints` (Databricks), `resources` (watsonx), `modelSummaries`
(Bedrock), `data.list` (one-api and its kin), an object keyed by id, and lists of plain ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.providers.parsing import InvalidResponse

_ARRAYS = (
    "data",
    "models",
    "modellist",
    "modelsummaries",
    "availablemodels",
    "foundationmodels",
    "inferenceprofilesummaries",
    "result",
    "results",
    "items",
    "list",
    "endpoints",
    "resources",
    "deployments",
    "engines",
    "records",
    "rows",
    "entries",
    "objects",
    "response",
    "payload",
    "content",
)
"""Keys that hold the models, folded (`modelSummaries` and `model_summaries` alike), the first wins."""
_NOT_IDS = frozenset(
    (
        "error",
        "errors",
        "detail",
        "details",
        "message",
        "messages",
        "status",
        "meta",
        "metadata",
        "info",
        "baseresp",
        "usage",
        "pagination",
        "links",
    )
)
"""Keys of an envelope: an object with one of them is not keyed by ids."""
_ID_FIELDS = frozenset(("id", "model", "model_id", "modelId", "model_name", "name", "key", "slug"))
_MODEL_FIELDS = _ID_FIELDS | {
    "object",
    "owned_by",
    "context_length",
    "context_window",
    "max_model_len",
    "max_tokens",
    "max_input_tokens",
    "mode",
    "type",
    "capabilities",
    "pricing",
}
_MAX_DEPTH = 3


def find_entries(answer: Any, *keys: str, id_key: str = "id") -> list[Any]:
    """The models' entries, each an object wherever the answer allows. Raises InvalidResponse, naming what came instead.

    keys: where they are expected; none if the answer is the list itself. A provider with one key may wrap its models
    otherwise one day, but no list of another name can say that it has none. id_key: under which an id is put that
    stands outside of its entry: in a list of ids, or as the key of an object.
    """
    expected = [answer[key] for key in keys if key in answer] if isinstance(answer, dict) else []
    lists = [value for value in expected if isinstance(value, list)]
    array = next(filter(None, lists), lists[0] if lists else None)
    if array is None:
        array = _find(answer, id_key, _MAX_DEPTH)
        if array is None or (len(keys) == 1 and not array):
            raise InvalidResponse(_describe(answer, keys))
    if array and all(isinstance(entry, str) for entry in array):
        return [{id_key: entry} for entry in array]
    return array


def _find(value: Any, id_key: str, depth: int) -> list[Any] | None:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not depth:
        return None
    inner = {folded: value[key] for key in value if (folded := _fold(key)) in _ARRAYS}
    candidates = [inner[key] for key in _ARRAYS if key in inner]
    lists = [candidate for candidate in candidates if isinstance(candidate, list)]
    if lists:
        return next(filter(None, lists), lists[0])
    for candidate in candidates:
        array = _find(candidate, id_key, depth - 1)
        if array is None:
            array = _read_keyed(candidate, id_key)
        if array is not None:
            return array
    if (array := _find_unnamed(value)) is not None:
        return array
    looks_like_models = any(_MODEL_FIELDS & one.keys() for one in value.values() if isinstance(one, dict))
    return _read_keyed(value, id_key) if looks_like_models else None


def _find_unnamed(value: Mapping[str, Any]) -> list[Any] | None:
    """The only list of objects with an id, or of texts under a key that speaks of models."""
    lists = [
        array
        for key, array in value.items()
        if isinstance(array, list)
        and array
        and (_lists_objects(array) or ("model" in key.lower() and _lists_texts(array)))
    ]
    return lists[0] if len(lists) == 1 else None


def _lists_objects(array: list[Any]) -> bool:
    return all(isinstance(one, dict) and not _ID_FIELDS.isdisjoint(one) for one in array)


def _lists_texts(array: list[Any]) -> bool:
    return all(isinstance(one, str) for one in array)


def _read_keyed(value: Any, id_key: str) -> list[Any] | None:
    """The entries of an object keyed by id, by number (a PHP array), or by provider with a list for each."""
    if not isinstance(value, dict) or not value or any(_fold(key) in _NOT_IDS for key in value):
        return None
    if all(isinstance(one, list) for one in value.values()):
        return [entry for array in value.values() for entry in array]
    if not all(isinstance(one, dict) for one in value.values()):
        return None
    if all(key.isdecimal() for key in value):
        return list(value.values())
    return [{id_key: key} | entry for key, entry in value.items()]


def _fold(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _describe(answer: Any, keys: tuple[str, ...]) -> str:
    """A clause that follows "the provider". Names known keys only: others might repeat a secret."""
    if not isinstance(answer, dict):
        return f"sent {_type_name(answer)} instead of a list of models"
    fields = list(_find_known_fields(answer))
    for name, value in fields:
        if name in _ARRAYS:
            return f"sent “{name}”, but it is {_type_name(value)} instead of a list of models"
    instead = " and ".join(f"“{name}”" for name, _ in fields) or ("an empty object" if not answer else "")
    return f"sent no {' or '.join(f'“{key}”' for key in keys or ('data',))} list" + (
        f", only {instead}" if instead else ""
    )


def _find_known_fields(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in (*_ARRAYS, *sorted(_NOT_IDS)):
        if name in answer:
            yield name, answer[name]


def _type_name(value: Any) -> str:
    names = (
        (type(None), "null"),
        (bool, "a flag"),
        (str, "a text"),
        ((int, float), "a number"),
        (list, "an empty list"),
    )
    return next(
        (name for kind, name in names if isinstance(value, kind)), "an empty object" if value == {} else "an object"
    )
