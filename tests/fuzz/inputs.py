"""What is put in: hostile text, any JSON, and good bytes and JSON with something changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

MARK = "<script>alert(9)</script>"
HOSTILE = (
    MARK,
    f'"><img src=x onerror=alert(9)>{MARK}',
    "{{7*7}}${7*7}",
    "=cmd|' /C calc'!A0",
    "\x00",
    "a\r\nSet-Cookie: x=y",
    "\x1b[2J",
    "\u202e\u2066",
    "\U0001f600" * 50,
    "' OR 1=1 --",
    "../../../../etc/passwd",
    "//evil.example",
    "https://evil.example",
    "http://169.254.169.254/",
    "-1",
    "0",
    "1e400",
    "NaN",
    "²",
    "9" * 30,
    "9223372036854775807",
    "0001-01-01",
    "9999-12-31T23:59:59-14:00",
    "yes",
    "on",
    "openai",
    "sk-good-key-of-nobody-1234",
    "gpt-4o",
    "alice@example.com",
    "Europe/Paris",
    "x" * 5_000,
)
texts = st.sampled_from(HOSTILE) | st.text(max_size=40) | st.integers(-(2**70), 2**70).map(str)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(HOSTILE)
    | st.text(max_size=20)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def changed_bytes(good: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of them with some bytes replaced, cut out, doubled or put in."""

    def change(of: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, put in cuts:
            place = at % (len(of) + 1)
            of = of[:place] + put + of[place + length :]
        return of

    cut = st.tuples(st.integers(0, 2**32), st.integers(0, 6), st.binary(max_size=6))
    return st.builds(change, st.sampled_from(list(good)), st.lists(cut, min_size=1, max_size=4))


def changed_json(good: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """One of them with some of its values replaced by any others, or taken away."""

    def change(of: Any, changes: list[tuple[int, bool, Any]]) -> bytes:
        made = copy.deepcopy(of)
        places = list(_places(made))
        for at, is_gone, value in changes:
            if places:
                inside, name = places[at % len(places)]
                if is_gone and isinstance(inside, dict):
                    inside.pop(name, None)
                elif isinstance(inside, dict) or name < len(inside):
                    inside[name] = value
        return json.dumps(made).encode()

    one = st.tuples(st.integers(0, 2**32), st.booleans(), anything)
    return st.builds(change, st.sampled_from(list(good)), st.lists(one, min_size=1, max_size=5))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    names = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in list(names):
        yield value, name
        yield from _places(value[name])


def any_of(good: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, any JSON, and what is nearly good."""
    documents = [json.loads(one) for one in good if one[:1] in (b"{", b"[")]
    found = st.binary(max_size=300) | anything.map(lambda value: json.dumps(value).encode()) | changed_bytes(good)
    return found | changed_json(documents) if documents else found
