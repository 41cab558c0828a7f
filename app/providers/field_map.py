"""A declarative reader: which field of a provider's entry holds which field of a `ListedModel`.

    read = FieldMap(
        name="name",
        context_length="context_window|context_length",
        tools=contains("supported_features", "tools"),
        input_per_million=per_token("pricing.prompt"),
    )

A path names nested objects with dots and alternatives with `|`; the first that holds a value of the field's type
counts. Instead of a path, a field takes an extractor: one of the functions below, or the provider's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import CAPABILITIES, Kind, ListedModel
from app.providers.contract import Page
from app.providers.envelope import find_entries
from app.providers.parsing import (
    InvalidEntry,
    JsonObject,
    build_page,
    decode_json,
    flag,
    identifier,
    integer,
    mapping,
    price_in_unit,
    strings,
    text,
    timestamp,
)

Extractor = Callable[[JsonObject], Any]
Convert = Callable[..., Any]
"""Reads the value at `key` of an object: called as `convert(entry, key=…)`."""
Classify = Callable[[str, JsonObject, tuple[str, ...]], KindDecision]
"""Decides the kind from a model's id, its entry and its output modalities."""

_NO_VALUE = (None, "", ())
_CONVERT: dict[str, Convert] = {
    **dict.fromkeys(("name", "description", "canonical_slug", "hugging_face_id"), text),
    **dict.fromkeys(("context_length", "max_output_tokens"), integer),
    **dict.fromkeys(("input_modalities", "output_modalities"), strings),
    **dict.fromkeys(CAPABILITIES, flag),
    **dict.fromkeys(("created_at", "deprecated_at", "retires_at"), timestamp),
}


def classify_by_id(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    """By the output modalities, where the entry lists them, or else by the id."""
    return classify_model(model_id, outputs=outputs)


class FieldMap:
    """Reads a provider's answer by a table. Called with a response body, returns its page.

    array: key of the list of models, None if the answer is that list itself. Several keys are alternatives. Where it
        is missing, `find_entries` looks further.
    optional_array: whether an empty object means "no models".
    normalize: brings an entry into the form that everything else here reads.
    id, id_prefix: key of the model's id, or a function that reads it, and what to strip from its beginning.
    next_cursor: the next page's cursor, from the decoded answer; None on the last page.
    private: whether the models belong to the key's owner, for all of them or by entry.
    sort_modalities: whether the provider lists modalities in no particular order.
    sources: `ListedModel` field → path or extractor. `vision` follows the input modalities where it is not given.
    """

    def __init__(
        self,
        *,
        array: str | tuple[str, ...] | None = "data",
        optional_array: bool = False,
        normalize: Callable[[JsonObject], JsonObject] | None = None,
        id: str | Callable[[JsonObject], str] = "id",
        id_prefix: str = "",
        next_cursor: Callable[[Any], str | None] | None = None,
        classify: Classify = classify_by_id,
        private: bool | Callable[[JsonObject], bool] = False,
        sort_modalities: bool = True,
        **sources: str | Extractor,
    ) -> None:
        self.array, self._optional_array = array, optional_array
        self._normalize = normalize
        self.id_key, self.id_prefix = id, id_prefix
        self._next_cursor, self._classify, self._private = next_cursor, classify, private
        modality_fields = ("input_modalities", "output_modalities") if sort_modalities else ()
        self._sorted_fields = [field for field in modality_fields if field in sources]
        self._extractors = [
            (field, _path_reader(source, _CONVERT[field]) if isinstance(source, str) else source)
            for field, source in sources.items()
        ]
        self.is_standard = (array, id, classify) == ("data", "id", classify_by_id) and sources.keys() <= {"created_at"}
        """Whether it reads no more than OpenAI's own list has."""
        self._infers_vision = "input_modalities" in sources and "vision" not in sources

    def __call__(self, body: bytes) -> Page:
        answer = decode_json(body)
        array = self._find_array(answer)
        next_cursor = self._next_cursor(answer) if self._next_cursor else None
        return build_page(array, self.read_entry, next_cursor, envelope=answer)

    @property
    def layout(self) -> tuple[str, str, str]:
        """Key of the array (empty for a bare one), key of the id, and the id's prefix; the first where there are
        several."""
        array = self.array[0] if isinstance(self.array, tuple) else self.array or ""
        return array, self.id_key if isinstance(self.id_key, str) else "id", self.id_prefix

    def _find_array(self, answer: Any) -> list[Any]:
        if self._optional_array and answer == {}:
            return []
        keys = self.array if isinstance(self.array, tuple) else (self.array,) if self.array else ()
        return find_entries(answer, *keys, id_key=self.id_key if isinstance(self.id_key, str) else "id")

    def read_entry(self, entry: JsonObject) -> ListedModel:
        """One model. Raises InvalidEntry if it has no usable id, and NotAModel."""
        if self._normalize:
            entry = self._normalize(entry)
        model_id = self._read_id(entry)
        facts = {field: extract(entry) for field, extract in self._extractors}
        outputs = facts.get("output_modalities", ())
        facts["kind"], facts["kind_reason"] = self._classify(model_id, entry, outputs)
        if self._infers_vision:
            inputs = facts["input_modalities"]
            facts["vision"] = "image" in inputs if inputs else None
        for field in self._sorted_fields:
            if modalities := facts[field]:
                facts[field] = tuple(sorted(modalities))
        if self._private is not False:
            facts["private"] = self._private if self._private is True else self._private(entry)
        return ListedModel(id=model_id, **facts)

    def _read_id(self, entry: JsonObject) -> str:
        if not isinstance(self.id_key, str):
            return self.id_key(entry)
        model_id = identifier(entry, self.id_key)
        if self.id_prefix:
            model_id = model_id.removeprefix(self.id_prefix)
            if not model_id:
                raise InvalidEntry(f"its “{self.id_key}” ends behind “{self.id_prefix}”")
        return model_id


# ------------------------------------------------------------------ extractors


def _path_reader(path: str, convert: Convert) -> Extractor:
    paths = path.split("|")
    alternatives = [_single_path_reader(one, convert) for one in paths]
    if len(alternatives) == 1:
        return alternatives[0]
    heads = [one.partition(".")[0] for one in paths]
    nothing = convert({}, key="")

    def extract(entry: JsonObject) -> Any:
        value = nothing
        for head, read in zip(heads, alternatives, strict=True):
            if head in entry and (value := read(entry)) not in _NO_VALUE:
                return value
        return value

    return extract


def _single_path_reader(path: str, convert: Convert) -> Extractor:
    *sections, key = path.split(".")
    if not sections:
        return partial(convert, key=key)
    if len(sections) == 1:
        (section,) = sections
        return lambda entry: convert(mapping(entry, section), key=key)

    def extract(entry: JsonObject) -> Any:
        for name in sections:
            entry = mapping(entry, name)
        return convert(entry, key=key)

    return extract


def first(*extractors: Extractor) -> Extractor:
    """The first of several that gives a value."""

    def extract(entry: JsonObject) -> Any:
        value = None
        for one in extractors:
            value = one(entry)
            if value not in _NO_VALUE:
                return value
        return value

    return extract


def contains(path: str, *words: str) -> Extractor:
    """Whether a list of words has one of `words`; None where the list is missing or empty."""
    read_words, targets = _path_reader(path, strings), frozenset(words)

    def extract(entry: JsonObject) -> bool | None:
        listed = read_words(entry)
        return not targets.isdisjoint(listed) if listed else None

    return extract


def mentions(path: str, *words: str) -> Extractor:
    """True if a list of words has one of `words`, else None: for lists whose silence says nothing."""
    read_words, targets = _path_reader(path, strings), frozenset(words)
    return lambda entry: not targets.isdisjoint(read_words(entry)) or None


def is_set(path: str) -> Extractor:
    """True if the path holds a positive number, else None."""
    read_number = _path_reader(path, integer)
    return lambda entry: True if read_number(entry) else None


def per_token(path: str, *, zero_is_unknown: bool = False) -> Extractor:
    """A price in USD per token."""
    return price(path, Decimal(1_000_000), zero_is_unknown=zero_is_unknown)


def per_million(path: str, *, zero_is_unknown: bool = False) -> Extractor:
    """A price in USD per million tokens."""
    return price(path, Decimal(1), zero_is_unknown=zero_is_unknown)


def price(path: str, unit: Decimal, *, zero_is_unknown: bool = False) -> Extractor:
    """A price, as USD per million tokens. unit: factor of the listed number, 0.0001 where 12500 means $1.25."""
    extract = _path_reader(path, partial(price_in_unit, unit=unit))
    return (lambda entry: extract(entry) or None) if zero_is_unknown else extract


def timestamp_before(year: int, path: str) -> Extractor:
    """A date before `year`; a later one means "never"."""
    read_date = _path_reader(path, timestamp)

    def extract(entry: JsonObject) -> datetime | None:
        date: datetime | None = read_date(entry)
        return date if date and date.year < year else None

    return extract


# ------------------------------------------------------------------ kinds


def always(kind: Kind, because: str) -> Classify:
    """For a provider that lists one kind of model only."""
    return lambda model_id, entry, outputs: classify_model(model_id, declared=kind, because=because, outputs=outputs)


def map_value(path: str, kinds: Mapping[str, Kind], because: str, *, otherwise: Kind | None = None) -> Classify:
    """By a field that names the kind. because: with `{}` for its value. otherwise: kind of a value that is not in
    `kinds`; None leaves it to id and outputs.
    """
    read_value = _path_reader(path, text)

    def classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
        value = read_value(entry)
        kind = kinds.get(value, otherwise) if value else None
        return classify_model(model_id, declared=kind, because=because.format(value), outputs=outputs)

    return classify


def map_word(path: str, kinds: Mapping[str, Kind], because: str, *, weak: Collection[str] = ()) -> Classify:
    """By a list of words, the first of `kinds` that it has. because: with `{}` for the word. weak: words that are used
    too generously, so that a clear id outweighs them.
    """
    read_words = _path_reader(path, strings)

    def classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
        listed = read_words(entry)
        for word, kind in kinds.items():
            if word in listed:
                reason = because.format(word)
                return classify_model(model_id, declared=kind, because=reason, outputs=outputs, prefer_id=word in weak)
        return classify_model(model_id, outputs=outputs)

    return classify


def other_if(condition: Callable[[JsonObject], bool], because: str, classify: Classify = classify_by_id) -> Classify:
    """Kind "other" where the condition holds of an entry: such a model cannot be called."""

    def decide(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
        return KindDecision("other", because) if condition(entry) else classify(model_id, entry, outputs)

    return decide


def not_chat_if(condition: Callable[[JsonObject], bool], decision: KindDecision, classify: Classify) -> Classify:
    """`decision` where only the id suggests a chat model and the entry's condition rules that out."""

    def decide(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
        by_others = classify(model_id, entry, outputs)
        return decision if by_others.kind == "chat" and condition(entry) else by_others

    return decide


# ------------------------------------------------------------------ pages


def cursor_at(path: str) -> Callable[[Any], str | None]:
    """The next page's cursor where the answer itself is empty or null on the last page."""
    read_cursor = _path_reader(path, text)
    return lambda answer: (read_cursor(answer) or None) if isinstance(answer, dict) else None


def cursor_if_more(path: str, more: str = "has_more") -> Callable[[Any], str | None]:
    """The next page's cursor where a flag says that there is one: the last id of the page where it is missing."""
    read_cursor = _path_reader(path, text)

    def read(answer: Any) -> str | None:
        if not isinstance(answer, dict) or answer.get(more) is not True:
            return None
        listed = answer.get("data")
        last = listed[-1] if isinstance(listed, list) and listed else None
        return read_cursor(answer) or (text(last, "id") if isinstance(last, dict) else "") or None

    return read


IDS = FieldMap()
"""For providers that list ids only, or whose `created` is a constant or the time of the request."""
IDS_AND_DATES = FieldMap(created_at="created")
"""OpenAI's own shape: `{"object": "list", "data": [{"id", "created"}]}`."""
