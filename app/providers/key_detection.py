"""Whose an API key is: by how it looks, or by the name of the variable that holds it. Pure; nothing is stored or asked.

What people paste is a key, several of them, or a whole `.env` file. A key is only given to a provider by itself where
its form or its name says so for certain; where it could be of several, they are named, and a person decides: a key
sent to the wrong company is given away.

No text of a line ever leaves this module but as a `Find.key` or a `Find.base_url`, which no `repr` shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.providers import PROVIDERS, addresses, key_patterns
from app.providers.contract import Provider

LONGEST_TEXT, MOST_LINES, MOST_KEYS = 64 * 1024, 500, 50
"""Characters, lines and keys that are looked at at once."""
SHORTEST_KEY, LONGEST_KEY = 8, 8_000

_ASSIGNMENT = re.compile(
    r"""\s*(?:export\s+|set\s+|setx\s+|\$env:|-\s+)?["']?(?P<name>[A-Za-z_]\w*)["']?\s*[:=]\s*(?P<value>\S.*)?$"""
)
_PLACEHOLDER = re.compile(r"(?i)^(?:<.*>|\[.*\]|\$\{?\w+\}?|%\w+%|x{3,}|change.?me|none|null|todo)$|your|\.{3}|…|\*{3}")
_URL = re.compile(r"(?i)https?://")
_NAMES = {f"{provider.variable}_API_KEY": slug for slug, provider in PROVIDERS.items()} | key_patterns.NAMES
_HOSTS = {
    urlsplit(url).hostname: slug
    for slug, provider in reversed(PROVIDERS.items())
    if not provider.own_url
    for url in (provider.base_url, *provider.regions.values())
}
_SERVERS = {slug for slug, provider in PROVIDERS.items() if provider.own_url}


class PasteTooLarge(Exception):
    """More was pasted than is looked at. Its text is a sentence with what to do."""


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """Where a key may be of: a provider, and the region if it has several."""

    slug: str
    region: str = ""

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.slug]

    @property
    def words(self) -> str:
        return f"{self.provider.title}, {self.region}" if self.region else self.provider.title

    @property
    def value(self) -> str:
        """As a form's field names it."""
        return f"{self.slug}/{self.region}" if self.region else self.slug


@dataclass(frozen=True, slots=True)
class Detection:
    """A key that was pasted."""

    line: int
    """Of the text, from 1."""
    said_by: str
    """What tells whose it is: the name of a variable that is known, or how the key begins; both are no secrets."""
    places: tuple[ProviderChoice, ...]
    """Where it may be of, the likeliest first."""
    is_sure: bool
    """Whether the first of them is right without asking."""
    key: str = field(repr=False)
    base_url: str = field(default="", repr=False)
    """The address that was given beside it, for servers of one's own."""

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    def needs_address(self, place: ProviderChoice) -> bool:
        return bool(place.provider.own_url) and not self.base_url


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A line without a key to save, and why; nothing of what it holds."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class ParsedPaste:
    finds: tuple[Detection, ...]
    unread: tuple[Unrecognised, ...]


def parse_paste(text: str) -> ParsedPaste:
    """Whose the keys in `text` are. Raises TooMuch, never anything else."""
    if len(text) > LONGEST_TEXT:
        raise PasteTooLarge(f"That is more than {LONGEST_TEXT // 1024} kB. Paste the lines with keys only.")
    lines = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MOST_LINES:
        raise PasteTooLarge(f"Those are more than {MOST_LINES} lines. Paste the lines with keys only.")
    bases = _find_base_urls(lines)
    finds: list[Detection] = []
    unread: list[Unrecognised] = []
    seen: dict[str, int] = {}
    for line, entry in _split_entries(lines):
        found = entry if isinstance(entry, str) else _detect(line, *entry, bases)
        if isinstance(found, str):
            unread.append(Unrecognised(line, found))
        elif found.key in seen:
            unread.append(Unrecognised(line, f"is the same key as line {seen[found.key]}"))
        else:
            seen[found.key] = line
            finds.append(found)
    if len(finds) > MOST_KEYS:
        raise PasteTooLarge(f"Those are more than {MOST_KEYS} keys. Paste them in parts.")
    return ParsedPaste(tuple(finds), tuple(unread))


_Assignment = tuple[str, str]
"""A variable's name, empty for none, and a value."""


def _split_entries(lines: list[str]) -> Iterator[tuple[int, _Assignment | str]]:
    """What stands on which line: a name and a value each, or why it is nothing."""
    skip = 0
    for number, line in enumerate(lines, 1):
        stripped = line.strip().rstrip(",").strip()
        if number <= skip or stripped.startswith(("#", "//", ";")):
            continue
        match = None if _match_prefix(stripped) else _ASSIGNMENT.match(stripped)
        name, value = (match["name"].upper(), match["value"] or "") if match else ("", stripped)
        if value.lstrip("'\"").startswith("{"):
            whole = _service_account("\n".join([line, *lines[number:]]))
            if whole is not None:
                account, ends = whole
                skip = number + ends
                yield number, (name, account)
                continue
        if not stripped.strip("{}[]()'\"") or (_url_suffix(name) and _URL.match(_unquote(value))):
            continue  # an address belongs to the key beside it
        if match:
            yield number, (name, _unquote(value))
        else:
            yield from ((number, entry) for entry in _bare_keys(stripped))


def _bare_keys(stripped: str) -> Iterator[_Assignment | str]:
    """The keys of a line that names none of them."""
    tokens = [token.strip("'\"`<>()") for token in re.split(r"[\s,;]+", stripped)]
    keys = [token for token in tokens if _match_prefix(token)] if len(tokens) > 1 else tokens
    if not keys:
        yield "holds no key that we know"
    for key in keys:
        yield "", key


def _detect(line: int, name: str, value: str, bases: dict[str, str]) -> Detection | str:
    """The key of one line; else why there is none, as the end of a sentence that begins with the line."""
    if value.startswith("{") and _service_account(value):
        return Detection(line, "a service account's JSON", _choices("google-vertex"), True, value)
    known = _NAMES.get(name)
    if sure := _match_prefix(value):
        prefix, slugs = sure
        return _validate(Detection(line, f"its beginning {prefix}…", _choices(*slugs), True, value))
    if any(value.startswith(prefix) for prefix in key_patterns.ELSEWHERE):
        company = next(company for prefix, company in key_patterns.ELSEWHERE.items() if value.startswith(prefix))
        return f"holds a key of {company}, which is not among our providers"
    base = bases.get(_stem(name), "") if name else ""
    if known or base:
        if not value:
            return "is empty"
        return _validate(_detect_by_name(line, name, known, value, base))
    shapes = key_patterns.UNSURE if name else key_patterns.UNSURE + key_patterns.UNSURE_ALONE
    slugs = next((slugs for form, slugs in shapes if form.fullmatch(value)), ())
    if not slugs:
        return "holds no key that we know" if value else "is empty"
    return _validate(Detection(line, "its form", _choices(*slugs), False, value))


def _detect_by_name(line: int, name: str, known: str | None, value: str, base: str) -> Detection:
    """A key that its variable's name, and perhaps an address beside it, tells of."""
    there = _HOSTS.get(urlsplit(base).hostname) if base else None
    if there:
        places = _choices(there)
        by_address = next((place for place in places if place.provider.regions.get(place.region) == base), None)
        first = by_address or places[0]
        places = (first, *(place for place in places if place != first))
        return Detection(line, name if known == there else "the address beside it", places, True, value)
    if base:
        # OpenAI's variables are used for every server that speaks as it does.
        slug = known if known in _SERVERS else "openai-compatible"
        return Detection(line, "the address beside it", _choices(slug), True, value, base)
    return Detection(line, name, _choices(known or ""), True, value)


def _validate(find: Detection) -> Detection | str:
    return invalid_key_reason(find.key) or find


def invalid_key_reason(value: str) -> str:
    """Why this can be no key, as the end of a sentence that begins with the line; empty if it may be one."""
    if _PLACEHOLDER.search(value):
        return "holds a placeholder, not a key"
    if len(value) < SHORTEST_KEY:
        return "holds something too short for a key"
    if len(value) > LONGEST_KEY:
        return f"holds something longer than any key ({LONGEST_KEY} characters at most)"
    if not value.isascii() or not value.isprintable() or " " in value:
        return "has spaces or characters that no key has"
    return ""


def _match_prefix(value: str) -> tuple[str, tuple[str, ...]] | None:
    """How a key begins that can be of one company only, and who that is."""
    if not value or any(letter.isspace() for letter in value):
        return None
    if key_patterns.OPENAI_OLD.fullmatch(value):
        return "sk-", ("openai",)
    return next(((start, slugs) for start, slugs in key_patterns.SURE.items() if value.startswith(start)), None)


def _choices(*slugs: str) -> tuple[ProviderChoice, ...]:
    return tuple(ProviderChoice(slug, region) for slug in slugs for region in PROVIDERS[slug].regions or ("",))


def _unquote(value: str) -> str:
    """As a `.env` file has it: within quotes as it stands, without them up to a comment."""
    value = value.strip()
    if value[:1] in ("'", '"', "`"):
        end = value.find(value[0], 1)
        return value[1:end].strip() if end > 0 else value[1:].strip()
    return re.split(r"\s#", value, maxsplit=1)[0].strip().rstrip(",;").strip()


def _stem(name: str) -> str:
    """`OPENAI` of OPENAI_API_KEY."""
    return re.sub(r"_?(?:API_)?(?:KEY|TOKEN)$", "", name)


def _url_suffix(name: str) -> str | None:
    return next((ending for ending in key_patterns.ADDRESS_ENDINGS if name.endswith(ending)), None)


def _find_base_urls(lines: list[str]) -> dict[str, str]:
    """The addresses that stand in the text, by what their variable's name begins with; bad ones are left out."""
    found: dict[str, str] = {}
    for line in lines:
        match = _ASSIGNMENT.match(line)
        if not match or not match["value"]:
            continue
        name, value = match["name"].upper(), _unquote(match["value"])
        ending = _url_suffix(name)
        if ending and _URL.match(value):
            try:
                found[name.removesuffix(ending)] = addresses.validate_url(value, value)
            except addresses.InvalidBaseURL:
                continue
    return found


def _service_account(text: str) -> tuple[str, int] | None:
    """A service account's JSON that begins on the first line, and how many lines it goes on after it."""
    begin = text.index("{")
    try:
        found, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") != "service_account":
        return None
    return text[begin:end], text.count("\n", begin, end)
