"""Files of overrides: JSON arrays, read with the line numbers that error messages name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Any

import msgspec

from app.catalog.overrides import Override, OverrideError, parse_override, quote


class OverrideEntry(msgspec.Struct, frozen=True):
    """An override with the place it was read from, for error messages."""

    override: Override
    place: str = ""
    """`overrides.json, entry 3 (line 27)`"""

    def error(self, sentence: str) -> OverrideError:
        """sentence: begins in lower case, since it may follow a colon."""
        return OverrideError(f"{self.place}: {sentence}" if self.place else sentence[:1].upper() + sentence[1:])


def parse_file(text: str, name: str) -> list[OverrideEntry]:
    """The overrides in a JSON array, or a single one. name: of the file, for messages.

    Raises OverrideError for the first error, naming entry and line.
    """
    text = text.removeprefix("\ufeff")
    try:
        return [
            _parse_entry(value, f"{name}, entry {number} (line {line})")
            for number, (line, value) in enumerate(_iter_values(text), 1)
        ]
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise OverrideError(f"{name}, line {error.lineno}: this is not valid JSON ({reason}).") from None


def _parse_entry(value: Any, place: str) -> OverrideEntry:
    try:
        if isinstance(value, OverrideError):
            raise value
        return OverrideEntry(parse_override(value), place)
    except OverrideError as error:
        raise OverrideError(f"{place}: {error}") from None


_to_bytes = msgspec.json.Encoder(decimal_format="number").encode


def format_file(overrides: Iterable[Override]) -> str:
    """A JSON array as `read_file` takes it, sorted by provider, model and priority; prices digit by digit."""
    ordered = sorted(overrides, key=attrgetter("provider_id", "model_id", "priority"))
    return msgspec.json.format(_to_bytes(ordered), indent=2).decode() + "\n"


def format_line(override: Override) -> str:
    """One object of `write_file`, on one line."""
    return _to_bytes(override).decode()


# ------------------------------------------------------------------ JSON with line numbers


def _build_object(pairs: list[tuple[str, Any]]) -> Any:
    """An object; or, as a value to be raised later, the error that a key occurs twice."""
    merged = dict(pairs)
    for _, value in pairs:
        if isinstance(value, OverrideError):
            return value
    if len(merged) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        return OverrideError(f"{quote(twice)} is there twice.")
    return merged


def _parse_int(digits: str) -> int:
    return int(digits[:30])  # longer ones exceed all limits anyway, and are slow to parse


def _parse_decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent of twenty digits


_json = json.JSONDecoder(object_pairs_hook=_build_object, parse_float=_parse_decimal, parse_int=_parse_int)
_SPACE = re.compile(r"[ \t\r\n]*")


def _iter_values(text: str) -> Iterator[tuple[int, Any]]:
    """Each value of a JSON array with its line number; a single object counts as an array of one.

    Raises json.JSONDecodeError for anything else.
    """
    counted, line = 0, 1
    end = position = _skip_whitespace(text, 0)
    is_array = text.startswith("[", position)
    if is_array:
        end = position = _skip_whitespace(text, position + 1)
    while not (is_array and end == position and text.startswith("]", position)):
        value, end = _decode_value(text, position)
        line += text.count("\n", counted, position)
        counted = position
        yield line, value
        end = _skip_whitespace(text, end)
        if not (is_array and text.startswith(",", end)):
            break
        position = _skip_whitespace(text, end + 1)
    if is_array:
        if not text.startswith("]", end):
            raise json.JSONDecodeError("Expecting ',' or ']'", text, end)
        end = _skip_whitespace(text, end + 1)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _decode_value(text: str, position: int) -> tuple[Any, int]:
    try:
        return _json.raw_decode(text, position)
    except RecursionError:
        raise json.JSONDecodeError("Nested too deeply", text, position) from None


def _skip_whitespace(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
