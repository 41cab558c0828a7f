"""Takes an API key out of what people paste: quotes, variable names, schemes, whole headers, stray punctuation. Pure.

One function for every way in: pasted lines, typed keys, the command line and the server's environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_INVISIBLE = dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0x00AD, 0x034F, 0x180E, 0]
)
"""Zero-width characters, marks of direction, soft hyphens: copied along from web pages and chats."""
_PLAIN = str.maketrans("“”„‟«»″＂‘’‚‛′＇´：＝，；", '""""""""\'\'\'\'\'\'\':=,;')
_HEADER = re.compile(
    r"""(?ix) (?<![\w.-]) ["']? (?:authorization|proxy-authorization|x-api-key|api-key|x-goog-api-key|xi-api-key
    |x-litellm-api-key|x-auth-token|x-auth-key|x-token|ocp-apim-subscription-key) ["']? \s* (?:[:=]|=>) \s* ["']?
    (?P<value>(?:(?:bearer|token|basic|key|api-?key)\s+)?\S.*)$"""
)
_SCHEME = re.compile(r"(?i)(?:(?:bearer|api[ -]?key)(?:\s*:\s*|\s+)|(?:token|key)\s+)(?=\S)")
_ASSIGNMENT = re.compile(
    r"""(?ix) (?:(?:export|set|setx|declare|local|const|let|var|env|arg|-e|--env) \s+ (?:-\w+\s+)* | \$env: | - \s+
    | [{[(] \s*)*
    ["'`]? (?P<name>[a-z_][\w.-]*) ["'`]? (?P<before>\s*) (?P<sign>:=|=>|[:=]) (?P<after>\s*) (?P<value>.*)$"""
)
_SPACED_ASSIGNMENT = re.compile(r"(?i)(?:setx|set\s+-\w+|env|arg)\s+(?P<name>[a-z_]\w*)\s+(?P<value>\S.*)$")
_INNER_ASSIGNMENT = re.compile(
    r"""\b(?P<name>[A-Z][A-Z0-9_]*(?:KEY|TOKEN))["']?\]?\s*[=:,]\s*["']?(?P<value>[^\s"']{8,})"""
)
"""Within a command or a line of code: `docker run -e NAME=…`, `config["NAME"] = "…"`."""
_KEY_NAME = re.compile(r"(?i)key|token|secret|auth|bearer|passw|credential")
_QUOTES = "\"'`"
_MAX_LAYERS = 8


@dataclass(frozen=True, slots=True)
class CleanedKey:
    """What is left of a text once everything around the key is cut off; it may be no key at all."""

    name: str
    """The variable's name, in upper case; empty where there is none."""
    key: str = field(repr=False)
    is_password: bool = False
    """Whether it is the value of an `Authorization: Basic` header."""


def normalize(text: str) -> str:
    """Plain quotes and spaces, and no invisible characters."""
    return re.sub(r"[^\S\r\n]", " ", text.translate(_INVISIBLE).translate(_PLAIN))


def clean_key(text: str) -> CleanedKey:
    """The key of one line, without whatever surrounds it."""
    name, value, is_password = "", normalize(text).strip(), False
    if value.startswith("{") and '"private_key"' in value:
        return CleanedKey("", value)  # a service account's JSON is a key as it is
    for _ in range(_MAX_LAYERS):
        before = value
        value = value.strip().rstrip(",;\\").strip()
        if header := _HEADER.search(value):
            value = _first_value(header["value"])
            is_password = value.lower().startswith("basic ")
            if is_password:
                value = value[6:].strip()
                break
        elif assignment := split_assignment(value):
            name, value = assignment
        elif scheme := _SCHEME.match(value):
            value = value[scheme.end() :]
        else:
            value = _unwrap(value)
        if value == before:
            break
    return CleanedKey(name, value, is_password)


def split_assignment(text: str) -> tuple[str, str] | None:
    """Name, in upper case, and value; None where `=` or `:` may belong to the key, as in base64 or `id:secret`."""
    if spaced := _SPACED_ASSIGNMENT.match(text):
        return spaced["name"].upper(), spaced["value"]
    match = _ASSIGNMENT.match(text)
    if match is None and (found := _INNER_ASSIGNMENT.search(text)):
        return found["name"].upper(), found["value"]
    if match is None or match["value"].startswith("//") or set(match["value"].strip(_QUOTES)) == {"="}:
        return None
    name, value = match["name"], match["value"].strip()
    is_word = re.fullmatch(r"\w+", name) is not None
    is_set_off = bool(match["after"] or match["value"][:1] in (*_QUOTES, "") or match["sign"] != ":")
    if _KEY_NAME.search(name):
        is_variable = is_word and name == name.upper()
        plausible = (bool(value) and is_set_off) or is_variable
    else:
        plausible = is_word and bool(value.strip(_QUOTES)) and is_set_off
    return (name.upper(), value) if plausible else None


def _unwrap(value: str) -> str:
    """Without one layer of quotes, brackets and trailing punctuation; unquoted text up to a comment."""
    value = value.strip().rstrip(",;\\").strip()
    if value[:1] and value[0] in _QUOTES:
        end = value.find(value[0], 1)
        return value[1:end].strip() if end > 0 else value[1:].strip()
    value = re.split(r"\s#", value, maxsplit=1)[0].rstrip(" ,;")
    if " " not in value:
        value = value.rstrip(_QUOTES)
        if len(value) > 20 and (value[0] + value[-1]) in ("<>", "()", "[]", "{}"):
            value = value[1:-1]
    return value


def _first_value(value: str) -> str:
    """A header's value: up to the quote that closes it."""
    end = re.search(r"[\"'`](?=\s|$|[,;})\]\\])", value.strip()[1:])
    return value.strip()[: end.start() + 1] if end and value.count(end[0]) % 2 else value.strip()
